//! Sample values and how they are written.

use std::io::Write as _;

/// A sample's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A whole number, written without loss.
    Unsigned(u64),
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
            Self::Unsigned(_) => true,
            Self::Float(value) => value.is_finite() && value >= 0.0,
        }
    }

    /// Appends the value as both formats want it: the shortest digits that read back as the same number.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        let written = match self {
            Self::Unsigned(value) => write!(out, "{value}"),
            Self::Float(value) if value.is_nan() => out.write_all(b"NaN"),
            Self::Float(value) if value.is_infinite() && value > 0.0 => out.write_all(b"+Inf"),
            Self::Float(value) if value.is_infinite() => out.write_all(b"-Inf"),
            // `Display` writes 1e300 as 301 digits, `Debug` uses an exponent there.
            Self::Float(value) if value.abs() < 1e15 => write!(out, "{value}"),
            Self::Float(value) => write!(out, "{value:?}"),
        };
        debug_assert!(written.is_ok(), "writing to memory cannot fail");
    }
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
