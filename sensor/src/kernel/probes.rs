//! The table of hooks: what each is for and the ladder of ways to get it, best first.
//!
//! There are no raw tracepoint rungs: they need the same kernel (BTF for the offsets, so 5.5 and typed tracepoints) and
//! cannot reach socket storage. To add a hook, write its program in `ebpf/programs` and a row here; a test compares the
//! table with the object.

/// How a program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attach {
    /// To a tracepoint, with arguments typed by BTF.
    Tracepoint(&'static str),
    /// To packets that sockets of the cgroup tree send.
    Egress,
    /// To packets that sockets of the cgroup tree receive.
    Ingress,
    /// To the closing of sockets of the cgroup tree.
    Release,
    /// To TCP callbacks of the cgroup tree.
    SockOps,
    /// Not attached but run by the sensor, over what the kernel calls by this name.
    Iterator(&'static str),
}

/// A program of the object and its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Program {
    pub name: &'static str,
    pub attach: Attach,
}

/// One way to get a hook: all its programs must load and attach.
#[derive(Debug)]
pub(super) struct Rung {
    /// Shown to users.
    pub name: &'static str,
    pub programs: &'static [Program],
    /// What is missing with this rung; empty when nothing is.
    pub missing: &'static str,
}

/// One hook.
#[derive(Debug)]
pub(super) struct Probe {
    /// Shown to users and used as a label value.
    pub name: &'static str,
    pub rungs: &'static [Rung],
    /// The program that must run for this probe to be right; empty when there is none.
    pub needs: &'static str,
}

/// The program that follows any socket, and the probe it is the best part of: what the iterators find must be followed.
pub(super) const TCP_STATE: &str = "tcp_state";
const CALLBACKS: Program = program("tcp_callbacks", Attach::SockOps);
const RELEASE: Program = program("tcp_release", Attach::Release);
/// The probe whose verdict a setting of the kernel has a part in.
pub(super) const DELAYS: &str = "delays";
/// Its rung without programs: a process that asks netlink.
pub(super) const TASKSTATS: &str = "taskstats";
/// What is missing then, whatever the setting is.
pub(super) const WITHOUT_DELAYS_OF_TASKS: &str =
    "what tasks wait for behind their exit record, or before a cgroup is known for them";
/// The probe that sees where connections of other namespaces go when the host translates their destination.
pub(super) const TRANSLATIONS: &str = "translations";
/// Its rung without a program: a process that reads netlink.
pub(super) const CONNTRACK_EVENTS: &str = "ctnetlink events";
/// The probe that asks netlink for what is older than the sensor.
pub(super) const EXISTING_TRANSLATIONS: &str = "existing_translations";
/// The probe that reads where Cilium's programs send connections.
pub(super) const CILIUM: &str = "cilium_translations";
/// Iterators the sensor runs itself, by the name of their program.
pub(super) const FIND_PROCESSES: &str = "find_processes";
pub(super) const SCAN_LISTENS: &str = "scan_listens";
pub(super) const SCAN_DELAYS: &str = "scan_delays";
pub(super) const ADOPT_CONNECTIONS: &str = "adopt_connections";
/// The probe that looks for logs.
pub(super) const HELD_LOGS: &str = "held_logs";
pub(super) const SCAN_LOGS: &str = "scan_logs";
/// The iterator that says which file each process executes, by the name of its program.
pub(super) const SCAN_EXECUTABLES: &str = "scan_executables";

