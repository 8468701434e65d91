//! Families about containers and services. Filled by the model from the sensor's records and by [`crate::cgroupfs`].

use super::family;
use crate::metrics::Descriptor;

family!(
    INFO,
    Gauge,
    Container,
    "container_info",
    ["image"],
    "Image of a container, always 1"
);
family!(
    APPLICATION_TYPE,
    Gauge,
    Container,
    "container_application_type",
    ["application_type"],
    "Kind of program that a live process of the container is, guessed from its command line and from marks in its file, always 1"
);
family!(
    JVM_INFO,
    Gauge,
    Container,
    "container_jvm_info",
    ["jvm", "java_version"],
    "Java virtual machine of the container (jvm: its command without secrets, 512 bytes at most), always 1"
);
family!(
    JVM_HEAP_SIZE,
    Gauge,
    Container,
    "container_jvm_heap_size_bytes",
    ["jvm"],
    "Memory committed to the Java heap, in bytes"
);
family!(
    JVM_HEAP_USED,
    Gauge,
    Container,
    "container_jvm_heap_used_bytes",
    ["jvm"],
    "Memory of the Java heap in use as HotSpot noted it last, with most collectors at the end of a collection, in bytes"
);
family!(
    JVM_HEAP_MAX,
    Gauge,
    Container,
    "container_jvm_heap_max_size_bytes",
    ["jvm"],
    "Size the Java heap may grow to, in bytes; the sum over generations and not, as coroot-node-agent has it, over their spaces, which grow at the cost of each other"
);
family!(
    JVM_SAFEPOINT_TIME,
    Counter,
    Container,
    "container_jvm_safepoint_time_seconds",
    ["jvm"],
    "Time the threads of the Java virtual machine were stopped at safepoints, in seconds"
);
family!(
    JVM_SAFEPOINT_SYNC_TIME,
    Counter,
    Container,
    "container_jvm_safepoint_sync_time_seconds",
    ["jvm"],
    "Time until all threads of the Java virtual machine had stopped at safepoints, in seconds"
);
family!(
    JVM_GC_TIME,
    Counter,
    Container,
    "container_jvm_gc_time_seconds",
    ["jvm", "gc"],
    "Time spent by each garbage collector (gc: its name), in seconds"
);
family!(
    RESTARTS,
    Counter,
    Container,
    "container_restarts_total",
    [],
    "Times a process began after all earlier processes of the container were gone"
);
family!(
    CPU_LIMIT,
    Gauge,
    Container,
    "container_resources_cpu_limit_cores",
    [],
    "CPU limit of the cgroup, in cores; absent without a limit"
);
family!(
    CPU_USAGE,
    Counter,
    Container,
    "container_resources_cpu_usage_seconds_total",
    [],
    "CPU time the cgroup used, in seconds"
);
family!(
    CPU_THROTTLED,
    Counter,
    Container,
    "container_resources_cpu_throttled_seconds_total",
    [],
    "Time the cgroup could not run because of its CPU limit, in seconds"
);
family!(
    CPU_PRESSURE,
    Counter,
    Container,
    "container_resources_cpu_pressure_waiting_seconds_total",
    ["kind"],
    "Time some or all tasks of the cgroup waited for a CPU, in seconds"
);
family!(
    CPU_DELAY,
    Counter,
    Container,
    "container_resources_cpu_delay_seconds_total",
    [],
    "Time the tasks of the container were ready to run and waited for a CPU, in seconds, summed over all of them"
);
family!(
    DISK_DELAY,
    Counter,
    Container,
    "container_resources_disk_delay_seconds_total",
    [],
    "Time the tasks of the container waited for block I/O, in seconds, summed over all of them; needs kernel.task_delayacct=1"
);
family!(
    IRQ_DELAY,
    Counter,
    Container,
    "container_resources_irq_delay_seconds_total",
    [],
    "Time the CPUs of the container's tasks served interrupts instead, in seconds; needs kernel.task_delayacct=1, absent until the first"
);
family!(
    MEMORY_DELAY,
    Counter,
    Container,
    "container_resources_memory_delay_seconds_total",
    ["kind"],
    "Time the tasks of the container waited for memory (kind: freepages, swapin, thrashing, compact, wpcopy), in seconds; needs kernel.task_delayacct=1, absent until the first"
);
family!(
    MEMORY_LIMIT,
    Gauge,
    Container,
    "container_resources_memory_limit_bytes",
    [],
    "Memory limit of the cgroup, in bytes; absent without a limit"
);
family!(
    MEMORY_RSS,
    Gauge,
    Container,
    "container_resources_memory_rss_bytes",
    [],
    "Anonymous memory and mapped files of the cgroup, in bytes"
);
family!(
    MEMORY_CACHE,
    Gauge,
    Container,
    "container_resources_memory_cache_bytes",
    [],
    "Page cache of the cgroup, in bytes"
);
family!(
    MEMORY_PRESSURE,
    Counter,
    Container,
    "container_resources_memory_pressure_waiting_seconds_total",
    ["kind"],
    "Time some or all tasks of the cgroup waited for memory, in seconds"
);
family!(
    IO_PRESSURE,
    Counter,
    Container,
    "container_resources_io_pressure_waiting_seconds_total",
    ["kind"],
    "Time some or all tasks of the cgroup waited for block I/O, in seconds"
);
family!(
    DISK_SIZE,
    Gauge,
    Container,
    "container_resources_disk_size_bytes",
    ["mount_point", "device", "volume"],
    "Size of the file system at a mount point of the container, in bytes"
);
family!(
    DISK_USED,
    Gauge,
    Container,
    "container_resources_disk_used_bytes",
    ["mount_point", "device", "volume"],
    "Used space of the file system at a mount point of the container, in bytes"
);
family!(
    DISK_RESERVED,
    Gauge,
    Container,
    "container_resources_disk_reserved_bytes",
    ["mount_point", "device", "volume"],
    "Free space of the file system that only root may use, in bytes"
);
family!(
    DISK_READS,
    Counter,
    Container,
    "container_resources_disk_reads_total",
    ["mount_point", "device", "volume"],
    "Reads of the container from the disk below a mount point"
);
family!(
    DISK_READ_BYTES,
    Counter,
    Container,
    "container_resources_disk_read_bytes_total",
    ["mount_point", "device", "volume"],
    "Bytes the container read from the disk below a mount point"
);
family!(
    DISK_WRITES,
    Counter,
    Container,
    "container_resources_disk_writes_total",
    ["mount_point", "device", "volume"],
    "Writes of the container to the disk below a mount point"
);
family!(
    DISK_WRITTEN_BYTES,
    Counter,
    Container,
    "container_resources_disk_written_bytes_total",
    ["mount_point", "device", "volume"],
    "Bytes the container wrote to the disk below a mount point"
);
family!(
    OOM_KILLS,
    Counter,
    Container,
    "container_oom_kills_total",
    [],
    "Processes of the container that the kernel's OOM killer ended; absent until the first"
);
family!(
    LISTEN_INFO,
    Gauge,
    Container,
    "container_net_tcp_listen_info",
    ["listen_addr", "proxy"],
    "1 while the container, or docker's proxy for it, listens on the TCP address, 0 when it stopped a short time ago"
);
family!(
    SUCCESSFUL_CONNECTS,
    Counter,
    Container,
    "container_net_tcp_successful_connects_total",
    ["destination", "actual_destination"],
    "Outbound TCP connections that were established"
);
family!(
    FAILED_CONNECTS,
    Counter,
    Container,
    "container_net_tcp_failed_connects_total",
    ["destination"],
    "Outbound TCP connection attempts that failed"
);
family!(
    ACTIVE_CONNECTIONS,
    Gauge,
    Container,
    "container_net_tcp_active_connections",
    ["destination", "actual_destination"],
    "Outbound TCP connections that are established now; absent when there is none"
);
family!(
    RETRANSMITS,
    Counter,
    Container,
    "container_net_tcp_retransmits_total",
    ["destination", "actual_destination"],
    "TCP segments sent again on outbound connections"
);
family!(
    CONNECTION_TIME,
    Counter,
    Container,
    "container_net_tcp_connection_time_seconds_total",
    ["destination", "actual_destination"],
    "Time spent establishing outbound TCP connections, in seconds"
);
family!(
    RTT,
    Gauge,
    Container,
    "container_net_tcp_rtt_seconds",
    ["destination", "actual_destination"],
    "Smoothed round trip of the outbound TCP connection that last measured one, in seconds; absent until the first and for ~other"
);
family!(
    BYTES_SENT,
    Counter,
    Container,
    "container_net_tcp_bytes_sent_total",
    ["destination", "actual_destination"],
    "Payload sent on outbound TCP connections, in bytes, each byte counted once"
);
family!(
    BYTES_RECEIVED,
    Counter,
    Container,
    "container_net_tcp_bytes_received_total",
    ["destination", "actual_destination"],
    "Payload received on outbound TCP connections, in bytes, each byte counted once"
);
family!(
    LATENCY,
    Gauge,
    Container,
    "container_net_latency_seconds",
    ["destination_ip"],
    "Round trip from the node to an address the container has connections to, in seconds, by ICMP echo; of TCP where echo is not answered"
);

