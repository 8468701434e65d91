//! Lines may be any bytes: no message is over its bound or empty, and every line with something in it is in a message or
//! was counted as cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use nodescope_logs::multiline::{Assembler, AssemblyLimits};

const MAX_MESSAGE_BYTES: usize = 512;

fuzz_target!(|bytes: &[u8]| {
    let limits = AssemblyLimits {
        max_message_bytes: MAX_MESSAGE_BYTES,
        ..AssemblyLimits::default()
    };
    let mut assembler = Assembler::new(limits);
    let mut kept = 0_u64;
    let visible = |text: &[u8]| {
        text.iter()
            .filter(|byte| !byte.is_ascii_whitespace())
            .count() as u64
    };
    let mut keep = |message: &[u8]| {
        assert!(!message.is_empty() && message.len() <= MAX_MESSAGE_BYTES);
        kept += visible(message);
    };
    for line in bytes.split(|&byte| byte == b'\n') {
        assembler.push(line, 0, &mut keep);
    }
    assembler.flush(&mut keep);
    assert!(kept <= visible(bytes));
    // A cut may also take what was left of a character.
    let counts = assembler.counts();
    assert!(visible(bytes) - kept <= counts.cut_bytes + 3 * counts.cut);
});
