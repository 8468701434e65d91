/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the BPF programs and the sensor share: keys and values of the maps, in fixed-width types with explicit padding.
 * src/abi.rs and src/abi/ mirror it by hand; tests/layout.rs compares every offset with the object's BTF.
 *
 * Addresses are 16 bytes in network order, IPv4 as ::ffff:a.b.c.d. Ports are in host order. Times are CLOCK_MONOTONIC.
 */
#ifndef NODESCOPE_ABI_H
#define NODESCOPE_ABI_H

/* Longest file name of an executable, with its terminating zero; longer ones are cut. */
#define EXECUTABLE_BYTES 32
/* Longest path of a cgroup, with its terminating zero. A longer one is cut and counted as a loss. */
#define CGROUP_PATH_BYTES 512
/* Longest path of a log file, with its terminating zero; a file with a longer one is not found. */
#define LOG_PATH_BYTES 256
/* Names on the way from a file to the root of its file system; a file that is deeper is not found. */
#define EXECUTABLE_PATH_NAMES 16
/* Longest of these names, with its terminating zero; a longer one is cut, and the file not found. */
#define EXECUTABLE_NAME_BYTES 128

/* How many entries each map has by default; the sensor may set others. */
#define FLOWS_MAX 65536
#define OTHER_FLOWS_MAX 4096
#define LISTENS_MAX 16384
#define PROCESSES_MAX 65536
#define POPULATIONS_MAX 16384
#define CGROUPS_MAX 16384
#define DELAYS_MAX 16384
#define THREADS_MAX 65536
#define TRANSLATIONS_MAX 16384
#define SETTLEMENTS_MAX 65536
#define OLDER_TRANSLATIONS_MAX 262144
#define LOG_CANDIDATES_MAX 8192
#define EXECUTABLES_MAX 16384
#define EVENTS_BYTES (256 * 1024)

/* Where a process runs: inodes in the v2 tree and in the watched v1 hierarchy (0: none). */
struct workload_key {
	__u64 cgroup_v2;
	__u64 cgroup_v1;
};

struct owner {
	struct workload_key workload;
	char executable[EXECUTABLE_BYTES];
};

enum flow_kind {
	FLOW_DESTINATION = 0,
	/* All of the owner's destinations for which `flows` had no room. */
	FLOW_OTHER = 1,
};

struct flow_key {
	struct owner owner;
	__u8 remote_ip[16];
	/* Where the connections really go when something translates the destination, else all zero. */
	__u8 actual_ip[16];
	__u16 remote_port;
	__u16 actual_port;
	__u8 kind;
	__u8 host_netns;
	__u16 reserved;
};

struct flow {
	__u64 generation_ns;
	__u64 connects;
	__u64 failures;
	__s64 active;
	__u64 retransmits;
	__u64 sent_bytes;
	__u64 received_bytes;
	__u64 connect_time_ns;
	__u64 updated_ns;
	/* The smoothed round trip of the connection that last had a new one; 0: none yet. */
	__u64 rtt_ns;
};

/* Both ends of a TCP connection, from the side that connects. Key of all maps of translations. */
struct tuple {
	__u8 source_ip[16];
	__u8 destination_ip[16];
	__u16 source_port;
	__u16 destination_port;
	__u32 reserved;
} __attribute__((aligned(8)));

/* Value of `translations`, `settlements` and `older_translations`. */
struct translation {
	__u64 created_ns;
	/* Where the connection really goes; port 0: not translated, as far as is known. */
	__u8 ip[16];
	__u16 port;
	__u8 reserved[6];
};

/* Keys and values of Cilium's maps, see programs/cilium.bpf.h. Only these fields are used. */
struct cilium_tuple4 {
	__u8 service_ip[4];
	__u8 client_ip[4];
	__be16 client_port;
	__be16 service_port;
	__u8 protocol;
	__u8 flags;
} __attribute__((packed));

struct cilium_tuple6 {
	__u8 service_ip[16];
	__u8 client_ip[16];
	__be16 client_port;
	__be16 service_port;
	__u8 protocol;
	__u8 flags;
} __attribute__((packed));

struct cilium_entry {
	__u64 reserved;
	__u64 backend;
	__u8 others[40];
};

struct cilium_backend4 {
	__u8 ip[4];
	__be16 port;
	__u8 others[6];
};

struct cilium_backend6 {
	__u8 ip[16];
	__be16 port;
	__u8 others[6];
};

/* How a process relates to a listening socket; the highest one found in a scan is the holder. */
enum holder_rank {
	/* Process 1 makes sockets for services, by a helper in the cgroup of the .socket unit, and stores theirs. */
	HOLDER_INIT = 0,
	HOLDER_SAME_WORKLOAD = 1,
	HOLDER_MAKER = 2,
	/* In another workload than the maker: it was handed the socket, so it is the one that uses it. */
	HOLDER_FOREIGN = 3,
};

/* Key of `listens`: the socket cookie. */
struct listen {
	struct owner maker;
	struct owner holder;
	__u32 maker_pid;
	__u32 holder_pid;
	/* The scan that found the holder; 0: none yet. */
	__u32 holder_scan;
	__u32 holder_rank;
	__u32 netns;
	__u16 port;
	__u8 ipv6_only;
	__u8 reserved;
	__u8 ip[16];
};

/* Value of `populations`: the processes of one cgroup, which is the key. */
struct population {
	__u64 generation_ns;
	__s64 live;
	__u64 started;
	__u64 ended;
	__u64 restarts;
	__u64 oom_kills;
	__u64 updated_ns;
};

