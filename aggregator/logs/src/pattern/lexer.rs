//! Cuts a message into tokens in one pass, left to right. See the module above for the rules and why they are general.

use super::class::{
    BACKSLASH, DIGIT, DOT, END, HEX_LOWER, HEX_UPPER, JOINER, LETTER, SEPARATOR, SPACE, class,
    class_at, skip_spaces,
};
use super::escape::{ESCAPE, escape_sequence_end};
use super::extent::{
    address_end, assigned_end, bracket_end, colon_run_end, is_sentence, quote_end,
};
use super::shape::shape;
use super::token::{Kind, Token};
use super::vocabulary::{introduces_account, is_calendar_name, is_predicate, is_unit};

/// Tokens a pattern is made of. What follows them does not take part, so a dump of any length costs as much as a line.
pub(crate) const MAX_TOKENS: usize = 100;

/// Bytes of a message that are looked at.
const MAX_BYTES: usize = 8 << 10;
/// A key is padded with at most so many spaces.
const MAX_SPACES_BEFORE_EQUALS: usize = 16;

/// Cuts `text` into tokens, replacing what `tokens` held.
pub(crate) fn tokenize(text: &[u8], tokens: &mut Vec<Token>) {
    tokens.clear();
    let text = &text[..text.len().min(MAX_BYTES)];
    let mut lexer = Lexer {
        text,
        at: 0,
        tokens,
        quote_closers: [0; 3],
        unclosed: [false; 3],
    };
    while lexer.at < text.len() && lexer.tokens.len() < MAX_TOKENS {
        lexer.step();
    }
}

struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    tokens: &'a mut Vec<Token>,
    /// For each kind of quote, behind the last one that was read as text.
    quote_closers: [usize; 3],
    /// The kinds of quote of which no closing one is left, so that it is not searched again.
    unclosed: [bool; 3],
}