family!(
    LOG_MESSAGES,
    Counter,
    Container,
    "container_log_messages_total",
    ["source", "level", "pattern_hash", "sample"],
    "Log messages by level; from warnings on also by pattern, with one message of it as a sample. The source is stdout/stderr, journald or the path of a file"
);

/// The families of this file, in the order of their exposition.
pub static FAMILIES: &[&Descriptor] = &[
    &INFO,
    &APPLICATION_TYPE,
    &JVM_INFO,
    &JVM_HEAP_SIZE,
    &JVM_HEAP_USED,
    &JVM_HEAP_MAX,
    &JVM_GC_TIME,
    &JVM_SAFEPOINT_TIME,
    &JVM_SAFEPOINT_SYNC_TIME,
    &RESTARTS,
    &CPU_LIMIT,
    &CPU_USAGE,
    &CPU_THROTTLED,
    &CPU_PRESSURE,
    &CPU_DELAY,
    &DISK_DELAY,
    &IRQ_DELAY,
    &MEMORY_DELAY,
    &MEMORY_LIMIT,
    &MEMORY_RSS,
    &MEMORY_CACHE,
    &MEMORY_PRESSURE,
    &IO_PRESSURE,
    &DISK_SIZE,
    &DISK_USED,
    &DISK_RESERVED,
    &DISK_READS,
    &DISK_READ_BYTES,
    &DISK_WRITES,
    &DISK_WRITTEN_BYTES,
    &OOM_KILLS,
    &LISTEN_INFO,
    &SUCCESSFUL_CONNECTS,
    &FAILED_CONNECTS,
    &ACTIVE_CONNECTIONS,
    &RETRANSMITS,
    &CONNECTION_TIME,
    &RTT,
    &BYTES_SENT,
    &BYTES_RECEIVED,
    &LATENCY,
    &LOG_MESSAGES,
];
