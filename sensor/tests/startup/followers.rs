//! The processes that go on asking netlink: what they may do, and what their end is to the sensor.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nodescope_schema::Verdict;

use crate::common::{Peer, Sensor, Waited, is_root};

const PATIENCE: Duration = Duration::from_secs(30);
/// CAP_NET_ADMIN and CAP_BPF, by their numbers in `linux/capability.h`.
const NET_ADMIN: u64 = 1 << 12;
const BPF: u64 = 1 << 39;

/// Such a process.
struct Follower {
    flag: &'static str,
    name: &'static str,
    hook: &'static str,
    rung: &'static str,
    capabilities: u64,
    descriptors: fn() -> usize,
}

const FOLLOWERS: [Follower; 2] = [
    Follower {
        flag: "--conntrack-events",
        name: "nodescope-nat",
        hook: "translations",
        rung: "ctnetlink events",
        capabilities: NET_ADMIN | BPF,
        // Two sockets, two maps and the pipe.
        descriptors: || 5,
    },
    Follower {
        flag: "--taskstats",
        name: "nodescope-delay",
        hook: "delays",
        rung: "taskstats",
        capabilities: NET_ADMIN,
        // Two sockets, /proc, the v2 tree, a v1 hierarchy where there is one, and the pipe.
        descriptors: || 5 + usize::from(has_v1()),
    },
];

fn has_v1() -> bool {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    own.lines().any(|line| line.contains(":memory:"))
}

impl Follower {
    fn start(&self) -> (Sensor, u32) {
        let sensor = Sensor::start(&[self.flag]);
        let pid = child(&sensor, self.name);
        (sensor, pid)
    }

    /// The sensor tells its hook so, and with these words.
    fn tells(&self, peer: &mut Peer, verdict: Verdict, words: &str) {
        let waited = peer.read_until(PATIENCE, |seen| {
            seen.hooks
                .get(self.hook)
                .is_some_and(|(rung, told, detail)| {
                    rung == self.rung && *told == verdict && detail.contains(words)
                })
        });
        assert_eq!(waited, Waited::Done, "{:?}", peer.seen.hooks.get(self.hook));
    }
}

/// What `/proc` says of a process in one line.
pub(crate) fn field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim_start_matches(':').trim()
}

/// The child of the sensor that has this name.
pub(crate) fn child(sensor: &Sensor, name: &str) -> u32 {
    let parent = sensor.child.id().to_string();
    let found = || {
        let statuses = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let path = entry.unwrap().path();
            fs::read_to_string(path.join("status")).ok()
        });
        let mut of_sensor = statuses
            .filter(|status| field(status, "PPid") == parent && field(status, "Name") == name);
        of_sensor
            .next()
            .map(|status| field(&status, "Pid").parse().unwrap())
    };
    // It names itself after the sensor has gone on.
    assert!(eventually(|| found().is_some()), "{}", sensor.log());
    found().unwrap()
}

/// Whether something comes to be so in time.
pub(crate) fn eventually(is_so: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    is_so()
}

/// Whether it runs no more; what is left of an orphan is process 1's to remove.
pub(crate) fn has_ended(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status"))
        .map_or(true, |status| field(&status, "State").starts_with('Z'))
}

#[test]
fn they_keep_little() {
    if !is_root() {
        return;
    }
    for follower in FOLLOWERS {
        let (_sensor, pid) = follower.start();
        is_confined(pid, follower.capabilities, (follower.descriptors)());
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let own: u64 = field(&status, "RssAnon")
            .trim_end_matches(" kB")
            .parse()
            .unwrap();
        // Loading the programs takes 20 MiB, none of which it may have kept.
        assert!(own < 4096, "{}: {own} KiB", follower.name);
    }
}

/// It has these capabilities and no others, its filter, and so many descriptors beside the standard ones.
pub(crate) fn is_confined(pid: u32, capabilities: u64, descriptors: usize) {
    let process = format!("/proc/{pid}");
    let read = || fs::read_to_string(format!("{process}/status")).unwrap();
    // It confines itself after the sensor has gone on.
    assert!(eventually(|| field(&read(), "Seccomp") == "2"));
    let status = read();
    for set in ["CapEff", "CapPrm"] {
        assert_eq!(field(&status, set), format!("{capabilities:016x}"), "{set}");
    }
    for set in ["CapInh", "CapBnd", "CapAmb"] {
        assert_eq!(field(&status, set), "0000000000000000", "{set}");
    }
    assert_eq!(field(&status, "NoNewPrivs"), "1");
    let open = fs::read_dir(format!("{process}/fd")).unwrap().count();
    assert_eq!(open, 3 + descriptors);
}

#[test]
fn their_end_is_a_verdict_and_no_more() {
    if !is_root() {
        return;
    }
    for follower in FOLLOWERS {
        let (mut sensor, pid) = follower.start();
        let mut peer = Peer::greeted(&sensor);
        follower.tells(&mut peer, Verdict::Degraded, "missing");
        kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
        follower.tells(&mut peer, Verdict::Failed, "has ended");
        let nothing_is_left = || !Path::new(&format!("/proc/{pid}")).exists();
        assert!(eventually(nothing_is_left));
        drop(peer);
        sensor.serves();
        // Who comes later hears it too.
        let mut later = Peer::greeted(&sensor);
        follower.tells(&mut later, Verdict::Failed, "has ended");
        assert_eq!(sensor.end(), Some(0), "{}", sensor.log());
    }
}

#[test]
fn they_end_with_the_sensor() {
    if !is_root() {
        return;
    }
    for follower in FOLLOWERS {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            let (mut sensor, pid) = follower.start();
            kill(Pid::from_raw(sensor.child.id() as i32), signal).unwrap();
            sensor.child.wait().unwrap();
            assert!(eventually(|| has_ended(pid)), "{} {signal}", follower.name);
        }
    }
}
