//! How a client comes in: it connects, we say hello, it says hello.
//!
//! One connection at a time is between the two hellos; a newer one takes its place. Connections come in at a bounded
//! rate, others wait in the socket's backlog.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nodescope_schema::{
    FromAggregator, OLDEST_PROTOCOL_VERSION, PROTOCOL_VERSION, common_version,
    decode_from_aggregator,
};

use super::client::{Client, Sent};
use crate::packet::{self, Received};
use crate::rate::TokenBucket;
use crate::socket::{Accepted, Listener};

/// A connection that has not said hello by then is closed.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections taken a second, and at once; more wait.
const ACCEPTS_PER_SECOND: u32 = 20;
const ACCEPTS_BURST: u32 = 20;

/// The way in.
#[derive(Debug)]
pub struct Door {
    listener: Listener,
    /// Our first message.
    hello: Vec<u8>,
    guest: Option<Guest>,
    connections: u64,
    accepts: TokenBucket,
}

#[derive(Debug)]
struct Guest {
    client: Client,
    deadline: Instant,
}

/// Why somebody did not get in.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Neither root nor the client's user.
    #[error("refused a connection of user {0}")]
    User(u32),
    /// It sent something else than a hello.
    #[error("closed a connection that did not begin with a hello")]
    NoHello,
    /// It sent nothing.
    #[error("closed a connection that said no hello in {} s", HELLO_TIMEOUT.as_secs())]
    Silent,
    /// It speaks other versions.
    #[error(
        "client {release} speaks versions {oldest} to {newest} of the protocol, this sensor \
         {OLDEST_PROTOCOL_VERSION} to {PROTOCOL_VERSION}: install the same release of both"
    )]
    Version {
        /// What it calls itself.
        release: String,
        /// The oldest version it speaks.
        oldest: u16,
        /// The newest.
        newest: u16,
    },
    /// A connection could not be taken.
    #[error("cannot take a connection: {0}")]
    Accept(#[source] std::io::Error),
}

impl Door {
    /// A door at `listener`, at which `hello` is said first.
    pub fn new(listener: Listener, hello: Vec<u8>, now: Instant) -> Self {
        let accepts = TokenBucket::new(ACCEPTS_PER_SECOND, ACCEPTS_BURST, now);
        Self {
            listener,
            hello,
            guest: None,
            connections: 0,
            accepts,
        }
    }

    /// Readable when somebody knocks.
    pub fn listener_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Readable when the one who has not said hello yet says something.
    pub fn guest_fd(&self) -> Option<BorrowedFd<'_>> {
        self.guest.as_ref().map(|guest| guest.client.as_fd())
    }

    /// How long the next connection must wait; zero when it need not.
    pub fn wait(&mut self, now: Instant) -> Duration {
        self.accepts.wait(now)
    }

    /// When [`Self::expire`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.guest.as_ref().map(|guest| guest.deadline)
    }

    /// Closes a connection that says nothing.
    ///
    /// # Errors
    /// [`Refused::Silent`] when it did.
    pub fn expire(&mut self, now: Instant) -> Result<(), Refused> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        self.guest = None;
        Err(Refused::Silent)
    }

    /// Takes one connection and says hello to it.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn open(&mut self, now: Instant) -> Result<(), Refused> {
        if !self.accepts.take(now) {
            return Ok(());
        }
        let socket = match self.listener.accept().map_err(Refused::Accept)? {
            Some(Accepted::Client(socket)) => socket,
            Some(Accepted::Refused(uid)) => return Err(Refused::User(uid)),
            None => return Ok(()),
        };
        self.connections += 1;
        let client = Client::new(socket, self.connections);
        // One that is gone already is just dropped.
        if client.send_now(&self.hello, None) == Sent::Yes {
            self.guest = Some(Guest {
                client,
                deadline: now + HELLO_TIMEOUT,
            });
        }
        Ok(())
    }

    /// Reads the hello of the guest, who becomes the client; with it comes what it calls itself.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn greet(&mut self, buffer: &mut [u8]) -> Result<Option<(Client, String)>, Refused> {
        let Some(Guest { client, deadline }) = self.guest.take() else {
            return Ok(None);
        };
        match packet::receive(client.as_fd(), buffer) {
            Ok(Received::Packet(length)) => {
                let release = read_hello(buffer.get(..length).unwrap_or_default())?;
                Ok(Some((client, release)))
            }
            Ok(Received::Nothing) => {
                self.guest = Some(Guest { client, deadline });
                Ok(None)
            }
            Ok(Received::TooLong) => Err(Refused::NoHello),
            Ok(Received::Closed) | Err(_) => Ok(None),
        }
    }
}

fn read_hello(message: &[u8]) -> Result<String, Refused> {
    let hello = decode_from_aggregator(message, |message| match message {
        FromAggregator::Hello(hello) => Some((
            hello.version,
            hello.oldest_version,
            printable(hello.release),
        )),
        FromAggregator::Request(_) => None,
    });
    let Ok(Some((newest, oldest, release))) = hello else {
        return Err(Refused::NoHello);
    };
    match common_version(newest, oldest) {
        Some(_) => Ok(release),
        None => Err(Refused::Version {
            release,
            oldest,
            newest,
        }),
    }
}

/// What a client says about itself, made safe for the log.
fn printable(text: &str) -> String {
    text.chars()
        .filter(char::is_ascii_graphic)
        .take(40)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodescope_schema::{AggregatorHello, encode_aggregator_hello};

    fn hello(version: u16, oldest_version: u16, release: &str) -> Vec<u8> {
        encode_aggregator_hello(&AggregatorHello {
            version,
            oldest_version,
            release,
        })
    }

    #[test]
    fn a_hello_with_a_common_version_is_good() {
        let good = hello(PROTOCOL_VERSION + 3, PROTOCOL_VERSION, "1.2.3\n\x1b[0m");
        assert_eq!(read_hello(&good).unwrap(), "1.2.3[0m");
    }

    #[test]
    fn others_are_told_apart() {
        let newer = hello(PROTOCOL_VERSION + 3, PROTOCOL_VERSION + 1, "9");
        assert!(matches!(read_hello(&newer), Err(Refused::Version { .. })));
        for garbage in [&b""[..], b"hello", &[0xff; 64]] {
            assert!(
                matches!(read_hello(garbage), Err(Refused::NoHello)),
                "{garbage:?}"
            );
        }
    }
}
