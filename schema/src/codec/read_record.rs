//! One record out of a packet.

use std::net::Ipv6Addr;

use capnp::NotInSchema;
use capnp::text;

use super::sensor_capnp as wire;
use crate::{
    Cgroup, CgroupKey, DelayTotals, Delays, Flow, FlowKey, FlowTotals, HeldLog, Hook, Listen, Loss,
    MapFill, Owner, Ping, Processes, Record, SensorStatus, Workload,
};

/// Why a record is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Skip {
    /// A kind of record, or a number in it, that this library does not know.
    Unknown,
    /// A pointer leads outside, or a text is not UTF-8.
    Malformed,
}

impl From<NotInSchema> for Skip {
    fn from(_: NotInSchema) -> Self {
        Self::Unknown
    }
}

impl From<capnp::Error> for Skip {
    fn from(_: capnp::Error) -> Self {
        Self::Malformed
    }
}

pub(super) fn read_record(record: wire::record::Reader<'_>) -> Result<Record<'_>, Skip> {
    use wire::record::Which;
    Ok(match record.which()? {
        Which::None(()) => return Err(Skip::Unknown),
        Which::SnapshotBegin(()) => Record::SnapshotBegin,
        Which::SnapshotEnd(()) => Record::SnapshotEnd,
        Which::Cgroup(cgroup) => Record::Cgroup(read_cgroup(cgroup?)?),
        Which::Processes(processes) => Record::Processes(read_processes(processes?)),
        Which::Flow(flow) => Record::Flow(read_flow(flow?)?),
        Which::FlowEvicted(key) => Record::FlowEvicted(read_flow_key(key?)?),
        Which::Listen(listen) => Record::Listen(read_listen(listen?)?),
        Which::Loss(loss) => Record::Loss(read_loss(loss?)?),
        Which::Hook(hook) => Record::Hook(read_hook(hook?)?),
        Which::MapFill(fill) => Record::MapFill(read_map_fill(fill?)?),
        Which::Status(status) => Record::Status(read_status(status?)),
        Which::Delays(delays) => Record::Delays(read_delays(delays?)),
        Which::Ping(ping) => Record::Ping(read_ping(ping?)),
        Which::HeldLog(log) => Record::HeldLog(read_held_log(log?)?),
    })
}

fn read_cgroup(cgroup: wire::cgroup::Reader<'_>) -> Result<Cgroup<'_>, Skip> {
    Ok(Cgroup {
        key: CgroupKey {
            hierarchy: cgroup.get_hierarchy(),
            id: cgroup.get_id(),
        },
        path: cgroup.get_path()?,
        created_ns: cgroup.get_created_ns(),
        removed_ns: cgroup.get_removed_ns(),
    })
}

fn read_processes(processes: wire::processes::Reader<'_>) -> Processes {
    Processes {
        cgroup: CgroupKey {
            hierarchy: processes.get_hierarchy(),
            id: processes.get_id(),
        },
        generation: processes.get_generation(),
        live: processes.get_live(),
        started: processes.get_started(),
        ended: processes.get_ended(),
        restarts: processes.get_restarts(),
        oom_kills: processes.get_oom_kills(),
    }
}

fn read_flow(flow: wire::flow::Reader<'_>) -> Result<Flow<'_>, Skip> {
    Ok(Flow {
        key: read_flow_key(flow.get_key()?)?,
        generation: flow.get_generation(),
        totals: FlowTotals {
            connects: flow.get_connects(),
            failures: flow.get_failures(),
            active: flow.get_active(),
            retransmits: flow.get_retransmits(),
            sent_bytes: flow.get_sent_bytes(),
            received_bytes: flow.get_received_bytes(),
            connect_time_ns: flow.get_connect_time_ns(),
            updated_ns: flow.get_updated_ns(),
            rtt_ns: flow.get_rtt_ns(),
        },
    })
}

fn read_flow_key(key: wire::flow_key::Reader<'_>) -> Result<FlowKey<'_>, Skip> {
    Ok(FlowKey {
        owner: Owner {
            workload: Workload {
                cgroup_v2: key.get_cgroup_v2(),
                cgroup_v1: key.get_cgroup_v1(),
            },
            executable: key.get_executable()?,
        },
        remote_ip: ip(key.get_ip_high(), key.get_ip_low()),
        remote_port: key.get_port(),
        actual_ip: ip(key.get_actual_ip_high(), key.get_actual_ip_low()),
        actual_port: key.get_actual_port(),
        host_netns: key.get_host_netns(),
        kind: key.get_kind()?.into(),
    })
}

fn read_listen(listen: wire::listen::Reader<'_>) -> Result<Listen<'_>, Skip> {
    Ok(Listen {
        cookie: listen.get_cookie(),
        owner: Owner {
            workload: Workload {
                cgroup_v2: listen.get_cgroup_v2(),
                cgroup_v1: listen.get_cgroup_v1(),
            },
            executable: listen.get_executable()?,
        },
        pid: listen.get_pid(),
        netns: listen.get_netns(),
        ip: ip(listen.get_ip_high(), listen.get_ip_low()),
        port: listen.get_port(),
        ipv6_only: listen.get_ipv6_only(),
        open: listen.get_open(),
    })
}

fn read_loss(loss: wire::loss::Reader<'_>) -> Result<Loss<'_>, Skip> {
    Ok(Loss {
        stage: read_text(loss.get_stage()?)?,
        reason: read_text(loss.get_reason()?)?,
        total: loss.get_total(),
    })
}

fn read_hook(hook: wire::hook::Reader<'_>) -> Result<Hook<'_>, Skip> {
    Ok(Hook {
        name: read_text(hook.get_name()?)?,
        rung: read_text(hook.get_rung()?)?,
        verdict: hook.get_verdict()?.into(),
        detail: read_text(hook.get_detail()?)?,
    })
}

fn read_map_fill(fill: wire::map_fill::Reader<'_>) -> Result<MapFill<'_>, Skip> {
    Ok(MapFill {
        name: read_text(fill.get_name()?)?,
        entries: fill.get_entries(),
        capacity: fill.get_capacity(),
    })
}

fn read_status(status: wire::sensor_status::Reader<'_>) -> SensorStatus {
    SensorStatus {
        resident_bytes: status.get_resident_bytes(),
        cpu_ns: status.get_cpu_ns(),
        records_sent: status.get_records_sent(),
        requests_granted: status.get_requests_granted(),
        requests_refused: status.get_requests_refused(),
        requests_waiting: status.get_requests_waiting(),
    }
}

fn read_delays(delays: wire::delays::Reader<'_>) -> Delays {
    Delays {
        cgroup: CgroupKey {
            hierarchy: delays.get_hierarchy(),
            id: delays.get_id(),
        },
        generation: delays.get_generation(),
        accounted: delays.get_accounted(),
        totals: DelayTotals {
            cpu_ns: delays.get_cpu_ns(),
            block_io_ns: delays.get_block_io_ns(),
            swap_in_ns: delays.get_swap_in_ns(),
            reclaim_ns: delays.get_reclaim_ns(),
            thrashing_ns: delays.get_thrashing_ns(),
            compaction_ns: delays.get_compaction_ns(),
            write_copy_ns: delays.get_write_copy_ns(),
            irq_ns: delays.get_irq_ns(),
        },
    }
}

fn read_ping(ping: wire::ping::Reader<'_>) -> Ping {
    Ping {
        ip: ip(ping.get_ip_high(), ping.get_ip_low()),
        generation: ping.get_generation(),
        sent: ping.get_sent(),
        answered: ping.get_answered(),
        lost: ping.get_lost(),
        rtt_ns: ping.get_rtt_ns(),
        answered_ns: ping.get_answered_ns(),
    }
}

fn read_held_log(log: wire::held_log::Reader<'_>) -> Result<HeldLog<'_>, Skip> {
    Ok(HeldLog {
        number: log.get_number(),
        workload: Workload {
            cgroup_v2: log.get_cgroup_v2(),
            cgroup_v1: log.get_cgroup_v1(),
        },
        path: log.get_path()?,
        inode: log.get_inode(),
        open: log.get_open(),
    })
}

fn read_text(text: text::Reader<'_>) -> Result<&str, Skip> {
    text.to_str().map_err(|_| Skip::Malformed)
}

fn ip(high: u64, low: u64) -> Ipv6Addr {
    Ipv6Addr::from((u128::from(high) << 64) | u128::from(low))
}
