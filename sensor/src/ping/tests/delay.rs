//! A round trip whose ends are known: over a TUN device, whose other end is the test itself.
//!
//! The test writes down the time before and after it lets a request go, and before and after it gives the answer. What is
//! measured must lie between the shortest and the longest round trip that this allows, however busy the machine is.
#![expect(unsafe_code, reason = "TUNSETIFF has no safe form")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;

use super::*;

const FAR: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);
const IDENTIFIER: u16 = 78;

fn open_tun() -> File {
    let file = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .unwrap();
    // SAFETY: all zeros is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"tun0") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the call takes an ifreq, which lives longer than it.
    let made = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw const request) };
    Errno::result(made).unwrap();
    file
}

/// What the machine with the address [`FAR`] says to an IPv4 packet.
fn reply_to(packet: &[u8]) -> Option<Vec<u8>> {
    let mut reply = packet.to_vec();
    let is_request = packet.get(16..21)? == [10, 78, 0, 2, 8];
    // Swapping the addresses does not change the sum of the header.
    reply.copy_within(16..20, 12);
    reply[16..20].copy_from_slice(&packet[12..16]);
    let message = reply[20..].try_into().ok()?;
    reply[20..].copy_from_slice(&as_reply(Family::V4, message));
    is_request.then_some(reply)
}

/// Reads the request, which is already there; what the kernel itself sends on a new interface comes before it.
fn next_reply(tun: &mut File) -> Vec<u8> {
    let mut packet = [0; 2048];
    loop {
        let length = tun.read(&mut packet).unwrap();
        if let Some(reply) = reply_to(&packet[..length]) {
            return reply;
        }
    }
}

fn now_ns() -> u64 {
    clock_ns(ClockId::CLOCK_REALTIME)
}

#[test]
fn a_known_delay_is_what_is_measured() {
    alone(|| {
        let mut tun = open_tun();
        ip("address add 10.78.0.1/24 dev tun0");
        ip("link set tun0 up");
        let socket = RawSocket::open(Family::V4, IDENTIFIER).unwrap();
        let mut flights = Flights::default();
        for (cookie, millis) in (1..).zip([1, 20, 100, 1, 20, 100]) {
            let echo = Echo {
                identifier: IDENTIFIER,
                sequence: flights.next_sequence(),
                cookie,
            };
            let before_request = now_ns();
            socket
                .send(IpAddr::V4(FAR), &echo::request(Family::V4, echo))
                .unwrap();
            let after_request = now_ns();
            flights.sent(IpAddr::V4(FAR), cookie, before_request, Instant::now());
            let reply = next_reply(&mut tun);
            std::thread::sleep(Duration::from_millis(millis));
            let before_reply = now_ns();
            tun.write_all(&reply).unwrap();
            let after_reply = now_ns();

            let (sent, sent_ns) = socket.sent().unwrap().unwrap();
            flights.stamp(sent, sent_ns);
            let Some(Incoming::Reply(from, answer, received_ns)) = socket.receive() else {
                panic!("no answer");
            };
            let rtt_ns = flights.answer(from, answer, received_ns).unwrap();
            let (least, most) = (before_reply - after_request, after_reply - before_request);
            eprintln!("{millis} ms: {rtt_ns} ns, between {least} and {most}");
            assert!((least..=most).contains(&rtt_ns), "{millis} ms: {rtt_ns} ns");
            // And that from the kernel, not from the process.
            assert_ne!(rtt_ns, received_ns - before_request);
        }
    });
}
