//! The whole loop with a source made of a list and real sockets.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nodescope_schema::{
    AggregatorHello, Cgroup, CgroupKey, FileKind, FromSensorSink, Loss, OpenFile, PROTOCOL_VERSION,
    Refusal, Reply, Request, RequestKind, SensorHello, SetPingTargets, decode_from_sensor,
    encode_aggregator_hello, encode_request, encode_sensor_hello,
};

use super::*;
use crate::broker::{Broker, Files};
use crate::socket::ClientUser;

/// Cgroups with these numbers exist; polls tell of the last one.
#[derive(Debug, Clone, Default)]
struct Fake {
    ids: Arc<Mutex<Vec<u64>>>,
    snapshots_fail: Arc<Mutex<bool>>,
    /// Always readable, if there is one: hints that never end.
    wake: Option<Arc<OwnedFd>>,
    urgents: Arc<Mutex<u32>>,
    destinations: Arc<Mutex<Vec<IpAddr>>>,
}

fn cgroup(id: u64) -> Record<'static> {
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

    fn rescan(&mut self) -> Result<(), SourceError> {
        Ok(())
    }
}

/// A stream in a thread.
struct Running {
    directory: tempfile::TempDir,
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<Result<(), Errno>>>,
}

fn start(source: Fake, recording: Option<PathBuf>) -> Running {
    let directory = tempfile::tempdir().unwrap();
    let client = ClientUser {
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
    };
    let listener = Listener::bind(&directory.path().join("sock"), client).unwrap();
    let root = OwnedFd::from(std::fs::File::open(directory.path()).unwrap());
    let broker = Broker::start(Files::new(root, client.uid)).unwrap();
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
    fn stop(&mut self) -> Result<(), Errno> {
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
struct Seen(Vec<String>);

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
            Record::Hook(hook) => format!("hook {}", hook.name),
            Record::Status(_) => "status".to_owned(),
            other => panic!("{other:?}"),
        });
    }

    fn reply(&mut self, reply: Reply) {
        self.0
            .push(format!("reply {} {:?}", reply.id, reply.result));
    }
}

impl Seen {
    fn has(&self, word: &str) -> bool {
        self.0.iter().any(|seen| seen == word)
    }
}

struct Peer {
    socket: OwnedFd,
    seen: Seen,
}

