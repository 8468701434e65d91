//! The parts of a message and how sure we are that each is text of the program and not a value of the moment.

/// How a token takes part in a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A word of the message's own text.
    Word,
    /// Looks like a name, but only by where it stands or how it is built: a variable if enough words remain.
    Guess,
    /// The author marked it as a value with quotes, or with `=` before it: a variable if any word remains.
    Marked,
    /// Can only be a value: a number, an address, a path, a date.
    Value,
}

/// A token of a message: a range of its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    /// Offset of its first byte.
    pub(crate) start: u32,
    /// Offset behind its last byte. An absent value is an empty range.
    pub(crate) end: u32,
    /// How it takes part in the pattern.
    pub(crate) kind: Kind,
}

impl Token {
    /// The token's bytes within the message it was cut from.
    pub(crate) fn bytes<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        text.get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }
}