impl Lexer<'_> {
    fn step(&mut self) {
        let byte = self.text[self.at];
        let class = class(byte);
        if class & SPACE != 0 {
            self.space(byte);
        } else if class & SEPARATOR != 0 {
            self.separator(byte);
        } else {
            self.word();
        }
    }

    /// White space, and what is as good: colours of a terminal, and indented lines, which are details of the line
    /// above such as the frames of a stack.
    fn space(&mut self, byte: u8) {
        let next = self.text.get(self.at + 1);
        self.at += 1;
        if byte == b'\n' && matches!(next, Some(b' ' | b'\t')) {
            let rest = &self.text[self.at..];
            self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        } else if byte == ESCAPE && next == Some(&b'[') {
            self.at = escape_sequence_end(self.text, self.at + 1);
        }
    }

    fn push(&mut self, start: usize, end: usize, kind: Kind) {
        self.tokens.push(Token {
            start: start as u32,
            end: end as u32,
            kind,
        });
        self.at = self.at.max(end);
    }

    fn separator(&mut self, byte: u8) {
        match byte {
            b'"' => self.quote(0),
            b'\'' => self.quote(1),
            b'`' => self.quote(2),
            b'(' | b'[' | b'{' => self.opening(),
            b'=' => self.assignment(),
            _ => self.at += 1,
        }
    }

    fn quote(&mut self, which: usize) {
        let open = self.at;
        self.at += 1;
        let inside_word = open > 0 && class(self.text[open - 1]) & (LETTER | DIGIT) != 0;
        if inside_word || open < self.quote_closers[which] || self.unclosed[which] {
            return;
        }
        let Some(close) = quote_end(self.text, open) else {
            self.unclosed[which] = true;
            return;
        };
        if is_sentence(&self.text[open + 1..close]) {
            self.quote_closers[which] = close + 1;
            return;
        }
        self.push(open + 1, close, Kind::Marked);
        self.at = close + 1;
    }

    /// Empty brackets that stand alone hold a value that is absent; behind a name they are a call.
    fn opening(&mut self) {
        let open = self.at;
        self.at += 1;
        let alone = open == 0 || class(self.text[open - 1]) & SPACE != 0;
        let empty =
            class_at(self.text, open + 1) & SEPARATOR != 0 && b")]}".contains(&self.text[open + 1]);
        if alone && empty {
            self.push(open + 1, open + 1, Kind::Marked);
            self.at = open + 2;
        }
    }

    /// `key=value` and `key = value`: the value reaches to the next space, comma or closing bracket.
    fn assignment(&mut self) {
        let equals = self.at;
        self.at += 1;
        let before = equals.checked_sub(1).map_or(b' ', |at| self.text[at]);
        let after = self.text.get(equals + 1).copied().unwrap_or(b' ');
        if b"=!<>+-*/~^".contains(&before) || b"=>~".contains(&after) || !self.follows_word(equals)
        {
            return;
        }
        let start = skip_spaces(self.text, equals + 1);
        let end = match self.text.get(start) {
            None => start,
            Some(b'"' | b'\'') => match quote_end(self.text, start) {
                Some(close) => close + 1,
                None => return,
            },
            Some(b'<' | b'[' | b'{' | b'(') => match bracket_end(self.text, start) {
                Some(end) => end,
                None => return,
            },
            Some(_) => assigned_end(self.text, start),
        };
        let spaced = start > equals + 1;
        let next_is_key =
            spaced && (self.text.get(end) == Some(&b'=') || self.text[start..end].contains(&b'='));
        if next_is_key || end == start {
            self.push(equals + 1, equals + 1, Kind::Marked);
        } else {
            self.push(start, end, Kind::Marked);
        }
    }

    /// Whether the `=` at `equals` stands behind a word, and not behind a mark or a value.
    fn follows_word(&self, equals: usize) -> bool {
        self.tokens.last().is_some_and(|last| {
            matches!(last.kind, Kind::Word | Kind::Guess)
                && equals - last.end as usize <= MAX_SPACES_BEFORE_EQUALS
                && skip_spaces(self.text, last.end as usize) == equals
        })
    }

    fn word(&mut self) {
        let (start, end, bits) = self.scan_word();
        if start == end {
            return;
        }
        if self.address(start, end, bits) {
            return;
        }
        let word = &self.text[start..end];
        let called = self.text.get(end) == Some(&b'(');
        let Some(kind) = shape(word, bits, called) else {
            return;
        };
        let kind = match kind {
            Kind::Word | Kind::Guess if bits & DOT != 0 && self.is_numbered(end) => Kind::Value,
            Kind::Word if self.is_range_prefix(end) => Kind::Guess,
            Kind::Word => match self.in_context(start, end) {
                Some(kind) => kind,
                None => return,
            },
            Kind::Value => {
                self.value_context(start);
                kind
            }
            other => other,
        };
        self.push(start, end, kind);
    }

    /// The word at the cursor without the marks around it, and the classes of its bytes. Moves the cursor behind it.
    fn scan_word(&mut self) -> (usize, usize, u16) {
        let text = self.text;
        let from = self.at;
        let mut at = from;
        while at < text.len() && !ends_word(text, at) {
            at += 1;
        }
        // Two dots end a word; at its start they are passed one at a time.
        self.at = at.max(from + 1);
        let mut start = from;
        while start < at && is_outer_mark(text[start]) {
            start += 1;
        }
        let mut end = at;
        while end > start && is_outer_mark(text[end - 1]) {
            end -= 1;
        }
        let bits = text[start..end]
            .iter()
            .fold(0, |bits, &byte| bits | class(byte));
        (start, end, bits)
    }

    /// URLs, paths and addresses with colons: they reach over marks that end a word elsewhere.
    fn address(&mut self, start: usize, end: usize, bits: u16) -> bool {
        let text = self.text;
        let rest = &text[end..];
        let named = rest.starts_with(b"://") || rest.starts_with(b":\\") && end - start == 1;
        let path = text[start] == b'/' && end - start > 1 || text[start..].starts_with(b"\\\\");
        let numeric = bits & !(HEX_LOWER | HEX_UPPER | DIGIT | DOT) == 0;
        let end = if named || path {
            address_end(text, end)
        } else if numeric
            && rest.first() == Some(&b':')
            && let Some(end) = colon_run_end(text, start)
        {
            end
        } else {
            return false;
        };
        self.value_context(start);
        self.push(start, end, Kind::Value);
        true
    }

    /// What a plain word is next to its neighbours. `None` for a unit, which belongs to the number before it.
    fn in_context(&self, start: usize, end: usize) -> Option<Kind> {
        let word = &self.text[start..end];
        let Some(last) = self.tokens.last() else {
            return Some(Kind::Word);
        };
        let gap = &self.text[last.end as usize..start];
        let spaced = gap.iter().all(|&byte| class(byte) & SPACE != 0);
        match last.kind {
            Kind::Value if spaced => {
                let number = last.bytes(self.text)[0].is_ascii_digit();
                if number && is_unit(word) {
                    return None;
                }
                let before_number = class_at(self.text, skip_spaces(self.text, end)) & DIGIT != 0;
                if before_number && is_calendar_name(word) {
                    return Some(Kind::Value);
                }
                Some(Kind::Word)
            }
            Kind::Word
                if spaced && introduces_account(last.bytes(self.text)) && !is_predicate(word) =>
            {
                Some(Kind::Guess)
            }
            _ => Some(Kind::Word),
        }
    }

    /// What the value at `start` says about the words before it.
    fn value_context(&mut self, start: usize) {
        self.absorb_calendar_names(start);
        self.absorb_name_before_origin();
    }

    /// "for root from 192.0.2.1": what something is done for, before an address of where it came from, is a name.
    fn absorb_name_before_origin(&mut self) {
        let text = self.text;
        if let [.., purpose, name, origin] = self.tokens.as_mut_slice()
            && origin.bytes(text) == b"from"
            && purpose.bytes(text) == b"for"
            && name.kind == Kind::Word
        {
            name.kind = Kind::Guess;
        }
    }

    /// "Jun" in "Fri Jun 17" was taken for a word; the number behind it, at `start`, says that it is part of a date.
    fn absorb_calendar_names(&mut self, start: usize) {
        let mut next = start;
        for token in self.tokens.iter_mut().rev().take(2) {
            let spaced = skip_spaces(self.text, token.end as usize) == next
                || self.text.get(token.end as usize) == Some(&b',');
            if token.kind != Kind::Word || !spaced || !is_calendar_name(token.bytes(self.text)) {
                return;
            }
            token.kind = Kind::Value;
            next = token.start as usize;
        }
    }

    /// Whether the word is the beginning of a set of names, `node-[10-13]`, as one of them would be a name.
    fn is_range_prefix(&self, end: usize) -> bool {
        let [joiner, b'[', first, ..] = self.text[end..] else {
            return false;
        };
        class(joiner) & JOINER != 0 && first.is_ascii_digit()
    }

    /// Whether a colon and a number follow, as behind a host (its port) and a source file (its line).
    fn is_numbered(&self, end: usize) -> bool {
        self.text.get(end) == Some(&b':') && class_at(self.text, end + 1) & DIGIT != 0
    }
}

/// Whether the word ends before the byte at `at`: at a separator that is not an apostrophe, and at two dots.
#[inline]
fn ends_word(text: &[u8], at: usize) -> bool {
    let class = class(text[at]);
    if class & (END | DOT) == 0 {
        return false;
    }
    if class & DOT != 0 {
        return text.get(at + 1) == Some(&b'.');
    }
    let apostrophe = text[at] == b'\''
        && at > 0
        && class_at(text, at - 1) & LETTER != 0
        && class_at(text, at + 1) & LETTER != 0;
    !apostrophe
}

/// Marks around a word that are not part of it. A backslash or slash before it makes it a path and stays.
fn is_outer_mark(byte: u8) -> bool {
    class(byte) & (LETTER | DIGIT | BACKSLASH) == 0 && byte != b'/'
}
