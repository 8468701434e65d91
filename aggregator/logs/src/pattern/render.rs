//! Turns tokens into the text of a pattern: the words, and `<*>` for each run of variables.

use super::shape::MAX_WORD_BYTES;
use super::token::{Kind, Token};

/// What stands for a variable part.
pub const WILDCARD: &str = "<*>";

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
    // Where the last four units begin, the newest last.
    let mut units = [from; 4];
    let mut after_wildcard = false;
    for token in tokens {
        let variable = certainty.is_variable(token.kind);
        if variable && after_wildcard {
            continue;
        }
        units.rotate_left(1);
        units[3] = pattern.len();
        if variable {
            pattern.extend_from_slice(WILDCARD.as_bytes());
        } else {
            push_stem(token.bytes(text), pattern);
        }
        pattern.push(b' ');
        after_wildcard = variable;
        if is_list_item(pattern, units) {
            pattern.truncate(units[2]);
            units = [units[0], units[0], units[0], units[1]];
        }
    }
    if pattern.len() > from {
        pattern.pop();
    }
}

/// Whether the last two units, one of them a variable, repeat the two before: an item of a list of any length.
fn is_list_item(pattern: &[u8], units: [usize; 4]) -> bool {
    let [first, _, third, last] = units;
    let item = &pattern[third..];
    first < third
        && third < last
        && third - first == item.len()
        && pattern[first..third] == *item
        && (pattern[third..last].starts_with(WILDCARD.as_bytes())
            || pattern[last..].starts_with(WILDCARD.as_bytes()))
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
