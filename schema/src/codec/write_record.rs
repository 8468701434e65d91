//! One record into its place in a packet.

use std::net::Ipv6Addr;

use super::sensor_capnp as wire;
use crate::{
    Cgroup, DelayTotals, Delays, Flow, FlowKey, HeldLog, Hook, Listen, Loss, MapFill, Ping,
    Processes, Record, SensorStatus,
};

pub(super) fn write_record(mut out: wire::record::Builder<'_>, record: &Record<'_>) {
    match record {
        Record::SnapshotBegin => out.set_snapshot_begin(()),
        Record::SnapshotEnd => out.set_snapshot_end(()),
        Record::Cgroup(cgroup) => write_cgroup(out.init_cgroup(), cgroup),
        Record::Processes(processes) => write_processes(out.init_processes(), processes),
        Record::Flow(flow) => write_flow(out.init_flow(), flow),
        Record::FlowEvicted(key) => write_flow_key(out.init_flow_evicted(), key),
        Record::Listen(listen) => write_listen(out.init_listen(), listen),
        Record::Loss(loss) => write_loss(out.init_loss(), loss),
        Record::Hook(hook) => write_hook(out.init_hook(), hook),
        Record::MapFill(fill) => write_map_fill(out.init_map_fill(), fill),
        Record::Status(status) => write_status(out.init_status(), status),
        Record::Delays(delays) => write_delays(out.init_delays(), delays),
        Record::Ping(ping) => write_ping(out.init_ping(), ping),
        Record::HeldLog(log) => write_held_log(out.init_held_log(), log),
    }
}

fn write_cgroup(mut out: wire::cgroup::Builder<'_>, cgroup: &Cgroup<'_>) {
    let Cgroup {
        key,
        path,
        created_ns,
        removed_ns,
    } = *cgroup;
    out.set_hierarchy(key.hierarchy);
    out.set_id(key.id);
    out.set_created_ns(created_ns);
    out.set_removed_ns(removed_ns);
    out.set_path(path);
}

fn write_processes(mut out: wire::processes::Builder<'_>, processes: &Processes) {
    let Processes {
        cgroup,
        generation,
        live,
        started,
        ended,
        restarts,
        oom_kills,
    } = *processes;
    out.set_hierarchy(cgroup.hierarchy);
    out.set_id(cgroup.id);
    out.set_generation(generation);
    out.set_live(live);
    out.set_started(started);
    out.set_ended(ended);
    out.set_restarts(restarts);
    out.set_oom_kills(oom_kills);
}

fn write_flow(mut out: wire::flow::Builder<'_>, flow: &Flow<'_>) {
    let Flow {
        key,
        generation,
        totals,
    } = flow;
    out.set_generation(*generation);
    out.set_connects(totals.connects);
    out.set_failures(totals.failures);
    out.set_active(totals.active);
    out.set_retransmits(totals.retransmits);
    out.set_sent_bytes(totals.sent_bytes);
    out.set_received_bytes(totals.received_bytes);
    out.set_connect_time_ns(totals.connect_time_ns);
    out.set_updated_ns(totals.updated_ns);
    out.set_rtt_ns(totals.rtt_ns);
    write_flow_key(out.init_key(), key);
}

fn write_flow_key(mut out: wire::flow_key::Builder<'_>, key: &FlowKey<'_>) {
    let FlowKey {
        owner,
        remote_ip,
        remote_port,
        actual_ip,
        actual_port,
        host_netns,
        kind,
    } = *key;
    let (high, low) = ip_words(remote_ip);
    out.set_cgroup_v2(owner.workload.cgroup_v2);
    out.set_cgroup_v1(owner.workload.cgroup_v1);
    out.set_executable(owner.executable);
    out.set_ip_high(high);
    out.set_ip_low(low);
    out.set_port(remote_port);
    let (high, low) = ip_words(actual_ip);
    out.set_actual_ip_high(high);
    out.set_actual_ip_low(low);
    out.set_actual_port(actual_port);
    out.set_host_netns(host_netns);
    out.set_kind(kind.into());
}

