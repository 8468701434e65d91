//! Cgroups in every mounted hierarchy at once, as systemd makes them.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::DEADLINE;
use crate::{poll, unique};

/// Mount points of all cgroup hierarchies, v1 and v2.
pub fn hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    let mut found: Vec<PathBuf> = mounts.lines().filter_map(cgroup_mount).collect();
    found.sort();
    found.dedup();
    assert!(!found.is_empty(), "no cgroup hierarchy is mounted");
    found
}

fn cgroup_mount(line: &str) -> Option<PathBuf> {
    let (mount, kind) = line.split_once(" - ")?;
    let is_cgroup = kind.starts_with("cgroup ") || kind.starts_with("cgroup2 ");
    // Only whole hierarchies: a bind mount of one branch would make the same cgroup twice.
    let mut fields = mount.split(' ').skip(3);
    let is_whole = fields.next()? == "/";
    (is_cgroup && is_whole).then(|| fields.next().map(PathBuf::from))?
}

/// A cgroup with the same path in every hierarchy. Dropping it ends the processes in it and removes it.
#[derive(Debug)]
pub struct Unit {
    path: String,
}

impl Unit {
    /// `/system.slice/PREFIX-unique.service`.
    pub fn service(prefix: &str) -> Self {
        Self::at(&format!("/system.slice/{}.service", unique(prefix)))
    }

    /// Any path; it begins with `/`.
    pub fn at(path: &str) -> Self {
        for root in hierarchies() {
            make_below(&root, path);
        }
        Self {
            path: path.to_owned(),
        }
    }

    /// The path in each hierarchy, which is also the container id of a systemd service.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The directory in each hierarchy.
    pub fn directories(&self) -> Vec<PathBuf> {
        hierarchies()
            .iter()
            .map(|root| root.join(&self.path[1..]))
            .collect()
    }

    /// For `sh -c SCRIPT sh PROGRAM ARGUMENT...`: joins, then becomes the program.
    pub fn join_script(&self) -> String {
        let join =
            |dir: PathBuf| format!("echo $$ > '{}/cgroup.procs' || exit 126; ", dir.display());
        let joins: String = self.directories().into_iter().map(join).collect();
        joins + "exec \"$@\""
    }

    /// Moves a process into it, as systemd does for a scope.
    #[track_caller]
    pub fn take_in(&self, pid: u32) {
        for file in self
            .directories()
            .iter()
            .map(|dir| dir.join("cgroup.procs"))
        {
            let written = fs::write(&file, pid.to_string());
            written.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
    }

    /// Sets a limit, each as `FILE VALUE`: where the controller is one of cgroup v1, or of v2. There it stays enabled for
    /// the cgroups beside this one.
    #[track_caller]
    pub fn limit(&self, v1: &str, v2: &str) {
        let controller = v2.split('.').next().unwrap_or_default();
        for directory in self.directories() {
            enable_above(&directory, controller);
        }
        let (file, value) = self
            .directories()
            .iter()
            .flat_map(|directory| [v1, v2].map(|limit| (directory, limit)))
            .filter_map(|(directory, limit)| {
                let (file, value) = limit.split_once(' ')?;
                Some((directory.join(file), value))
            })
            .find(|(file, _)| file.exists())
            .unwrap_or_else(|| panic!("{}: no controller for {v2}", self.path));
        let written = fs::write(&file, value);
        written.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    fn pids(&self) -> Vec<i32> {
        let files = self
            .directories()
            .into_iter()
            .map(|dir| dir.join("cgroup.procs"));
        let texts = files.filter_map(|file| fs::read_to_string(file).ok());
        texts
            .flat_map(|text| {
                text.lines()
                    .filter_map(|line| line.parse().ok())
                    .collect::<Vec<_>>()
            })
            .collect()
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let gone = poll(DEADLINE, || {
            for pid in self.pids() {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            let left = self.directories().into_iter().filter(|dir| dir.exists());
            left.map(fs::remove_dir)
                .all(|result| result.is_ok())
                .then_some(())
        });
        if gone.is_none() {
            eprintln!("{}: the cgroup cannot be removed", self.path);
        }
        self.remove_empty_parents();
    }
}

impl Unit {
    /// Parents that only this unit had made necessary; those in use refuse to go.
    fn remove_empty_parents(&self) {
        for root in hierarchies() {
            let parents = Path::new(&self.path[1..])
                .ancestors()
                .skip(1)
                .filter(|parent| *parent != Path::new(""));
            for parent in parents.filter(|parent| *parent != Path::new("system.slice")) {
                let _ = fs::remove_dir(root.join(parent));
            }
        }
    }
}

/// Lets a cgroup below the root's children have a controller of cgroup v2.
fn enable_above(directory: &Path, controller: &str) {
    for parent in [2, 1].map(|up| directory.ancestors().nth(up)) {
        let file = parent.map(|parent| parent.join("cgroup.subtree_control"));
        if let Some(file) = file.filter(|file| file.exists()) {
            // It may be one of v1.
            let _ = fs::write(file, format!("+{controller}"));
        }
    }
}

fn make_below(root: &Path, path: &str) {
    let mut directory = root.to_owned();
    for component in path.trim_start_matches('/').split('/') {
        let parent = directory.clone();
        directory.push(component);
        if let Err(error) = fs::create_dir(&directory) {
            assert!(
                error.kind() == std::io::ErrorKind::AlreadyExists,
                "{}: {error}",
                directory.display()
            );
        }
        // A v1 cpuset takes no process before it has processors and memory nodes.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(value) = fs::read(parent.join(file)) {
                let _ = fs::write(directory.join(file), value);
            }
        }
    }
}
