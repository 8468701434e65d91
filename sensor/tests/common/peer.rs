//! A client of the sensor, and what it was sent.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{IoSliceMut, Read};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, connect, recvmsg,
    socket,
};
use nodescope_schema::{
    AggregatorHello, ExecutableReply, FromSensorSink, Language, MAX_MESSAGE_BYTES, OpenFile,
    PROTOCOL_VERSION, Ping, Record, Refusal, Reply, Request, RequestKind, SensorHello,
    SensorStatus, Verdict, decode_from_sensor, encode_aggregator_hello, encode_request,
};
use nodescope_sensor::packet;

use super::{PATIENCE, Sensor};

/// What a client was sent.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) hello: bool,
    pub(crate) begins: usize,
    pub(crate) ends: usize,
    pub(crate) replies: Vec<Reply>,
    /// What processes execute, by the number of the request.
    pub(crate) programs: BTreeMap<u64, (String, Language)>,
    pub(crate) losses: Vec<(String, u64)>,
    pub(crate) flows: usize,
    pub(crate) evicted: usize,
    pub(crate) status: SensorStatus,
    pub(crate) pings: BTreeMap<IpAddr, Ping>,
    /// Rung, verdict and detail of each hook, as it was told last.
    pub(crate) hooks: BTreeMap<String, (String, Verdict, String)>,
}

impl Seen {
    /// The last total of a loss, `stage/reason`.
    pub(crate) fn loss(&self, name: &str) -> u64 {
        self.losses
            .iter()
            .rev()
            .find(|(seen, _)| seen == name)
            .map_or(0, |(_, total)| *total)
    }
}

impl FromSensorSink for Seen {
    fn hello(&mut self, hello: SensorHello<'_>) {
        assert_eq!(hello.version, PROTOCOL_VERSION);
        self.hello = true;
    }

    fn record(&mut self, record: Record<'_>) {
        match record {
            Record::SnapshotBegin => self.begins += 1,
            Record::SnapshotEnd => self.ends += 1,
            Record::Loss(loss) => {
                self.losses
                    .push((format!("{}/{}", loss.stage, loss.reason), loss.total));
            }
            Record::Status(status) => self.status = status,
            Record::Ping(ping) => {
                self.pings.insert(IpAddr::V6(ping.ip).to_canonical(), ping);
            }
            Record::Hook(hook) => {
                let state = (hook.rung.to_owned(), hook.verdict, hook.detail.to_owned());
                self.hooks.insert(hook.name.to_owned(), state);
            }
            Record::Flow(_) => self.flows += 1,
            Record::FlowEvicted(_) => self.evicted += 1,
            _ => {}
        }
    }

    fn reply(&mut self, reply: Reply) {
        self.replies.push(reply);
    }

    fn executable_reply(&mut self, reply: ExecutableReply<'_>) {
        let name = String::from_utf8_lossy(reply.name).into_owned();
        self.programs.insert(reply.id, (name, reply.language));
        let result = Ok(());
        self.replies.push(Reply {
            id: reply.id,
            result,
        });
    }
}

/// A client.
pub(crate) struct Peer {
    pub(crate) socket: OwnedFd,
    pub(crate) seen: Seen,
    /// Descriptors that came, each with the number of the reply it came with.
    pub(crate) files: Vec<(u64, File)>,
}

/// What became of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    Done,
    Closed,
    TimedOut,
}