/// In the order of attaching. The iterators come last: what begins while they run is seen by the hooks before them.
pub(super) const PROBES: &[Probe] = &[
    Probe {
        name: TCP_STATE,
        rungs: &[
            Rung {
                name: "tp_btf/inet_sock_set_state, sockops, cgroup/sock_release",
                programs: &[
                    tracepoint(TCP_STATE, "inet_sock_set_state"),
                    CALLBACKS,
                    RELEASE,
                ],
                missing: "",
            },
            Rung {
                name: "tp_btf/inet_sock_set_state",
                programs: &[tracepoint(TCP_STATE, "inet_sock_set_state")],
                missing: "what the kernel skips of the tracepoint's runs, which is counted",
            },
            Rung {
                name: "sockops, cgroup/sock_release",
                programs: &[CALLBACKS, RELEASE],
                missing: "sockets older than the sensor and connects that fail before their SYN",
            },
        ],
        needs: "",
    },
    Probe {
        name: "tcp_bytes_sent",
        rungs: &[only(
            "cgroup_skb/egress",
            &[program("packet_egress", Attach::Egress)],
        )],
        needs: "",
    },
    Probe {
        name: "tcp_bytes_received",
        rungs: &[only(
            "cgroup_skb/ingress",
            &[program("packet_ingress", Attach::Ingress)],
        )],
        needs: "",
    },
    Probe {
        name: TRANSLATIONS,
        rungs: &[
            Rung {
                name: "tp_btf/net_dev_queue",
                programs: &[tracepoint("translate", "net_dev_queue")],
                missing: "",
            },
            Rung {
                name: CONNTRACK_EVENTS,
                programs: &[],
                missing: "containers' connections that are established before the event of their translation is read",
            },
        ],
        needs: "",
    },
    Probe {
        name: CILIUM,
        rungs: &[only("maps of Cilium", &[])],
        needs: "",
    },
    Probe {
        name: "process_fork",
        rungs: &[only(
            "tp_btf/sched_process_fork",
            &[tracepoint("process_fork", "sched_process_fork")],
        )],
        needs: "",
    },
    Probe {
        name: "process_exec",
        rungs: &[only(
            "tp_btf/sched_process_exec",
            &[tracepoint("process_exec", "sched_process_exec")],
        )],
        needs: "",
    },
    Probe {
        name: "process_exit",
        rungs: &[only(
            "tp_btf/sched_process_exit, tp_btf/sched_process_free",
            &[
                tracepoint("process_exit", "sched_process_exit"),
                tracepoint("process_free", "sched_process_free"),
            ],
        )],
        needs: "",
    },
    Probe {
        name: "process_move",
        rungs: &[only(
            "tp_btf/cgroup_attach_task",
            &[tracepoint("process_move", "cgroup_attach_task")],
        )],
        needs: "",
    },
    Probe {
        name: "oom_kill",
        rungs: &[
            Rung {
                name: "tp_btf/mark_victim (task)",
                programs: &[tracepoint("oom_task", "mark_victim")],
                missing: "",
            },
            Rung {
                name: "tp_btf/mark_victim (pid)",
                programs: &[tracepoint("oom_pid", "mark_victim")],
                missing: "",
            },
        ],
        needs: "",
    },
    Probe {
        name: "cgroup_mkdir",
        rungs: &[only(
            "tp_btf/cgroup_mkdir",
            &[tracepoint("cgroup_mkdir", "cgroup_mkdir")],
        )],
        needs: "",
    },
    Probe {
        name: "cgroup_rename",
        rungs: &[only(
            "tp_btf/cgroup_rename",
            &[tracepoint("cgroup_rename", "cgroup_rename")],
        )],
        needs: "",
    },
    Probe {
        name: "cgroup_rmdir",
        rungs: &[only(
            "tp_btf/cgroup_rmdir",
            &[tracepoint("cgroup_rmdir", "cgroup_rmdir")],
        )],
        needs: "",
    },
    Probe {
        name: "existing_processes",
        rungs: &[only(
            "iter/task",
            &[program(FIND_PROCESSES, Attach::Iterator("task"))],
        )],
        needs: "",
    },
    Probe {
        name: DELAYS,
        rungs: &[
            Rung {
                name: "tp_btf/sched_process_free, iter/task",
                programs: &[
                    tracepoint("delays_end", "sched_process_free"),
                    program(SCAN_DELAYS, Attach::Iterator("task")),
                ],
                missing: "",
            },
            Rung {
                name: TASKSTATS,
                programs: &[],
                missing: WITHOUT_DELAYS_OF_TASKS,
            },
        ],
        needs: "",
    },
    Probe {
        name: "listen_holders",
        rungs: &[only(
            "iter/task_file",
            &[program(SCAN_LISTENS, Attach::Iterator("task_file"))],
        )],
        needs: TCP_STATE,
    },
    Probe {
        name: HELD_LOGS,
        rungs: &[only(
            "iter/task_file",
            &[program(SCAN_LOGS, Attach::Iterator("task_file"))],
        )],
        needs: "",
    },
    Probe {
        name: "executables",
        rungs: &[only(
            "iter/task",
            &[program(SCAN_EXECUTABLES, Attach::Iterator("task"))],
        )],
        needs: "",
    },
    Probe {
        name: "existing_connections",
        rungs: &[only(
            "iter/task_file",
            &[program(ADOPT_CONNECTIONS, Attach::Iterator("task_file"))],
        )],
        needs: TCP_STATE,
    },
    Probe {
        name: EXISTING_TRANSLATIONS,
        rungs: &[only("ctnetlink dump", &[])],
        needs: ADOPT_CONNECTIONS,
    },
];

const fn program(name: &'static str, attach: Attach) -> Program {
    Program { name, attach }
}

const fn tracepoint(name: &'static str, tracepoint: &'static str) -> Program {
    Program {
        name,
        attach: Attach::Tracepoint(tracepoint),
    }
}

const fn only(name: &'static str, programs: &'static [Program]) -> Rung {
    Rung {
        name,
        programs,
        missing: "",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn programs() -> impl Iterator<Item = &'static Program> {
        PROBES
            .iter()
            .flat_map(|probe| probe.rungs)
            .flat_map(|rung| rung.programs)
    }

    #[test]
    fn the_table_is_the_object() {
        let object = aya_obj::Object::parse(nodescope_ebpf::OBJECT).expect("the object parses");
        let in_object: BTreeSet<&str> = object.programs.keys().map(String::as_str).collect();
        let in_table: BTreeSet<&str> = programs().map(|program| program.name).collect();
        assert_eq!(in_table, in_object);
    }

    #[test]
    fn names_are_unique_label_values() {
        let names: BTreeSet<&str> = PROBES.iter().map(|probe| probe.name).collect();
        assert_eq!(names.len(), PROBES.len());
        for name in names {
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{name}"
            );
        }
    }

    #[test]
    fn a_program_is_part_of_one_probe_only() {
        let of_probe = |probe: &Probe| {
            let programs = probe.rungs.iter().flat_map(|rung| rung.programs);
            let names: BTreeSet<&str> = programs.map(|program| program.name).collect();
            names.len()
        };
        let names: BTreeSet<&str> = programs().map(|program| program.name).collect();
        assert_eq!(PROBES.iter().map(of_probe).sum::<usize>(), names.len());
    }

    #[test]
    fn a_probe_needs_only_what_comes_before_it() {
        let mut before = BTreeSet::from([""]);
        for probe in PROBES {
            assert!(before.contains(probe.needs), "{}", probe.name);
            let programs = probe.rungs.iter().flat_map(|rung| rung.programs);
            before.extend(programs.map(|program| program.name));
        }
    }

    #[test]
    fn every_probe_has_a_first_rung_that_misses_nothing() {
        for probe in PROBES {
            assert_eq!(
                probe.rungs.first().map(|rung| rung.missing),
                Some(""),
                "{}",
                probe.name
            );
        }
    }
}
