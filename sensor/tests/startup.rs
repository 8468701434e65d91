//! How the sensor starts and ends: exit statuses, the one line it says, and what it leaves behind.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::{self, File, Permissions};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use common::{CLIENT, CLIENT_ID, Sensor, command, is_root};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

const SENSOR: &str = env!("CARGO_BIN_EXE_nodescope-sensor");

fn output(flags: &[&str]) -> Output {
    Command::new(SENSOR).args(flags).output().unwrap()
}

/// The sensor ends with this status and says one line, which holds these words.
fn refuses(command: &mut Command, status: i32, words: &[&str]) {
    let output = command
        .stderr(std::process::Stdio::piped())
        .output()
        .unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.starts_with("nodescope-sensor: "), "{line}");
    for word in words {
        assert!(line.contains(word), "{word}: {line}");
    }
}

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(directory.path().join("host")).unwrap();
    directory
}

#[test]
fn help_and_version_need_nothing() {
    let help = output(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("--check") && help.contains("  77 "), "{help}");
    let version = output(&["--version"]).stdout;
    let wanted = concat!("nodescope-sensor ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(String::from_utf8(version).unwrap(), wanted);
}

#[test]
fn wrong_flags_are_64() {
    refuses(
        Command::new(SENSOR).arg("--nonsense"),
        64,
        &["--nonsense", "--help"],
    );
    refuses(
        Command::new(SENSOR).args(["--poll-interval-ms", "0"]),
        64,
        &["--poll-interval-ms", "100"],
    );
}

#[test]
fn another_user_than_root_is_77() {
    if !is_root() {
        return;
    }
    // The binary may lie where that user cannot go.
    let directory = directory();
    let copy = directory.path().join("sensor");
    fs::copy(SENSOR, &copy).unwrap();
    refuses(
        Command::new(&copy).uid(CLIENT_ID),
        77,
        &["run as root", "CAP_BPF", "CAP_NET_ADMIN"],
    );
    refuses(
        Command::new(&copy).arg("--check").uid(CLIENT_ID),
        77,
        &["run as root"],
    );
}

#[test]
fn what_does_not_exist_is_64() {
    if !is_root() {
        return;
    }
    let directory = directory();
    let no_user = ["--client-user", "nobody-of-that-name"];
    refuses(
        command(directory.path()).args(no_user),
        64,
        &["nobody-of-that-name", "--client-user"],
    );
    refuses(
        command(directory.path()).args(["--host-root", "/nowhere"]),
        64,
        &["/nowhere"],
    );
}

#[test]
fn a_socket_that_cannot_be_made_is_73() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    let mut second = Command::new(SENSOR);
    second
        .args(["--client-user", CLIENT, "--socket"])
        .arg(sensor.socket());
    refuses(&mut second, 73, &["in use", "another sensor"]);
    sensor.serves();

    let directory = directory();
    let taken = directory.path().join("taken");
    fs::write(&taken, "mine").unwrap();
    let at = |path: &Path| {
        let mut command = command(directory.path());
        command.arg("--socket").arg(path);
        command
    };
    refuses(&mut at(&taken), 73, &["taken", "not a socket"]);
    assert_eq!(fs::read(&taken).unwrap(), b"mine");
    refuses(
        &mut at(&directory.path().join("a/b/sock")),
        73,
        &["cannot create", "a/b"],
    );
    let open = directory.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    refuses(&mut at(&open.join("sock")), 73, &["not safe"]);
    refuses(
        command(directory.path()).arg("--record").arg(&taken),
        73,
        &["taken", "exists"],
    );
    assert!(
        !directory.path().join("run/sensor.sock").exists(),
        "left behind"
    );
}

#[test]
fn a_signal_ends_it_and_nothing_is_left() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    let path = sensor.socket();
    assert!(path.exists());
    assert_eq!(sensor.end(), Some(0), "{}", sensor.log());
    assert!(!path.exists());
}