impl Peer {
    pub(crate) fn connect(sensor: &Sensor) -> Result<Self, Errno> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
        connect(socket.as_raw_fd(), &UnixAddr::new(&sensor.socket())?)?;
        Ok(Self {
            socket,
            seen: Seen::default(),
            files: Vec::new(),
        })
    }

    /// A client that said hello.
    pub(crate) fn greeted(sensor: &Sensor) -> Self {
        let peer = Self::connect(sensor).unwrap();
        peer.say_hello();
        peer
    }

    pub(crate) fn say_hello(&self) {
        let version = PROTOCOL_VERSION;
        let hello = AggregatorHello {
            version,
            oldest_version: version,
            release: "test",
        };
        // Who was closed already notices when reading.
        let _ = self.send(&encode_aggregator_hello(&hello), None);
    }

    pub(crate) fn send(
        &self,
        message: &[u8],
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(), Errno> {
        packet::send(self.socket.as_fd(), message, descriptor)
    }

    /// Sends a request, waiting for room.
    pub(crate) fn ask(&self, id: u64, kind: RequestKind<'_>) -> Result<(), Errno> {
        let message = encode_request(&Request { id, kind });
        loop {
            match self.send(&message, None) {
                Err(Errno::EAGAIN) => self.wait(PollFlags::POLLOUT, 100),
                other => return other,
            }
        }
    }

    /// Asks for a file and reads it.
    pub(crate) fn open(&mut self, id: u64, request: &OpenFile<'_>) -> Result<String, Refusal> {
        self.content(id, RequestKind::OpenFile(*request))
    }

    /// Asks for a descriptor and reads it.
    pub(crate) fn content(&mut self, id: u64, kind: RequestKind<'_>) -> Result<String, Refusal> {
        self.ask(id, kind).unwrap();
        let reply = self.reply(id);
        let file = self.files.iter().position(|(of, _)| *of == id);
        assert_eq!(
            reply.result.is_ok(),
            file.is_some(),
            "a descriptor comes with a grant only"
        );
        reply.result?;
        let mut text = String::new();
        self.files
            .swap_remove(file.unwrap())
            .1
            .read_to_string(&mut text)
            .unwrap();
        Ok(text)
    }

    /// Waits for the reply to a request.
    pub(crate) fn reply(&mut self, id: u64) -> Reply {
        let has = |seen: &Seen| seen.replies.iter().any(|reply| reply.id == id);
        assert_eq!(
            self.read_until(PATIENCE, has),
            Waited::Done,
            "no reply to {id}"
        );
        *self
            .seen
            .replies
            .iter()
            .find(|reply| reply.id == id)
            .unwrap()
    }

    pub(crate) fn wait_for_snapshot(&mut self) {
        let waited = self.read_until(PATIENCE, |seen| seen.ends > 0);
        assert_eq!(waited, Waited::Done, "{:?}", self.seen);
    }

    /// Whether the sensor closes this connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.read_until(PATIENCE, |_| false) == Waited::Closed
    }

    /// Reads all there is for a while.
    pub(crate) fn read_for(&mut self, time: Duration) -> Waited {
        self.read_until(time, |_| false)
    }

    pub(crate) fn read_until(&mut self, time: Duration, done: impl Fn(&Seen) -> bool) -> Waited {
        let deadline = Instant::now() + time;
        let mut buffer = vec![0; MAX_MESSAGE_BYTES];
        while !done(&self.seen) {
            if Instant::now() >= deadline {
                return Waited::TimedOut;
            }
            match self.receive(&mut buffer) {
                Ok(0) | Err(Errno::ECONNRESET | Errno::EPIPE) => return Waited::Closed,
                Ok(length) => {
                    decode_from_sensor(&buffer[..length], &mut self.seen).unwrap();
                }
                Err(Errno::EAGAIN) => self.wait(PollFlags::POLLIN, 20),
                Err(errno) => panic!("{errno}"),
            }
        }
        Waited::Done
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let mut space = nix::cmsg_space!([i32; 4]);
        let mut parts = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let fd = self.socket.as_raw_fd();
        let message = recvmsg::<()>(fd, &mut parts, Some(&mut space), flags)?;
        let length = message.bytes;
        let mut received = Vec::new();
        for control in message.cmsgs()? {
            let ControlMessageOwned::ScmRights(descriptors) = control else {
                continue;
            };
            received.extend(descriptors);
        }
        assert!(received.len() <= 1, "{received:?}");
        for descriptor in received {
            // SAFETY: the kernel just made this descriptor for us and nothing else owns it.
            let file = unsafe { File::from_raw_fd(descriptor) };
            let mut seen = Seen::default();
            decode_from_sensor(&buffer[..length], &mut seen).unwrap();
            self.files.push((seen.replies[0].id, file));
        }
        Ok(length)
    }

    fn wait(&self, flags: PollFlags, millis: u8) {
        let mut fds = [PollFd::new(self.socket.as_fd(), flags)];
        poll(&mut fds, PollTimeout::from(millis)).unwrap();
    }
}
