//! Messages may be any bytes: patterns are bounded in number and size, every message is counted once, a repeat has the
//! pattern it had, and no two patterns share a name.

#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use nodescope_logs::Level;
use nodescope_logs::pattern::{Miner, MinerLimits, PatternHash};

const MAX_PATTERNS: usize = 8;

fuzz_target!(|bytes: &[u8]| {
    let limits = MinerLimits {
        max_patterns_per_level: MAX_PATTERNS,
        ..MinerLimits::default()
    };
    let mut miner = Miner::new(limits);
    let mut observed = 0;
    for message in bytes.split(|&byte| byte == b'\n') {
        let first = miner.observe(Level::Error, message);
        let again = miner.observe(Level::Error, message);
        assert_eq!(first, again);
        observed += 2;
    }
    let patterns = miner.patterns();
    assert!(patterns.len() <= Level::ALL.len() + MAX_PATTERNS);
    assert_eq!(
        patterns.iter().map(|pattern| pattern.messages).sum::<u64>(),
        observed
    );
    let mut names = HashSet::new();
    for pattern in patterns
        .iter()
        .filter(|pattern| pattern.hash != PatternHash::OVERFLOW)
    {
        assert!(names.insert(pattern.hash));
        assert!(!pattern.text.contains('\n') && pattern.text.len() < 8192);
    }
});
