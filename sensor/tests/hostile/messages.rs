//! Messages that are none, and descriptors that nobody asked for.

use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

use nodescope_schema::{MAX_MESSAGE_BYTES, Request, RequestKind, encode_request};

use crate::common::{Peer, Sensor, Waited, is_root};
use crate::{GROWTH_KIB, docker};

/// One segment of words, as a Cap'n Proto message.
fn segment(words: &[u64]) -> Vec<u8> {
    let mut message = vec![0; 4];
    message.extend((words.len() as u32).to_le_bytes());
    message.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    message
}

#[test]
fn garbage_closes_its_connection_only() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    let words = MAX_MESSAGE_BYTES / 8 - 1;
    // Each word a pointer to the next: a structure as deep as a message can be.
    let nested = segment(&vec![1 << 48; words]);
    // A list of structures that each point back to the list.
    let looped = segment(&vec![(0x1fff << 35) | 0xffff_fffd; words]);
    let garbage: [Vec<u8>; 9] = [
        b"x".to_vec(),
        vec![0; 8],
        vec![0xff; MAX_MESSAGE_BYTES],
        vec![0; MAX_MESSAGE_BYTES + 1],
        vec![7; 150_000],
        nested,
        looped,
        // A table of segments longer than the message.
        vec![0xfe, 0xff, 0xff, 0x1f, 1, 0, 0, 0],
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
    ];
    let before = sensor.resident_kib();
    for message in &garbage {
        for greeted in [false, true] {
            let mut peer = Peer::connect(&sensor).unwrap();
            if greeted {
                peer.say_hello();
            }
            peer.send(message, None).unwrap();
            // It may be taken for a message of a later version, and skipped.
            peer.read_for(Duration::from_millis(50));
            assert!(peer.files.is_empty() && peer.seen.replies.is_empty());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(
        sensor.resident_kib() <= before + GROWTH_KIB,
        "{before} {}",
        sensor.resident_kib()
    );
    sensor.serves();
}

#[test]
fn damaged_requests_do_no_harm() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    sensor.put("etc/docker/daemon.json", "good");
    let request = Request {
        id: 1,
        kind: RequestKind::OpenFile(docker(b"/var/lib/docker")),
    };
    let whole = encode_request(&request);
    let mut peer = Peer::greeted(&sensor);
    let mut reconnects = 0;
    for position in 0..whole.len() {
        for value in [0x00, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[position] = value;
            while peer.send(&damaged, None).is_err() && reconnects < 1000 {
                reconnects += 1;
                peer = Peer::greeted(&sensor);
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
    peer.read_for(Duration::from_millis(200));
    assert!(peer.files.is_empty(), "there is no such container");
    sensor.serves();
}

#[test]
fn descriptors_sent_to_the_sensor_are_closed() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    let mut peer = Peer::greeted(&sensor);
    peer.wait_for_snapshot();
    let descriptors = sensor.descriptors();
    let status = encode_request(&Request {
        id: 1,
        kind: RequestKind::Status,
    });
    let (reader, writer) = nix::unistd::pipe().unwrap();
    for _ in 0..50 {
        peer.send(&status, Some(writer.as_fd())).unwrap();
    }
    drop(writer);
    let waited = peer.read_until(Duration::from_secs(5), |seen| seen.replies.len() == 50);
    assert_eq!(waited, Waited::Done);
    assert_eq!(sensor.descriptors(), descriptors);
    // The end of the pipe says that nobody holds the writing end any more.
    assert_eq!(fs::File::from(reader).read(&mut [0]).unwrap(), 0);
    sensor.serves();
}
