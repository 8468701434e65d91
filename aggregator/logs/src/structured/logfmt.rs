//! logfmt: `key=value` pairs separated by spaces, values with spaces in double quotes. Many loggers write it; there is
//! no standard, the de facto one is that of Heroku and of Go's `log/slog`.

use super::{Parsed, keys};
use crate::level::Level;

/// Pairs looked at in a line.
const MAX_PAIRS: usize = 64;

/// Reads a line that begins with a pair and has a message.
pub(super) fn parse<'a>(line: &'a [u8], buffer: &'a mut Vec<u8>) -> Option<Parsed<'a>> {
    let mut rest = line;
    let mut level = None;
    let mut message: Option<(usize, Raw<'a>)> = None;
    for _ in 0..MAX_PAIRS {
        let Some((key, value, behind)) = pair(rest) else {
            break;
        };
        if level.is_none() && keys::is_level(key) {
            level = Level::from_name(value.text);
        }
        if let Some(rank) = keys::message_rank(key)
            && message.is_none_or(|(best, _)| rank < best)
            && !value.text.is_empty()
        {
            message = Some((rank, value));
        }
        rest = behind;
    }
    let (_, message) = message?;
    Some(Parsed {
        level,
        message: message.read(buffer),
    })
}

#[derive(Clone, Copy)]
struct Raw<'a> {
    text: &'a [u8],
    escaped: bool,
}

impl<'a> Raw<'a> {
    fn read<'b>(self, buffer: &'b mut Vec<u8>) -> &'b [u8]
    where
        'a: 'b,
    {
        if !self.escaped {
            return self.text;
        }
        buffer.clear();
        let mut bytes = self.text.iter();
        while let Some(&byte) = bytes.next() {
            let byte = match byte {
                b'\\' => match bytes.next() {
                    Some(b'n') => b'\n',
                    Some(b't') => b'\t',
                    Some(&other) => other,
                    None => break,
                },
                plain => plain,
            };
            buffer.push(byte);
        }
        buffer
    }
}

/// The pair that `rest` begins with, and what is behind it.
fn pair(rest: &[u8]) -> Option<(&[u8], Raw<'_>, &[u8])> {
    let rest = rest.trim_ascii_start();
    let is_key = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.-@/".contains(byte);
    let key = rest.iter().take_while(|byte| is_key(byte)).count();
    if key == 0 || rest.get(key) != Some(&b'=') {
        return None;
    }
    let value = &rest[key + 1..];
    let Some(quoted) = value.strip_prefix(b"\"") else {
        let end = memchr::memchr2(b' ', b'\n', value).unwrap_or(value.len());
        let raw = Raw {
            text: &value[..end],
            escaped: false,
        };
        return Some((&rest[..key], raw, &value[end..]));
    };
    let mut at = 0;
    let mut escaped = false;
    loop {
        at += memchr::memchr2(b'"', b'\\', quoted.get(at..)?)?;
        if quoted[at] == b'"' {
            let raw = Raw {
                text: &quoted[..at],
                escaped,
            };
            return Some((&rest[..key], raw, &quoted[at + 1..]));
        }
        escaped = true;
        at += 2;
    }
}
