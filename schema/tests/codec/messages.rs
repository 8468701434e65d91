//! Hellos, replies and requests, and how a library meets a newer one.

use nodescope_schema::{
    AggregatorHello, Decoded, ExecutableReply, FileKind, FilesystemReply, FilesystemSpace,
    FromAggregator, Language, MAX_NAME_BYTES, MAX_PATH_BYTES, MAX_PING_TARGETS,
    OLDEST_PROTOCOL_VERSION, OpenFile, PROTOCOL_VERSION, Refusal, Reply, Request, RequestKind,
    SensorHello, SetPingTargets, common_version, decode_from_aggregator, decode_from_sensor,
    encode_aggregator_hello, encode_executable_reply, encode_filesystem_reply, encode_reply,
    encode_request, encode_sensor_hello,
};

use crate::support::{
    DESCRIBE_EXECUTABLE, HELLO, OPEN_FILE, OPEN_JVM_DATA, PING_TARGETS, STAT_FILESYSTEM, Spoken,
};

fn assert_says(packet: &[u8], kind: Decoded, said: &str) {
    let mut sink = Spoken::default();
    assert_eq!(decode_from_sensor(packet, &mut sink).unwrap(), kind);
    assert_eq!(sink, Spoken(vec![said.to_owned()]));
}

fn assert_asks(packet: &[u8], expected: FromAggregator<'_>) {
    decode_from_aggregator(packet, |message| assert_eq!(message, expected)).unwrap();
}

#[test]
fn hellos_come_back() {
    assert_says(
        &encode_sensor_hello(&HELLO),
        Decoded::Hello,
        &format!("{HELLO:?}"),
    );
    let hello = AggregatorHello {
        version: 3,
        oldest_version: 2,
        release: "1.2.3",
    };
    assert_asks(
        &encode_aggregator_hello(&hello),
        FromAggregator::Hello(hello),
    );
}

#[test]
fn long_texts_of_a_hello_are_cut() {
    let long = "h".repeat(5000);
    let hello = |text| SensorHello {
        release: text,
        v1_controllers: text,
        hostname: text,
        kernel_release: text,
        ..HELLO
    };
    let cut = hello(&long[..MAX_NAME_BYTES]);
    assert_says(
        &encode_sensor_hello(&hello(&long)),
        Decoded::Hello,
        &format!("{cut:?}"),
    );
}

#[test]
fn replies_come_back_with_every_refusal() {
    let results = Refusal::ALL.map(Err).into_iter().chain([Ok(())]);
    for (id, result) in (u64::MAX - 9..).zip(results) {
        let reply = Reply { id, result };
        assert_says(&encode_reply(&reply), Decoded::Reply, &format!("{reply:?}"));
    }
}

#[test]
fn the_space_of_a_file_system_comes_back() {
    let reply = FilesystemReply {
        id: u64::MAX,
        space: FilesystemSpace {
            size_bytes: u64::MAX,
            free_bytes: 2,
            available_bytes: 1,
        },
    };
    let packet = encode_filesystem_reply(&reply);
    assert_says(&packet, Decoded::Reply, &format!("{reply:?}"));
}

#[test]
fn the_kind_of_a_program_comes_back() {
    for (id, language) in (1..).zip(Language::ALL) {
        let reply = ExecutableReply {
            id,
            name: b"\xffserver",
            language,
        };
        let packet = encode_executable_reply(&reply);
        assert_says(&packet, Decoded::Reply, &format!("{reply:?}"));
    }
}

#[test]
fn requests_come_back_with_every_kind_of_file() {
    let files = FileKind::ALL.map(|kind| RequestKind::OpenFile(OpenFile { kind, ..OPEN_FILE }));
    for (id, kind) in (1..).zip(files.into_iter().chain([
        RequestKind::Status,
        STAT_FILESYSTEM,
        PING_TARGETS,
        OPEN_JVM_DATA,
        DESCRIBE_EXECUTABLE,
    ])) {
        let request = Request { id, kind };
        assert_asks(&encode_request(&request), FromAggregator::Request(request));
    }
}

#[test]
fn long_arguments_of_a_request_are_cut() {
    let long = [b'/'; 100_000];
    let open = |name, root| {
        let open = OpenFile {
            container: name,
            namespace: name,
            root,
            ..OPEN_FILE
        };
        Request {
            id: 1,
            kind: RequestKind::OpenFile(open),
        }
    };
    let cut = open(&long[..MAX_NAME_BYTES], &long[..MAX_PATH_BYTES]);
    assert_asks(
        &encode_request(&open(&long, &long)),
        FromAggregator::Request(cut),
    );
}

#[test]
fn addresses_beyond_the_bound_are_cut() {
    let many = vec![[7; 16]; 100_000];
    let targets = |addresses| Request {
        id: 1,
        kind: RequestKind::SetPingTargets(SetPingTargets { addresses }),
    };
    assert_asks(
        &encode_request(&targets(&many)),
        FromAggregator::Request(targets(&many[..MAX_PING_TARGETS])),
    );
}

#[test]
fn the_newest_version_both_know_is_used() {
    assert_eq!(
        common_version(PROTOCOL_VERSION, OLDEST_PROTOCOL_VERSION),
        Some(PROTOCOL_VERSION)
    );
    assert_eq!(
        common_version(PROTOCOL_VERSION + 5, PROTOCOL_VERSION),
        Some(PROTOCOL_VERSION)
    );
    assert_eq!(common_version(u16::MAX, 0), Some(PROTOCOL_VERSION));
}

#[test]
fn without_a_version_in_common_there_is_none() {
    assert_eq!(
        common_version(PROTOCOL_VERSION + 1, PROTOCOL_VERSION + 1),
        None,
        "too new"
    );
    assert_eq!(
        common_version(OLDEST_PROTOCOL_VERSION - 1, 0),
        None,
        "too old"
    );
    assert_eq!(common_version(0, 0), None, "a hello without its fields");
    assert_eq!(
        common_version(PROTOCOL_VERSION, PROTOCOL_VERSION + 1),
        None,
        "oldest above newest"
    );
}
