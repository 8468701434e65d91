//! Names that rotating gives to log files. Pure.

/// What is behind a separator in them.
const SEPARATORS: &[u8] = b".-_";
const OLD: &[u8] = b".old";

/// Whether `name` is what rotating makes of `log`, and not compressed: `app.log.1`, `app.log-20261122`, `app.log.old`, and
/// with the suffix kept `app-20261122.log`.
pub fn is_rotated(name: &[u8], log: &[u8]) -> bool {
    let of = |stem: &[u8], suffix: &[u8]| {
        let rest = name.strip_prefix(stem);
        let rest = rest.and_then(|rest| rest.strip_suffix(suffix));
        rest.is_some_and(is_mark)
    };
    let dot = log.iter().rposition(|byte| *byte == b'.');
    of(log, b"") || dot.is_some_and(|dot| dot > 0 && of(&log[..dot], &log[dot..]))
}

/// Whether `name` is what rotating makes of some log's. Some programs give such names themselves.
pub fn may_be_rotated(name: &[u8]) -> bool {
    let is_old = || name.strip_suffix(OLD).is_some_and(|stem| !stem.is_empty());
    let with_suffix = || without_suffix(name).is_some_and(ends_in_mark);
    is_old() || ends_in_mark(name) || with_suffix()
}

fn ends_in_mark(name: &[u8]) -> bool {
    let end = name.iter().rposition(|byte| !is_of_mark(byte));
    let end = end.map_or(name.len(), |last| last + 1);
    let begin = name[end..]
        .iter()
        .position(|byte| SEPARATORS.contains(byte));
    begin.is_some_and(|begin| end + begin > 0 && is_mark(&name[end + begin..]))
}

/// The name without a last part such as `.log`.
fn without_suffix(name: &[u8]) -> Option<&[u8]> {
    let dot = name.iter().rposition(|byte| *byte == b'.')?;
    let suffix = &name[dot + 1..];
    let is_word = !suffix.is_empty() && suffix.iter().all(u8::is_ascii_alphabetic);
    is_word.then_some(&name[..dot])
}

/// A number or a time behind a separator, or `.old`.
fn is_mark(text: &[u8]) -> bool {
    let begins = text.first().is_some_and(|byte| SEPARATORS.contains(byte));
    let is_number = || text.iter().all(is_of_mark) && text.iter().any(u8::is_ascii_digit);
    text == OLD || begins && is_number()
}

fn is_of_mark(byte: &u8) -> bool {
    byte.is_ascii_digit() || SEPARATORS.contains(byte) || b":T".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_rotated_names() {
        let names = [
            "app.log.1",
            "app.log-20261122",
            "app.log.2026-11-22T10:00:00",
            "app.log_3",
            "app.log.old",
            "app-20261122.log",
            "app.1.log",
        ];
        for name in names {
            assert!(is_rotated(name.as_bytes(), b"app.log"), "{name}");
        }
        let others = [
            "app.log",
            "app.log.",
            "app.log.-",
            "app.log1",
            "app.log.1.gz",
            "app.log.err",
            "xapp.log.1",
            "app.old.log.x",
            "app",
            "",
        ];
        for name in others {
            assert!(!is_rotated(name.as_bytes(), b"app.log"), "{name}");
        }
        assert!(is_rotated(b"syslog.1", b"syslog"));
        assert!(!is_rotated(b"-1.hidden", b".hidden"));
    }

    #[test]
    fn names_that_rotated_files_have() {
        let names = [
            "app.log.1",
            "app.log-20261122",
            "app.log.2026-11-22T10:00:00",
            "app.log_1",
            "app.old",
            "LOGT.1",
            "app.2026.11.22",
            "app-20261122.log",
            "app.1.log",
        ];
        for name in names {
            assert!(may_be_rotated(name.as_bytes()), "{name}");
        }
        let others = [
            "app.log",
            "app1",
            "app1.log",
            "20261122",
            "20261122.log",
            ".old",
            ".1",
            "-1.log",
            "app-1.log2",
            "app.log.",
            "app.",
            "",
        ];
        for name in others {
            assert!(!may_be_rotated(name.as_bytes()), "{name}");
        }
    }
}
