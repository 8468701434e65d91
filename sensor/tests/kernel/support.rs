//! A place for a test: root, a cgroup of its own and a lock, and records as values that can be kept.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nodescope_schema::{Delays, FlowKind, FlowTotals, Processes, Record};
use nodescope_sensor::kernel::{Kernel, LoadOptions, Rungs, Source};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The node with this process in a fresh cgroup.
pub(crate) struct Node {
    root: PathBuf,
    pub(crate) own: Cgroup,
    _turn: MutexGuard<'static, ()>,
}

/// A cgroup that the test made; removed with it.
pub(crate) struct Cgroup {
    path: PathBuf,
    pub(crate) id: u64,
}

/// A listening socket as last told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listening {
    pub(crate) cgroup: u64,
    pub(crate) executable: Vec<u8>,
    pub(crate) pid: u32,
    pub(crate) ip: Ipv6Addr,
    pub(crate) ipv6_only: bool,
    pub(crate) open: bool,
}

/// What a snapshot, poll or hint says.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// By cgroup v2 inode and remote address.
    pub(crate) flows: HashMap<(u64, SocketAddr), FlowTotals>,
    /// Flows without a destination of their own, by cgroup v2 inode.
    pub(crate) sums: HashMap<(u64, FlowKind), FlowTotals>,
    /// By port.
    pub(crate) listens: HashMap<u16, Listening>,
    pub(crate) processes: HashMap<u64, Processes>,
    pub(crate) delays: HashMap<u64, Delays>,
    pub(crate) cgroups: HashMap<u64, (Vec<u8>, u64, u64)>,
    pub(crate) losses: Vec<(String, u64)>,
}

impl Told {
    pub(crate) fn take(&mut self, record: &Record<'_>) {
        match record {
            Record::Flow(flow) => {
                let owner = flow.key.owner.workload.cgroup_v2;
                if flow.key.kind != FlowKind::Destination {
                    self.sums.insert((owner, flow.key.kind), flow.totals);
                    return;
                }
                let remote = SocketAddr::new(flow.key.remote_ip.into(), flow.key.remote_port);
                self.flows
                    .insert((flow.key.owner.workload.cgroup_v2, remote), flow.totals);
            }
            Record::Listen(listen) => {
                let listening = Listening {
                    cgroup: listen.owner.workload.cgroup_v2,
                    executable: listen.owner.executable.to_vec(),
                    pid: listen.pid,
                    ip: listen.ip,
                    ipv6_only: listen.ipv6_only,
                    open: listen.open,
                };
                self.listens.insert(listen.port, listening);
            }
            Record::Processes(processes) => {
                self.processes.insert(processes.cgroup.id, *processes);
            }
            Record::Delays(delays) => {
                self.delays.insert(delays.cgroup.id, *delays);
            }
            Record::Cgroup(cgroup) => {
                self.cgroups.insert(
                    cgroup.key.id,
                    (cgroup.path.to_vec(), cgroup.created_ns, cgroup.removed_ns),
                );
            }
            Record::Loss(loss) => self
                .losses
                .push((format!("{}/{}", loss.stage, loss.reason), loss.total)),
            _ => {}
        }
    }

    /// Flows of a cgroup to a port, whatever the address.
    pub(crate) fn flows_of(&self, cgroup: u64) -> usize {
        self.flows
            .keys()
            .filter(|(owner, _)| *owner == cgroup)
            .count()
    }
}

impl Node {
    /// None, and why is said, when the test cannot run.
    pub(crate) fn new(test: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "{test}: needs root"
            );
            eprintln!("{test}: skipped, needs root");
            return None;
        }
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let mounted = [
            Path::new("/sys/fs/cgroup"),
            Path::new("/sys/fs/cgroup/unified"),
        ];
        let is_v2 = |path: &&Path| path.join("cgroup.controllers").exists();
        let root = mounted
            .into_iter()
            .find(is_v2)
            .expect("cgroup v2 is mounted")
            .to_path_buf();
        let own = Cgroup::make(
            &root,
            &format!("nodescope-test-{}-{test}", std::process::id()),
        );
        own.enter();
        Some(Self {
            root,
            own,
            _turn: turn,
        })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn load(&self, rungs: Rungs) -> Kernel {
        self.load_with(|options| options.rungs = rungs)
    }

    pub(crate) fn load_with(&self, change: impl FnOnce(&mut LoadOptions)) -> Kernel {
        let netns = fs::metadata("/proc/self/ns/net")
            .expect("own namespace")
            .ino();
        let netns = u32::try_from(netns).expect("an inode of nsfs");
        let mut options = LoadOptions::new(self.root.clone(), netns);
        change(&mut options);
        Kernel::load(&options).expect("the programs load")
    }

    /// Another cgroup beside this process's own.
    pub(crate) fn cgroup(&self, name: &str) -> Cgroup {
        Cgroup::make(
            &self.root,
            &format!("nodescope-test-{}-{name}", std::process::id()),
        )
    }

    pub(crate) fn snapshot(&self, kernel: &mut Kernel) -> Told {
        let mut told = Told::default();
        kernel
            .snapshot(&mut |record| told.take(record))
            .expect("a snapshot");
        told
    }

    /// Takes snapshots until `good` or two seconds have passed, and returns the last: the kernel ends connections and
    /// processes after the call that caused it.
    pub(crate) fn snapshot_when(&self, kernel: &mut Kernel, good: impl Fn(&Told) -> bool) -> Told {
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            let told = self.snapshot(kernel);
            if good(&told) || Instant::now() > deadline {
                return told;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let own = std::process::id().to_string();
        fs::write(self.root.join("cgroup.procs"), own).expect("to leave the cgroup");
    }
}

impl Cgroup {
    fn make(root: &Path, name: &str) -> Self {
        let path = root.join(name);
        fs::create_dir(&path).expect("a new cgroup");
        let id = fs::metadata(&path).expect("the new cgroup").ino();
        Self { path, id }
    }

    /// Moves this process there.
    pub(crate) fn enter(&self) {
        fs::write(
            self.path.join("cgroup.procs"),
            std::process::id().to_string(),
        )
        .expect("to enter the cgroup");
    }

    /// Starts a shell that goes there and then runs `script`.
    pub(crate) fn spawn(&self, script: &str) -> Child {
        let enter = format!(
            "echo $$ > '{}/cgroup.procs' && {script}",
            self.path.display()
        );
        Command::new("sh")
            .args(["-c", &enter])
            .spawn()
            .expect("a shell")
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The last process may not have left yet.
        for _ in 0..50 {
            match fs::remove_dir(&self.path) {
                Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(Duration::from_millis(20))
                }
                _ => return,
            }
        }
    }
}

/// An IPv4 address as the records have it.
pub(crate) fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
        SocketAddr::V6(_) => address,
    }
}