#[test]
fn a_killed_sensor_does_not_stop_the_next() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    sensor.child.kill().unwrap();
    sensor.child.wait().unwrap();
    assert!(sensor.socket().exists());
    let child = command(sensor.directory.path()).spawn().unwrap();
    sensor.child = child;
    // The log has the first one's line, so wait for the second.
    for _ in 0..500 {
        if sensor.log().matches("ready").count() == 2 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    sensor.serves();
}

#[test]
fn its_rights_are_gone_once_it_serves() {
    if !is_root() {
        return;
    }
    let sensor = Sensor::start(&[]);
    // CAP_DAC_READ_SEARCH is 2, CAP_BPF is 39.
    let kept = format!("{:016x}", 1_u64 << 2 | 1 << 39);
    assert_eq!(sensor.status("CapEff"), kept);
    assert_eq!(sensor.status("CapPrm"), kept);
    for set in ["CapInh", "CapBnd", "CapAmb"] {
        assert_eq!(sensor.status(set), "0000000000000000", "{set}");
    }
    assert_eq!(sensor.status("NoNewPrivs"), "1");
    assert_eq!(sensor.status("Seccomp"), "2");
    let pid = sensor.child.id();
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        assert!(status.contains("Seccomp:\t2\n"), "{status}");
        assert!(status.contains(&format!("CapEff:\t{kept}\n")), "{status}");
    }
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    assert!(
        limits
            .lines()
            .any(|line| line.starts_with("Max core file size        0 ")),
        "{limits}"
    );
    let environment = fs::metadata(format!("/proc/{pid}/environ")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&environment), 0);
}

#[test]
fn inherited_descriptors_are_closed() {
    if !is_root() {
        return;
    }
    let directory = directory();
    let (reader, writer) = std::io::pipe().unwrap();
    nix::fcntl::fcntl(
        &writer,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
    )
    .unwrap();
    let child = command(directory.path()).spawn().unwrap();
    let _sensor = Sensor { directory, child };
    drop(writer);
    let mut end = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
    assert_eq!(
        poll(&mut end, 10_000_u16).unwrap(),
        1,
        "the sensor holds the writing end"
    );
}

#[test]
fn systemd_can_pass_the_socket() {
    if !is_root() {
        return;
    }
    let directory = directory();
    let path = directory.path().join("run/sensor.sock");
    fs::create_dir(directory.path().join("run")).unwrap();
    let flags = SockFlag::empty();
    let passed: OwnedFd = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).unwrap();
    bind(passed.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
    listen(&passed, Backlog::new(4).unwrap()).unwrap();
    // The shell's pid becomes the sensor's.
    let script = format!(
        "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" --client-user {CLIENT} --socket /nowhere/x 3<&{}",
        passed.as_raw_fd()
    );
    let log = File::create(directory.path().join("log")).unwrap();
    let child = Command::new("sh")
        .args(["-c", &script, SENSOR])
        .stderr(log)
        .spawn()
        .unwrap();
    let mut sensor = Sensor { directory, child };
    let mut peer = common::Peer::connect(&sensor).unwrap();
    peer.say_hello();
    peer.wait_for_snapshot();
    assert_eq!(sensor.end(), Some(0));
    assert!(path.exists(), "it is systemd's to remove");

    let stream = UnixListener::bind(sensor.directory.path().join("stream")).unwrap();
    let fd = stream.as_raw_fd();
    nix::fcntl::fcntl(
        &stream,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
    )
    .unwrap();
    let script = format!("LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" --client-user {CLIENT} 3<&{fd}");
    refuses(
        Command::new("sh").args(["-c", &script, SENSOR]),
        73,
        &["SOCK_SEQPACKET"],
    );
}

/// Runs a shell script in namespaces of its own, in which it is process 1 and the sensor is `$0`. The cgroup namespace
/// keeps a mount of cgroup v2 from changing the options of the system's.
fn in_own_namespaces(script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--propagation",
        "private",
        "--cgroup",
        "--pid",
        "--fork",
    ]);
    command.args(["--kill-child", "--mount-proc", "sh", "-c", script, SENSOR]);
    command
}

