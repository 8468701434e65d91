//! Packets of a newer or older release: what is unknown in them is told apart from what is broken, counted, and costs
//! nothing else; what is missing is zero.

use std::net::Ipv6Addr;

use nodescope_schema::{
    BatchCounts, DecodeError, Decoded, Flow, FlowKey, FlowKind, FlowTotals, Owner, Record, Refusal,
    Reply, Request, RequestKind, decode_from_aggregator, encode_reply, encode_request,
    encode_sensor_hello,
};

use crate::support::{
    FIRST_RECORD, HELLO, OPEN_FILE, RECORD_BYTES, RECORDS, WORD, assert_holds, counts, decode,
    flow, packet, put_u16, three_flows,
};

#[test]
fn a_kind_of_record_from_the_future_is_skipped_and_counted() {
    let (mut packet, second) = three_flows();
    put_u16(&mut packet, second, 4711);
    assert_eq!(
        counts(&packet),
        BatchCounts {
            sequence: 5,
            records: 2,
            unknown: 1,
            malformed: 0
        }
    );
}

#[test]
fn a_record_without_a_kind_is_skipped_and_counted() {
    let (mut packet, second) = three_flows();
    put_u16(&mut packet, second, 0);
    assert_eq!(
        counts(&packet),
        BatchCounts {
            sequence: 5,
            records: 2,
            unknown: 1,
            malformed: 0
        }
    );
}

#[test]
fn a_verdict_from_the_future_is_skipped_and_counted() {
    let (name, hook) = RECORDS[8];
    assert_eq!(name, "hook");
    let mut packet = packet(&[hook], 2);
    let verdict = FIRST_RECORD + RECORD_BYTES;
    assert_eq!(packet[verdict], 1);
    put_u16(&mut packet, verdict, 99);
    assert_eq!(
        counts(&packet),
        BatchCounts {
            sequence: 2,
            records: 0,
            unknown: 1,
            malformed: 0
        }
    );
}

/// Kind of the message, in the first word behind table and root pointer.
const MESSAGE_KIND: usize = 2 * WORD;
/// First word of a reply or request, behind the message's two words: its number; the next holds its kind.
const ID: usize = 4 * WORD;
const KIND: usize = ID + WORD;

#[test]
fn messages_from_the_future_are_told_apart_from_broken_ones() {
    for kind in [0, 4711] {
        let mut hello = encode_sensor_hello(&HELLO);
        put_u16(&mut hello, MESSAGE_KIND, kind);
        assert!(matches!(decode(&hello), (Ok(Decoded::Unknown), said) if said.is_empty()));

        let mut request = encode_request(&Request {
            id: 1,
            kind: RequestKind::Status,
        });
        put_u16(&mut request, MESSAGE_KIND, kind);
        let asked = decode_from_aggregator(&request, |_| ());
        assert!(
            matches!(asked, Err(DecodeError::UnknownMessage)),
            "{asked:?}"
        );
    }
}

#[test]
fn requests_from_the_future_keep_their_number_for_the_reply() {
    for kind in [0, 4711] {
        let mut request = encode_request(&Request {
            id: 55,
            kind: RequestKind::Status,
        });
        assert_eq!(request[ID], 55);
        put_u16(&mut request, KIND, kind);
        let asked = decode_from_aggregator(&request, |_| ());
        assert!(
            matches!(asked, Err(DecodeError::UnknownRequest { id: 55 })),
            "{asked:?}"
        );
    }
    let mut request = encode_request(&Request {
        id: 55,
        kind: RequestKind::OpenFile(OPEN_FILE),
    });
    let file_kind = ID + 3 * WORD;
    assert_eq!(request[file_kind], 2);
    put_u16(&mut request, file_kind, 4711);
    let asked = decode_from_aggregator(&request, |_| ());
    assert!(
        matches!(asked, Err(DecodeError::UnknownRequest { id: 55 })),
        "{asked:?}"
    );
}

#[test]
fn a_refusal_from_the_future_still_refuses() {
    let mut reply = encode_reply(&Reply {
        id: 9,
        result: Err(Refusal::Io),
    });
    assert_eq!(reply[KIND..KIND + 4], [2, 0, 4, 0]);
    put_u16(&mut reply, KIND + 2, 4711);
    let expected = Reply {
        id: 9,
        result: Err(Refusal::Unknown),
    };
    assert!(
        matches!(decode(&reply), (Ok(Decoded::Reply), said) if said == [format!("{expected:?}")])
    );
}

#[test]
fn fields_an_older_release_did_not_have_are_zero() {
    let mut packet = packet(&[flow()], 1);
    let pointer = FIRST_RECORD + WORD;
    // Of the flow's size, in the upper half of its pointer, one word of data (the generation) and no pointer remain.
    put_u16(&mut packet, pointer + 4, 1);
    put_u16(&mut packet, pointer + 6, 0);
    let older = Flow {
        key: FlowKey {
            owner: Owner::default(),
            remote_ip: Ipv6Addr::UNSPECIFIED,
            remote_port: 0,
            actual_ip: Ipv6Addr::UNSPECIFIED,
            actual_port: 0,
            host_netns: false,
            kind: FlowKind::Destination,
        },
        generation: 10,
        totals: FlowTotals::default(),
    };
    assert_holds(&packet, &[Record::Flow(older)], 1);
}