fn write_listen(mut out: wire::listen::Builder<'_>, listen: &Listen<'_>) {
    let Listen {
        cookie,
        owner,
        pid,
        netns,
        ip,
        port,
        ipv6_only,
        open,
    } = *listen;
    let (high, low) = ip_words(ip);
    out.set_cookie(cookie);
    out.set_cgroup_v2(owner.workload.cgroup_v2);
    out.set_cgroup_v1(owner.workload.cgroup_v1);
    out.set_executable(owner.executable);
    out.set_pid(pid);
    out.set_netns(netns);
    out.set_ip_high(high);
    out.set_ip_low(low);
    out.set_port(port);
    out.set_ipv6_only(ipv6_only);
    out.set_open(open);
}

fn write_loss(mut out: wire::loss::Builder<'_>, loss: &Loss<'_>) {
    let Loss {
        stage,
        reason,
        total,
    } = *loss;
    out.set_stage(stage);
    out.set_reason(reason);
    out.set_total(total);
}

fn write_hook(mut out: wire::hook::Builder<'_>, hook: &Hook<'_>) {
    let Hook {
        name,
        rung,
        verdict,
        detail,
    } = *hook;
    out.set_name(name);
    out.set_rung(rung);
    out.set_verdict(verdict.into());
    out.set_detail(detail);
}

fn write_map_fill(mut out: wire::map_fill::Builder<'_>, fill: &MapFill<'_>) {
    let MapFill {
        name,
        entries,
        capacity,
    } = *fill;
    out.set_name(name);
    out.set_entries(entries);
    out.set_capacity(capacity);
}

fn write_status(mut out: wire::sensor_status::Builder<'_>, status: &SensorStatus) {
    let SensorStatus {
        resident_bytes,
        cpu_ns,
        records_sent,
        requests_granted,
        requests_refused,
        requests_waiting,
    } = *status;
    out.set_resident_bytes(resident_bytes);
    out.set_cpu_ns(cpu_ns);
    out.set_records_sent(records_sent);
    out.set_requests_granted(requests_granted);
    out.set_requests_refused(requests_refused);
    out.set_requests_waiting(requests_waiting);
}

fn write_delays(mut out: wire::delays::Builder<'_>, delays: &Delays) {
    let Delays {
        cgroup,
        generation,
        accounted,
        totals,
    } = *delays;
    let DelayTotals {
        cpu_ns,
        block_io_ns,
        swap_in_ns,
        reclaim_ns,
        thrashing_ns,
        compaction_ns,
        write_copy_ns,
        irq_ns,
    } = totals;
    out.set_hierarchy(cgroup.hierarchy);
    out.set_id(cgroup.id);
    out.set_generation(generation);
    out.set_accounted(accounted);
    out.set_cpu_ns(cpu_ns);
    out.set_block_io_ns(block_io_ns);
    out.set_swap_in_ns(swap_in_ns);
    out.set_reclaim_ns(reclaim_ns);
    out.set_thrashing_ns(thrashing_ns);
    out.set_compaction_ns(compaction_ns);
    out.set_write_copy_ns(write_copy_ns);
    out.set_irq_ns(irq_ns);
}

fn write_held_log(mut out: wire::held_log::Builder<'_>, log: &HeldLog<'_>) {
    let HeldLog {
        number,
        workload,
        path,
        inode,
        open,
    } = *log;
    out.set_number(number);
    out.set_cgroup_v2(workload.cgroup_v2);
    out.set_cgroup_v1(workload.cgroup_v1);
    out.set_path(path);
    out.set_inode(inode);
    out.set_open(open);
}

fn write_ping(mut out: wire::ping::Builder<'_>, ping: &Ping) {
    let Ping {
        ip,
        generation,
        sent,
        answered,
        lost,
        rtt_ns,
        answered_ns,
    } = *ping;
    let (high, low) = ip_words(ip);
    out.set_ip_high(high);
    out.set_ip_low(low);
    out.set_generation(generation);
    out.set_sent(sent);
    out.set_answered(answered);
    out.set_lost(lost);
    out.set_rtt_ns(rtt_ns);
    out.set_answered_ns(answered_ns);
}

/// An address as two words, the first eight bytes in the first.
fn ip_words(ip: Ipv6Addr) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, low @ ..] = ip.octets();
    (
        u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        u64::from_be_bytes(low),
    )
}
