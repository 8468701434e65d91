//! A source made of a list, a stream that runs in a thread, and a client of it.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nodescope_schema::{
    AggregatorHello, Cgroup, CgroupKey, FromSensorSink, Hook, Loss, PROTOCOL_VERSION, Reply,
    Request, RequestKind, SensorHello, Verdict, decode_from_sensor, encode_aggregator_hello,
    encode_request, encode_sensor_hello,
};

use super::super::*;
use crate::broker::{Broker, Files, Sources};
use crate::socket::ClientUser;

/// Cgroups with these numbers exist; polls tell of the last one.
#[derive(Debug, Clone, Default)]
pub(super) struct Fake {
    pub(super) ids: Arc<Mutex<Vec<u64>>>,
    pub(super) snapshots_fail: Arc<Mutex<bool>>,
    /// Always readable, if there is one: hints that never end.
    pub(super) wake: Option<Arc<OwnedFd>>,
    pub(super) urgents: Arc<Mutex<u32>>,
    pub(super) reports: Arc<Mutex<u32>>,
    pub(super) destinations: Arc<Mutex<Vec<IpAddr>>>,
}

pub(super) fn cgroup(id: u64) -> Record<'static> {
    let key = CgroupKey { hierarchy: 0, id };
    Record::Cgroup(Cgroup {
        key,
        path: &[b'/'; 500],
        created_ns: 0,
        removed_ns: 0,
    })
}

