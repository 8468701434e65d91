//! Reads the command lines of containers' processes: `cgroup.procs` says which they are, `/proc/PID/cmdline` is readable
//! by all. What their executables tell beside that the sensor is asked for.

use std::sync::Arc;

use tracing::debug;

use super::executables::{Executables, Process};
use super::hanging::Hanging;
use super::{Collect, resume};
use crate::app::lock;
use crate::applications::{MAX_CMDLINE_BYTES, application_type, command};
use crate::cgroupfs::CgroupMounts;
use crate::host::HostRoot;
use crate::jvm::is_jvm;
use crate::model::applications::{ProcessesJob, Programs};
use crate::monotonic_ns;

/// Processes of a container that are looked at. The first ones of a container usually are those that say what it is.
const PROCESSES_PER_CONTAINER: usize = 64;

impl Collect {
    /// Looks at the processes of each container, again and again.
    pub(super) async fn applications(&self) {
        let mut hanging = Hanging::default();
        let mut executables = Executables::default();
        loop {
            let jobs = lock(&self.model).processes_to_read(monotonic_ns());
            if !jobs.is_empty() {
                self.look_at(jobs, &mut hanging, &mut executables).await;
            }
            tokio::time::sleep(self.interval).await;
        }
    }

    /// A container that hangs is looked at again when the read is over; what was found before stays.
    async fn look_at(
        &self,
        jobs: Vec<ProcessesJob>,
        hanging: &mut Hanging<Arc<str>>,
        executables: &mut Executables,
    ) {
        let host = self.host.clone();
        let mounts = tokio::task::spawn_blocking(move || CgroupMounts::discover(&host)).await;
        let Ok(mounts) = mounts.unwrap_or_else(resume).map(Arc::new) else {
            return;
        };
        for job in jobs {
            let (host, mounts, id) = (self.host.clone(), Arc::clone(&mounts), Arc::clone(&job.id));
            let read = move || (programs(&host, &mounts, &job), job);
            match hanging.read(id, read).await {
                Ok(((mut programs, processes), job)) => {
                    let types = executables.types(&self.broker, &job.id, &processes);
                    programs.types.extend(types.await);
                    lock(&self.model).set_applications(&job, programs, monotonic_ns());
                }
                Err(error) => {
                    self.metrics.add_collector_error("applications");
                    debug!(%error, "Programs of a container are not known.");
                }
            }
        }
    }
}

/// What the command lines tell, and the processes with one.
fn programs(
    host: &HostRoot,
    mounts: &CgroupMounts,
    job: &ProcessesJob,
) -> (Programs, Vec<Process>) {
    let mut programs = Programs::default();
    let mut processes = Vec::new();
    let pids = job
        .cgroups
        .iter()
        .flat_map(|(of_v2, path)| mounts.processes(*of_v2, path));
    for pid in pids.take(PROCESSES_PER_CONTAINER) {
        let cmdline = host.proc(&format!("{pid}/cmdline"));
        let Ok(cmdline) = cmdline.first_bytes(MAX_CMDLINE_BYTES) else {
            continue;
        };
        let application_type = application_type(&cmdline);
        programs.types.extend(application_type);
        if is_jvm(&cmdline) {
            programs.jvms.insert(pid);
        }
        if let Some(command) = command(&cmdline) {
            processes.push(Process {
                pid,
                command: command.to_vec(),
                has_type: application_type.is_some(),
            });
        }
    }
    (programs, processes)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::containers::{Identity, Resolution};
    use crate::model::{GlobalLabels, Model, Settings};
    use nodescope_schema::{Cgroup, CgroupKey, Processes, Record};

    use super::*;

    const KEY: CgroupKey = CgroupKey {
        hierarchy: 0,
        id: 10,
    };
    const PATH: &str = "/system.slice/db.service";

    /// A node with one service whose processes have these command lines.
    fn node(cmdlines: &[(u32, &str)]) -> (tempfile::TempDir, HostRoot) {
        let root = tempfile::tempdir().unwrap();
        let cgroup = root.path().join("cgroup");
        let directory = cgroup.join(PATH.trim_start_matches('/'));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(cgroup.join("cgroup.controllers"), "").unwrap();
        let pids: String = cmdlines.iter().map(|(pid, _)| format!("{pid}\n")).collect();
        std::fs::write(directory.join("cgroup.procs"), pids + "4242\n").unwrap();
        for (pid, cmdline) in cmdlines {
            let process = root.path().join(format!("proc/{pid}"));
            std::fs::create_dir_all(&process).unwrap();
            std::fs::write(process.join("cmdline"), cmdline).unwrap();
        }
        let host = HostRoot::new(root.path()).with_cgroup_root(cgroup);
        (root, host)
    }

    fn model() -> Model {
        let mut model = Model::new(Settings::default(), GlobalLabels::default());
        model.apply(
            &Record::Cgroup(Cgroup {
                key: KEY,
                path: PATH.as_bytes(),
                created_ns: 0,
                removed_ns: 0,
            }),
            1,
        );
        model.apply(&started(2), 1);
        for job in model.next_to_resolve(1, 10) {
            let identity = Identity {
                id: PATH.to_owned(),
                ..Identity::default()
            };
            model.resolved(&job.class, Resolution::Container(identity.into()), 1);
        }
        model
    }

    fn started(started: u64) -> Record<'static> {
        Record::Processes(Processes {
            cgroup: KEY,
            generation: 1,
            live: 2,
            started,
            ended: started - 2,
            restarts: 0,
            oom_kills: 0,
        })
    }

    fn round(host: &HostRoot, model: &mut Model, now_ns: u64) -> Vec<Programs> {
        let mounts = CgroupMounts::discover(host).unwrap();
        let jobs = model.processes_to_read(now_ns);
        let look = |job: ProcessesJob| {
            let (found, _) = programs(host, &mounts, &job);
            model.set_applications(&job, found.clone(), now_ns);
            found
        };
        jobs.into_iter().map(look).collect()
    }

    #[test]
    fn processes_tell_what_a_container_runs() {
        let (_root, host) = node(&[
            (5, "/usr/bin/postgres\0"),
            (6, "python3\0x.py\0"),
            (7, ""),
            (9, "/jdk/bin/java\0-jar\0kafka.Kafka\0"),
            (8, "java\0Main\0"),
            (10, "java\0"),
        ]);
        let mut model = model();
        let found = round(&host, &mut model, 2);
        let wanted = Programs {
            types: BTreeSet::from(["java", "kafka", "postgres", "python"]),
            jvms: BTreeSet::from([8, 9]),
        };
        assert_eq!(found, [wanted]);
        assert_eq!(model.jvms_to_read()[0].pids, [8, 9]);
    }

    #[test]
    fn they_are_looked_at_on_change_and_now_and_then() {
        const SECOND: u64 = 1_000_000_000;
        let (_root, host) = node(&[(5, "nginx\0")]);
        let mut model = model();
        let mut looks = |record: Option<Record<'_>>, at: u64| {
            if let Some(record) = record {
                model.apply(&record, at * SECOND);
            }
            round(&host, &mut model, at * SECOND).len()
        };
        assert_eq!((looks(None, 1), looks(None, 2)), (1, 1), "twice at first");
        assert_eq!(looks(None, 3), 0);
        assert_eq!(looks(Some(started(3)), 4), 1, "a process began");
        assert_eq!((looks(None, 5), looks(None, 6)), (1, 0));
        assert_eq!((looks(None, 64), looks(None, 65)), (0, 1));
    }
}
