//! Cgroups and the processes in them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use nodescope_sensor::kernel::{Rungs, Source as _};

use super::support::{Node, Told};

#[test]
fn forks_are_counted_and_are_no_restarts() {
    let Some(node) = Node::new("forks") else {
        return;
    };
    let mut kernel = node.load(Rungs::Best);
    let cgroup = node.cgroup("forked");
    let script = "/bin/true; /bin/true; /bin/true; exit 0";
    assert!(cgroup.spawn(script).wait().expect("its end").success());
    let told = node.snapshot_when(&mut kernel, |told| {
        told.processes.get(&cgroup.id).is_some_and(|p| p.live == 0)
    });
    let processes = told.processes[&cgroup.id];
    assert_eq!(
        (processes.started, processes.ended, processes.live),
        (4, 4, 0),
        "{processes:?}"
    );
    assert_eq!((processes.restarts, processes.oom_kills), (0, 0));
}

#[test]
fn beginning_again_in_an_empty_cgroup_is_a_restart() {
    let Some(node) = Node::new("restarts") else {
        return;
    };
    let mut kernel = node.load(Rungs::Best);
    let cgroup = node.cgroup("restarted");
    for round in 0..3_u64 {
        assert!(cgroup.spawn("exit 0").wait().expect("its end").success());
        let ended = |told: &Told| {
            told.processes
                .get(&cgroup.id)
                .is_some_and(|p| p.ended == round + 1)
        };
        let processes = node.snapshot_when(&mut kernel, ended).processes[&cgroup.id];
        assert_eq!(
            (processes.started, processes.ended),
            (round + 1, round + 1),
            "{processes:?}"
        );
        assert_eq!(processes.restarts, round);
    }
}

/// A rescan puts right what hooks missed, and nothing else: also of a process that waits for its parent.
#[test]
fn rescans_count_nobody_again() {
    let Some(node) = Node::new("rescans") else {
        return;
    };
    let mut kernel = node.load(Rungs::Best);
    let cgroup = node.cgroup("rescanned");
    let counts = |told: &Told| {
        let processes = told.processes.get(&cgroup.id);
        processes.map(|p| (p.live, p.started, p.ended, p.restarts))
    };
    let mut child = cgroup.spawn("exec sleep 1000");
    for wanted in [(1, 1, 0, 0), (0, 1, 1, 0)] {
        let before = node.snapshot_when(&mut kernel, |told| counts(told) == Some(wanted));
        assert_eq!(counts(&before), Some(wanted));
        kernel.rescan().expect("a walk");
        kernel.rescan().expect("a walk");
        assert_eq!(counts(&node.snapshot(&mut kernel)), Some(wanted));
        child.kill().expect("to end it, or that it has ended");
    }
    child.wait().expect("its end");
}

#[test]
fn processes_older_than_the_sensor_are_alive() {
    let Some(node) = Node::new("older-processes") else {
        return;
    };
    let cgroup = node.cgroup("older");
    let mut child = cgroup.spawn("exec sleep 1000");
    while fs::read_to_string(cgroup.path().join("cgroup.procs"))
        .expect("its processes")
        .is_empty()
    {
        std::thread::yield_now();
    }
    let mut kernel = node.load(Rungs::Best);
    let found = node.snapshot(&mut kernel).processes[&cgroup.id];
    child.kill().expect("to end it");
    child.wait().expect("its end");
    assert_eq!(
        (found.live, found.started, found.ended),
        (1, 1, 0),
        "{found:?}"
    );
    let ended = |told: &Told| told.processes[&cgroup.id].live == 0;
    assert_eq!(
        node.snapshot_when(&mut kernel, ended).processes[&cgroup.id].ended,
        1
    );
}

#[test]
fn a_cgroup_is_told_when_it_is_made_and_removed() {
    let Some(node) = Node::new("cgroups") else {
        return;
    };
    let mut kernel = node.load(Rungs::Best);
    let before = node.snapshot(&mut kernel);
    let own_path = Path::new("/").join(node.own.path().file_name().expect("a name"));
    let own = &before.cgroups[&node.own.id];
    assert_eq!(own.0, own_path.as_os_str().as_encoded_bytes());
    assert_eq!((own.1, own.2), (0, 0), "older than the sensor, and there");

    let child = node.own.path().join("child");
    fs::create_dir(&child).expect("a cgroup");
    let id = fs::metadata(&child).expect("the cgroup").ino();
    fs::remove_dir(&child).expect("to remove it");
    let mut told = Told::default();
    kernel.urgent(&mut |record| told.take(record));
    let (path, created_ns, removed_ns) = &told.cgroups[&id];
    assert_eq!(path, own_path.join("child").as_os_str().as_encoded_bytes());
    assert!(*created_ns > 0 && removed_ns > created_ns);
    assert_eq!(
        node.snapshot(&mut kernel).cgroups[&id],
        told.cgroups[&id],
        "it stays known"
    );
}

/// A memory cgroup with a limit, in the v1 hierarchy or the v2 tree, wherever this system has the controller.
struct Limited {
    path: std::path::PathBuf,
}

impl Limited {
    fn make() -> Option<Self> {
        let name = format!("nodescope-test-{}-oom", std::process::id());
        let limits = [
            ("memory", "memory.limit_in_bytes"),
            ("", "memory.max"),
            ("unified", "memory.max"),
        ];
        limits.into_iter().find_map(|(hierarchy, limit)| {
            let path = Path::new("/sys/fs/cgroup").join(hierarchy).join(&name);
            fs::create_dir(&path).ok()?;
            let made = Self { path };
            fs::write(made.path.join(limit), "16777216").ok()?;
            // Where there is swap the limit would only push the process there.
            let _ = fs::write(made.path.join("memory.swap.max"), "0");
            Some(made)
        })
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}

#[test]
fn an_oom_kill_is_counted_where_it_happened() {
    let Some(node) = Node::new("oom") else { return };
    let mut kernel = node.load(Rungs::Best);
    let Some(limited) = Limited::make() else {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "oom: needs the memory controller"
        );
        eprintln!("oom: skipped, this system has no memory controller to set");
        return;
    };
    let id = fs::metadata(&limited.path).expect("the cgroup").ino();
    let script = format!(
        "echo $$ > '{}/cgroup.procs' && exec tail /dev/zero",
        limited.path.display()
    );
    let status = Command::new("sh")
        .args(["-c", &script])
        .status()
        .expect("a shell");
    assert!(!status.success());
    let told = node.snapshot_when(&mut kernel, |told| {
        told.processes.get(&id).is_some_and(|p| p.live == 0)
    });
    let processes = told.processes[&id];
    assert_eq!(
        (processes.oom_kills, processes.started, processes.ended),
        (1, 1, 1),
        "{processes:?}"
    );
}
