//! What a single line is, by its spelling.

/// Bytes of a line in which a time is searched.
const TIME_WITHIN_BYTES: usize = 100;

/// Whether the line can only be part of a message that began before it, whatever that is.
pub(super) fn continues_anything(line: &[u8]) -> bool {
    const BEGINNINGS: [&[u8]; 12] = [
        // Frames and members are indented; so are most details.
        b"\t",
        b"  ",
        // Java
        b"Caused by: ",
        b"Suppressed: ",
        b"Wrapped by: ",
        // .NET
        b" ---> ",
        b" at ",
        b"--- End of ",
        // Node.js gRPC
        b"for call at",
        // PHP
        b"Stack trace:",
        b"PHP Stack trace:",
        b"PHP   ",
    ];
    line.is_empty()
        || BEGINNINGS
            .iter()
            .any(|beginning| line.starts_with(beginning))
        || is_closing(line)
        || is_numbered_frame(line)
        || is_ruby_frame(line)
}

/// Nothing but closing brackets: the end of a dump.
fn is_closing(line: &[u8]) -> bool {
    matches!(line.first(), Some(b'}' | b']' | b')'))
        && line.iter().all(|byte| b"}]),;".contains(byte))
}

/// `#0 /app/index.php(3): run()`, a frame of PHP, numbered from the top.
fn is_numbered_frame(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"#") else {
        return false;
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (1..=3).contains(&digits) && rest.get(digits) == Some(&b' ')
}

/// `app/models/a.rb:5:in 'run'`, a frame of Ruby.
fn is_ruby_frame(line: &[u8]) -> bool {
    let Some(at) = memchr::memmem::find(line, b":in ") else {
        return false;
    };
    let file = &line[..at];
    let digits = file
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let path = &file[..file.len() - digits];
    digits > 0 && path.ends_with(b".rb:") && !path.contains(&b' ')
        || file.starts_with(b"from ") && path.ends_with(b".rb:")
}

/// Whether a time of day stands near the beginning: three groups of two digits with colons.
pub(super) fn has_time(line: &[u8]) -> bool {
    let head = &line[..line.len().min(TIME_WITHIN_BYTES)];
    memchr::memchr_iter(b':', head).any(|colon| is_time_around(head, colon))
}

/// Whether `colon` is the first one of a time.
fn is_time_around(head: &[u8], colon: usize) -> bool {
    let Some(start) = colon.checked_sub(2) else {
        return false;
    };
    let Some(time) = head.get(start..start + 8) else {
        return false;
    };
    let shaped = time.iter().enumerate().all(|(at, byte)| {
        if at == 2 || at == 5 {
            *byte == b':'
        } else {
            byte.is_ascii_digit()
        }
    });
    shaped && begins_alone(&head[..start]) && ends_alone(head.get(start + 8))
}

/// More groups before or behind are an address; but the log format of web servers has a colon behind the year.
fn begins_alone(before: &[u8]) -> bool {
    match before {
        [.., a, b, c, d, b':'] => [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()),
        [.., byte] => !byte.is_ascii_digit() && *byte != b':',
        [] => true,
    }
}

fn ends_alone(behind: Option<&u8>) -> bool {
    behind.is_none_or(|byte| !byte.is_ascii_digit() && *byte != b':')
}

/// Whether the line looks like one JSON object.
pub(super) fn is_json_object(line: &[u8]) -> bool {
    line.starts_with(b"{\"") && line.trim_ascii_end().ends_with(b"}")
}

/// Whether the line begins a traceback of Python.
pub(super) fn begins_python_trace(line: &[u8]) -> bool {
    line.starts_with(b"Traceback (most recent call last)")
}

/// Whether the line says that a traceback follows that has to do with the one before.
pub(super) fn is_python_chain(line: &[u8]) -> bool {
    line.starts_with(b"During handling of the above exception, another exception occurred:")
        || line.starts_with(b"The above exception was the direct cause of the following exception:")
}

/// Whether the line names an exception by its qualified class, alone or with its text: `java.lang.X: text`.
pub(super) fn is_exception(line: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"._$".contains(byte);
    let len = line.iter().take_while(|byte| is_part(byte)).count();
    let name = &line[..len];
    let ends = line.get(len).is_none_or(|&byte| byte == b':');
    let exceptional = [b"Exception".as_slice(), b"Error", b"Throwable"]
        .iter()
        .any(|ending| name.ends_with(ending));
    ends && exceptional && name.contains(&b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_recognised() {
        for line in [
            "13:32:10 x",
            "2024-01-05T13:32:10.1Z x",
            "[05/Jan/2024:13:32:10 +0000]",
            "Jan  5 13:32:10 host x",
            "I0105 13:32:10.000001 1 a.go:1] x",
            "x (13:32:10)",
        ] {
            assert!(has_time(line.as_bytes()), "{line}");
        }
        for line in [
            "",
            "13:32",
            "12:aa:12:32",
            "1:12:123",
            "112:12:12",
            "12:12:123",
            "00:11:22:33:44:55",
        ] {
            assert!(!has_time(line.as_bytes()), "{line}");
        }
        assert!(!has_time(format!("{}13:32:10", " ".repeat(100)).as_bytes()));
    }

    #[test]
    fn frames_are_recognised() {
        for line in [
            "",
            "\tat a.B.c(D.java:1)",
            "   at A.B() in C.cs:line 1",
            "}",
            "}),",
            "Caused by: a.B: c",
            "#0 {main}",
            "#12 /a.php(3): b()",
            "app/a.rb:5:in `b'",
            "from /a/b.rb:5:in 'c'",
        ] {
            assert!(continues_anything(line.as_bytes()), "{line}");
        }
        for line in [
            "x",
            "} else {",
            "# heading",
            "#1234 issue",
            "#1",
            "see a.rb:5 in b",
            " x",
        ] {
            assert!(!continues_anything(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn exceptions_are_recognised() {
        for line in [
            "java.lang.IllegalStateException: no",
            "a.b.OutOfMemoryError",
            "System.Exception: x",
        ] {
            assert!(is_exception(line.as_bytes()), "{line}");
        }
        for line in ["Error: no", "a.b.Class: x", "a.b.Exception was thrown", ""] {
            assert!(!is_exception(line.as_bytes()), "{line}");
        }
    }
}
