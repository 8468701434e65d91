//! What a single word is by its spelling alone.

use super::class::{
    AT, BACKSLASH, CAPITAL, DIGIT, DOT, HEX_LOWER, HEX_UPPER, JOINER, LETTER, LOWER, MARK, SLASH,
    UPPER,
};
use super::token::Kind;

/// Letters that are all hexadecimal digits are a word ("dead", "facade") up to this length.
const HEX_LETTERS_MIN: usize = 8;
/// A word with a digit that is all hexadecimal digits is a number from this length on.
const HEX_MIN: usize = 4;
/// No program's text has longer words: this is data.
pub(crate) const MAX_WORD_BYTES: usize = 64;
/// A name with at least as many digits carries a serial number, not the number of one of a few things.
const SERIAL_DIGITS: usize = 4;

/// Says what the word is; `bits` are the classes of all its bytes and `called` tells whether a `(` follows.
/// `None` if there is nothing in it but marks.
pub(crate) fn shape(word: &[u8], bits: u16, called: bool) -> Option<Kind> {
    if bits & (LETTER | DIGIT) == 0 {
        return None;
    }
    if word.len() > MAX_WORD_BYTES {
        return Some(Kind::Value);
    }
    if bits & DIGIT != 0 {
        return Some(shape_with_digits(word, bits));
    }
    if bits & (BACKSLASH | AT) != 0 {
        return Some(Kind::Value);
    }
    if bits & SLASH != 0 {
        return Some(shape_with_slash(word, bits));
    }
    if bits & DOT != 0 && bits & CAPITAL == 0 && !called {
        // Hosts, packages, files and modules: a name, unless it is spelled like an identifier of the code.
        return Some(Kind::Guess);
    }
    let only_hex = bits & !(HEX_LOWER | HEX_UPPER) == 0;
    if only_hex && word.len() >= HEX_LETTERS_MIN {
        return Some(Kind::Value);
    }
    if is_literal(word) {
        return Some(Kind::Guess);
    }
    Some(Kind::Word)
}

fn shape_with_digits(word: &[u8], bits: u16) -> Kind {
    let outer_marks = DOT | SLASH | BACKSLASH | AT | MARK;
    if word[0].is_ascii_digit() || bits & outer_marks != 0 {
        return Kind::Value;
    }
    let only_hex = bits & (LOWER | UPPER | JOINER) == 0;
    if only_hex && word.len() >= HEX_MIN {
        return Kind::Value;
    }
    let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits >= SERIAL_DIGITS {
        return Kind::Value;
    }
    Kind::Guess
}

/// "read/write" is two words; a path begins with its slash, has several, or has a file name's dot.
fn shape_with_slash(word: &[u8], bits: u16) -> Kind {
    let slashes = word.iter().filter(|&&byte| byte == b'/').count();
    if word[0] == b'/' || slashes > 1 || bits & DOT != 0 {
        return Kind::Value;
    }
    Kind::Word
}

/// The literals that programming languages print for a truth value or for nothing.
fn is_literal(word: &[u8]) -> bool {
    const LITERALS: [&[u8]; 4] = [b"true", b"false", b"null", b"nil"];
    matches!(word.len(), 3..=5)
        && LITERALS
            .iter()
            .any(|literal| word.eq_ignore_ascii_case(literal))
}
