//! Terminal control sequences (ECMA-48), which colour log lines and are no part of what they say.

/// The byte that begins a control sequence.
pub(crate) const ESCAPE: u8 = 0x1b;

/// The position behind a sequence whose `ESC [` ends before `at`: parameters and intermediates, then one final byte.
/// A sequence that breaks off ends where it does.
pub(crate) fn escape_sequence_end(text: &[u8], mut at: usize) -> usize {
    while at < text.len() && (0x20..=0x3f).contains(&text[at]) {
        at += 1;
    }
    let complete = text
        .get(at)
        .is_some_and(|&byte| (0x40..=0x7e).contains(&byte));
    at + usize::from(complete)
}
