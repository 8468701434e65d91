//! Entries of the kernel's maps as records. Pure.

use nodescope_ebpf::abi;
use nodescope_schema as schema;

use crate::taskstats::accounts::Account;

pub(super) fn workload(key: abi::WorkloadKey) -> schema::Workload {
    schema::Workload {
        cgroup_v2: key.cgroup_v2,
        cgroup_v1: key.cgroup_v1,
    }
}

/// A device number as the kernel has it (`include/linux/kdev_t.h`).
pub(super) fn filesystem(device: u32) -> schema::StatFilesystem {
    schema::StatFilesystem {
        major: device >> 20,
        minor: device & 0xf_ffff,
    }
}

pub(super) fn owner(owner: &abi::Owner) -> schema::Owner<'_> {
    schema::Owner {
        workload: workload(owner.workload),
        executable: owner.name(),
    }
}

pub(super) fn flow_key(key: &abi::FlowKey) -> schema::FlowKey<'_> {
    let kind = match key.kind {
        abi::FLOW_DESTINATION => schema::FlowKind::Destination,
        _ => schema::FlowKind::Other,
    };
    schema::FlowKey {
        owner: owner(&key.owner),
        remote_ip: key.remote_ip,
        remote_port: key.remote_port,
        actual_ip: key.actual_ip,
        actual_port: key.actual_port,
        host_netns: key.host_netns != 0,
        kind,
    }
}

/// A gauge the kernel keeps with a sign; it cannot be below zero but for a moment between two CPUs.
fn gauge(value: i64) -> u32 {
    u32::try_from(value.max(0)).unwrap_or(u32::MAX)
}

pub(super) fn totals(flow: &abi::Flow) -> schema::FlowTotals {
    schema::FlowTotals {
        connects: flow.connects,
        failures: flow.failures,
        active: gauge(flow.active),
        retransmits: flow.retransmits,
        sent_bytes: flow.sent_bytes,
        received_bytes: flow.received_bytes,
        connect_time_ns: flow.connect_time_ns,
        updated_ns: flow.updated_ns,
        rtt_ns: flow.rtt_ns,
    }
}

pub(super) fn processes(key: abi::CgroupKey, value: &abi::Population) -> schema::Processes {
    schema::Processes {
        cgroup: cgroup_key(key),
        generation: value.generation_ns,
        live: gauge(value.live),
        started: value.started,
        ended: value.ended,
        restarts: value.restarts,
        oom_kills: value.oom_kills,
    }
}

pub(super) fn delays(key: abi::CgroupKey, value: &abi::Delays, accounted: bool) -> schema::Delays {
    schema::Delays {
        cgroup: cgroup_key(key),
        generation: value.generation_ns,
        accounted,
        totals: schema::DelayTotals {
            cpu_ns: value.cpu_ns,
            block_io_ns: value.block_io_ns,
            swap_in_ns: value.swap_in_ns,
            reclaim_ns: value.reclaim_ns,
            thrashing_ns: value.thrashing_ns,
            compaction_ns: value.compaction_ns,
            write_copy_ns: value.write_copy_ns,
            irq_ns: value.irq_ns,
        },
    }
}

/// The same of what taskstats told.
pub(super) fn account(key: abi::CgroupKey, value: &Account, accounted: bool) -> schema::Delays {
    let [
        cpu_ns,
        block_io_ns,
        swap_in_ns,
        reclaim_ns,
        thrashing_ns,
        compaction_ns,
        write_copy_ns,
        irq_ns,
    ] = value.waits.0;
    let value = abi::Delays {
        generation_ns: value.generation_ns,
        updated_ns: value.updated_ns,
        cpu_ns,
        block_io_ns,
        swap_in_ns,
        reclaim_ns,
        thrashing_ns,
        compaction_ns,
        write_copy_ns,
        irq_ns,
    };
    delays(key, &value, accounted)
}

pub(super) fn cgroup_key(key: abi::CgroupKey) -> schema::CgroupKey {
    schema::CgroupKey {
        hierarchy: key.hierarchy,
        id: key.id,
    }
}

pub(super) fn cgroup(key: abi::CgroupKey, value: &abi::Cgroup) -> schema::Cgroup<'_> {
    schema::Cgroup {
        key: cgroup_key(key),
        path: value.path(),
        created_ns: value.created_ns,
        removed_ns: value.removed_ns,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn key(kind: u8) -> abi::FlowKey {
        let mut executable = [0; abi::EXECUTABLE_BYTES];
        executable[..4].copy_from_slice(b"curl");
        let workload = abi::WorkloadKey {
            cgroup_v2: 7,
            cgroup_v1: 8,
        };
        let owner = abi::Owner {
            workload,
            executable,
        };
        let remote_ip = "::ffff:10.0.0.1".parse().expect("an address");
        abi::FlowKey {
            owner,
            remote_ip,
            actual_ip: "::ffff:10.0.0.2".parse().expect("an address"),
            remote_port: 443,
            actual_port: 8443,
            kind,
            host_netns: 1,
        }
    }

    #[test]
    fn a_device_has_a_minor_of_20_bits() {
        let (major, minor) = (259, 0xf_fff1);
        let filesystem = schema::StatFilesystem { major, minor };
        assert_eq!(super::filesystem(0x103f_fff1), filesystem);
    }

    #[test]
    fn a_flow_key_keeps_everything() {
        let key = key(abi::FLOW_DESTINATION);
        let record = flow_key(&key);
        assert_eq!(record.owner.executable, b"curl");
        assert_eq!(
            record.owner.workload,
            schema::Workload {
                cgroup_v2: 7,
                cgroup_v1: 8
            }
        );
        assert_eq!(
            record.remote_ip,
            Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0x0a00, 1)
        );
        assert_eq!((record.remote_port, record.host_netns), (443, true));
        assert_eq!(
            (record.actual_ip, record.actual_port),
            (key.actual_ip, 8443)
        );
        assert_eq!(record.kind, schema::FlowKind::Destination);
    }

    #[test]
    fn what_found_no_room_is_other() {
        assert_eq!(
            flow_key(&key(abi::FLOW_OTHER)).kind,
            schema::FlowKind::Other
        );
    }

    #[test]
    fn a_gauge_is_never_negative() {
        assert_eq!(
            totals(&abi::Flow {
                active: -1,
                ..Default::default()
            })
            .active,
            0
        );
        assert_eq!(
            totals(&abi::Flow {
                active: i64::MAX,
                ..Default::default()
            })
            .active,
            u32::MAX
        );
    }
}
