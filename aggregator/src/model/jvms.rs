//! Java virtual machines of containers: which there are, what they said last, and the series made of it.

use std::sync::Arc;

use super::Model;
use super::containers::Container;
use crate::jvm::JvmStatistics;
use crate::metrics::catalogue::container as family;
use crate::metrics::{Descriptor, Exposition, SeriesLabels, Value};

/// A container whose machines are to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JvmsJob {
    /// Its index in the model.
    container: usize,
    /// Its value of the label `container_id`.
    pub id: Arc<str>,
    /// Processes that are Java virtual machines by their command lines, the oldest number first.
    pub pids: Vec<u32>,
}

/// The machines of one container.
#[derive(Debug, Default)]
pub struct Jvms {
    machines: Vec<Jvm>,
    /// Machines not read because there were too many in the container or on the node.
    pub over_budget: u64,
    /// Machines not shown because another one of the container has the same command.
    pub same_command: u64,
}

#[derive(Debug)]
struct Jvm {
    /// `jvm`.
    labels: SeriesLabels,
    /// `jvm` and `java_version`.
    info_labels: SeriesLabels,
    /// `jvm` and `gc`, and the seconds of that collector.
    collectors: Vec<(SeriesLabels, f64)>,
    statistics: JvmStatistics,
}

impl Jvms {
    /// Takes what was read. Of those with the same command the first one counts: they have no other name.
    fn set(&mut self, found: Vec<JvmStatistics>) {
        let all = found.len();
        let mut machines: Vec<Jvm> = Vec::with_capacity(all);
        for statistics in found {
            let is_new = |jvm: &Jvm| jvm.statistics.command != statistics.command;
            if machines.iter().all(is_new) {
                machines.push(Jvm::new(statistics));
            }
        }
        self.same_command = (all - machines.len()) as u64;
        self.machines = machines;
    }
}

impl Jvm {
    fn new(statistics: JvmStatistics) -> Self {
        let jvm = ("jvm", statistics.command.as_str());
        let mut collectors: Vec<(SeriesLabels, f64)> = Vec::new();
        for (name, seconds) in &statistics.collectors {
            let labels = SeriesLabels::new(&[jvm, ("gc", name)]);
            if collectors.iter().all(|(known, _)| *known != labels) {
                collectors.push((labels, *seconds));
            }
        }
        Self {
            labels: SeriesLabels::new(&[jvm]),
            info_labels: SeriesLabels::new(&[jvm, ("java_version", &statistics.java_version)]),
            collectors,
            statistics,
        }
    }
}

impl Model {
    /// Containers with Java virtual machines, within the budgets.
    pub fn jvms_to_read(&mut self) -> Vec<JvmsJob> {
        let (per_container, mut left) = (self.settings.jvms_per_container, self.settings.jvms);
        let mut jobs = Vec::new();
        for (index, container) in self.containers.iter_indexed_mut() {
            let all_pids = container.applications.jvms();
            let budget = per_container.min(left);
            let pids: Vec<u32> = all_pids.iter().copied().take(budget).collect();
            left -= pids.len();
            container.jvms.over_budget = (all_pids.len() - pids.len()) as u64;
            if !pids.is_empty() || !container.jvms.machines.is_empty() {
                jobs.push(JvmsJob {
                    container: index,
                    id: Arc::clone(&container.id),
                    pids,
                });
            }
        }
        jobs
    }

    /// What the machines of a container said.
    pub fn set_jvms(&mut self, job: &JvmsJob, found: Vec<JvmStatistics>) {
        // Its place may have been given to another one meanwhile.
        let container = self.containers.get_mut(job.container);
        if let Some(container) = container.filter(|container| container.id == job.id) {
            container.jvms.set(found);
        }
    }
}

/// How one family reads a machine; none leaves the series out.
type JvmValue = fn(&JvmStatistics) -> Option<Value>;

static FAMILIES: [(&Descriptor, JvmValue); 5] = [
    (&family::JVM_HEAP_SIZE, |jvm| {
        Some(jvm.heap_size_bytes.into())
    }),
    (&family::JVM_HEAP_USED, |jvm| {
        Some(jvm.heap_used_bytes.into())
    }),
    (&family::JVM_HEAP_MAX, |jvm| {
        jvm.heap_max_bytes.map(Into::into)
    }),
    (&family::JVM_SAFEPOINT_TIME, |jvm| {
        jvm.safepoint_seconds.map(Into::into)
    }),
    (&family::JVM_SAFEPOINT_SYNC_TIME, |jvm| {
        jvm.safepoint_sync_seconds.map(Into::into)
    }),
];

/// Writes the series of all machines.
pub(super) fn render(page: &mut Exposition<'_>, shown: &[&Container]) {
    let machines = || {
        shown.iter().flat_map(|container| {
            let machines = container.jvms.machines.iter();
            machines.map(move |jvm| (&container.labels, jvm))
        })
    };
    page.family(&family::JVM_INFO);
    for (labels, jvm) in machines() {
        page.sample_with(labels, &jvm.info_labels, 1u64);
    }
    for (descriptor, value) in FAMILIES {
        page.family(descriptor);
        for (labels, jvm) in machines() {
            if let Some(value) = value(&jvm.statistics) {
                page.sample_with(labels, &jvm.labels, value);
            }
        }
    }
    page.family(&family::JVM_GC_TIME);
    for (labels, jvm) in machines() {
        for (collector, seconds) in &jvm.collectors {
            page.sample_with(labels, collector, *seconds);
        }
    }
}

