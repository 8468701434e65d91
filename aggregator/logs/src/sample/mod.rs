//! The text of a message as an example of its pattern: without secrets, one label value long, still readable.
//!
//! Masked by default: values behind names such as `password` and `token`, credentials in URLs and headers, private
//! keys, e-mail and IP addresses, UUIDs and long random strings. Lines stay lines; other control characters go.
//! Masking goes by spelling: a secret that looks like ordinary words, with no name before it, stays.

mod mask;
mod random;
mod words;

use crate::pattern::{ESCAPE, escape_sequence_end};

/// How samples are made.
#[derive(Clone, Debug)]
pub struct SampleOptions {
    /// Bytes of a sample at most; it is cut between two characters.
    pub max_bytes: usize,
    /// Whether secrets and personal data are masked.
    pub mask: bool,
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self {
            max_bytes: 4096,
            mask: true,
        }
    }
}

/// Makes the sample of a message.
pub fn sample(message: &[u8], options: &SampleOptions) -> String {
    // Masks may be shorter than what they hide: read on a little, but never the whole of a long message.
    let head = &message[..message.len().min(options.max_bytes.saturating_mul(2))];
    let text = printable(&String::from_utf8_lossy(head));
    let mut text = if options.mask {
        mask::mask(&text)
    } else {
        text
    };
    let mut end = options.max_bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.truncate(text.trim_end().len());
    text
}

/// The text without colours and control characters.
fn printable(text: &str) -> String {
    let mut output = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.find(|c: char| c.is_control() && c != '\n' && c != '\t') {
        output.push_str(&rest[..found]);
        let bytes = rest.as_bytes();
        let end = if bytes[found] == ESCAPE && bytes.get(found + 1) == Some(&b'[') {
            escape_sequence_end(bytes, found + 2)
        } else {
            found + rest[found..].chars().next().map_or(1, char::len_utf8)
        };
        rest = &rest[end..];
    }
    output.push_str(rest);
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(message: &str) -> String {
        sample(message.as_bytes(), &SampleOptions::default())
    }

    #[test]
    fn a_sample_is_cut_between_characters() {
        let options = SampleOptions {
            max_bytes: 5,
            mask: true,
        };
        assert_eq!(sample("aaaßß".as_bytes(), &options), "aaaß");
        assert_eq!(sample("aaaaßß".as_bytes(), &options), "aaaa");
        assert!(sampled(&"ß ".repeat(5000)).len() <= 4096);
    }

    #[test]
    fn lines_stay_and_control_characters_go() {
        assert_eq!(sampled("a\n\tb\0c\r\n"), "a\n\tbc");
        assert_eq!(sampled("\u{1b}[1;31mred\u{1b}[0m"), "red");
        assert_eq!(sample(b"a\xffb", &SampleOptions::default()), "a\u{fffd}b");
    }

    #[test]
    fn secrets_stay_when_asked_to() {
        let options = SampleOptions {
            mask: false,
            ..SampleOptions::default()
        };
        assert_eq!(sample(b"password=hunter2", &options), "password=hunter2");
    }
}
