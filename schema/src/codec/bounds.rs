//! Longest variable fields. A writer cuts what is longer; a reader takes any length that fits the packet.
//!
//! Each bound is at least as long as any value the kernel accepts in that place, so that a path or identifier that was
//! cut does not become another valid one.

/// Longest path, in bytes: the kernel's `PATH_MAX`.
pub const MAX_PATH_BYTES: usize = 4096;
/// Longest executable name, in bytes: what the kernel programs record of it.
pub const MAX_EXECUTABLE_BYTES: usize = 31;
/// Longest name, identifier or reason, in bytes: one more than the kernel's `NAME_MAX`.
pub const MAX_NAME_BYTES: usize = 256;

/// At most `max` bytes from the start.
pub(super) fn cut_bytes(bytes: &[u8], max: usize) -> &[u8] {
    bytes.get(..max).unwrap_or(bytes)
}

/// At most [`MAX_NAME_BYTES`] from the start, without half a character at the end.
pub(super) fn cut_name(text: &str) -> &str {
    let mut end = MAX_NAME_BYTES.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::{MAX_NAME_BYTES, cut_bytes, cut_name};

    #[test]
    fn bytes_are_cut_only_when_longer() {
        assert_eq!(cut_bytes(b"nginx", 5), b"nginx");
        assert_eq!(cut_bytes(b"nginx", 4), b"ngin");
        assert_eq!(cut_bytes(b"", 4), b"");
    }

    #[test]
    fn names_are_cut_between_characters() {
        let exact = "n".repeat(MAX_NAME_BYTES);
        assert_eq!(cut_name(&exact), exact);
        let across_the_bound = format!("n{}", "é".repeat(MAX_NAME_BYTES));
        let cut = cut_name(&across_the_bound);
        assert_eq!(cut.len(), MAX_NAME_BYTES - 1);
        assert!(across_the_bound.starts_with(cut));
    }
}
