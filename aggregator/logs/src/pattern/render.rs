//! Turns tokens into the text of a pattern: the words, and `<*>` for each run of variables.

use super::shape::MAX_WORD_BYTES;
use super::token::{Kind, Token};

/// What stands for a variable part.
pub const WILDCARD: &str = "<*>";

/// Units looked back at for lists: two items of up to three units.
const UNITS: usize = 6;

/// What renders as text and what as [`WILDCARD`], by how many words there are to know the message by.
#[derive(Clone, Copy)]
struct Certainty {
    words: usize,
}

impl Certainty {
    /// The fewer words, the less may be guessed away: a pattern must not come to hold unlike messages.
    fn is_variable(self, kind: Kind) -> bool {
        match kind {
            Kind::Word => false,
            Kind::Guess => self.words >= 2,
            Kind::Marked => self.words >= 1,
            Kind::Value => true,
        }
    }
}

/// Appends the pattern of `tokens`, cut from `text`, to `pattern`.
pub(crate) fn render(text: &[u8], tokens: &[Token], pattern: &mut Vec<u8>) {
    let words = tokens
        .iter()
        .filter(|token| token.kind == Kind::Word && token.end - token.start > 1)
        .count();
    let certainty = Certainty { words };
    let from = pattern.len();
    // Where the last units begin, the newest last.
    let mut units = [from; UNITS];
    let mut after_wildcard = false;
    for token in tokens {
        let variable = certainty.is_variable(token.kind);
        if variable && after_wildcard {
            continue;
        }
        units.rotate_left(1);
        units[UNITS - 1] = pattern.len();
        if variable {
            pattern.extend_from_slice(WILDCARD.as_bytes());
        } else {
            push_stem(token.bytes(text), pattern);
        }
        pattern.push(b' ');
        after_wildcard = variable;
        drop_list_item(pattern, &mut units);
    }
    if pattern.len() > from {
        pattern.pop();
    }
}

/// Drops the last units if they repeat the same number before them and hold a variable: an item of a list, whose length
/// does not matter.
fn drop_list_item(pattern: &mut Vec<u8>, units: &mut [usize; UNITS]) {
    for size in 2..=UNITS / 2 {
        let (before, item) = (units[UNITS - 2 * size], units[UNITS - size]);
        let repeats = before < item && pattern[before..item] == pattern[item..];
        if repeats && memchr::memmem::find(&pattern[item..], b"<*> ").is_some() {
            pattern.truncate(item);
            units.rotate_right(size);
            let oldest = units[size];
            units[..size].fill(oldest);
            return;
        }
    }
}

/// The word up to its first digit: the number in it is a variable even where its name is not. White space within it,
/// as a quoted value may have, becomes a mark that keeps the pattern one line with one space between units.
fn push_stem(word: &[u8], pattern: &mut Vec<u8>) {
    let word = &word[..word.len().min(MAX_WORD_BYTES)];
    let digit = word.iter().position(u8::is_ascii_digit);
    let stem = &word[..digit.unwrap_or(word.len())];
    pattern.extend(
        stem.iter()
            .map(|&byte| if byte > b' ' { byte } else { b'_' }),
    );
    if digit.is_some() {
        pattern.extend_from_slice(WILDCARD.as_bytes());
    }
}
