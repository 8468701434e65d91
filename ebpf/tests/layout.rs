//! Proves that `src/abi.rs` and `src/abi/` read every field where `include/abi.h` puts it, from the BTF of the object itself.
//!
//! For each struct it fills bytes with a different value in every field, as the BTF lays them out, decodes them and
//! compares field by field. Renaming, moving or resizing a field on one side only fails here.

mod btf;

use std::net::{Ipv6Addr, SocketAddrV6};

use btf::{Btf, Struct};
use nodescope_ebpf::OBJECT;
use nodescope_ebpf::abi::{self, Decode};

/// A struct in C and the bytes of one, each field set to a value made from its place in the list of `set` calls.
struct Sample {
    layout: Struct,
    bytes: Vec<u8>,
    named: Vec<String>,
}

impl Sample {
    fn of<T: Decode>(name: &str) -> Self {
        let layout = Btf::of_object(OBJECT).layout(name);
        assert_eq!(layout.bytes, T::BYTES, "size of struct {name}");
        Self {
            bytes: vec![0; layout.bytes],
            layout,
            named: Vec::new(),
        }
    }

    fn put(&mut self, field: &str, value: &[u8]) {
        let member = self.layout.member(field);
        assert_eq!(member.bytes, value.len(), "size of field {field}");
        self.bytes[member.offset..][..value.len()].copy_from_slice(value);
        self.named
            .push(field.split('.').next().unwrap_or(field).to_owned());
    }

    fn decode<T: Decode>(&self) -> T {
        for member in &self.layout.members {
            let known = self.named.contains(&member.name) || member.name == "reserved";
            assert!(
                known,
                "field {} of struct {} is not compared",
                member.name, self.layout.name
            );
        }
        assert!(T::from_bytes(&self.bytes[1..]).is_none(), "too short");
        T::from_bytes(&self.bytes).expect("the size was compared")
    }
}

fn workload(seed: u8) -> (Vec<u8>, abi::WorkloadKey) {
    let workload = abi::WorkloadKey {
        cgroup_v2: u64::from(seed) + 1,
        cgroup_v1: u64::from(seed) + 2,
    };
    let mut sample = Sample::of::<abi::WorkloadKey>("workload_key");
    sample.put("cgroup_v2", &workload.cgroup_v2.to_ne_bytes());
    sample.put("cgroup_v1", &workload.cgroup_v1.to_ne_bytes());
    assert_eq!(sample.decode::<abi::WorkloadKey>(), workload);
    (sample.bytes, workload)
}

fn owner(seed: u8) -> (Vec<u8>, abi::Owner) {
    let executable = [seed; abi::EXECUTABLE_BYTES];
    let (bytes, workload) = workload(seed);
    let mut sample = Sample::of::<abi::Owner>("owner");
    sample.put("workload", &bytes);
    sample.put("executable", &executable);
    let owner = abi::Owner {
        workload,
        executable,
    };
    assert_eq!(sample.decode::<abi::Owner>(), owner);
    (sample.bytes, owner)
}

#[test]
fn flow_key() {
    let (bytes, owner) = owner(40);
    let remote_ip = Ipv6Addr::from([7; 16]);
    let mut sample = Sample::of::<abi::FlowKey>("flow_key");
    sample.put("owner", &bytes);
    sample.put("remote_ip", &remote_ip.octets());
    let actual_ip = Ipv6Addr::from([8; 16]);
    sample.put("actual_ip", &actual_ip.octets());
    sample.put("remote_port", &0x1234_u16.to_ne_bytes());
    sample.put("actual_port", &0x4321_u16.to_ne_bytes());
    sample.put("kind", &[1]);
    sample.put("host_netns", &[2]);
    let expected = abi::FlowKey {
        owner,
        remote_ip,
        actual_ip,
        remote_port: 0x1234,
        actual_port: 0x4321,
        kind: 1,
        host_netns: 2,
    };
    assert_eq!(sample.decode::<abi::FlowKey>(), expected);
}

#[test]
fn tuple() {
    let mut sample = Sample::of::<abi::Tuple>("tuple");
    sample.put("source_ip", &[7; 16]);
    sample.put("destination_ip", &[8; 16]);
    sample.put("source_port", &0x1234_u16.to_ne_bytes());
    sample.put("destination_port", &0x4321_u16.to_ne_bytes());
    let expected = abi::Tuple {
        source: SocketAddrV6::new([7; 16].into(), 0x1234, 0, 0),
        destination: SocketAddrV6::new([8; 16].into(), 0x4321, 0, 0),
    };
    assert_eq!(sample.decode::<abi::Tuple>(), expected);
    assert_eq!(sample.bytes, expected.to_bytes());
}

#[test]
fn translation() {
    let mut sample = Sample::of::<abi::Translation>("translation");
    sample.put("created_ns", &5_u64.to_ne_bytes());
    sample.put("ip", &[9; 16]);
    sample.put("port", &0x1234_u16.to_ne_bytes());
    let expected = abi::Translation {
        created_ns: 5,
        actual: SocketAddrV6::new([9; 16].into(), 0x1234, 0, 0),
    };
    assert_eq!(sample.decode::<abi::Translation>(), expected);
    assert_eq!(sample.bytes, expected.to_bytes());
}

