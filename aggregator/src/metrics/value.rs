//! Sample values and how they are written.

use std::io::Write as _;

/// A sample's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A whole number, written without loss.
    Unsigned(u64),
    /// Nanoseconds, written in seconds without loss.
    Nanoseconds(u64),
    /// Any other number.
    Float(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Unsigned(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Unsigned(value.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Unsigned(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl Value {
    /// Whether a counter may have this value: OpenMetrics forbids NaN, infinity and negative numbers.
    pub fn fits_counter(self) -> bool {
        match self {
            Self::Unsigned(_) | Self::Nanoseconds(_) => true,
            Self::Float(value) => value.is_finite() && value >= 0.0,
        }
    }

    /// Appends the value as both formats want it: the shortest digits that read back as the same number.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Unsigned(value) => write_unsigned(value, out),
            Self::Nanoseconds(ns) => write_seconds(ns, out),
            Self::Float(value) => write_float(value, out),
        }
    }
}

fn write_float(value: f64, out: &mut Vec<u8>) {
    let written = match value {
        _ if value.is_nan() => out.write_all(b"NaN"),
        f64::INFINITY => out.write_all(b"+Inf"),
        f64::NEG_INFINITY => out.write_all(b"-Inf"),
        // `Display` writes 1e300 as 301 digits, `Debug` uses an exponent there.
        _ if value.abs() < 1e15 => write!(out, "{value}"),
        _ => write!(out, "{value:?}"),
    };
    debug_assert!(written.is_ok(), "writing to memory cannot fail");
}

/// Digits of the largest `u64`.
const MAX_DIGITS: usize = 20;
/// Digits of the nanoseconds of a second.
const SECOND_DIGITS: usize = 9;
const NS_A_SECOND: u64 = 1_000_000_000;

/// The numbers from 00 to 99.
static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// Two digits at a time: almost every line of a page has such a number, and `write!` takes several times as long.
fn write_unsigned(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; MAX_DIGITS];
    let mut begin = MAX_DIGITS;
    while value >= 10 {
        begin -= 2;
        digits[begin..begin + 2].copy_from_slice(&PAIRS[(value % 100) as usize]);
        value /= 100;
    }
    if value > 0 || begin == MAX_DIGITS {
        begin -= 1;
        digits[begin] = b'0' + value as u8;
    }
    out.extend_from_slice(&digits[begin..]);
}

/// Seconds with as many decimals as they need.
fn write_seconds(ns: u64, out: &mut Vec<u8>) {
    write_unsigned(ns / NS_A_SECOND, out);
    let mut rest = ns % NS_A_SECOND;
    if rest == 0 {
        return;
    }
    let mut decimals = [b'0'; SECOND_DIGITS];
    for digit in decimals.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let needed = decimals.iter().rposition(|digit| *digit != b'0');
    out.push(b'.');
    out.extend_from_slice(&decimals[..=needed.unwrap_or(0)]);
}

#[cfg(test)]
mod tests {
    use super::Value;

    fn text(value: impl Into<Value>) -> String {
        let mut out = Vec::new();
        value.into().write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_numbers() {
        assert_eq!(text(u64::MAX), "18446744073709551615");
        assert_eq!(text(true), "1");
        assert_eq!(text(0.1), "0.1");
        assert_eq!(text(3795.681254), "3795.681254");
        assert_eq!(text(2.0), "2");
        assert_eq!(text(1e300), "1e300");
        assert_eq!(text(f64::NAN), "NaN");
        assert_eq!(text(f64::INFINITY), "+Inf");
        assert_eq!(text(f64::NEG_INFINITY), "-Inf");
    }

    #[test]
    fn whole_numbers_and_nanoseconds_are_exact() {
        let ends = (0..20).flat_map(|power| {
            let number = 10u64.pow(power);
            [number - 1, number, number + 1]
        });
        for number in ends.chain([5, 42, 105, 90_090, u64::MAX - 1, u64::MAX]) {
            assert_eq!(text(number), number.to_string());
            let (whole, rest) = (number / 1_000_000_000, number % 1_000_000_000);
            let decimals = format!("{whole}.{rest:09}");
            let wanted = decimals.trim_end_matches('0').trim_end_matches('.');
            assert_eq!(text(Value::Nanoseconds(number)), wanted);
        }
    }

    #[test]
    fn floats_read_back_the_same() {
        for value in [
            0.0,
            1e-300,
            f64::MIN_POSITIVE,
            1.0 / 3.0,
            1e15,
            123_456_789.123,
            f64::MAX,
            -2.5,
        ] {
            assert_eq!(
                text(value).parse::<f64>().unwrap().to_bits(),
                value.to_bits()
            );
        }
    }

    #[test]
    fn counters_take_only_finite_non_negative_values() {
        assert!(Value::from(0.0).fits_counter() && Value::from(u64::MAX).fits_counter());
        for value in [-0.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(!Value::from(value).fits_counter());
        }
    }
}