impl Source for Fake {
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        self.wake.as_ref().map(|fd| fd.as_fd())
    }

    fn urgent(&mut self, _: &mut dyn FnMut(&Record<'_>)) {
        *self.urgents.lock().unwrap() += 1;
    }

    fn poll(&mut self, emit: &mut dyn FnMut(&Record<'_>)) -> Result<(), SourceError> {
        self.ids
            .lock()
            .unwrap()
            .last()
            .into_iter()
            .for_each(|id| emit(&cgroup(*id)));
        Ok(())
    }

    fn snapshot(&mut self, emit: &mut dyn FnMut(&Record<'_>)) -> Result<(), SourceError> {
        self.ids
            .lock()
            .unwrap()
            .iter()
            .for_each(|id| emit(&cgroup(*id)));
        if *self.snapshots_fail.lock().unwrap() {
            let source = std::io::Error::from_raw_os_error(libc::EIO);
            return Err(SourceError::Map {
                map: "cgroups",
                source,
            });
        }
        Ok(())
    }

    fn destinations(&mut self, visit: &mut dyn FnMut(IpAddr)) -> Result<(), SourceError> {
        self.destinations
            .lock()
            .unwrap()
            .iter()
            .for_each(|ip| visit(*ip));
        Ok(())
    }

    fn report(&mut self, emit: &mut dyn FnMut(&Record<'_>)) -> Result<(), SourceError> {
        *self.reports.lock().unwrap() += 1;
        emit(&Record::Hook(Hook {
            name: "tcp_state",
            rung: "fake",
            verdict: Verdict::Ok,
            detail: "",
        }));
        Ok(())
    }

    fn rescan(&mut self) -> Result<(), SourceError> {
        Ok(())
    }
}

/// A stream in a thread.
pub(super) struct Running {
    directory: tempfile::TempDir,
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<Result<(), Errno>>>,
}

pub(super) fn start(source: Fake, recording: Option<PathBuf>) -> Running {
    let directory = tempfile::tempdir().unwrap();
    let client = ClientUser {
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
    };
    let listener = Listener::bind(&directory.path().join("sock"), client).unwrap();
    let root = OwnedFd::from(std::fs::File::open(directory.path()).unwrap());
    let broker = Broker::start(Files::new(root, client.uid), Sources::default()).unwrap();
    let (stop, end) = nix::unistd::pipe().unwrap();
    let mut stream = Stream::new(Parts {
        source,
        listener,
        requests: Requests::new(broker),
        pinger: Pinger::open(Duration::from_secs(1)),
        stop,
        hello: encode_sensor_hello(&SensorHello {
            version: PROTOCOL_VERSION,
            oldest_version: PROTOCOL_VERSION,
            release: "test",
            run_id: 1,
            v1_hierarchy: 0,
            v1_controllers: "",
            host_netns: 2,
            hostname: "here",
            kernel_release: "6.1",
        }),
        recording: recording.map(|path| Recording::create(&path, 1 << 20).unwrap()),
        poll_interval: Duration::from_millis(50),
    });
    let thread = std::thread::spawn(move || stream.run());
    Running {
        directory,
        stop: Some(end),
        thread: Some(thread),
    }
}

impl Running {
    pub(super) fn stop(&mut self) -> Result<(), Errno> {
        self.stop = None;
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop().unwrap();
        }
    }
}

/// What came, in words.
#[derive(Debug, Default)]
pub(super) struct Seen(pub(super) Vec<String>);

impl FromSensorSink for Seen {
    fn hello(&mut self, hello: SensorHello<'_>) {
        self.0.push(format!("hello {}", hello.hostname));
    }

    fn record(&mut self, record: Record<'_>) {
        self.0.push(match record {
            Record::SnapshotBegin => "begin".to_owned(),
            Record::SnapshotEnd => "end".to_owned(),
            Record::Cgroup(cgroup) => cgroup.key.id.to_string(),
            Record::Loss(Loss { reason, total, .. }) => format!("loss {reason} {total}"),
            Record::Status(_) => "status".to_owned(),
            Record::Hook(hook) => format!("hook {}", hook.name),
            other => panic!("{other:?}"),
        });
    }

    fn reply(&mut self, reply: Reply) {
        self.0
            .push(format!("reply {} {:?}", reply.id, reply.result));
    }
}

impl Seen {
    pub(super) fn has(&self, word: &str) -> bool {
        self.0.iter().any(|seen| seen == word)
    }
}

pub(super) struct Peer {
    socket: OwnedFd,
    pub(super) seen: Seen,
}

impl Peer {
    pub(super) fn connect(running: &Running) -> Self {
        Self::at(&running.directory.path().join("sock"))
    }

    fn at(path: &Path) -> Self {
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).unwrap();
        connect(socket.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
        Self {
            socket,
            seen: Seen::default(),
        }
    }

    pub(super) fn greeted(running: &Running) -> Self {
        let peer = Self::connect(running);
        peer.hello(PROTOCOL_VERSION);
        peer
    }

    pub(super) fn hello(&self, version: u16) {
        let hello = AggregatorHello {
            version,
            oldest_version: version,
            release: "peer",
        };
        self.send(&encode_aggregator_hello(&hello));
    }

    pub(super) fn send(&self, message: &[u8]) {
        packet::send(self.socket.as_fd(), message, None).unwrap();
    }

    pub(super) fn ask(&self, id: u64, kind: RequestKind<'_>) {
        self.send(&encode_request(&Request { id, kind }));
    }

    /// Reads until `done`, the end of the connection (true), or for five seconds (panics).
    pub(super) fn read_until(&mut self, done: impl Fn(&Seen) -> bool) -> bool {
        let mut buffer = packet::buffer();
        let deadline = Instant::now() + Duration::from_secs(5);
        while !done(&self.seen) {
            assert!(Instant::now() < deadline, "{:?}", self.seen);
            match packet::receive(self.socket.as_fd(), &mut buffer) {
                Ok(Received::Packet(length)) => {
                    decode_from_sensor(&buffer[..length], &mut self.seen).unwrap();
                }
                Ok(Received::Nothing) => std::thread::sleep(Duration::from_millis(2)),
                other => {
                    assert!(matches!(
                        other,
                        Ok(Received::Closed) | Err(Errno::ECONNRESET)
                    ));
                    return true;
                }
            }
        }
        false
    }

    pub(super) fn wait_for(&mut self, word: &str) {
        assert!(
            !self.read_until(|seen| seen.has(word)),
            "closed before {word}: {:?}",
            self.seen
        );
    }

    pub(super) fn is_closed(&mut self) -> bool {
        self.read_until(|_| false)
    }
}

pub(super) fn with_ids(ids: &[u64]) -> Fake {
    let fake = Fake::default();
    ids.clone_into(&mut fake.ids.lock().unwrap());
    fake
}