#[cfg(test)]
mod tests {
    use nodescope_schema::{Cgroup, CgroupKey, Processes, Record};

    use super::*;
    use crate::containers::{Identity, Resolution};
    use crate::model::applications::Programs;
    use crate::model::tests::lines_of;
    use crate::model::{GlobalLabels, Settings};

    /// A node with services `a` and `b`, in each of which these processes are machines.
    fn node(settings: Settings, pids: &[u32]) -> Model {
        let mut model = Model::new(settings, GlobalLabels::default());
        for (number, name) in (1..).zip(["a", "b"]) {
            let key = CgroupKey {
                hierarchy: 0,
                id: number,
            };
            let path = format!("/system.slice/{name}.service");
            let cgroup = Cgroup {
                key,
                path: path.as_bytes(),
                created_ns: 0,
                removed_ns: 0,
            };
            model.apply(&Record::Cgroup(cgroup), 1);
            let processes = Processes {
                cgroup: key,
                generation: 1,
                live: 1,
                started: 1,
                ended: 0,
                restarts: 0,
                oom_kills: 0,
            };
            model.apply(&Record::Processes(processes), 1);
            for job in model.next_to_resolve(1, 1) {
                let id = path.clone();
                let identity = Identity {
                    id,
                    ..Identity::default()
                };
                model.resolved(&job.class, Resolution::Container(identity.into()), 1);
            }
        }
        for job in model.processes_to_read(1) {
            let programs = Programs {
                jvms: pids.iter().copied().collect(),
                ..Programs::default()
            };
            model.set_applications(&job, programs, 1);
        }
        model
    }

    fn machine(command: &str, used: u64) -> JvmStatistics {
        JvmStatistics {
            command: command.to_owned(),
            java_version: "21".to_owned(),
            heap_size_bytes: 100,
            heap_used_bytes: used,
            heap_max_bytes: None,
            collectors: vec![("copy".to_owned(), 1.5), ("copy".to_owned(), 2.5)],
            safepoint_seconds: Some(0.5),
            safepoint_sync_seconds: None,
        }
    }

    fn lines(model: &Model) -> Vec<String> {
        lines_of(model, "container_jvm_", "jvm=")
    }

    #[test]
    fn a_machine_is_shown_as_far_as_it_is_known() {
        let mut model = node(Settings::default(), &[7]);
        let job = model.jvms_to_read().remove(0);
        assert_eq!(
            (&*job.id, &job.pids[..]),
            ("/system.slice/a.service", &[7][..])
        );
        model.set_jvms(&job, vec![machine("Main x", 40)]);
        let wanted = [
            r#"info "Main x",java_version="21"} 1"#,
            r#"heap_size_bytes "Main x"} 100"#,
            r#"heap_used_bytes "Main x"} 40"#,
            r#"safepoint_time_seconds "Main x"} 0.5"#,
            r#"gc_time_seconds "Main x",gc="copy"} 1.5"#,
        ];
        assert_eq!(lines(&model), wanted);
    }

    #[test]
    fn of_two_with_the_same_command_the_first_counts() {
        let mut model = node(Settings::default(), &[7, 8]);
        let job = model.jvms_to_read().remove(0);
        model.set_jvms(
            &job,
            vec![machine("M", 1), machine("N", 2), machine("M", 3)],
        );
        let used: Vec<_> = lines(&model)
            .into_iter()
            .filter(|line| line.starts_with("heap_used"))
            .collect();
        assert_eq!(
            used,
            [r#"heap_used_bytes "M"} 1"#, r#"heap_used_bytes "N"} 2"#]
        );
        assert_eq!(model.limits().jvms_of_same_command, 1);
    }

    #[test]
    fn budgets_of_a_container_and_of_the_node() {
        let settings = Settings {
            jvms_per_container: 3,
            jvms: 4,
            ..Settings::default()
        };
        let mut model = node(settings, &[1, 2, 3, 4]);
        let pids: Vec<_> = model
            .jvms_to_read()
            .into_iter()
            .map(|job| job.pids)
            .collect();
        assert_eq!(pids, [vec![1, 2, 3], vec![1]]);
        assert_eq!(model.limits().jvms, 4);
    }

    #[test]
    fn a_container_without_machines_shows_none_any_more() {
        let mut model = node(Settings::default(), &[7]);
        let job = model.jvms_to_read().remove(0);
        model.set_jvms(&job, vec![machine("M", 1)]);
        for job in model.processes_to_read(2) {
            model.set_applications(&job, Programs::default(), 2);
        }
        let job = model.jvms_to_read().remove(0);
        assert!(job.pids.is_empty());
        model.set_jvms(&job, Vec::new());
        assert!(lines(&model).is_empty() && model.jvms_to_read().is_empty());
    }
}