#[test]
fn flow() {
    let mut sample = Sample::of::<abi::Flow>("flow");
    let fields = [
        "generation_ns",
        "connects",
        "failures",
        "active",
        "retransmits",
        "sent_bytes",
        "received_bytes",
        "connect_time_ns",
        "updated_ns",
        "rtt_ns",
    ];
    for (value, field) in (1_u64..).zip(fields) {
        sample.put(field, &value.to_ne_bytes());
    }
    let expected = abi::Flow {
        generation_ns: 1,
        connects: 2,
        failures: 3,
        active: 4,
        retransmits: 5,
        sent_bytes: 6,
        received_bytes: 7,
        connect_time_ns: 8,
        updated_ns: 9,
        rtt_ns: 10,
    };
    assert_eq!(sample.decode::<abi::Flow>(), expected);
}

#[test]
fn listen() {
    let (maker_bytes, maker) = owner(50);
    let (holder_bytes, holder) = owner(60);
    let ip = Ipv6Addr::from([9; 16]);
    let mut sample = Sample::of::<abi::Listen>("listen");
    sample.put("maker", &maker_bytes);
    sample.put("holder", &holder_bytes);
    for (value, field) in (1_u32..).zip([
        "maker_pid",
        "holder_pid",
        "holder_scan",
        "holder_rank",
        "netns",
    ]) {
        sample.put(field, &value.to_ne_bytes());
    }
    sample.put("port", &6_u16.to_ne_bytes());
    sample.put("ipv6_only", &[7]);
    sample.put("ip", &ip.octets());
    let expected = abi::Listen {
        maker,
        holder,
        maker_pid: 1,
        holder_pid: 2,
        holder_scan: 3,
        holder_rank: 4,
        netns: 5,
        port: 6,
        ipv6_only: 7,
        ip,
    };
    assert_eq!(sample.decode::<abi::Listen>(), expected);
}

#[test]
fn population() {
    let mut sample = Sample::of::<abi::Population>("population");
    let fields = [
        "generation_ns",
        "live",
        "started",
        "ended",
        "restarts",
        "oom_kills",
        "updated_ns",
    ];
    for (value, field) in (1_u64..).zip(fields) {
        sample.put(field, &value.to_ne_bytes());
    }
    let expected = abi::Population {
        generation_ns: 1,
        live: 2,
        started: 3,
        ended: 4,
        restarts: 5,
        oom_kills: 6,
        updated_ns: 7,
    };
    assert_eq!(sample.decode::<abi::Population>(), expected);
}

#[test]
fn delays() {
    let mut sample = Sample::of::<abi::Delays>("delays");
    sample.put("generation_ns", &1_u64.to_ne_bytes());
    sample.put("updated_ns", &2_u64.to_ne_bytes());
    let waited: Vec<u8> = (3..=10_u64).flat_map(u64::to_ne_bytes).collect();
    sample.put("waited_ns", &waited);
    let expected = abi::Delays {
        generation_ns: 1,
        updated_ns: 2,
        cpu_ns: 3,
        block_io_ns: 4,
        swap_in_ns: 5,
        reclaim_ns: 6,
        thrashing_ns: 7,
        compaction_ns: 8,
        write_copy_ns: 9,
        irq_ns: 10,
    };
    assert_eq!(sample.decode::<abi::Delays>(), expected);
}

#[test]
fn cgroup_key() {
    let key = abi::CgroupKey {
        id: 1,
        hierarchy: 2,
    };
    let mut sample = Sample::of::<abi::CgroupKey>("cgroup_key");
    sample.put("id", &key.id.to_ne_bytes());
    sample.put("hierarchy", &key.hierarchy.to_ne_bytes());
    assert_eq!(sample.decode::<abi::CgroupKey>(), key);
    assert_eq!(key.to_bytes().to_vec(), sample.bytes);
}

#[test]
fn cgroup() {
    let mut sample = Sample::of::<abi::Cgroup>("cgroup_entry");
    let mut path = [0; abi::CGROUP_PATH_BYTES];
    path[..5].copy_from_slice(b"/a/bc");
    for (value, field) in [(0_u64, "created_ns"), (2, "removed_ns"), (3, "updated_ns")] {
        sample.put(field, &value.to_ne_bytes());
    }
    sample.put("path_bytes", &5_u32.to_ne_bytes());
    sample.put("path", &path);
    let mut expected = abi::Cgroup::existing(b"/a/bc", 3).expect("a short path");
    expected.removed_ns = 2;
    let decoded = sample.decode::<abi::Cgroup>();
    assert_eq!(decoded, expected);
    assert_eq!(decoded.path(), b"/a/bc");
    assert_eq!(expected.to_bytes().to_vec(), sample.bytes);
}

