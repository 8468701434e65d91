//! The few forms of text in a cgroup's files. All of it is pure.

use super::Pressure;

/// A file with one number.
pub(super) fn number(text: &str) -> Option<u64> {
    text.trim_end().parse().ok()
}

/// The value of `key` in a file of lines `key value`.
pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let (_, value) = lines.find(|(name, _)| *name == key)?;
    number(value)
}

/// Cores of a quota in a period.
pub(super) fn cores(quota: u64, period: u64) -> Option<f64> {
    (period > 0).then(|| quota as f64 / period as f64)
}

/// `cpu.max`: `QUOTA PERIOD`, where the quota may be `max`.
pub(super) fn cpu_max(text: &str) -> Option<f64> {
    let (quota, period) = text.split_once(' ')?;
    cores(number(quota)?, number(period)?)
}

/// A pressure file: lines `some` and `full`, each with a `total=` in microseconds.
pub(super) fn pressure(text: &str) -> Option<Pressure> {
    let total = |kind: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
        let total = line
            .split(' ')
            .find_map(|field| field.strip_prefix("total="))?;
        number(total).map(seconds_of_micros)
    };
    Some(Pressure {
        some_seconds: total("some")?,
        full_seconds: total("full"),
    })
}

pub(super) fn seconds_of_micros(micros: u64) -> f64 {
    micros as f64 / 1e6
}

pub(super) fn seconds_of_nanos(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{cpu_max, keyed, number, pressure};
    use crate::cgroupfs::Pressure;

    #[test]
    fn reads_numbers_and_keys() {
        assert_eq!(number("42\n"), Some(42));
        let stat = "usage_usec 5\nuser_usec 3\nnr_throttled 1\nthrottled_usec 363166\n";
        assert_eq!(keyed(stat, "throttled_usec"), Some(363_166));
        assert_eq!(keyed(stat, "throttled"), None);
        for text in ["", "max", "-1", "1 2", "18446744073709551616"] {
            assert_eq!(number(text), None, "{text:?}");
        }
    }

    #[test]
    fn reads_a_cpu_limit() {
        assert_eq!(cpu_max("10000 100000\n"), Some(0.1));
        assert_eq!(cpu_max("250000 100000\n"), Some(2.5));
        for text in ["max 100000\n", "", "1", "1 0", "x 1", "1 x"] {
            assert_eq!(cpu_max(text), None, "{text:?}");
        }
    }

    #[test]
    fn reads_pressure() {
        let some = "some avg10=0.00 avg60=0.12 avg300=0.00 total=1500000\n";
        let full = "full avg10=0.00 avg60=0.00 avg300=0.00 total=250\n";
        let both = Pressure {
            some_seconds: 1.5,
            full_seconds: Some(0.00025),
        };
        assert_eq!(pressure(&format!("{some}{full}")), Some(both));
        assert_eq!(
            pressure(some),
            Some(Pressure {
                full_seconds: None,
                ..both
            })
        );
        for text in [
            "",
            "some\n",
            "some avg10=1\n",
            "some total=x\n",
            "full total=1\n",
            "sometotal=1\n",
        ] {
            assert_eq!(pressure(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(some|full|max|usage_usec|[0-9]{1,25}|total=|\\PC|[ \n]){0,40}") {
            let _ = (number(&text), keyed(&text, "usage_usec"), cpu_max(&text), pressure(&text));
        }
    }
}
