//! The kernel's setting that it accounts for what tasks wait for.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

const SWITCH: &str = "/proc/sys/kernel/task_delayacct";

/// `kernel.task_delayacct` is on while this lives, which one test at a time can have.
#[derive(Debug)]
pub struct Accounting {
    before: String,
    _one: MutexGuard<'static, ()>,
}

impl Accounting {
    /// None on kernels without the setting, after saying so.
    pub fn on() -> Option<Self> {
        static ONE: Mutex<()> = Mutex::new(());
        if !Path::new(SWITCH).exists() {
            eprintln!("skipped: this kernel has no kernel.task_delayacct");
            return None;
        }
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::fs::read_to_string(SWITCH).expect("the setting");
        let accounting = Self { before, _one: one };
        accounting.turn("1");
        Some(accounting)
    }

    /// Sets it to `0` or `1`.
    #[track_caller]
    pub fn turn(&self, value: &str) {
        std::fs::write(SWITCH, value).expect("to set it");
    }
}

impl Drop for Accounting {
    fn drop(&mut self) {
        let _ = std::fs::write(SWITCH, &self.before);
    }
}
