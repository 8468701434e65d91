//! A client that means harm, against the real sensor: it stays up, within its memory and processor time, gives no
//! descriptor it should not, and serves the next client. Each test is one kind of attack.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::{self, Permissions};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use common::{CLIENT_ID, DAEMON, Peer, Sensor, Waited, is_root};
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nodescope_schema::{
    AggregatorHello, FileKind, MAX_MESSAGE_BYTES, OpenFile, Refusal, Request, RequestKind,
    encode_aggregator_hello, encode_request,
};

/// The sensor may grow by this much under attack: buffers it fills once.
const GROWTH_KIB: u64 = 3 * 1024;
const ID: &[u8; 64] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn docker(root: &[u8]) -> OpenFile<'_> {
    OpenFile {
        kind: FileKind::DockerConfig,
        container: ID,
        namespace: b"",
        root,
        uid: 0,
    }
}

/// Does `action` in a thread with the rights of this user and group.
fn as_user<T: Send>(uid: u32, gid: u32, action: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: takes numbers only, and as a plain system call changes this thread alone.
            let changed = unsafe {
                libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<u32>())
                    | libc::syscall(libc::SYS_setresgid, gid, gid, gid)
                    | libc::syscall(libc::SYS_setresuid, uid, uid, uid)
            };
            assert_eq!(changed, 0);
            action()
        });
        thread.join().unwrap()
    })
}

#[test]
fn another_user_is_refused() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    // The mode of the socket keeps out most, the check of the peer also one of the right group.
    let error = as_user(12345, 12345, || Peer::connect(&sensor).err());
    assert_eq!(error, Some(Errno::EACCES));
    as_user(12345, CLIENT_ID, || {
        let mut peer = Peer::connect(&sensor).unwrap();
        peer.say_hello();
        assert!(peer.is_closed());
        assert!(!peer.seen.hello, "not even a hello");
    });
    as_user(CLIENT_ID, CLIENT_ID, || {
        Peer::greeted(&sensor).wait_for_snapshot()
    });
    let mut peer = Peer::greeted(&sensor);
    peer.wait_for_snapshot();
    assert_eq!(peer.seen.loss("connections/peer_refused"), 1);
    assert!(
        sensor.log().contains("refused a connection of user 12345"),
        "{}",
        sensor.log()
    );
    sensor.serves();
}

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
fn bad_arguments_get_no_descriptor() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    // What path traversal would reach.
    sensor.put("etc/shadow", "secret");
    sensor.put("secret/config.json", "secret");
    let mut peer = Peer::greeted(&sensor);
    let long = [b'a'; 5000];
    let arguments: [&[u8]; 12] = [
        b"..",
        b"../../../../etc/shadow",
        b"/etc/shadow",
        b".",
        b"a/../..",
        b"a\0",
        b"\xff\xfe",
        b"a b",
        b"-rf",
        &long,
        b"%2e%2e",
        b"secret/config.json",
    ];
    let mut id = 0;
    for kind in FileKind::ALL {
        for argument in arguments {
            let right = OpenFile {
                kind,
                container: ID,
                namespace: b"ns",
                root: b"",
                uid: 0,
            };
            for request in [
                OpenFile {
                    container: argument,
                    ..right
                },
                OpenFile {
                    namespace: argument,
                    ..right
                },
                OpenFile {
                    root: argument,
                    ..right
                },
                OpenFile {
                    root: b"/../../etc",
                    ..right
                },
                OpenFile {
                    uid: u32::MAX,
                    ..right
                },
            ] {
                id += 1;
                let refusal = peer.open(id, &request).unwrap_err();
                let expected = matches!(refusal, Refusal::BadArgument | Refusal::NotFound);
                assert!(expected, "{request:?}: {refusal}");
            }
        }
    }
    sensor.serves();
}

