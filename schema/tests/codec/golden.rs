//! The bytes on the wire never change: `tests/golden/NAME.bin` holds each kind of message and of record.
//!
//! A changed file means that readers of the last release misread what this one writes, or the reverse. Only a new kind
//! of record or message may add one: run the tests once with `NODESCOPE_REGENERATE_GOLDEN=1`, and look at the
//! difference.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

use nodescope_schema::{
    AggregatorHello, Decoded, ExecutableReply, FilesystemReply, FilesystemSpace, FromAggregator,
    Language, Refusal, Reply, Request, RequestKind, decode_from_aggregator, decode_from_sensor,
    encode_aggregator_hello, encode_executable_reply, encode_filesystem_reply, encode_reply,
    encode_request, encode_sensor_hello,
};

use crate::support::{
    DESCRIBE_EXECUTABLE, HELLO, OPEN_FILE, OPEN_JVM_DATA, PING_TARGETS, RECORDS, STAT_FILESYSTEM,
    Spoken, assert_holds, packet,
};

const REGENERATE: &str = "NODESCOPE_REGENERATE_GOLDEN";
const SEQUENCE: u64 = 0x0102_0304;

const AGGREGATOR_HELLO: AggregatorHello<'static> = AggregatorHello {
    version: 1,
    oldest_version: 1,
    release: "0.1.0",
};

const EXECUTABLE_REPLY: ExecutableReply<'static> = ExecutableReply {
    id: 63,
    name: b"server",
    language: Language::Go,
};

const FILESYSTEM_REPLY: FilesystemReply = FilesystemReply {
    id: 62,
    space: FilesystemSpace {
        size_bytes: 0x0a0b,
        free_bytes: 0x0809,
        available_bytes: 0x0607,
    },
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn replies() -> [(&'static str, Reply); 2] {
    [
        (
            "reply_granted",
            Reply {
                id: 60,
                result: Ok(()),
            },
        ),
        (
            "reply_refused",
            Reply {
                id: 61,
                result: Err(Refusal::RateLimited),
            },
        ),
    ]
}

fn requests() -> [(&'static str, Request<'static>); 6] {
    [
        (
            "request_open_file",
            Request {
                id: 70,
                kind: RequestKind::OpenFile(OPEN_FILE),
            },
        ),
        (
            "request_status",
            Request {
                id: 71,
                kind: RequestKind::Status,
            },
        ),
        (
            "request_stat_filesystem",
            Request {
                id: 72,
                kind: STAT_FILESYSTEM,
            },
        ),
        (
            "request_set_ping_targets",
            Request {
                id: 73,
                kind: PING_TARGETS,
            },
        ),
        (
            "request_open_jvm_data",
            Request {
                id: 74,
                kind: OPEN_JVM_DATA,
            },
        ),
        (
            "request_describe_executable",
            Request {
                id: 75,
                kind: DESCRIBE_EXECUTABLE,
            },
        ),
    ]
}

/// Name and encoded bytes of all fixtures.
fn fixtures() -> Vec<(String, Vec<u8>)> {
    let mut fixtures = vec![
        ("sensor_hello".to_owned(), encode_sensor_hello(&HELLO)),
        (
            "aggregator_hello".to_owned(),
            encode_aggregator_hello(&AGGREGATOR_HELLO),
        ),
        (
            "batch".to_owned(),
            packet(&RECORDS.map(|(_, record)| record), SEQUENCE),
        ),
    ];
    fixtures.push((
        "reply_filesystem".to_owned(),
        encode_filesystem_reply(&FILESYSTEM_REPLY),
    ));
    fixtures.push((
        "reply_executable".to_owned(),
        encode_executable_reply(&EXECUTABLE_REPLY),
    ));
    fixtures.extend(replies().map(|(name, reply)| (name.to_owned(), encode_reply(&reply))));
    fixtures.extend(requests().map(|(name, request)| (name.to_owned(), encode_request(&request))));
    fixtures.extend(
        RECORDS.map(|(name, record)| (format!("record_{name}"), packet(&[record], SEQUENCE))),
    );
    fixtures
}

fn golden(name: &str) -> Vec<u8> {
    let path = folder().join(format!("{name}.bin"));
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn encoding_gives_the_same_bytes() {
    if env::var_os(REGENERATE).is_some() {
        for (name, bytes) in fixtures() {
            fs::write(folder().join(format!("{name}.bin")), bytes).unwrap();
        }
    }
    for (name, bytes) in fixtures() {
        assert!(
            golden(&name) == bytes,
            "{name}.bin differs; {REGENERATE}=1 writes it again"
        );
    }
}

#[test]
fn the_folder_holds_nothing_else() {
    let expected: BTreeSet<_> = fixtures()
        .into_iter()
        .map(|(name, _)| format!("{name}.bin"))
        .collect();
    let found: BTreeSet<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn the_bytes_of_records_still_say_the_same() {
    for (name, record) in RECORDS {
        assert_holds(&golden(&format!("record_{name}")), &[record], SEQUENCE);
    }
    assert_holds(
        &golden("batch"),
        &RECORDS.map(|(_, record)| record),
        SEQUENCE,
    );
}

#[test]
fn the_bytes_of_messages_still_say_the_same() {
    let said = |name: &str, kind| {
        let mut sink = Spoken::default();
        assert_eq!(
            decode_from_sensor(&golden(name), &mut sink).unwrap(),
            kind,
            "{name}"
        );
        sink.0
    };
    assert_eq!(said("sensor_hello", Decoded::Hello), [format!("{HELLO:?}")]);
    for (name, reply) in replies() {
        assert_eq!(said(name, Decoded::Reply), [format!("{reply:?}")]);
    }
    let space = format!("{FILESYSTEM_REPLY:?}");
    assert_eq!(said("reply_filesystem", Decoded::Reply), [space]);
    let program = format!("{EXECUTABLE_REPLY:?}");
    assert_eq!(said("reply_executable", Decoded::Reply), [program]);

    let asks = |name: &str, expected: FromAggregator<'_>| {
        decode_from_aggregator(&golden(name), |message| assert_eq!(message, expected)).unwrap();
    };
    asks("aggregator_hello", FromAggregator::Hello(AGGREGATOR_HELLO));
    for (name, request) in requests() {
        asks(name, FromAggregator::Request(request));
    }
}
