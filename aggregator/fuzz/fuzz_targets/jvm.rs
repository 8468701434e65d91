//! Any bytes may come as a Java virtual machine's performance data: reading returns, and what it says is bounded.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nodescope_aggregator::jvm::JvmStatistics;

fuzz_target!(|bytes: &[u8]| {
    // Most mutations of the header are refused at once; the rest of the file is what is worth trying.
    let header = [0xca, 0xfe, 0xc0, 0xc0, bytes.len() as u8 & 1, 2, 0, 1];
    let _ = JvmStatistics::parse(bytes);
    if let Ok(jvm) = JvmStatistics::parse(&[&header, bytes].concat()) {
        assert!(jvm.command.len() <= 512 && jvm.collectors.len() <= 3);
        assert!(jvm.safepoint_seconds.is_none_or(f64::is_finite));
    }
});
