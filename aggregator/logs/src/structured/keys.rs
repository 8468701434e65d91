//! The names under which log libraries put a record's message, level and time.

/// Names of the message, the best first: what loggers use for it, then what stands for it where there is none.
const MESSAGE: [&[u8]; 12] = [
    b"msg",
    b"message",
    b"@m",
    b"@mt",
    b"body",
    b"log",
    b"event",
    b"text",
    b"short_message",
    b"error",
    b"err",
    b"exception",
];
const LEVEL: [&[u8]; 8] = [
    b"level",
    b"severity",
    b"loglevel",
    b"log.level",
    b"lvl",
    b"@l",
    b"severity_text",
    b"levelname",
];
const TIME: [&[u8]; 8] = [
    b"time",
    b"timestamp",
    b"ts",
    b"t",
    b"@t",
    b"@timestamp",
    b"datetime",
    b"asctime",
];

/// How good a name is for the message: the lower, the better.
pub(super) fn message_rank(name: &[u8]) -> Option<usize> {
    position(&MESSAGE, name)
}

/// Whether the name is always the message's, not only where nothing better is.
pub(super) fn is_message(name: &[u8]) -> bool {
    position(&MESSAGE[..6], name).is_some()
}

pub(super) fn is_level(name: &[u8]) -> bool {
    position(&LEVEL, name).is_some()
}

pub(super) fn is_time(name: &[u8]) -> bool {
    position(&TIME, name).is_some()
}

fn position(names: &[&[u8]], name: &[u8]) -> Option<usize> {
    names
        .iter()
        .position(|known| known.eq_ignore_ascii_case(name))
}
