//! docker's `json-file` driver: one JSON object a line, `{"log":"text\n","stream":"stdout","time":"..."}`. A part of a
//! longer line has no newline at the end of its text.

use super::{Part, Stream};
use crate::structured::json::{Members, Text, Value};

/// Reads one line of the file. The text is a part of `line` or, unescaped, of `buffer`.
pub(super) fn part<'a>(line: &'a [u8], buffer: &'a mut Vec<u8>) -> Option<Part<'a>> {
    let mut members = Members::of(line)?;
    let mut log: Option<Text<'a>> = None;
    let mut stream = Stream::Stdout;
    while let Some((name, value)) = members.next().ok()? {
        let Value::String(text) = value else {
            continue;
        };
        if name.raw().eq_ignore_ascii_case(b"log") {
            log = Some(text);
        } else if name.raw().eq_ignore_ascii_case(b"stream") && text.raw() == b"stderr" {
            stream = Stream::Stderr;
        }
    }
    let log = log?.read(buffer);
    let whole = log.strip_suffix(b"\n");
    Some(Part {
        stream,
        text: whole.unwrap_or(log),
        last: whole.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_parts_are_told_apart() {
        let cases = [
            (
                r#"{"log":"a\n","stream":"stdout","time":"t"}"#,
                Stream::Stdout,
                "a",
                true,
            ),
            (
                r#"{"log":"a\\n","stream":"stderr","attrs":{"x":"y"}}"#,
                Stream::Stderr,
                "a\\n",
                false,
            ),
            (
                r#"{"LOG":"\u001b[31ma\"b\n"}"#,
                Stream::Stdout,
                "\u{1b}[31ma\"b",
                true,
            ),
            (r#"{"log":"\n"}"#, Stream::Stdout, "", true),
        ];
        for (line, stream, text, last) in cases {
            let mut buffer = Vec::new();
            let expected = Part {
                stream,
                text: text.as_bytes(),
                last,
            };
            assert_eq!(part(line.as_bytes(), &mut buffer), Some(expected), "{line}");
        }
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "",
            "text",
            "{}",
            r#"{"log":1}"#,
            r#"{"log":"a\n""#,
            r#"{"log":"a"}{"log":"b"}"#,
        ] {
            assert_eq!(part(line.as_bytes(), &mut Vec::new()), None, "{line}");
        }
    }
}
