//! What each byte may be part of, as a bit set: one table look-up a byte is all the lexer pays for plain text.

/// A letter `a` to `f`, which may also be a hexadecimal digit.
pub(crate) const HEX_LOWER: u16 = 1;
/// A letter `A` to `F`.
pub(crate) const HEX_UPPER: u16 = 1 << 1;
/// A letter `g` to `z`, or a byte of a character that is not ASCII.
pub(crate) const LOWER: u16 = 1 << 2;
/// A letter `G` to `Z`.
pub(crate) const UPPER: u16 = 1 << 3;
/// `0` to `9`.
pub(crate) const DIGIT: u16 = 1 << 4;
/// `.`
pub(crate) const DOT: u16 = 1 << 5;
/// `/`
pub(crate) const SLASH: u16 = 1 << 6;
/// `\`
pub(crate) const BACKSLASH: u16 = 1 << 7;
/// `@`
pub(crate) const AT: u16 = 1 << 8;
/// `-` and `_`, which join the parts of one name.
pub(crate) const JOINER: u16 = 1 << 9;
/// Any other mark that does not end a word.
pub(crate) const MARK: u16 = 1 << 10;
/// White space and control characters.
pub(crate) const SPACE: u16 = 1 << 11;
/// A mark that ends a word: brackets, quotes, `,` `;` `:` `=` and `|`.
pub(crate) const SEPARATOR: u16 = 1 << 12;

/// Any letter.
pub(crate) const LETTER: u16 = HEX_LOWER | HEX_UPPER | LOWER | UPPER;
/// A letter in upper case.
pub(crate) const CAPITAL: u16 = HEX_UPPER | UPPER;
/// What ends a word.
pub(crate) const END: u16 = SPACE | SEPARATOR;

const fn class_of(byte: u8) -> u16 {
    match byte {
        b'a'..=b'f' => HEX_LOWER,
        b'A'..=b'F' => HEX_UPPER,
        b'g'..=b'z' | 0x80..=0xff => LOWER,
        b'G'..=b'Z' => UPPER,
        b'0'..=b'9' => DIGIT,
        b'.' => DOT,
        b'/' => SLASH,
        b'\\' => BACKSLASH,
        b'@' => AT,
        b'-' | b'_' => JOINER,
        0..=b' ' | 0x7f => SPACE,
        b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' | b'>' | b'"' | b'\'' | b'`' | b','
        | b';' | b':' | b'=' | b'|' => SEPARATOR,
        _ => MARK,
    }
}

static CLASSES: [u16; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = class_of(byte as u8);
        byte += 1;
    }
    classes
};

/// The class of one byte.
#[inline]
pub(crate) fn class(byte: u8) -> u16 {
    CLASSES[byte as usize]
}

/// The class of the byte at `at`, or of a space behind the end.
#[inline]
pub(crate) fn class_at(text: &[u8], at: usize) -> u16 {
    text.get(at).map_or(SPACE, |&byte| class(byte))
}

/// The position of the first byte at or after `at` that is not white space.
pub(crate) fn skip_spaces(text: &[u8], mut at: usize) -> usize {
    while at < text.len() && class(text[at]) & SPACE != 0 {
        at += 1;
    }
    at
}
