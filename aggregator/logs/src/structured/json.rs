//! A JSON reader (RFC 8259) over borrowed bytes that allocates nothing: the members of one object, one after the other.
//!
//! Numbers are taken by their characters and strings are checked when they are unescaped; a log line that is wrong only
//! there is still read. Nesting is limited.

use memchr::memchr2;

/// Values nested deeper than this are not read.
const MAX_DEPTH: usize = 64;

/// The text of a string, between its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text<'a> {
    raw: &'a [u8],
    escaped: bool,
}

/// A value; nested ones are kept as their text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    String(Text<'a>),
    /// A number, `true`, `false` or `null`.
    Scalar(&'a [u8]),
    Object(&'a [u8]),
    Array(&'a [u8]),
}

/// The text is not a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotJson;

impl<'a> Text<'a> {
    /// The text as it is written, which is what it says if nothing in it is escaped.
    pub(crate) fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// The text without its escapes: as it is if it has none, else made in `buffer`.
    pub(crate) fn read<'b>(self, buffer: &'b mut Vec<u8>) -> &'b [u8]
    where
        'a: 'b,
    {
        if !self.escaped {
            return self.raw;
        }
        buffer.clear();
        self.append_to(buffer);
        buffer
    }

    /// Appends the text without its escapes.
    pub(crate) fn append_to(self, output: &mut Vec<u8>) {
        let mut rest = self.raw;
        while let Some(at) = memchr::memchr(b'\\', rest) {
            output.extend_from_slice(&rest[..at]);
            rest = &rest[at + 1..];
            rest = unescape(rest, output);
        }
        output.extend_from_slice(rest);
    }
}

/// Appends what the escape whose backslash ends before `rest` stands for; gives what is behind it.
fn unescape<'a>(rest: &'a [u8], output: &mut Vec<u8>) -> &'a [u8] {
    let Some((&kind, after)) = rest.split_first() else {
        return rest;
    };
    let byte = match kind {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 8,
        b'f' => 12,
        b'u' => return unescape_code_point(after, output),
        other => other,
    };
    output.push(byte);
    after
}

fn unescape_code_point<'a>(rest: &'a [u8], output: &mut Vec<u8>) -> &'a [u8] {
    let (first, mut after) = code_unit(rest);
    let mut code_point = first.unwrap_or(0xfffd);
    let high_surrogate = (0xd800..0xdc00).contains(&code_point);
    if high_surrogate && let Some(low) = after.strip_prefix(b"\\u") {
        let (second, behind) = code_unit(low);
        if let Some(second @ 0xdc00..0xe000) = second {
            code_point = 0x10000 + ((code_point - 0xd800) << 10) + (second - 0xdc00);
            after = behind;
        }
    }
    let character = char::from_u32(code_point).unwrap_or(char::REPLACEMENT_CHARACTER);
    output.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    after
}

/// Four hexadecimal digits and what is behind them.
fn code_unit(rest: &[u8]) -> (Option<u32>, &[u8]) {
    let Some((digits, after)) = rest.split_first_chunk::<4>() else {
        return (None, rest);
    };
    let value = digits.iter().try_fold(0, |value, &digit| {
        Some(value << 4 | char::from(digit).to_digit(16)?)
    });
    match value {
        Some(value) => (Some(value), after),
        None => (None, rest),
    }
}

/// Walks over the members of an object.
pub(crate) struct Members<'a> {
    bytes: &'a [u8],
    at: usize,
    first: bool,
}

