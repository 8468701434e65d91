//! Messages that are records: one JSON object, or a logfmt line. What a record says in its message field is the
//! message; its other fields vary and would make a pattern of each line.

mod attributes;
pub(crate) mod json;
mod keys;
mod logfmt;

pub use attributes::attributes;

use self::json::{Members, NotJson, Text, Value};
use crate::level::Level;

/// A record's own message and level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// What the level field says, if there is one.
    pub level: Option<Level>,
    /// The text of the message field.
    pub message: &'a [u8],
}

/// Reads a message that is a record. `None` if it is plain text, or a record without a message. The message is a part
/// of `line` or, if it had to be unescaped, of `buffer`.
pub fn parse<'a>(line: &'a [u8], buffer: &'a mut Vec<u8>) -> Option<Parsed<'a>> {
    match line.first()? {
        b'{' => parse_json(line, buffer).ok().flatten(),
        _ => logfmt::parse(line, buffer),
    }
}

fn parse_json<'a>(line: &'a [u8], buffer: &'a mut Vec<u8>) -> Result<Option<Parsed<'a>>, NotJson> {
    let mut members = Members::of(line).ok_or(NotJson)?;
    let mut level = None;
    let mut message: Option<(usize, Text<'a>)> = None;
    while let Some((name, value)) = members.next()? {
        if level.is_none() {
            level = level_of(name, value);
        }
        let Value::String(text) = value else {
            continue;
        };
        if let Some(rank) = keys::message_rank(name.raw())
            && message.is_none_or(|(best, _)| rank < best)
            && !text.raw().is_empty()
        {
            message = Some((rank, text));
        }
    }
    Ok(message.map(|(_, text)| Parsed {
        level,
        message: text.read(buffer),
    }))
}

/// The level, if the member says it. The Elastic common schema nests it: `{"log":{"level":"info"}}`.
fn level_of(name: Text<'_>, value: Value<'_>) -> Option<Level> {
    match value {
        Value::String(text) if keys::is_level(name.raw()) => Level::from_name(text.raw()),
        Value::Scalar(number) if keys::is_level(name.raw()) => {
            let number = std::str::from_utf8(number).ok()?;
            Level::from_number(number.parse().ok()?)
        }
        Value::Object(object) if name.raw().eq_ignore_ascii_case(b"log") => {
            let mut members = Members::of(object)?;
            while let Ok(Some((name, value))) = members.next() {
                if let (b"level", Value::String(text)) = (name.raw(), value) {
                    return Level::from_name(text.raw());
                }
            }
            None
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Option<(Option<Level>, &str)>) {
        let mut buffer = Vec::new();
        let expected = expected.map(|(level, message)| Parsed {
            level,
            message: message.as_bytes(),
        });
        assert_eq!(parse(line.as_bytes(), &mut buffer), expected, "{line}");
    }

    #[test]
    fn records_of_the_usual_loggers_are_read() {
        use Level::{Critical, Debug, Error, Info, Warning};
        let cases = [
            (
                r#"{"time":"2024-01-05T10:00:00Z","level":"INFO","msg":"up","n":1}"#,
                Info,
                "up",
            ),
            (
                r#"{"level":"warn","ts":1704448800.1,"caller":"a.go:1","msg":"slow"}"#,
                Warning,
                "slow",
            ),
            (
                r#"{"Timestamp":"x","LogLevel":"Error","Message":"a \"b\""}"#,
                Error,
                "a \"b\"",
            ),
            (
                r#"{"@t":"x","@l":"Fatal","@mt":"x {y}","@m":"x 1"}"#,
                Critical,
                "x 1",
            ),
            (r#"{"level":20,"time":1,"msg":"p"}"#, Debug, "p"),
            (r#"{"level":60,"time":1,"msg":"p"}"#, Critical, "p"),
            (r#"{"log":{"level":"error"},"message":"m"}"#, Error, "m"),
            (
                r#"{"log.level":"debug","message":"m","msg":"better"}"#,
                Debug,
                "better",
            ),
            (r#"{"levelname":"WARNING","message":"m"}"#, Warning, "m"),
            (
                r#"{"severity":"NOTICE","event":"started"}"#,
                Info,
                "started",
            ),
            (
                "time=2024 level=error msg=\"can not \\\"x\\\"\" err=no",
                Error,
                "can not \"x\"",
            ),
            ("level=info ts=1 msg=up", Info, "up"),
        ];
        for (line, level, message) in cases {
            check(line, Some((Some(level), message)));
        }
        check(r#"{"msg":"m","level":5}"#, Some((None, "m")));
    }

    #[test]
    fn what_is_no_record_stays_text() {
        for line in [
            "",
            "plain text",
            "{}",
            r#"{"a":1}"#,
            r#"["msg"]"#,
            r#"{"msg":"a"}{"msg":"b"}"#,
            r#"{"msg":"a"} x"#,
            r#"{"msg":{"a":1}}"#,
            r#"{"msg":""}"#,
            "x msg=1",
            "a=1 b=2",
            "msg=\"open",
            "=",
        ] {
            check(line, None);
        }
    }
}
