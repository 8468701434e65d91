//! Requests of the client and their replies.
//!
//! A reply that the client has no room for is held, and until it is gone no further request is read and no answer of
//! the broker fetched: a client that does not read stops itself, and nothing is queued for it without bound.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use nodescope_schema::{
    DecodeError, ExecutableReply, FilesystemReply, FromAggregator, MAX_PING_TARGETS, Refusal,
    Reply, Request, RequestKind, decode_from_aggregator, encode_executable_reply,
    encode_filesystem_reply, encode_reply,
};

use super::client::{Client, Sent};
use crate::broker::{Answer, Broker, Given};
use crate::losses::{Losses, Lost};
use crate::ping::Asked;
use crate::rate::TokenBucket;

/// Sets of ping targets taken at once; after that one a second: each costs a walk over the kernel's counts.
const PING_TARGETS_BURST: u32 = 5;

/// What a message makes of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It goes on.
    Continue,
    /// It goes on, and the client wants the sensor's status.
    Status,
    /// It goes on, and the client wants other ping targets: [`Requests::take_ping_targets`].
    PingTargets,
    /// It ends: the message is not of the protocol.
    Broken,
    /// It ends: the client is gone.
    Gone,
}

/// Takes requests and gives replies.
#[derive(Debug)]
pub struct Requests {
    broker: Broker,
    held: Option<(Vec<u8>, Option<OwnedFd>)>,
    /// Ping targets that were asked for and the number of that request.
    ping_targets: Option<(u64, Asked)>,
    ping_targets_rate: TokenBucket,
    /// Requests answered with success.
    pub granted: u64,
    /// Requests refused.
    pub refused: u64,
    /// Requests the broker has yet to answer.
    pub waiting: u32,
}

impl Requests {
    /// With a broker that opens the files.
    pub fn new(broker: Broker) -> Self {
        Self {
            broker,
            held: None,
            ping_targets: None,
            ping_targets_rate: TokenBucket::new(1, PING_TARGETS_BURST, Instant::now()),
            granted: 0,
            refused: 0,
            waiting: 0,
        }
    }

    /// The broker, for waiting for its answers.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Whether a reply waits until the client has room.
    pub fn is_blocked(&self) -> bool {
        self.held.is_some()
    }

    /// Forgets the reply to a client that is gone.
    pub fn forget(&mut self) {
        self.held = None;
        self.ping_targets = None;
    }

    /// Handles a message of the client.
    pub fn message(&mut self, bytes: &[u8], client: &Client, losses: &mut Losses) -> Turn {
        let turn = decode_from_aggregator(bytes, |message| match message {
            FromAggregator::Request(request) => self.request(request, client, losses),
            // It was said already.
            FromAggregator::Hello(_) => Turn::Broken,
        });
        match turn {
            Ok(turn) => turn,
            Err(DecodeError::UnknownRequest { id }) => {
                self.reply(id, Err(Refusal::Unknown), client)
            }
            // A newer client must be able to live with a sensor that skips it.
            Err(DecodeError::UnknownMessage) => Turn::Continue,
            Err(_) => Turn::Broken,
        }
    }

    fn request(&mut self, request: Request<'_>, client: &Client, losses: &mut Losses) -> Turn {
        let now = Instant::now();
        let submitted = match request.kind {
            RequestKind::OpenFile(open) => {
                self.broker.submit(client.number, request.id, &open, now)
            }
            RequestKind::StatFilesystem(filesystem) => {
                self.broker.stat(client.number, request.id, filesystem, now)
            }
            RequestKind::SetPingTargets(targets) => {
                if targets.addresses.len() > MAX_PING_TARGETS {
                    Err(Refusal::BadArgument)
                } else if !self.ping_targets_rate.take(now) {
                    Err(Refusal::RateLimited)
                } else {
                    self.ping_targets = Some((request.id, Asked::of(targets.addresses)));
                    return Turn::PingTargets;
                }
            }
            RequestKind::OpenJvmData(open) => {
                self.broker
                    .open_jvm_data(client.number, request.id, open, now)
            }
            RequestKind::DescribeExecutable(of) => {
                self.broker.describe(client.number, request.id, of, now)
            }
            RequestKind::Status => {
                let turn = self.reply(request.id, Ok(None), client);
                return if turn == Turn::Continue {
                    Turn::Status
                } else {
                    turn
                };
            }
        };
        match submitted {
            Ok(()) => {
                self.waiting += 1;
                Turn::Continue
            }
            Err(refusal) => {
                losses.add(
                    Lost::RequestsRateLimited,
                    u64::from(refusal == Refusal::RateLimited),
                );
                self.reply(request.id, Err(refusal), client)
            }
        }
    }

    /// Sends one answer of the broker, if there is one.
    pub fn answer(&mut self, client: Option<&Client>) -> Option<Turn> {
        let Answer {
            connection,
            id,
            result,
        } = self.broker.answer()?;
        self.waiting = self.waiting.saturating_sub(1);
        let client = client.filter(|client| client.number == connection);
        // A file for one who is gone is just closed.
        let turn = client.map(|client| self.reply(id, result.map(Some), client));
        Some(turn.unwrap_or(Turn::Continue))
    }

    /// The ping targets of [`Turn::PingTargets`].
    pub fn take_ping_targets(&mut self) -> Option<(u64, Asked)> {
        self.ping_targets.take()
    }

    /// Answers a request that was taken.
    pub(super) fn answer_taken(
        &mut self,
        id: u64,
        result: Result<(), Refusal>,
        client: &Client,
    ) -> Turn {
        self.reply(id, result.map(|()| None), client)
    }

    /// Tries again to send the reply that was held.
    pub fn retry(&mut self, client: &Client) -> Turn {
        let Some((message, descriptor)) = self.held.take() else {
            return Turn::Continue;
        };
        self.send(message, descriptor, client)
    }

    fn reply(&mut self, id: u64, result: Result<Option<Given>, Refusal>, client: &Client) -> Turn {
        let count = if result.is_ok() {
            &mut self.granted
        } else {
            &mut self.refused
        };
        *count += 1;
        let (message, descriptor) = match result {
            Ok(None) => (encode_reply(&Reply { id, result: Ok(()) }), None),
            Ok(Some(Given::File(file))) => {
                (encode_reply(&Reply { id, result: Ok(()) }), Some(file))
            }
            Ok(Some(Given::Space(space))) => (
                encode_filesystem_reply(&FilesystemReply { id, space }),
                None,
            ),
            Ok(Some(Given::Program(program))) => {
                let reply = ExecutableReply {
                    id,
                    name: &program.name,
                    language: program.language,
                };
                (encode_executable_reply(&reply), None)
            }
            Err(refusal) => {
                let result = Err(refusal);
                (encode_reply(&Reply { id, result }), None)
            }
        };
        self.send(message, descriptor, client)
    }

    fn send(&mut self, message: Vec<u8>, descriptor: Option<OwnedFd>, client: &Client) -> Turn {
        debug_assert!(self.held.is_none());
        match client.send_now(&message, descriptor.as_ref().map(AsFd::as_fd)) {
            Sent::Yes => Turn::Continue,
            Sent::Gone => Turn::Gone,
            Sent::Early | Sent::Lagging => {
                self.held = Some((message, descriptor));
                Turn::Continue
            }
        }
    }
}
