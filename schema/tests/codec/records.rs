//! `RecordWriter` and `decode_from_sensor`: what goes in comes out, cut where it is too long, packed as full as it can be.

use crate::support::{RECORDS, assert_holds, packet};
use nodescope_schema::{
    Cgroup, CgroupKey, Hook, MAX_EXECUTABLE_BYTES, MAX_MESSAGE_BYTES, MAX_NAME_BYTES,
    MAX_PATH_BYTES, Record, RecordWriter, Verdict,
};

#[test]
fn every_kind_comes_back() {
    let records = RECORDS.map(|(_, record)| record);
    assert_holds(&packet(&records, 7), &records, 7);
}

#[test]
fn an_empty_batch_is_a_packet() {
    assert_holds(&packet(&[], u64::MAX), &[], u64::MAX);
}

#[test]
fn a_writer_is_empty_again_after_a_packet() {
    let mut writer = RecordWriter::new();
    for (sequence, (_, record)) in (0..).zip(RECORDS) {
        assert!(writer.is_empty());
        assert!(writer.push(&record));
        assert_eq!(writer.len(), 1);
        assert_holds(writer.finish(sequence), &[record], sequence);
    }
}

#[test]
fn a_full_packet_has_no_room_for_one_more() {
    for (name, record) in RECORDS {
        let mut writer = RecordWriter::new();
        while writer.push(&record) {}
        let (records, bytes) = (writer.len(), writer.finish(0).len());
        assert!(bytes <= MAX_MESSAGE_BYTES, "{name}: {bytes} bytes");
        let record_bytes = packet(&[record], 0).len() - packet(&[], 0).len();
        assert!(
            bytes + record_bytes > MAX_MESSAGE_BYTES,
            "{name}: room for one more"
        );
        assert_holds(
            &packet(&vec![record; records], 1),
            &vec![record; records],
            1,
        );
    }
}

#[test]
fn a_refused_record_changes_nothing() {
    let big = Record::Cgroup(Cgroup {
        key: CgroupKey {
            hierarchy: 0,
            id: 1,
        },
        path: &[b'p'; MAX_PATH_BYTES],
        created_ns: 0,
        removed_ns: 0,
    });
    let mut writer = RecordWriter::new();
    while writer.push(&big) {}
    let records = writer.len();
    assert!(!writer.push(&big));
    assert_holds(writer.finish(9), &vec![big; records], 9);
    assert!(writer.push(&big));
}

#[test]
fn an_empty_writer_takes_the_longest_record_cut_to_its_bounds() {
    let long = "n".repeat(MAX_MESSAGE_BYTES);
    let name = &long[..MAX_NAME_BYTES];
    let hook = |text| {
        Record::Hook(Hook {
            name: text,
            rung: text,
            verdict: Verdict::Failed,
            detail: text,
        })
    };
    assert_holds(&packet(&[hook(&long)], 0), &[hook(name)], 0);

    let cgroup = |path| {
        let key = CgroupKey::default();
        Record::Cgroup(Cgroup {
            key,
            path,
            created_ns: 0,
            removed_ns: 0,
        })
    };
    let path = &long.as_bytes()[..MAX_PATH_BYTES];
    assert_holds(&packet(&[cgroup(long.as_bytes())], 0), &[cgroup(path)], 0);
}

#[test]
fn executables_are_cut() {
    let long = [b'x'; 200];
    for (_, record) in RECORDS {
        let with = |executable| match record {
            Record::Flow(mut flow) => {
                flow.key.owner.executable = executable;
                Some(Record::Flow(flow))
            }
            Record::FlowEvicted(mut key) => {
                key.owner.executable = executable;
                Some(Record::FlowEvicted(key))
            }
            Record::Listen(mut listen) => {
                listen.owner.executable = executable;
                Some(Record::Listen(listen))
            }
            _ => None,
        };
        if let (Some(given), Some(cut)) = (with(&long[..]), with(&long[..MAX_EXECUTABLE_BYTES])) {
            assert_holds(&packet(&[given], 0), &[cut], 0);
        }
    }
}