const UNMOUNT_CGROUP2: &str =
    "for dir in $(awk '$3 == \"cgroup2\" { print $2 }' /proc/mounts); do umount -l $dir; done; ";

fn cgroup2_mounts() -> Vec<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts
        .lines()
        .filter(|line| line.contains(" - cgroup2 "))
        .map(str::to_owned)
        .collect()
}

/// The place of the cgroup tree that `--check` shows after this script, and what the system's mounts then are.
fn cgroup_tree_after(script: &str) -> String {
    let before = cgroup2_mounts();
    let output = in_own_namespaces(&format!("{script} \"$0\" --check"))
        .output()
        .unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{table}");
    assert_eq!(cgroup2_mounts(), before);
    let line = table
        .lines()
        .find_map(|line| line.strip_prefix("cgroup_v2 "))
        .unwrap();
    line.trim().to_owned()
}

#[test]
fn without_cgroup_v2_it_mounts_its_own() {
    if !is_root() {
        return;
    }
    assert_eq!(cgroup_tree_after(UNMOUNT_CGROUP2), "own mount");
}

#[test]
fn the_cgroup_v2_of_process_1_will_do() {
    if !is_root() {
        return;
    }
    // Process 1 keeps what its child unmounts.
    let script = format!(
        "unshare --mount --propagation private sh -c '{}",
        UNMOUNT_CGROUP2.replace('\'', "'\\''")
    );
    let tree = cgroup_tree_after(&format!("{script} exec \"$0\" --check' \"$0\"; exit $?;"));
    assert!(tree.starts_with("/proc/1/root/sys/fs/cgroup"), "{tree}");
}

#[test]
fn without_btf_it_says_so() {
    if !is_root() {
        return;
    }
    let script = "mount -t tmpfs none /sys/kernel/btf && exec \"$0\" --check";
    refuses(
        &mut in_own_namespaces(script),
        69,
        &["BTF", "CONFIG_DEBUG_INFO_BTF"],
    );
}

/// A filter with which `bpf` fails as on a kernel without it, or as where it is not permitted.
fn without_bpf(errno: i32) -> BpfProgram {
    let any = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ge, 0).unwrap();
    let rule = SeccompRule::new(vec![any]).unwrap();
    let rules = [(libc::SYS_bpf, vec![rule])].into_iter().collect();
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let fails = SeccompAction::Errno(errno as u32);
    SeccompFilter::new(rules, SeccompAction::Allow, fails, arch)
        .unwrap()
        .try_into()
        .unwrap()
}

#[test]
fn without_bpf_it_says_so() {
    if !is_root() {
        return;
    }
    for (errno, status, words) in [
        (libc::ENOSYS, 69, ["no BPF", "CONFIG_BPF_SYSCALL"]),
        (libc::EPERM, 77, ["not permitted", "CAP_BPF"]),
    ] {
        let filter = without_bpf(errno);
        let mut command = Command::new(SENSOR);
        command.arg("--check");
        // SAFETY: between fork and exec this makes two system calls and allocates nothing.
        unsafe {
            command.pre_exec(move || {
                seccompiler::apply_filter(&filter).map_err(std::io::Error::other)
            });
        }
        refuses(&mut command, status, &words);
    }
}

#[test]
fn check_tells_what_works() {
    if !is_root() {
        return;
    }
    let table = output(&["--check"]);
    let text = String::from_utf8(table.stdout).unwrap();
    let good = table.status.code() == Some(0);
    assert!(good || table.status.code() == Some(69), "{text}");
    assert_eq!(good, !text.contains("  failed  "), "{text}");
    assert!(text.contains("tcp_state"), "{text}");
    let json = String::from_utf8(output(&["--check", "--json"]).stdout).unwrap();
    assert!(
        json.starts_with(&format!("{{\"good\":{good},\"node\":{{\"sensor\":")),
        "{json}"
    );
    assert_eq!(
        json.matches("\"verdict\":").count(),
        text.lines().skip_while(|line| !line.is_empty()).count() - 1
    );
}
