//! Writes what the kernel answers to a dump of its connection tracking entries to standard output, for tests to read.
//! Needs `CAP_NET_ADMIN`.

use std::io::{self, Write};
use std::time::Duration;

use nodescope_sensor::conntrack::message::{Message, Messages, dump_request};
use nodescope_sensor::conntrack::socket;
use nodescope_sensor::netlink::socket::{READ_BYTES, Received};

fn main() -> io::Result<()> {
    let socket = socket::open()?;
    socket.send(&dump_request())?;
    let mut buffer = vec![0; READ_BYTES];
    while let Received::Bytes(length) = socket.receive(&mut buffer, Duration::from_secs(2))? {
        let bytes = &buffer[..length];
        io::stdout().write_all(bytes)?;
        if Messages::new(bytes).any(|message| matches!(message, Message::Done(_))) {
            return Ok(());
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}
