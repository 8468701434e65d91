/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The maps. Each says who writes, who deletes and what happens when it is full.
 * Hashes are not preallocated, so that a map costs what it holds.
 */
#ifndef NODESCOPE_MAPS_H
#define NODESCOPE_MAPS_H

enum connection_flags {
	/* Counted in `active` of its flow. */
	CONNECTION_ACTIVE = 1,
	/* It was ESTABLISHED once: its end is not a failure. */
	CONNECTION_ESTABLISHED = 2,
	CONNECTION_SENT_KNOWN = 4,
	CONNECTION_RECEIVED_KNOWN = 8,
	/* Counted in FLOW_OTHER of its owner, for good: `active` must go down where it went up. */
	CONNECTION_OTHER = 16,
	/* `departure` is a key of `translations`. */
	CONNECTION_DEPARTED = 32,
};

struct connection {
	struct flow_key key;
	__u64 connecting_ns;
	/* The sequence numbers behind the last payload byte counted. */
	__u32 sent_seq;
	__u32 received_seq;
	__u32 retransmits;
	__u32 flags;
	/* Smoothed round trip as the kernel has it, in eighths of a microsecond. */
	__u32 srtt_us;
	/* Payload of the SYN and its answer, which comes before the flow is known. */
	__u32 early_sent;
	__u32 early_received;
	/* How its SYN left the namespace of the socket. */
	struct tuple departure;
	/* Guards flags, numbers and counters above: packets of one connection come on several CPUs at once. */
	struct bpf_spin_lock lock;
};

/*
 * Outbound TCP sockets. Made when a socket connects or by adopt_connections, deleted at CLOSE, else by the kernel
 * with the socket. No memory: the connection is not counted, LOSS_CONNECTIONS.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct connection);
} connections SEC(".maps");

/* Counters of what the connections did. The sensor deletes idle entries. Full: `other_flows`. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, FLOWS_MAX);
	__type(key, struct flow_key);
	__type(value, struct flow);
} flows SEC(".maps");

/*
 * One entry an owner (FLOW_OTHER) for its destinations that found no room in `flows`. A map of its own, for when the
 * other one is full. Nobody deletes. Full: LOSS_FLOWS.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, OTHER_FLOWS_MAX);
	__type(key, struct flow_key);
	__type(value, struct flow);
} other_flows SEC(".maps");

/* Listening sockets by cookie; deleted when they stop. Full: the socket is not reported, LOSS_LISTENS. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, LISTENS_MAX);
	__type(key, __u64);
	__type(value, struct listen);
} listens SEC(".maps");

/*
 * Connections of other namespaces than the host's, from their SYN until they are established or fail: who sees one
 * being translated writes where it goes. The sensor deletes what was left behind. Full: the connection is counted as if
 * it were not translated, LOSS_TRANSLATIONS.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, TRANSLATIONS_MAX);
	__type(key, struct tuple);
	__type(value, struct translation);
} translations SEC(".maps");

/*
 * Translated connections older than the sensor: written by it while it starts, read by adopt_connections, emptied by
 * the sensor. Full: they are counted as if they were not translated; the sensor counts them.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, OLDER_TRANSLATIONS_MAX);
	__type(key, struct tuple);
	__type(value, struct translation);
} older_translations SEC(".maps");

/*
 * What connections of `translations` count for, while events of netlink are followed. Whoever comes first makes the
 * entry and so decides: the event, with where the connection goes, or its establishment, with port 0. Who comes second
 * deletes it. The sensor deletes what was left behind. Full: the connection is counted as if it were not translated,
 * LOSS_TRANSLATIONS.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SETTLEMENTS_MAX);
	__type(key, struct tuple);
	__type(value, struct translation);
} settlements SEC(".maps");

/* 1: the sensor follows events of netlink, so that `settlements` decides. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} follows_events SEC(".maps");

/*
 * Cilium's own maps, put in here by the sensor when they are there; each is the only entry. The inner definition is
 * what Cilium's must be like in type, flags, key and value.
 */
#define CILIUM_MAP(name, kind, flags, key, value)                  \
	struct {                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);          \
		__uint(max_entries, 1);                            \
		__uint(key_size, sizeof(__u32));                   \
		__array(                                           \
			values, struct {                           \
				__uint(type, kind);                \
				__uint(map_flags, flags);          \
				__uint(max_entries, 1);            \
				__uint(key_size, sizeof(key));     \
				__uint(value_size, sizeof(value)); \
			});                                        \
	} name SEC(".maps")

CILIUM_MAP(cilium_ct4, BPF_MAP_TYPE_LRU_HASH, 0, struct cilium_tuple4, struct cilium_entry);
CILIUM_MAP(cilium_ct6, BPF_MAP_TYPE_LRU_HASH, 0, struct cilium_tuple6, struct cilium_entry);
CILIUM_MAP(cilium_backends4, BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC, __u32, struct cilium_backend4);
CILIUM_MAP(cilium_backends6, BPF_MAP_TYPE_HASH, BPF_F_NO_PREALLOC, __u32, struct cilium_backend6);

