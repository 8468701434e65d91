//! Finds the level in the beginning of a message's text: the words that log libraries write there, glog's letter,
//! Redis's mark, and the openings of crash reports, which name no level.
//!
//! Limit: a message that talks about an "error" among its first words counts as one.

use super::Level;
use crate::pattern::{ESCAPE, escape_sequence_end};

/// Bytes of a message that are looked at.
const MAX_BYTES: usize = 255;
/// Words of a message that are looked at.
const MAX_WORDS: usize = 7;

/// The level that the text of a message names.
pub fn detect(message: &[u8]) -> Option<Level> {
    let head = &message[..message.len().min(MAX_BYTES)];
    if !head.contains(&ESCAPE) {
        return detect_plain(head);
    }
    let mut plain = Vec::with_capacity(head.len());
    let mut at = 0;
    while at < head.len() {
        if head[at] == ESCAPE && head.get(at + 1) == Some(&b'[') {
            at = escape_sequence_end(head, at + 2);
        } else {
            plain.push(head[at]);
            at += 1;
        }
    }
    detect_plain(&plain)
}

/// Splits a syslog priority (`<13>`, RFC 5424 section 6.2.1, or a bare severity as for sd-daemon) from the message
/// behind it.
pub fn split_priority(message: &[u8]) -> (Option<Level>, &[u8]) {
    let Some(rest) = message.strip_prefix(b"<") else {
        return (None, message);
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=3).contains(&digits) || rest.get(digits) != Some(&b'>') {
        return (None, message);
    }
    let priority = rest[..digits]
        .iter()
        .fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    if priority > 191 {
        return (None, message);
    }
    let level = Level::from_syslog_severity(priority as u8 & 7);
    (level, &rest[digits + 1..])
}

fn detect_plain(head: &[u8]) -> Option<Level> {
    let mut words = [&[] as &[u8]; MAX_WORDS];
    let mut count = 0;
    for word in head.split(u8::is_ascii_whitespace) {
        if word.is_empty() {
            continue;
        }
        words[count] = word;
        count += 1;
        if count == MAX_WORDS {
            break;
        }
    }
    let words = &words[..count];
    glog(words.first()?)
        .or_else(|| words.iter().find_map(|word| named(word)))
        .or_else(|| redis(words))
        .or_else(|| crash(head))
}

/// `E0102`: a letter for the level, then month and day.
fn glog(word: &[u8]) -> Option<Level> {
    let [letter, date @ ..] = word else {
        return None;
    };
    if date.len() != 4 || !date.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(match letter {
        b'I' => Level::Info,
        b'W' => Level::Warning,
        b'E' => Level::Error,
        b'F' => Level::Critical,
        _ => return None,
    })
}

/// A level's name anywhere between the marks that loggers put around it.
fn named(word: &[u8]) -> Option<Level> {
    word.split(|byte| matches!(byte, b']' | b')' | b';' | b'|' | b':' | b',' | b'.'))
        .find_map(|part| {
            let part = unquoted(part);
            let value = part.strip_prefix(b"level=").unwrap_or(part);
            Level::from_name(unquoted(value))
        })
}

fn unquoted(mut part: &[u8]) -> &[u8] {
    while let [b'"' | b'[' | b'(' | b'\'' | b'<', rest @ ..] = part {
        part = rest;
    }
    part
}

/// `1:M 05 Jan 2024 10:00:00.123 * text`, the year absent in old versions, and `[1] 05 Jan 10:00:00 * text`.
fn redis(words: &[&[u8]]) -> Option<Level> {
    let first = words.first()?;
    if words.len() < 6 {
        return None;
    }
    let bracketed = first.starts_with(b"[") && first.ends_with(b"]");
    let role = first.iter().filter(|&&byte| byte == b':').count() == 1;
    let mark = match (bracketed, role) {
        (true, _) => words[4],
        (false, true) if words[3].len() == 4 => words[5],
        (false, true) => words[4],
        (false, false) => return None,
    };
    Some(match mark {
        b"." => Level::Debug,
        b"-" => Level::Info,
        b"*" | b"#" => Level::Warning,
        _ => return None,
    })
}

