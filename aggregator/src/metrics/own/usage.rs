//! Memory and CPU time of this process, from `/proc/self/statm` and `/proc/self/stat`.

use crate::host::{HostError, HostRoot, ParseError};

/// What a process uses.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Resident memory.
    pub resident_bytes: u64,
    /// CPU time, user and system.
    pub cpu_seconds: f64,
}

impl Usage {
    /// Reads that of this process.
    pub fn read(host: &HostRoot) -> Result<Self, HostError> {
        let statm = host.proc("self/statm");
        let pages = statm.parse(parse_resident_pages)?;
        let ticks = host.proc("self/stat").parse(parse_cpu_ticks)?;
        Ok(Self {
            resident_bytes: pages.saturating_mul(host.page_bytes()),
            cpu_seconds: ticks as f64 / host.ticks_per_second(),
        })
    }
}

/// The second field of `statm`.
fn parse_resident_pages(text: &str) -> Result<u64, ParseError> {
    text.split_ascii_whitespace()
        .nth(1)
        .and_then(|field| field.parse().ok())
        .ok_or(ParseError {
            line: 1,
            what: "second field is not a number of pages",
        })
}

/// The fields `utime` and `stime` of `stat`. The name in parentheses may contain anything, so fields count from its end.
fn parse_cpu_ticks(text: &str) -> Result<u64, ParseError> {
    let error = ParseError {
        line: 1,
        what: "no user and system time",
    };
    let (_, fields) = text.rsplit_once(')').ok_or(error)?;
    let mut times = fields
        .split_ascii_whitespace()
        .skip(11)
        .map(str::parse::<u64>);
    match (times.next(), times.next()) {
        (Some(Ok(user)), Some(Ok(system))) => user.checked_add(system).ok_or(error),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{Usage, parse_cpu_ticks, parse_resident_pages};
    use crate::host::HostRoot;

    #[test]
    fn parses_fixtures() {
        assert_eq!(parse_resident_pages("1713 1091 998 7 0 322 0\n"), Ok(1091));
        let stat = "17 (a) b) S 1 17 17 0 -1 4194304 98 0 0 0 12 30 0 0 20 0 1 0 8 7016448 1091";
        assert_eq!(parse_cpu_ticks(stat), Ok(42));
        for text in ["", "1", "1 x", ")", "1 (a) S 1 2"] {
            assert!(
                parse_resident_pages(text).is_err() && parse_cpu_ticks(text).is_err(),
                "{text:?}"
            );
        }
    }

    #[test]
    fn reads_this_process() {
        let usage = Usage::read(&HostRoot::default()).unwrap();
        assert!(usage.resident_bytes > 1 << 20, "{usage:?}");
        assert!(
            usage.cpu_seconds >= 0.0 && usage.cpu_seconds < 3600.0,
            "{usage:?}"
        );
    }
}
