//! The kernel's setting that it accounts for what tasks wait for.

use std::fs;
use std::path::{Path, PathBuf};

/// Below `/proc`. Kernels before 5.14 have no such file and account unless their command line forbids it.
const SWITCH: &str = "sys/kernel/task_delayacct";

/// As it was when it was last looked at.
#[derive(Debug)]
pub(super) struct Switch {
    path: PathBuf,
    is_on: bool,
}

impl Switch {
    pub(super) fn new(proc_root: &Path) -> Self {
        let path = proc_root.join(SWITCH);
        let is_on = is_on(&path);
        Self { path, is_on }
    }

    /// Whether tasks that begin are accounted for.
    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Looks whether it has changed; true when it has.
    pub(super) fn look(&mut self) -> bool {
        let now = is_on(&self.path);
        std::mem::replace(&mut self.is_on, now) != now
    }
}

fn is_on(path: &Path) -> bool {
    fs::read(path).map_or(true, |text| text.trim_ascii() != b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_zero_is_off() {
        let root = tempfile::tempdir().expect("a directory");
        let mut switch = Switch::new(root.path());
        assert!(switch.is_on());
        fs::create_dir_all(root.path().join("sys/kernel")).expect("directories");
        for (text, on) in [("0\n", false), ("0\n", false), ("1\n", true), ("", true)] {
            fs::write(root.path().join(SWITCH), text).expect("a file");
            let changes = switch.is_on() != on;
            assert_eq!((switch.look(), switch.is_on()), (changes, on), "{text:?}");
        }
    }
}