/// What a runtime prints when a program ends by an exception that nobody caught.
fn crash(head: &[u8]) -> Option<Level> {
    const ERRORS: [&[u8]; 4] = [
        b"Traceback (most recent call last)",
        b"Exception in thread ",
        b"Unhandled exception",
        b"Uncaught ",
    ];
    if ERRORS.iter().any(|opening| head.starts_with(opening)) {
        return Some(Level::Error);
    }
    let panicked = head.starts_with(b"panic: ")
        || head.starts_with(b"thread '") && memchr::memmem::find(head, b"' panicked at ").is_some()
        || head.starts_with(b"thread '") && memchr::memmem::find(head, b") panicked at ").is_some();
    panicked.then_some(Level::Critical)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_found_in_the_usual_places() {
        let cases: &[(&str, Option<Level>)] = &[
            ("I0102 10:00:00.000000 1 main.go:1] up", Some(Level::Info)),
            (
                "W0102 10:00:00.000000 1 main.go:1] slow",
                Some(Level::Warning),
            ),
            ("E0102 10:00:00.000000 1 main.go:1] no", Some(Level::Error)),
            (
                "F0102 10:00:00.000000 1 main.go:1] end",
                Some(Level::Critical),
            ),
            ("E01023 too many digits", None),
            ("Eight words", None),
            ("1:M 05 Jan 2024 10:00:00.123 * Ready", Some(Level::Warning)),
            ("1:M 05 Jan 10:00:00.123 # Ready", Some(Level::Warning)),
            (
                "[12] 05 Jan 10:00:00.123 - Accepted client",
                Some(Level::Info),
            ),
            ("1:M 05 Jan 2024 10:00:00.123 . Ready", Some(Level::Debug)),
            (
                "[Sun Jan 05 10:00:00 2024] [error] no such file",
                Some(Level::Error),
            ),
            (
                "[Sun Jan 05 10:00:00.1 2024] [core:error] [pid 1] no",
                Some(Level::Error),
            ),
            ("time=2024-01-05 level=warning msg=x", Some(Level::Warning)),
            (
                "time=2024-01-05 level=\"fatal\" msg=x",
                Some(Level::Critical),
            ),
            ("2024-01-05 10:00:00 [DEBUG] main - x", Some(Level::Debug)),
            ("2024-01-05 10:00:00,123 CRITICAL x", Some(Level::Critical)),
            (
                "2024/01/05 10:00:00 [emerg] 1#1: bind() failed",
                Some(Level::Critical),
            ),
            ("2024/01/05 10:00:00 [alert] 1#1: x", Some(Level::Critical)),
            ("2024/01/05 10:00:00 [crit] 1#1: x", Some(Level::Critical)),
            ("info: Microsoft.Hosting.Lifetime[0]", Some(Level::Info)),
            ("[10:00:00 WRN] x", Some(Level::Warning)),
            ("[10:00:00 FTL] x", Some(Level::Critical)),
            ("[10:00:00 DBG] x", Some(Level::Debug)),
            (
                "2024.01.05 10:00:00.1 [ 1 ] {} <Warning> x: y",
                Some(Level::Warning),
            ),
            (
                "[2024-01-05 10:00:00] production.ERROR: x",
                Some(Level::Error),
            ),
            ("\u{1b}[31mERROR\u{1b}[0m bad", Some(Level::Error)),
            ("Traceback (most recent call last):", Some(Level::Error)),
            ("panic: nil map", Some(Level::Critical)),
            (
                "thread 'main' panicked at src/main.rs:2:5:",
                Some(Level::Critical),
            ),
            (
                "thread 'main' (123) panicked at src/main.rs:2:5:",
                Some(Level::Critical),
            ),
            ("nothing to see", None),
            ("", None),
        ];
        for (message, expected) in cases {
            assert_eq!(detect(message.as_bytes()), *expected, "{message}");
        }
    }

    #[test]
    fn a_level_far_behind_the_beginning_does_not_count() {
        assert_eq!(detect(b"a b c d e f g error"), None);
        assert_eq!(
            detect(format!("{} error", "x".repeat(255)).as_bytes()),
            None
        );
    }

    #[test]
    fn priorities_are_split_off() {
        assert_eq!(
            split_priority(b"<11>x"),
            (Some(Level::Error), b"x".as_slice())
        );
        assert_eq!(
            split_priority(b"<7>x"),
            (Some(Level::Debug), b"x".as_slice())
        );
        assert_eq!(split_priority(b"<192>x"), (None, b"<192>x".as_slice()));
        assert_eq!(split_priority(b"<>x"), (None, b"<>x".as_slice()));
        assert_eq!(split_priority(b"<1"), (None, b"<1".as_slice()));
    }
}