impl Peer {
    fn connect(running: &Running) -> Self {
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

    fn greeted(running: &Running) -> Self {
        let peer = Self::connect(running);
        peer.hello(PROTOCOL_VERSION);
        peer
    }

    fn hello(&self, version: u16) {
        let hello = AggregatorHello {
            version,
            oldest_version: version,
            release: "peer",
        };
        self.send(&encode_aggregator_hello(&hello));
    }

    fn send(&self, message: &[u8]) {
        packet::send(self.socket.as_fd(), message, None).unwrap();
    }

    fn ask(&self, id: u64, kind: RequestKind<'_>) {
        self.send(&encode_request(&Request { id, kind }));
    }

    /// Reads until `done`, the end of the connection (true), or for five seconds (panics).
    fn read_until(&mut self, done: impl Fn(&Seen) -> bool) -> bool {
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

    fn wait_for(&mut self, word: &str) {
        assert!(
            !self.read_until(|seen| seen.has(word)),
            "closed before {word}: {:?}",
            self.seen
        );
    }

    fn is_closed(&mut self) -> bool {
        self.read_until(|_| false)
    }
}

fn with_ids(ids: &[u64]) -> Fake {
    let fake = Fake::default();
    ids.clone_into(&mut fake.ids.lock().unwrap());
    fake
}

#[test]
fn hello_snapshot_then_what_changes() {
    let fake = with_ids(&[1, 2]);
    let running = start(fake.clone(), None);
    let mut peer = Peer::greeted(&running);
    peer.wait_for("end");
    assert_eq!(peer.seen.0[..4], ["hello here", "begin", "1", "2"]);
    assert_eq!(
        peer.seen.0[4..7],
        ["hook ping_ipv4", "hook ping_ipv6", "status"]
    );
    fake.ids.lock().unwrap().push(3);
    peer.wait_for("3");
}

#[test]
fn the_newest_client_wins_once_it_said_hello() {
    let running = start(with_ids(&[1]), None);
    let mut first = Peer::greeted(&running);
    first.wait_for("end");
    let mut second = Peer::connect(&running);
    second.wait_for("hello here");
    first.ask(1, RequestKind::Status);
    first.wait_for("reply 1 Ok(())");
    second.hello(PROTOCOL_VERSION);
    second.wait_for("end");
    assert!(first.is_closed());
}

#[test]
fn another_version_or_no_hello_is_closed() {
    let running = start(with_ids(&[1]), None);
    let mut newer = Peer::connect(&running);
    newer.hello(PROTOCOL_VERSION + 1);
    assert!(newer.is_closed());
    assert!(!newer.seen.has("begin"));
    let mut hasty = Peer::connect(&running);
    hasty.ask(1, RequestKind::Status);
    assert!(hasty.is_closed());
    let mut good = Peer::greeted(&running);
    good.wait_for("loss protocol_error 2");
}

#[test]
fn garbage_ends_the_connection_and_the_next_is_served() {
    let running = start(with_ids(&[1]), None);
    let zeros = vec![0; nodescope_schema::MAX_MESSAGE_BYTES + 1];
    for garbage in [&b"x"[..], &[0xff; 1000], &zeros] {
        let mut peer = Peer::greeted(&running);
        peer.wait_for("end");
        peer.send(garbage);
        assert!(peer.is_closed());
    }
    Peer::greeted(&running).wait_for("loss protocol_error 3");
}

#[test]
fn requests_are_answered() {
    let running = start(with_ids(&[1]), None);
    let mut peer = Peer::greeted(&running);
    let missing = OpenFile {
        kind: FileKind::DockerDaemon,
        container: b"",
        namespace: b"",
        root: b"",
        uid: 0,
    };
    let bad = OpenFile {
        container: b"..",
        ..missing
    };
    peer.ask(1, RequestKind::OpenFile(missing));
    peer.ask(2, RequestKind::OpenFile(bad));
    peer.ask(3, RequestKind::Status);
    peer.wait_for(&format!("reply 1 Err({:?})", Refusal::NotFound));
    peer.wait_for(&format!("reply 2 Err({:?})", Refusal::BadArgument));
    peer.wait_for("reply 3 Ok(())");
}

#[test]
fn ping_targets_are_those_that_were_seen() {
    let fake = with_ids(&[1]);
    let seen = |last| IpAddr::from([192, 0, 2, last]);
    *fake.destinations.lock().unwrap() = vec![seen(1), seen(2), seen(2)];
    let running = start(fake, None);
    let mut peer = Peer::greeted(&running);
    let v4 = |last| Ipv4Addr::new(192, 0, 2, last).to_ipv6_mapped().octets();
    let addresses = [v4(1), v4(2), v4(3), [0; 16], [0xff; 16]];
    let targets = SetPingTargets {
        addresses: &addresses,
    };
    peer.ask(1, RequestKind::SetPingTargets(targets));
    peer.wait_for("reply 1 Ok(())");
    peer.ask(2, RequestKind::Status);
    peer.wait_for("loss not_allowed 2");
    peer.wait_for("loss not_seen 1");
    for id in 3..30 {
        peer.ask(id, RequestKind::SetPingTargets(targets));
    }
    peer.wait_for(&format!("reply 29 Err({:?})", Refusal::RateLimited));
}

#[test]
fn a_client_that_does_not_read_gets_a_snapshot_when_it_does() {
    let fake = with_ids(&(0..2000).collect::<Vec<_>>());
    let running = start(fake.clone(), None);
    let mut peer = Peer::greeted(&running);
    // A megabyte does not fit into the socket: the snapshot breaks off.
    std::thread::sleep(client::PACKET_WAIT * 3);
    fake.ids.lock().unwrap().push(2000);
    peer.wait_for("end");
    let begins = peer.seen.0.iter().filter(|word| *word == "begin").count();
    assert_eq!(begins, 2, "one that broke off and one that did not");
    assert!(peer.seen.has("2000"));
    let lost = peer
        .seen
        .0
        .iter()
        .rfind(|word| word.starts_with("loss client_slow "));
    assert_ne!(lost.unwrap(), "loss client_slow 0");
}

#[test]
fn a_snapshot_that_is_not_whole_has_no_end() {
    let fake = with_ids(&[1]);
    *fake.snapshots_fail.lock().unwrap() = true;
    let running = start(fake.clone(), None);
    let mut peer = Peer::greeted(&running);
    peer.wait_for("loss map_unreadable 1");
    assert!(!peer.seen.has("end"));
    *fake.snapshots_fail.lock().unwrap() = false;
    peer.wait_for("end");
}

#[test]
fn a_recording_needs_no_client() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("recording");
    let mut running = start(with_ids(&[7]), Some(path.clone()));
    std::thread::sleep(Duration::from_millis(200));
    running.stop().unwrap();
    let mut reader =
        nodescope_schema::RecordingReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let mut seen = Seen::default();
    while let Some(message) = reader.next_message().unwrap() {
        decode_from_sensor(message, &mut seen).unwrap();
    }
    assert_eq!(seen.0[..3], ["hello here", "begin", "7"]);
    assert!(seen.has("end"));
}

#[test]
fn hints_without_end_are_taken_at_a_bounded_rate() {
    let wake = nix::sys::eventfd::EventFd::from_value(1).unwrap();
    let fake = Fake {
        wake: Some(Arc::new(wake.into())),
        ..with_ids(&[1])
    };
    let running = start(fake.clone(), None);
    let start = Instant::now();
    Peer::greeted(&running).wait_for("end");
    std::thread::sleep(Duration::from_millis(300));
    let most = start.elapsed().as_millis() / URGENT_INTERVAL.as_millis() + 2;
    let urgents = u128::from(*fake.urgents.lock().unwrap());
    assert!((5..=most).contains(&urgents), "{urgents}");
}