impl<'a> Members<'a> {
    /// `None` if the text does not begin an object.
    pub(crate) fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut members = Self {
            bytes,
            at: 0,
            first: true,
        };
        members.take(b'{').ok()?;
        Some(members)
    }

    /// The next member, `None` behind the last one when nothing follows the object.
    pub(crate) fn next(&mut self) -> Result<Option<(Text<'a>, Value<'a>)>, NotJson> {
        if self.take(b'}').is_ok() {
            self.skip_spaces();
            return if self.at == self.bytes.len() {
                Ok(None)
            } else {
                Err(NotJson)
            };
        }
        if !self.first {
            self.take(b',')?;
        }
        self.first = false;
        self.skip_spaces();
        let name = self.string()?;
        self.take(b':')?;
        Ok(Some((name, self.value()?)))
    }

    fn value(&mut self) -> Result<Value<'a>, NotJson> {
        self.skip_spaces();
        let from = self.at;
        match self.peek()? {
            b'"' => Ok(Value::String(self.string()?)),
            b'{' => {
                self.skip_nested()?;
                Ok(Value::Object(&self.bytes[from..self.at]))
            }
            b'[' => {
                self.skip_nested()?;
                Ok(Value::Array(&self.bytes[from..self.at]))
            }
            _ => Ok(Value::Scalar(self.scalar()?)),
        }
    }

    fn string(&mut self) -> Result<Text<'a>, NotJson> {
        if self.peek()? != b'"' {
            return Err(NotJson);
        }
        let from = self.at + 1;
        let mut at = from;
        let mut escaped = false;
        loop {
            let rest = self.bytes.get(at..).ok_or(NotJson)?;
            at += memchr2(b'"', b'\\', rest).ok_or(NotJson)?;
            if self.bytes[at] == b'"' {
                self.at = at + 1;
                return Ok(Text {
                    raw: &self.bytes[from..at],
                    escaped,
                });
            }
            escaped = true;
            at += 2;
        }
    }

    fn scalar(&mut self) -> Result<&'a [u8], NotJson> {
        let from = self.at;
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        let len = self.bytes[from..]
            .iter()
            .take_while(|byte| is_part(byte))
            .count();
        self.at += len;
        let scalar = &self.bytes[from..self.at];
        let number = scalar
            .first()
            .is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-');
        let known = number || matches!(scalar, b"true" | b"false" | b"null");
        known.then_some(scalar).ok_or(NotJson)
    }

    /// Passes an object or array: its brackets must match, its strings end.
    fn skip_nested(&mut self) -> Result<(), NotJson> {
        let mut closers = [0; MAX_DEPTH];
        let mut depth = 0;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                open @ (b'{' | b'[') => {
                    *closers.get_mut(depth).ok_or(NotJson)? =
                        if open == b'{' { b'}' } else { b']' };
                    depth += 1;
                }
                close @ (b'}' | b']') => {
                    depth -= 1;
                    if closers[depth] != close {
                        return Err(NotJson);
                    }
                    if depth == 0 {
                        self.at += 1;
                        return Ok(());
                    }
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    fn peek(&self) -> Result<u8, NotJson> {
        self.bytes.get(self.at).copied().ok_or(NotJson)
    }

    fn take(&mut self, expected: u8) -> Result<(), NotJson> {
        self.skip_spaces();
        if self.peek()? != expected {
            return Err(NotJson);
        }
        self.at += 1;
        Ok(())
    }

    fn skip_spaces(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, NotJson> {
        let mut members = Members::of(text.as_bytes()).ok_or(NotJson)?;
        let mut read = Vec::new();
        while let Some((name, value)) = members.next()? {
            let mut buffer = Vec::new();
            let value = match value {
                Value::String(text) => text.read(&mut buffer).to_vec(),
                Value::Scalar(raw) | Value::Object(raw) | Value::Array(raw) => raw.to_vec(),
            };
            let name = name.raw().to_vec();
            read.push((name, value));
        }
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ok(read.into_iter().map(|(a, b)| (text(a), text(b))).collect())
    }

    #[test]
    fn members_are_read() {
        let members = read(
            r#" {"a":"x\n\u00e4\ud83d\ude00\"","b" : -1.5e3 , "c":{"d":[1,"}"]},"e":[{}],"f":null} "#,
        );
        let expected = [
            ("a", "x\nä😀\""),
            ("b", "-1.5e3"),
            ("c", r#"{"d":[1,"}"]}"#),
            ("e", "[{}]"),
            ("f", "null"),
        ];
        let expected = expected.map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(members, Ok(expected.to_vec()));
        assert_eq!(read("{}"), Ok(vec![]));
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for text in [
            "",
            "[1]",
            "{",
            r#"{"a"}"#,
            r#"{"a":1}{"b":2}"#,
            r#"{"a":1} x"#,
            r#"{"a":1,}"#,
            r#"{"a":"x}"#,
            r#"{"a":[1}"#,
            r#"{"a":x}"#,
            r#"{a:1}"#,
            r#"{"a":"\"#,
            r#"{"a" 1}"#,
            r#"{"a":1 "b":2}"#,
        ] {
            assert_eq!(read(text), Err(NotJson), "{text}");
        }
        assert_eq!(read(&format!("{{\"a\":{}", "[".repeat(1000))), Err(NotJson));
    }

    #[test]
    fn broken_escapes_do_no_harm() {
        let members = read(r#"{"a":"\ud83d x \u12 \uzzzz \q"}"#).unwrap();
        assert_eq!(members[0].1, "\u{fffd} x \u{fffd}12 \u{fffd}zzzz q");
    }
}
