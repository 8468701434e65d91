//! Packets that a broken or hostile writer sends: cut, oversized, amplified, and with one bad record in them.

use nodescope_schema::{
    AggregatorHello, BatchCounts, DecodeError, Loss, MAX_MESSAGE_BYTES, Record, Request,
    RequestKind, decode_from_aggregator, encode_aggregator_hello, encode_request,
    encode_sensor_hello,
};

use crate::support::{
    FLOW, HELLO, OPEN_FILE, PING_TARGETS, RECORD_BYTES, RECORDS, WORD, counts, decode, flow,
    packet, three_flows,
};

/// A message of one segment with these words.
fn message(words: &[u64]) -> Vec<u8> {
    let table = (words.len() as u64) << 32;
    [table]
        .iter()
        .chain(words)
        .flat_map(|word| word.to_le_bytes())
        .collect()
}

/// A pointer to a struct `offset` words behind it.
fn struct_pointer(offset: i32, data_words: u16, pointers: u16) -> u64 {
    u64::from((offset << 2) as u32) | u64::from(data_words) << 32 | u64::from(pointers) << 48
}

/// A pointer to a list of structs, `words` in all, `offset` words behind it.
fn list_pointer(offset: i32, words: u32) -> u64 {
    u64::from((offset << 2) as u32 | 1) | u64::from(words << 3 | 7) << 32
}

/// The word before the structs of a list.
fn list_tag(count: u32, data_words: u16, pointers: u16) -> u64 {
    u64::from(count << 2) | u64::from(data_words) << 32 | u64::from(pointers) << 48
}

#[test]
fn a_packet_cut_anywhere_is_refused() {
    let packet = packet(&RECORDS.map(|(_, record)| record), 1);
    for length in 0..packet.len() {
        let (decoded, said) = decode(&packet[..length]);
        assert!(
            matches!(decoded, Err(DecodeError::Malformed(_))),
            "cut at {length}: {decoded:?}"
        );
        assert!(said.is_empty());
    }
    let request = encode_request(&Request {
        id: 1,
        kind: RequestKind::OpenFile(OPEN_FILE),
    });
    for length in 0..request.len() {
        let decoded = decode_from_aggregator(&request[..length], |_| ());
        assert!(
            matches!(decoded, Err(DecodeError::Malformed(_))),
            "cut at {length}: {decoded:?}"
        );
    }
}

#[test]
fn too_long_and_trailing_bytes_are_refused() {
    let mut long = encode_sensor_hello(&HELLO);
    let whole = long.len();
    long.resize(MAX_MESSAGE_BYTES, 0);
    let bytes = MAX_MESSAGE_BYTES - whole;
    assert!(matches!(decode(&long).0, Err(DecodeError::TrailingBytes { bytes: b }) if b == bytes));
    long.push(0);
    assert!(matches!(decode(&long).0, Err(DecodeError::TooLong { bytes }) if bytes == long.len()));
    let asked = decode_from_aggregator(&long, |_| ());
    assert!(matches!(asked, Err(DecodeError::TooLong { bytes }) if bytes == long.len()));
}

#[test]
fn a_list_of_addresses_that_ends_within_one_is_refused() {
    let request = Request {
        id: 1,
        kind: PING_TARGETS,
    };
    let mut packet = encode_request(&request);
    // The pointer to the bytes: their number is in its upper half, above three bits for their size.
    let pointer = u64::from(32_u32 << 3 | 2) << 32 | 1;
    let at = packet
        .windows(WORD)
        .position(|window| window == pointer.to_le_bytes())
        .unwrap();
    for length in [31_u32, 17, 15, 1] {
        packet[at + 4..at + 8].copy_from_slice(&(length << 3 | 2).to_le_bytes());
        let asked = decode_from_aggregator(&packet, |_| ());
        assert!(
            matches!(asked, Err(DecodeError::PartOfAnAddress)),
            "{asked:?}"
        );
    }
}

#[test]
fn a_record_that_points_outside_is_skipped_and_counted() {
    let (mut packet, second) = three_flows();
    let pointer = struct_pointer(i32::MAX >> 3, 9, 1);
    packet[second + WORD..second + RECORD_BYTES].copy_from_slice(&pointer.to_le_bytes());
    assert_eq!(
        counts(&packet),
        BatchCounts {
            sequence: 5,
            records: 2,
            unknown: 0,
            malformed: 1
        }
    );
}

#[test]
fn a_record_with_a_text_that_is_not_utf8_is_skipped_and_counted() {
    let loss = |stage| {
        Record::Loss(Loss {
            stage,
            reason: "r",
            total: 1,
        })
    };
    let mut packet = packet(&[loss("good"), loss("baad"), loss("good")], 2);
    let at = packet
        .windows(4)
        .position(|window| window == b"baad")
        .unwrap();
    packet[at] = 0xff;
    assert_eq!(
        counts(&packet),
        BatchCounts {
            sequence: 2,
            records: 2,
            unknown: 0,
            malformed: 1
        }
    );
}

