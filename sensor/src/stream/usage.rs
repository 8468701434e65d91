//! The sensor's own memory and processor time.

use std::fs::File;
use std::os::unix::fs::FileExt;

use nix::time::{ClockId, clock_gettime};

/// Reads them through a file that stays open, so that nothing is opened later.
#[derive(Debug)]
pub(super) struct Usage {
    /// `/proc/self/statm`; without it memory reads as 0.
    statm: Option<File>,
    page_bytes: u64,
}

impl Usage {
    /// Opens the file.
    pub(super) fn open() -> Self {
        let page_bytes = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
        let page_bytes = page_bytes
            .ok()
            .flatten()
            .and_then(|bytes| u64::try_from(bytes).ok());
        Self {
            statm: File::open("/proc/self/statm").ok(),
            page_bytes: page_bytes.unwrap_or(4096),
        }
    }

    /// Resident memory.
    pub(super) fn resident_bytes(&self) -> u64 {
        let mut text = [0; 128];
        let length = self
            .statm
            .as_ref()
            .and_then(|statm| statm.read_at(&mut text, 0).ok());
        let pages = length.and_then(|length| resident_pages(text.get(..length)?));
        pages.unwrap_or(0).saturating_mul(self.page_bytes)
    }

    /// Processor time of all threads since the start.
    pub(super) fn cpu_ns() -> u64 {
        let Ok(time) = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID) else {
            return 0;
        };
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
    }
}

/// The second number of `/proc/PID/statm` (`proc_pid_statm(5)`).
fn resident_pages(statm: &[u8]) -> Option<u64> {
    std::str::from_utf8(statm)
        .ok()?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_second_number() {
        assert_eq!(resident_pages(b"1000 250 100 1 0 50 0\n"), Some(250));
        for text in [&b""[..], b"1", b"1 x", b"1 ", b"\xff\xff \xff"] {
            assert_eq!(resident_pages(text), None);
        }
    }

    #[test]
    fn this_process_uses_something() {
        let usage = Usage::open();
        assert!(usage.resident_bytes() > 100_000);
        let before = Usage::cpu_ns();
        let mut sum = 0u64;
        while Usage::cpu_ns() == before {
            sum = sum.wrapping_add(1);
        }
        assert!(Usage::cpu_ns() > before);
    }
}
