//! The CRI logging format, as containerd, CRI-O and Podman's `k8s-file` write it: `TIME STREAM TAGS TEXT`, where the first
//! of the tags (separated by `:`) is `P` for a part of a longer line and `F` for a full line or its last part.

use memchr::memchr;

use super::{Part, Stream};

/// Reads one line of the file.
pub(super) fn part(line: &[u8]) -> Option<Part<'_>> {
    let (_, rest) = word(line)?;
    let (stream, rest) = word(rest)?;
    let stream = match stream {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    // An empty text may have lost the space before it.
    let (tags, text) = word(rest).unwrap_or((rest, b""));
    let last = match tags.split(|&byte| byte == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some(Part { stream, text, last })
}

fn word(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr(b' ', line)?;
    Some((&line[..end], &line[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_parts_are_told_apart() {
        let time = "2024-01-05T10:00:00.000000001+01:00";
        let cases = [
            ("stdout F a  b ", Stream::Stdout, "a  b ", true),
            ("stderr P a", Stream::Stderr, "a", false),
            ("stderr P:x a", Stream::Stderr, "a", false),
            ("stdout F ", Stream::Stdout, "", true),
            ("stdout F", Stream::Stdout, "", true),
        ];
        for (rest, stream, text, last) in cases {
            let expected = Part {
                stream,
                text: text.as_bytes(),
                last,
            };
            assert_eq!(
                part(format!("{time} {rest}").as_bytes()),
                Some(expected),
                "{rest}"
            );
        }
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "",
            "a",
            "t stdout",
            "t other F x",
            "t stdout X x",
            "t stdout",
        ] {
            assert_eq!(part(line.as_bytes()), None, "{line}");
        }
    }
}
