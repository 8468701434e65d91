//! Values as JDK 17 writes them with its collectors, shortened to what is read.

use super::perf_data::tests::{Written, file};
use super::*;

use Written::{Number, Text};

const MIB: i64 = 1 << 20;

/// What every machine says.
const COMMON: [(&str, Written<'_>); 5] = [
    (
        "sun.rt.javaCommand",
        Text("app.Main --password hunter2 /srv/app.conf"),
    ),
    ("java.property.java.version", Text("21.0.13.1")),
    ("sun.os.hrt.frequency", Number(1_000_000_000)),
    ("sun.rt.safepointTime", Number(2_500_000_000)),
    ("sun.rt.safepointSyncTime", Number(500_000_000)),
];

fn parse<'a>(more: impl IntoIterator<Item = (&'a str, Written<'a>)>) -> JvmStatistics {
    let entries: Vec<_> = COMMON.into_iter().chain(more).collect();
    JvmStatistics::parse(&file(true, &entries)).unwrap()
}

#[test]
fn a_machine_with_two_generations() {
    let jvm = parse([
        ("sun.gc.policy.name", Text("Copy:MSC")),
        (
            "sun.gc.collector.0.name",
            Text("Serial young collection pauses"),
        ),
        ("sun.gc.collector.0.time", Number(151_000_832)),
        (
            "sun.gc.collector.1.name",
            Text("Serial full collection pauses"),
        ),
        ("sun.gc.collector.1.time", Number(34_000_000)),
        ("sun.gc.generation.0.maxCapacity", Number(22 * MIB)),
        ("sun.gc.generation.0.spaces", Number(3)),
        ("sun.gc.generation.0.space.0.capacity", Number(16 * MIB)),
        ("sun.gc.generation.0.space.0.used", Number(MIB)),
        ("sun.gc.generation.0.space.1.capacity", Number(2 * MIB)),
        ("sun.gc.generation.0.space.1.used", Number(0)),
        ("sun.gc.generation.0.space.2.capacity", Number(2 * MIB)),
        ("sun.gc.generation.0.space.2.used", Number(MIB / 2)),
        ("sun.gc.generation.1.maxCapacity", Number(42 * MIB)),
        ("sun.gc.generation.1.spaces", Number(1)),
        ("sun.gc.generation.1.space.0.capacity", Number(40 * MIB)),
        ("sun.gc.generation.1.space.0.used", Number(20 * MIB)),
    ]);
    let wanted = JvmStatistics {
        command: "app.Main --password *** /srv/app.conf".to_owned(),
        java_version: "21.0.13.1".to_owned(),
        heap_size_bytes: 60 << 20,
        heap_used_bytes: 43 << 19,
        heap_max_bytes: Some(64 << 20),
        collectors: vec![
            ("Serial young collection pauses".to_owned(), 0.151_000_832),
            ("Serial full collection pauses".to_owned(), 0.034),
        ],
        safepoint_seconds: Some(2.5),
        safepoint_sync_seconds: Some(0.5),
    };
    assert_eq!(jvm, wanted);
}

#[test]
fn with_g1_each_generation_may_take_the_whole_heap() {
    let jvm = parse([
        ("sun.gc.policy.name", Text("GarbageFirst")),
        ("sun.gc.generation.0.maxCapacity", Number(256 * MIB + 24)),
        ("sun.gc.generation.1.maxCapacity", Number(256 * MIB + 8)),
    ]);
    assert_eq!(jvm.heap_max_bytes, Some((256 << 20) + 8));
}

#[test]
fn what_a_machine_does_not_say_is_absent() {
    // Z has no young generation and no stop-the-world collectors.
    let jvm = parse([
        ("sun.gc.generation.1.maxCapacity", Number(256 * MIB)),
        ("sun.gc.generation.1.spaces", Number(1)),
        ("sun.gc.generation.1.space.0.capacity", Number(248 * MIB)),
        ("sun.gc.generation.1.space.0.used", Number(44 * MIB)),
        ("sun.gc.collector.0.time", Number(5)),
        ("sun.gc.collector.1.name", Text("")),
        ("sun.gc.collector.1.time", Number(5)),
        ("sun.gc.collector.2.name", Text("Z concurrent cycle pauses")),
        ("sun.gc.collector.2.time", Number(5_000_000)),
    ]);
    assert_eq!(jvm.heap_max_bytes, Some(256 << 20));
    assert_eq!(jvm.heap_used_bytes, 44 << 20);
    let only = ("Z concurrent cycle pauses".to_owned(), 0.005);
    assert_eq!(jvm.collectors, [only]);
    assert_eq!(parse([]).heap_max_bytes, None);
}

#[test]
fn hostile_values_do_no_harm() {
    let jvm = parse([
        ("sun.gc.generation.0.spaces", Number(i64::MAX)),
        ("sun.gc.generation.0.space.0.capacity", Number(i64::MAX)),
        ("sun.gc.generation.0.space.1.capacity", Number(i64::MAX)),
        ("sun.gc.generation.0.space.2.capacity", Number(i64::MAX)),
        ("sun.gc.generation.0.maxCapacity", Number(-1)),
    ]);
    assert_eq!(jvm.heap_size_bytes, u64::MAX);
    assert_eq!(jvm.heap_max_bytes, None);

    let long = "x ".repeat(MAX_COMMAND_BYTES);
    let entries = [
        ("sun.rt.javaCommand", Text(&long)),
        ("sun.os.hrt.frequency", Number(0)),
        ("sun.rt.safepointTime", Number(1)),
    ];
    let jvm = JvmStatistics::parse(&file(false, &entries)).unwrap();
    assert!(jvm.command.len() <= MAX_COMMAND_BYTES);
    assert_eq!(jvm.safepoint_seconds, None);
}

#[test]
fn a_machine_without_a_command_is_not_ready() {
    let bytes = file(true, &[("sun.os.hrt.frequency", Number(1))]);
    assert_eq!(JvmStatistics::parse(&bytes), Err(PerfDataError::NotReady));
}

#[test]
fn machines_are_known_by_their_command_lines() {
    let cases: [(&[u8], bool); 7] = [
        (b"/opt/jdk/bin/java\0-jar\0x.jar\0", true),
        (b"java\0Main\0", true),
        (b"java\0", false),
        (b"java", false),
        (b"javac\0Main.java\0", false),
        (b"", false),
        (b"\0\0", false),
    ];
    for (cmdline, wanted) in cases {
        assert_eq!(is_jvm(cmdline), wanted, "{}", cmdline.escape_ascii());
    }
}
