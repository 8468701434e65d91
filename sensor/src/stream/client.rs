//! A connection: sends packets with a bound on how long it waits for the other side to read.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::packet;

/// Longest wait for room for one packet. A client that does not read at all holds up the sensor this long, once.
pub const PACKET_WAIT: Duration = Duration::from_millis(250);

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It is with the client.
    Yes,
    /// It waits for its first snapshot, which will hold what this packet says.
    Early,
    /// The client does not read: nothing is sent until the next snapshot.
    Lagging,
    /// The client is gone.
    Gone,
}

/// How far the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    BeforeSnapshot,
    Current,
    Lagging,
}

/// A connected client.
#[derive(Debug)]
pub struct Client {
    socket: OwnedFd,
    /// Number of the connection: the broker's answers carry it.
    pub number: u64,
    /// Time left to wait for it, until the next [`Client::grant`].
    patience: Duration,
    position: Position,
}

impl Client {
    /// A client that waits for its first snapshot.
    pub fn new(socket: OwnedFd, number: u64) -> Self {
        Self {
            socket,
            number,
            patience: Duration::ZERO,
            position: Position::BeforeSnapshot,
        }
    }

    /// Sets how long, in all, the coming packets may wait.
    pub fn grant(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Whether packets were not sent to it because it did not read.
    pub fn is_lagging(&self) -> bool {
        self.position == Position::Lagging
    }

    /// Says that a snapshot begins: what comes now is sent.
    pub fn begin_snapshot(&mut self) {
        self.position = Position::Current;
    }

    /// Sends a packet of the stream.
    pub fn send(&mut self, message: &[u8]) -> Sent {
        match self.position {
            Position::BeforeSnapshot => return Sent::Early,
            Position::Lagging => return Sent::Lagging,
            Position::Current => {}
        }
        let sent = self.send_patiently(message);
        if sent == Sent::Lagging {
            self.position = Position::Lagging;
        }
        sent
    }

    /// Sends a message that is not part of the stream, without waiting.
    pub fn send_now(&self, message: &[u8], descriptor: Option<BorrowedFd<'_>>) -> Sent {
        match packet::send(self.socket.as_fd(), message, descriptor) {
            Ok(()) => Sent::Yes,
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENOBUFS) => Sent::Lagging,
            // ETOOMANYREFS too: closing takes back the descriptors that nobody fetches.
            Err(_) => Sent::Gone,
        }
    }

    fn send_patiently(&mut self, message: &[u8]) -> Sent {
        let mut packet_wait = PACKET_WAIT;
        loop {
            let sent = self.send_now(message, None);
            let wait = self.patience.min(packet_wait);
            if sent != Sent::Lagging || wait < Duration::from_millis(1) {
                return sent;
            }
            let waited = self.wait_for_room(wait);
            self.patience = self.patience.saturating_sub(waited);
            packet_wait = packet_wait.saturating_sub(waited);
        }
    }

    /// Waits at most `wait` and says how long, at least a millisecond so that waiting ends.
    fn wait_for_room(&self, wait: Duration) -> Duration {
        let start = Instant::now();
        let mut socket = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
        let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO);
        // An interrupted wait is a short one.
        let _ = poll(&mut socket, timeout);
        start.elapsed().max(Duration::from_millis(1))
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Received;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    use nodescope_schema::MAX_MESSAGE_BYTES;

    fn pair() -> (Client, OwnedFd) {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (left, right) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
        (Client::new(left, 1), right)
    }

    fn drain(socket: &OwnedFd) -> usize {
        let mut buffer = packet::buffer();
        let more = || packet::receive(socket.as_fd(), &mut buffer);
        std::iter::repeat_with(more)
            .take_while(|got| matches!(got, Ok(Received::Packet(_))))
            .count()
    }

    #[test]
    fn one_that_does_not_read_costs_one_wait() {
        let (mut client, other) = pair();
        let message = vec![0; MAX_MESSAGE_BYTES];
        assert_eq!(client.send(&message), Sent::Early);
        client.begin_snapshot();
        client.grant(Duration::from_secs(60));
        let start = Instant::now();
        let sent: Vec<_> = (0..1000).map(|_| client.send(&message)).collect();
        assert!(start.elapsed() < PACKET_WAIT * 3, "{:?}", start.elapsed());
        let arrived = sent.iter().filter(|sent| **sent == Sent::Yes).count();
        assert!(client.is_lagging() && sent[999] == Sent::Lagging);
        assert_eq!(drain(&other), arrived);
        assert_eq!(client.send(&message), Sent::Lagging, "until it is told");
        client.begin_snapshot();
        assert_eq!(client.send(&message), Sent::Yes);
    }

    #[test]
    fn without_patience_there_is_no_wait() {
        let (client, _other) = pair();
        let message = vec![0; MAX_MESSAGE_BYTES];
        let start = Instant::now();
        while client.send_now(&message, None) == Sent::Yes {}
        assert!(start.elapsed() < PACKET_WAIT);
        assert!(!client.is_lagging());
    }

    #[test]
    fn one_that_left_is_gone() {
        let (mut client, other) = pair();
        client.begin_snapshot();
        drop(other);
        assert_eq!(client.send(b"x"), Sent::Gone);
    }
}