/* What a task waits for. The kernel has no numbers for some of them, depending on its version. */
enum delay_kind {
	/* Runnable, for a CPU. */
	DELAY_CPU = 0,
	DELAY_BLOCK_IO = 1,
	DELAY_SWAP_IN = 2,
	/* Direct reclaim, for free pages. */
	DELAY_RECLAIM = 3,
	/* For pages that were in the page cache a short time ago. */
	DELAY_THRASHING = 4,
	DELAY_COMPACTION = 5,
	/* Copying a page at the first write to it. */
	DELAY_WRITE_COPY = 6,
	/* Its CPU served interrupts. */
	DELAY_IRQ = 7,
	DELAY_KINDS = 8,
};

/* Value of `delays`: how long the tasks of one cgroup, which is the key, have waited. */
struct delays {
	__u64 generation_ns;
	__u64 updated_ns;
	__u64 waited_ns[DELAY_KINDS];
};

/* Key of `processes`: the thread group id. */
struct process {
	struct workload_key workload;
	/* When its first task began: the number alone may be another process's later. */
	__u64 start_ns;
};

struct cgroup_key {
	__u64 id;
	__u32 hierarchy;
	__u32 reserved;
};

struct cgroup_entry {
	/* 0: older than the sensor. */
	__u64 created_ns;
	/* 0: it exists. */
	__u64 removed_ns;
	__u64 updated_ns;
	/* Without the terminating zero. */
	__u32 path_bytes;
	__u32 reserved;
	char path[CGROUP_PATH_BYTES];
};

/* Key of `log_candidates`: a file that processes of one workload write. */
struct log_candidate {
	struct workload_key workload;
	__u64 inode;
	__u32 device;
	__u32 reserved;
};

/* What scan_logs prints for each file. */
struct held_log {
	struct workload_key workload;
	/* In a union of directories that of the file below which is written. */
	__u64 inode;
	__u32 device;
	/* One of the processes that hold it open. */
	__u32 pid;
	/* As that process has it in its mount namespace; what comes after the first zero means nothing. */
	char path[LOG_PATH_BYTES];
};

/*
 * What scan_executables prints for each process. As many names as `names` says follow, of EXECUTABLE_NAME_BYTES each:
 * for the first process of each file in a scan.
 */
struct executable {
	__u64 inode;
	__u32 device;
	__u32 pid;
	__u32 names;
	__u32 reserved;
};

/* Key of `executables`. */
struct executable_key {
	__u64 inode;
	__u32 device;
	__u32 reserved;
};

/* From the file up to the root of its file system; what comes after the first zero of a name means nothing. */
struct executable_path {
	char names[EXECUTABLE_PATH_NAMES][EXECUTABLE_NAME_BYTES];
};

struct executable_output {
	struct executable executable;
	struct executable_path path;
};

enum event_kind {
	EVENT_CGROUP = 1,
	EVENT_LISTEN = 2,
};

/* A hint that an entry changed; what it says now is in its map. */
struct event {
	__u32 kind;
	/* EVENT_CGROUP: the hierarchy. */
	__u32 hierarchy;
	/* Cgroup id or socket cookie. */
	__u64 id;
};

enum loss_stage {
	LOSS_FLOWS = 0,
	LOSS_CONNECTIONS = 1,
	LOSS_LISTENS = 2,
	LOSS_PROCESSES = 3,
	LOSS_POPULATIONS = 4,
	LOSS_CGROUPS = 5,
	LOSS_EVENTS = 6,
	LOSS_DELAYS = 7,
	LOSS_TRANSLATIONS = 8,
	LOSS_LOGS = 9,
	LOSS_STAGES = 10,
};

enum loss_reason {
	/* The map or ring has no room. */
	LOSS_FULL = 0,
	/* The kernel refused for another reason, for want of memory as a rule. */
	LOSS_REFUSED = 1,
	/* Something was cut to fit. */
	LOSS_TRUNCATED = 2,
	/* What it is about is not known. */
	LOSS_UNKNOWN = 3,
	/* The kernel says what cannot be. */
	LOSS_IMPOSSIBLE = 4,
	LOSS_REASONS = 5,
};

_Static_assert(sizeof(struct owner) == 48, "owner");
_Static_assert(sizeof(struct flow_key) == 88, "flow_key");
_Static_assert(sizeof(struct flow) == 80, "flow");
_Static_assert(sizeof(struct tuple) == 40, "tuple");
_Static_assert(sizeof(struct translation) == 32, "translation");
_Static_assert(sizeof(struct listen) == 136, "listen");
_Static_assert(sizeof(struct population) == 56, "population");
_Static_assert(sizeof(struct delays) == 80, "delays");
_Static_assert(sizeof(struct process) == 24, "process");
_Static_assert(sizeof(struct cgroup_key) == 16, "cgroup_key");
_Static_assert(sizeof(struct cgroup_entry) == 544, "cgroup_entry");
_Static_assert(sizeof(struct cilium_tuple4) == 14, "cilium_tuple4");
_Static_assert(sizeof(struct cilium_tuple6) == 38, "cilium_tuple6");
_Static_assert(sizeof(struct cilium_entry) == 56, "cilium_entry");
_Static_assert(sizeof(struct cilium_backend4) == 12, "cilium_backend4");
_Static_assert(sizeof(struct cilium_backend6) == 24, "cilium_backend6");
_Static_assert(sizeof(struct log_candidate) == 32, "log_candidate");
_Static_assert(sizeof(struct held_log) == 288, "held_log");
_Static_assert(sizeof(struct executable) == 24, "executable");
_Static_assert(sizeof(struct executable_key) == 16, "executable_key");
_Static_assert(sizeof(struct executable_path) == 2048, "executable_path");
_Static_assert(sizeof(struct event) == 16, "event");

#endif
