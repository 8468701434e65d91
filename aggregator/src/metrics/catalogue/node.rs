//! Families about the machine. Filled by [`crate::node`].

use super::family;
use crate::metrics::Descriptor;

family!(
    AGENT_INFO,
    Gauge,
    Node,
    "node_agent_info",
    ["version"],
    "Version of nodescope, always 1"
);
family!(
    INFO,
    Gauge,
    Node,
    "node_info",
    ["hostname", "kernel_version"],
    "Host name and kernel release, always 1"
);
family!(
    CLOUD_INFO,
    Gauge,
    Node,
    "node_cloud_info",
    [
        "provider",
        "account_id",
        "instance_id",
        "instance_type",
        "instance_life_cycle",
        "region",
        "availability_zone",
        "availability_zone_id",
        "local_ipv4",
        "public_ipv4"
    ],
    "What the cloud says about this machine, empty outside a cloud, always 1"
);
family!(
    UPTIME,
    Gauge,
    Node,
    "node_uptime_seconds",
    [],
    "Time since the machine was started, in seconds"
);
family!(
    CPU_USAGE,
    Counter,
    Node,
    "node_resources_cpu_usage_seconds_total",
    ["mode"],
    "CPU time of all cores by mode, in seconds"
);
family!(
    CPU_CORES,
    Gauge,
    Node,
    "node_resources_cpu_logical_cores",
    [],
    "Number of logical CPU cores that are online"
);
family!(
    MEMORY_TOTAL,
    Gauge,
    Node,
    "node_resources_memory_total_bytes",
    [],
    "Memory the kernel can use, in bytes (1 kB of /proc/meminfo is 1024 bytes)"
);
family!(
    MEMORY_FREE,
    Gauge,
    Node,
    "node_resources_memory_free_bytes",
    [],
    "Memory that nothing uses, in bytes (1 kB of /proc/meminfo is 1024 bytes)"
);
family!(
    MEMORY_AVAILABLE,
    Gauge,
    Node,
    "node_resources_memory_available_bytes",
    [],
    "Memory that can be given to programs without swapping, in bytes (1 kB of /proc/meminfo is 1024 bytes)"
);
family!(
    MEMORY_CACHED,
    Gauge,
    Node,
    "node_resources_memory_cached_bytes",
    [],
    "Memory of the page cache without buffers, in bytes (1 kB of /proc/meminfo is 1024 bytes)"
);
family!(
    DISK_READS,
    Counter,
    Node,
    "node_resources_disk_reads_total",
    ["device"],
    "Reads that a disk completed"
);
family!(
    DISK_WRITES,
    Counter,
    Node,
    "node_resources_disk_writes_total",
    ["device"],
    "Writes that a disk completed"
);
family!(
    DISK_READ_BYTES,
    Counter,
    Node,
    "node_resources_disk_read_bytes_total",
    ["device"],
    "Data read from a disk, in bytes"
);
family!(
    DISK_WRITTEN_BYTES,
    Counter,
    Node,
    "node_resources_disk_written_bytes_total",
    ["device"],
    "Data written to a disk, in bytes"
);
family!(
    DISK_READ_TIME,
    Counter,
    Node,
    "node_resources_disk_read_time_seconds_total",
    ["device"],
    "Time of all reads of a disk added up, in seconds"
);
family!(
    DISK_WRITE_TIME,
    Counter,
    Node,
    "node_resources_disk_write_time_seconds_total",
    ["device"],
    "Time of all writes of a disk added up, in seconds"
);
family!(
    DISK_IO_TIME,
    Counter,
    Node,
    "node_resources_disk_io_time_seconds_total",
    ["device"],
    "Time during which a disk had work to do, in seconds"
);
family!(
    NET_RECEIVED_BYTES,
    Counter,
    Node,
    "node_net_received_bytes_total",
    ["interface"],
    "Data an interface received, in bytes"
);
family!(
    NET_TRANSMITTED_BYTES,
    Counter,
    Node,
    "node_net_transmitted_bytes_total",
    ["interface"],
    "Data an interface sent, in bytes"
);
family!(
    NET_RECEIVED_PACKETS,
    Counter,
    Node,
    "node_net_received_packets_total",
    ["interface"],
    "Packets an interface received"
);
family!(
    NET_TRANSMITTED_PACKETS,
    Counter,
    Node,
    "node_net_transmitted_packets_total",
    ["interface"],
    "Packets an interface sent"
);
family!(
    NET_INTERFACE_UP,
    Gauge,
    Node,
    "node_net_interface_up",
    ["interface"],
    "1 when the interface's operational state is up, else 0"
);
family!(
    NET_INTERFACE_IP,
    Gauge,
    Node,
    "node_net_interface_ip",
    ["interface", "ip"],
    "An address of an interface, always 1"
);

/// The families of this file, in the order of their exposition.
pub static FAMILIES: &[&Descriptor] = &[
    &AGENT_INFO,
    &INFO,
    &CLOUD_INFO,
    &UPTIME,
    &CPU_USAGE,
    &CPU_CORES,
    &MEMORY_TOTAL,
    &MEMORY_FREE,
    &MEMORY_AVAILABLE,
    &MEMORY_CACHED,
    &DISK_READS,
    &DISK_WRITES,
    &DISK_READ_BYTES,
    &DISK_WRITTEN_BYTES,
    &DISK_READ_TIME,
    &DISK_WRITE_TIME,
    &DISK_IO_TIME,
    &NET_RECEIVED_BYTES,
    &NET_TRANSMITTED_BYTES,
    &NET_RECEIVED_PACKETS,
    &NET_TRANSMITTED_PACKETS,
    &NET_INTERFACE_UP,
    &NET_INTERFACE_IP,
];