#[test]
fn traps_in_the_file_system_get_no_descriptor() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    let mut peer = Peer::greeted(&sensor);
    let id = std::str::from_utf8(ID).unwrap();
    let mut count = 0;
    let mut trap = |name: &str, set: &dyn Fn(&Path), wanted: Result<&str, Refusal>| {
        count += 1;
        let root = format!("/srv/{name}");
        let file = sensor.put(
            &format!("srv/{name}/containers/{id}/config.v2.json"),
            "right",
        );
        set(&file);
        let got = peer.open(count, &docker(root.as_bytes()));
        assert_eq!(got.as_deref(), wanted.as_deref(), "{name}");
    };
    let secret = sensor.put("secret/config.v2.json", "secret");
    let remove = |file: &Path| fs::remove_file(file).unwrap();
    let node = |file: &Path, kind, device| {
        remove(file);
        mknod(file, kind, Mode::from_bits_truncate(0o644), device).unwrap();
    };
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let up = |file: &Path, levels: usize| file.ancestors().nth(levels).unwrap().to_owned();

    trap("plain", &|_| {}, Ok("right"));
    trap(
        "symlink",
        &|file| {
            remove(file);
            symlink(&secret, file).unwrap();
        },
        Err(Refusal::Forbidden),
    );
    trap(
        "symlink_directory",
        &|file| {
            fs::remove_dir_all(up(file, 1)).unwrap();
            symlink(secret.parent().unwrap(), up(file, 1)).unwrap();
        },
        Err(Refusal::Forbidden),
    );
    trap(
        "proc_link",
        &|file| {
            remove(file);
            symlink("/proc/self/environ", file).unwrap();
        },
        Err(Refusal::Forbidden),
    );
    trap(
        "hard_link",
        &|file| {
            remove(file);
            fs::hard_link(&secret, file).unwrap();
        },
        Err(Refusal::Forbidden),
    );
    trap(
        "fifo",
        &|file| node(file, SFlag::S_IFIFO, 0),
        Err(Refusal::Forbidden),
    );
    trap(
        "character_device",
        &|file| node(file, SFlag::S_IFCHR, makedev(1, 3)),
        Err(Refusal::Forbidden),
    );
    trap(
        "block_device",
        &|file| node(file, SFlag::S_IFBLK, makedev(7, 200)),
        Err(Refusal::Forbidden),
    );
    trap(
        "directory",
        &|file| {
            remove(file);
            fs::create_dir(file).unwrap();
        },
        Err(Refusal::Forbidden),
    );
    trap(
        "huge",
        &|file| {
            fs::File::options()
                .write(true)
                .open(file)
                .unwrap()
                .set_len(1 << 40)
                .unwrap();
        },
        Err(Refusal::Forbidden),
    );
    trap(
        "wrong_owner",
        &|file| chown(file, Some(1234), None).unwrap(),
        Err(Refusal::Forbidden),
    );
    for levels in 1..=3 {
        let name = format!("writable_{levels}");
        trap(
            &name,
            &|file| mode(&up(file, levels), 0o777),
            Err(Refusal::Forbidden),
        );
        let name = format!("foreign_{levels}");
        trap(
            &name,
            &|file| chown(up(file, levels), Some(1234), None).unwrap(),
            Err(Refusal::Forbidden),
        );
    }
    trap("gone", &|file| remove(file), Err(Refusal::NotFound));
    assert!(peer.files.is_empty());
    sensor.serves();
}

