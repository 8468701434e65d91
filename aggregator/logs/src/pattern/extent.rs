//! How far a value reaches that is not one plain word: quoted text, brackets, addresses with colons, URLs.
//! Every function looks at a bounded stretch or remembers what it did not find, so a whole message stays linear.

use super::class::{DIGIT, END, LETTER, SPACE, class, class_at};

/// A bracketed value longer than this is read as text.
const BRACKETED_MAX_BYTES: usize = 512;

/// The end of a word that may hold `:` `=` and the like, such as a URL or path: up to a space, quote or closing mark.
pub(crate) fn address_end(text: &[u8], mut at: usize) -> usize {
    while at < text.len() {
        let byte = text[at];
        if class(byte) & SPACE != 0 || b"\"'`<>)]},;|".contains(&byte) {
            break;
        }
        at += 1;
    }
    at
}

/// The end of a value that stands behind `=`: up to a space, `,`, `;`, or a bracket that was opened before it.
pub(crate) fn assigned_end(text: &[u8], start: usize) -> usize {
    let mut at = start;
    while at < text.len() {
        let byte = text[at];
        if class(byte) & SPACE != 0 || b",;|)]}>\"".contains(&byte) {
            break;
        }
        at = match byte {
            b'(' | b'[' | b'{' => match bracket_end(text, at) {
                Some(end) => end,
                None => break,
            },
            _ => at + 1,
        };
    }
    at
}

/// The position behind the bracket that closes the one at `open`, if it is near.
pub(crate) fn bracket_end(text: &[u8], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    // Elsewhere `<` and `>` are arrows and comparisons more often than brackets.
    let angle = text.get(open) == Some(&b'<');
    let window = text.len().min(open + BRACKETED_MAX_BYTES);
    for (at, &byte) in text.iter().enumerate().take(window).skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b'<' if angle => depth += 1,
            b')' | b']' | b'}' => depth = depth.checked_sub(1)?,
            b'>' if angle => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

/// The position of the mark that closes the quote at `open`: one that no letter or digit follows.
pub(crate) fn quote_end(text: &[u8], open: usize) -> Option<usize> {
    let quote = text[open];
    let mut at = open + 1;
    while let Some(found) = memchr::memchr(quote, text.get(at..)?) {
        let close = at + found;
        let escaped = text[close - 1] == b'\\' && close > open + 1;
        if !escaped && class_at(text, close + 1) & (LETTER | DIGIT) == 0 {
            return Some(close);
        }
        at = close + 1;
    }
    None
}

/// The end of a run of hexadecimal digits, colons and dots with at least two colons: a time, MAC or IPv6 address.
pub(crate) fn colon_run_end(text: &[u8], start: usize) -> Option<usize> {
    let mut colons = 0;
    let mut at = start;
    while at < text.len() {
        match text[at] {
            b':' => colons += 1,
            byte if byte.is_ascii_hexdigit() || byte == b'.' => {}
            _ => break,
        }
        at += 1;
    }
    while at > start && matches!(text[at - 1], b':' | b'.') {
        colons -= i32::from(text[at - 1] == b':');
        at -= 1;
    }
    (colons >= 2 && class_at(text, at) & !END == 0).then_some(at)
}

/// Whether the quoted text is a sentence and not a value: three words or more.
pub(crate) fn is_sentence(text: &[u8]) -> bool {
    let mut words = 0;
    let mut inside = false;
    for &byte in text {
        let space = class(byte) & SPACE != 0;
        words += usize::from(!space && !inside);
        if words >= 3 {
            return true;
        }
        inside = !space;
    }
    false
}