#[test]
fn a_hello_that_is_not_utf8_is_refused() {
    let mut hello = encode_sensor_hello(&HELLO);
    let at = hello
        .windows(6)
        .position(|window| window == b"node-1")
        .unwrap();
    hello[at] = 0xc0;
    let (decoded, said) = decode(&hello);
    assert!(
        matches!(decoded, Err(DecodeError::NotUtf8 { field: "hostname" })),
        "{decoded:?}"
    );
    assert!(said.is_empty());

    let hello = AggregatorHello {
        version: 1,
        oldest_version: 1,
        release: "0.1.0",
    };
    let mut hello = encode_aggregator_hello(&hello);
    let at = hello
        .windows(5)
        .position(|window| window == b"0.1.0")
        .unwrap();
    hello[at] = 0xc0;
    let asked = decode_from_aggregator(&hello, |_| ());
    assert!(
        matches!(asked, Err(DecodeError::NotUtf8 { field: "release" })),
        "{asked:?}"
    );
}

/// A message that is a batch whose list of records is what `records` says, and the words it refers to.
fn batch(records: u64, rest: &[u64]) -> Vec<u8> {
    let batch_kind = 2;
    let head = [
        struct_pointer(0, 1, 1),
        batch_kind,
        struct_pointer(0, 1, 1),
        0,
        records,
    ];
    message(&[&head, rest].concat())
}

#[test]
fn pointers_to_one_place_are_followed_only_so_often() {
    // Each record's flow is the same 2000 words.
    const RECORDS: i32 = 3000;
    const FLOW_WORDS: u16 = 2000;
    let mut words = vec![list_tag(RECORDS as u32, 1, 1)];
    for index in 0..RECORDS {
        words.push(FLOW.into());
        words.push(struct_pointer(2 * (RECORDS - 1 - index), FLOW_WORDS, 0));
    }
    words.resize(words.len() + usize::from(FLOW_WORDS), 1);
    let packet = batch(list_pointer(0, 2 * RECORDS as u32), &words);
    assert!(packet.len() <= MAX_MESSAGE_BYTES);
    let counts = counts(&packet);
    assert_eq!(
        counts.records + counts.unknown + counts.malformed,
        RECORDS as u32
    );
    assert!(counts.records < 10, "followed {} times", counts.records);
}

#[test]
fn a_list_of_nothing_cannot_claim_to_be_long() {
    let long = batch(list_pointer(0, 0), &[list_tag(1 << 29, 0, 0)]);
    assert!(matches!(decode(&long).0, Err(DecodeError::Malformed(_))));
    let short = batch(list_pointer(0, 0), &[list_tag(3, 0, 0)]);
    assert_eq!(
        counts(&short),
        BatchCounts {
            unknown: 3,
            ..BatchCounts::default()
        }
    );
}

#[test]
fn pointers_in_a_circle_end() {
    // The root struct's pointer leads back to the root struct, whatever kind it says it is.
    for kind in 0..5 {
        let circle = message(&[struct_pointer(0, 1, 1), kind, struct_pointer(-2, 1, 1)]);
        let (decoded, said) = decode(&circle);
        assert!(said.len() <= 1, "{decoded:?} {said:?}");
        let _ = decode_from_aggregator(&circle, |message| format!("{message:?}"));
    }
}

#[test]
fn a_packet_full_of_one_word_is_read_without_harm() {
    for word in [
        struct_pointer(0, 1, 1),
        struct_pointer(-1, 0, 1),
        struct_pointer(0, u16::MAX, u16::MAX),
        list_pointer(0, 8000),
        list_pointer(-1, u32::MAX >> 3),
        u64::MAX,
        // A far pointer to its own segment, and one that says it is double.
        2,
        6,
    ] {
        let packet = message(&vec![word; MAX_MESSAGE_BYTES / WORD - 1]);
        assert_eq!(packet.len(), MAX_MESSAGE_BYTES);
        let (_, said) = decode(&packet);
        assert!(said.len() < MAX_MESSAGE_BYTES / WORD);
        let _ = decode_from_aggregator(&packet, |message| format!("{message:?}"));
    }
}

#[test]
fn records_over_several_segments_are_read() {
    let whole = packet(&[flow()], 3);
    // The same words again, with the root pointer in a segment of its own that leads to the second.
    let body = &whole[2 * WORD..];
    let words = u32::try_from(body.len() / WORD).unwrap();
    let far = 2_u64 | 1 << 32;
    let pad = struct_pointer(0, 1, 1);
    let mut packet = Vec::new();
    for number in [1, 1, words + 1, 0] {
        packet.extend(u32::to_le_bytes(number));
    }
    packet.extend(far.to_le_bytes());
    packet.extend(pad.to_le_bytes());
    packet.extend(body);
    assert_eq!(
        counts(&packet),
        BatchCounts {
            sequence: 3,
            records: 1,
            unknown: 0,
            malformed: 0
        }
    );
}