#[test]
fn a_flood_of_requests_costs_little() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    sensor.put("etc/docker/daemon.json", "good");
    let mut peer = Peer::greeted(&sensor);
    peer.wait_for_snapshot();
    let (memory, cpu, start) = (sensor.resident_kib(), sensor.cpu(), Instant::now());
    let request = |id| {
        encode_request(&Request {
            id,
            kind: RequestKind::OpenFile(DAEMON),
        })
    };
    let mut offered = 0_u64;
    let mut sent = 0_u64;
    while start.elapsed() < Duration::from_secs(5) {
        // 100 every 10 ms.
        for _ in 0..100 {
            offered += 1;
            sent += u64::from(peer.send(&request(offered), None).is_ok());
        }
        let waited = peer.read_for(Duration::from_millis(5));
        assert_eq!(waited, Waited::TimedOut, "{}", sensor.log());
        peer.files.clear();
        let next = Duration::from_millis(offered / 10);
        std::thread::sleep(next.saturating_sub(start.elapsed()));
    }
    let elapsed = start.elapsed();
    let used = sensor.cpu().checked_sub(cpu).unwrap();
    let share = used.as_secs_f64() / elapsed.as_secs_f64();
    let granted = peer
        .seen
        .replies
        .iter()
        .filter(|reply| reply.result.is_ok())
        .count();
    let limited = peer
        .seen
        .replies
        .iter()
        .filter(|reply| reply.result == Err(Refusal::RateLimited))
        .count();
    println!(
        "{} offered/s, {} read/s, {} granted/s, sensor {:.1} % of a core, {} -> {} KiB",
        offered / elapsed.as_secs(),
        peer.seen.replies.len() as u64 / elapsed.as_secs(),
        granted as u64 / elapsed.as_secs(),
        share * 100.0,
        memory,
        sensor.resident_kib(),
    );
    // A busy machine may offer fewer a second; that some were over the limit is what makes it a flood.
    assert!(sent > 0 && limited > 0, "{sent} {limited}");
    // A burst of 2000 and 500 a second.
    assert!(
        granted as u64 <= 2000 + 500 * (elapsed.as_secs() + 1),
        "{granted}"
    );
    assert!(share < 0.4, "{share}");
    assert!(
        sensor.resident_kib() <= memory + GROWTH_KIB,
        "{memory} {}",
        sensor.resident_kib()
    );
    sensor.serves();
}

#[test]
fn a_client_that_never_reads_costs_no_memory() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&["--poll-interval-ms", "100"]);
    sensor.put("etc/docker/daemon.json", "good");
    let (memory, cpu, descriptors) = (sensor.resident_kib(), sensor.cpu(), sensor.descriptors());
    let start = Instant::now();
    let peer = Peer::greeted(&sensor);
    let request = encode_request(&Request {
        id: 1,
        kind: RequestKind::OpenFile(DAEMON),
    });
    let status = encode_request(&Request {
        id: 2,
        kind: RequestKind::Status,
    });
    let mut sent = 0;
    for _ in 0..300 {
        for message in [&request, &status].repeat(50) {
            sent += usize::from(peer.send(message, None).is_ok());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(sent < 20_000, "{sent}: it was read on and on");
    let used = sensor.cpu().checked_sub(cpu).unwrap();
    assert!(
        used < start.elapsed() / 4,
        "{used:?}: it does not wait for the client"
    );
    let grown = sensor.resident_kib();
    assert!(grown <= memory + GROWTH_KIB, "{memory} {grown}");
    // What waits for the client: the broker's queue and one reply.
    assert!(
        sensor.descriptors() <= descriptors + 258 + 2,
        "{}",
        sensor.descriptors()
    );
    drop(peer);
    sensor.serves();
    std::thread::sleep(Duration::from_millis(200));
    assert!(
        sensor.descriptors() <= descriptors + 1,
        "{}",
        sensor.descriptors()
    );
}

#[test]
fn storms_of_connections_leave_nothing_behind() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    let (memory, cpu, descriptors) = (sensor.resident_kib(), sensor.cpu(), sensor.descriptors());
    let version = nodescope_schema::PROTOCOL_VERSION;
    let hello = AggregatorHello {
        version,
        oldest_version: version,
        release: "storm",
    };
    let hello = encode_aggregator_hello(&hello);
    let start = Instant::now();
    let mut connections = 0;
    while start.elapsed() < Duration::from_secs(4) {
        let peer = Peer::connect(&sensor).unwrap();
        if connections % 2 == 0 {
            let _ = peer.send(&hello, None);
        }
        connections += 1;
    }
    let used = sensor.cpu().checked_sub(cpu).unwrap();
    println!("{connections} connections in 4 s, sensor used {used:?}");
    assert!(
        (40..=200).contains(&connections),
        "{connections}: the rate is bounded"
    );
    assert!(used < Duration::from_secs(1), "{used:?}");
    sensor.serves();
    std::thread::sleep(Duration::from_millis(200));
    assert!(
        sensor.descriptors() <= descriptors + 1,
        "{}",
        sensor.descriptors()
    );
    assert!(sensor.resident_kib() <= memory + GROWTH_KIB);
    let lines = sensor.log().lines().count();
    assert!(lines < 100, "{lines} lines of log");
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