#[test]
fn held_log() {
    let (bytes, workload) = workload(4);
    let mut sample = Sample::of::<abi::HeldLog>("held_log");
    let mut path = [b'x'; abi::LOG_PATH_BYTES];
    path[..11].copy_from_slice(b"/var/log/a\0");
    sample.put("workload", &bytes);
    sample.put("inode", &7_u64.to_ne_bytes());
    sample.put("device", &8_u32.to_ne_bytes());
    sample.put("pid", &9_u32.to_ne_bytes());
    sample.put("path", &path);
    let log = sample.decode::<abi::HeldLog>();
    assert_eq!(log.path(), b"/var/log/a");
    assert_eq!((log.workload, log.inode), (workload, 7));
    assert_eq!((log.device, log.pid), (8, 9));
}

#[test]
fn executable() {
    let mut sample = Sample::of::<abi::Executable>("executable");
    sample.put("inode", &7_u64.to_ne_bytes());
    sample.put("device", &8_u32.to_ne_bytes());
    sample.put("pid", &9_u32.to_ne_bytes());
    sample.put("names", &2_u32.to_ne_bytes());
    let expected = abi::Executable {
        inode: 7,
        device: 8,
        pid: 9,
        names: 2,
    };
    assert_eq!(sample.decode::<abi::Executable>(), expected);
}

#[test]
fn executable_names() {
    let btf = Btf::of_object(OBJECT);
    let output = btf.layout("executable_output");
    let path = output.member("path");
    assert_eq!(path.offset, abi::Executable::BYTES, "names follow at once");
    let names = abi::EXECUTABLE_PATH_NAMES * abi::ExecutableName::BYTES;
    assert_eq!(btf.layout("executable_path").member("names").bytes, names);
    let mut name = [b'x'; abi::ExecutableName::BYTES];
    name[..3].copy_from_slice(b"sh\0");
    let name = abi::ExecutableName::from_bytes(&name).expect("its size");
    assert_eq!(name.bytes(), b"sh");
}

#[test]
fn a_path_that_does_not_fit_is_refused() {
    assert!(abi::Cgroup::existing(&[b'a'; abi::CGROUP_PATH_BYTES], 0).is_none());
    assert!(abi::Cgroup::existing(&[b'a'; abi::CGROUP_PATH_BYTES - 1], 0).is_some());
}

#[test]
fn event() {
    let mut sample = Sample::of::<abi::Event>("event");
    sample.put("kind", &1_u32.to_ne_bytes());
    sample.put("hierarchy", &2_u32.to_ne_bytes());
    sample.put("id", &3_u64.to_ne_bytes());
    assert_eq!(
        sample.decode::<abi::Event>(),
        abi::Event {
            kind: 1,
            hierarchy: 2,
            id: 3
        }
    );
}

/// Enumerators by value, from the header: BTF has only the enums that variables use.
#[test]
fn enums_have_the_same_values() {
    let header = include_str!("../include/abi.h").to_owned() + include_str!("../include/owner.h");
    let constants = [
        ("FLOW_DESTINATION", u32::from(abi::FLOW_DESTINATION)),
        ("FLOW_OTHER", u32::from(abi::FLOW_OTHER)),
        ("EVENT_CGROUP", abi::EVENT_CGROUP),
        ("EVENT_LISTEN", abi::EVENT_LISTEN),
        ("DELAY_CPU", 0),
        ("DELAY_BLOCK_IO", 1),
        ("DELAY_SWAP_IN", 2),
        ("DELAY_RECLAIM", 3),
        ("DELAY_THRASHING", 4),
        ("DELAY_COMPACTION", 5),
        ("DELAY_WRITE_COPY", 6),
        ("DELAY_IRQ", 7),
        ("V1_NONE", abi::V1Controller::None as u32),
        ("V1_MEMORY", abi::V1Controller::Memory as u32),
        ("V1_PIDS", abi::V1Controller::Pids as u32),
        ("V1_CPU", abi::V1Controller::Cpu as u32),
        ("V1_CPUACCT", abi::V1Controller::Cpuacct as u32),
        ("V1_CPUSET", abi::V1Controller::Cpuset as u32),
    ];
    let stages = (0_u32..)
        .zip(abi::LOSS_STAGES)
        .map(|(value, stage)| (stage.replace("kernel_", "LOSS_"), value));
    let reasons = (0_u32..)
        .zip(abi::LOSS_REASONS)
        .map(|(value, reason)| (format!("LOSS_{reason}"), value));
    let losses = stages
        .chain(reasons)
        .map(|(name, value)| (name.to_uppercase(), value));
    for (name, value) in constants
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .chain(losses)
    {
        assert!(
            header.contains(&format!("\t{name} = {value},")),
            "{name} = {value} is not in the header"
        );
    }
    assert!(header.contains(&format!("LOSS_STAGES = {},", abi::LOSS_STAGES.len())));
    assert!(header.contains(&format!("LOSS_REASONS = {},", abi::LOSS_REASONS.len())));
}