struct listen_port {
	__u32 netns;
	__u16 port;
	__u16 reserved;
};

/*
 * Where sockets listen while the sensor starts: written by its first scan_listens, read by adopt_connections, emptied
 * by the sensor. Full: the direction of older connections rests on their backlog alone, LOSS_LISTENS.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, LISTENS_MAX);
	__type(key, struct listen_port);
	__type(value, __u32);
} listen_ports SEC(".maps");

/* The cgroups each process is counted in, by thread group. Deleted at its exit. Full: LOSS_PROCESSES. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, PROCESSES_MAX);
	__type(key, __u32);
	__type(value, struct process);
} processes SEC(".maps");

/* Counters of a cgroup's processes. The sensor deletes dead ones when it is nearly full. Full: LOSS_POPULATIONS. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, POPULATIONS_MAX);
	__type(key, struct cgroup_key);
	__type(value, struct population);
} populations SEC(".maps");

/* How long the tasks of a cgroup waited. The sensor deletes the longest unchanged when nearly full. Full: LOSS_DELAYS.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, DELAYS_MAX);
	__type(key, struct cgroup_key);
	__type(value, struct delays);
} delays SEC(".maps");

struct thread {
	/* Of the task. The kernel may use the memory of an ended task for another one. */
	__u64 start_ns;
	/* What was already added to `delays`. */
	__u64 counted_ns[DELAY_KINDS];
	/* When it was last seen not waiting for block I/O, or began. */
	__u64 no_block_io_ns;
};

/*
 * Tasks that scan_delays saw waiting, by the address of their task_struct, which stays when exec changes their number.
 * Deleted at their end. Full: what a task waited for is counted at its end instead; of one older than the sensor, not
 * at all, LOSS_DELAYS once a scan.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, THREADS_MAX);
	__type(key, __u64);
	__type(value, struct thread);
} threads SEC(".maps");

/*
 * Cgroups of the v2 tree and the watched v1 hierarchy, older ones written by the sensor. Removed ones stay until the
 * sensor needs the room, because counters still refer to them. Full: LOSS_CGROUPS.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CGROUPS_MAX);
	__type(key, struct cgroup_key);
	__type(value, struct cgroup_entry);
} cgroups SEC(".maps");

/* A cgroup entry is larger than the stack. Only cgroup_mkdir uses it, which the kernel runs one at a time. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cgroup_entry);
} scratch SEC(".maps");

/* What was lost, at stage * LOSS_REASONS + reason. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LOSS_STAGES * LOSS_REASONS);
	__type(key, __u32);
	__type(value, __u64);
} losses SEC(".maps");

/*
 * Files whose path scan_logs has looked at, so that each is looked at once however many processes hold it. The sensor
 * empties it after each scan. Full: the file is not found, LOSS_LOGS once a scan and descriptor.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, LOG_CANDIDATES_MAX);
	__type(key, struct log_candidate);
	__type(value, __u32);
} log_candidates SEC(".maps");

/*
 * What scan_logs is about to print, of which the sensor runs one at a time. Not on its stack: the verifier of some
 * kernels (seen on 6.17) holds what is there for unchanged by bpf_d_path, whose prototype did not say that it writes,
 * and takes every comparison with it away.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct held_log);
} log_scratch SEC(".maps");

/*
 * Executables whose path scan_executables has printed. The sensor empties it after each scan. Full: paths are printed
 * more than once.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, EXECUTABLES_MAX);
	__type(key, struct executable_key);
	__type(value, __u32);
} executables SEC(".maps");

/* What scan_executables is about to print: too much for its stack. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct executable_output);
} executable_scratch SEC(".maps");

/* The number of the scan of open files that runs, written by the sensor before it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} scan SEC(".maps");

/* Hints. Full: the sensor sees the change at its next poll instead, LOSS_EVENTS. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, EVENTS_BYTES);
} events SEC(".maps");

static __always_inline void count_loss(__u32 stage, __u32 reason)
{
	__u32 index = stage * LOSS_REASONS + reason;
	__u64 *total = bpf_map_lookup_elem(&losses, &index);

	/* Programs that can sleep or be interrupted may be here twice on one CPU. */
	if (total)
		__sync_fetch_and_add(total, 1);
}

/*
 * Errors of map helpers are kept as int: before d7ba4cc900bf ("bpf: return long from bpf_map_ops funcs", 6.4) the upper
 * half of what they return is not the sign.
 */
static __always_inline void count_failed_update(__u32 stage, int err)
{
	count_loss(stage, err == -E2BIG ? LOSS_FULL : LOSS_REFUSED);
}

/* Never read: a type that only local variables have is not in the BTF, where tests/layout.rs looks for it. */
const volatile struct event event_layout;

static __always_inline void notify(__u32 kind, __u32 hierarchy, __u64 id)
{
	struct event event = { .kind = kind, .hierarchy = hierarchy, .id = id };

	if (bpf_ringbuf_output(&events, &event, sizeof(event), 0))
		count_loss(LOSS_EVENTS, LOSS_FULL);
}

#endif
