/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel's types as far as the programs use them, instead of a generated vmlinux.h.
 *
 * Structs under the CO-RE pragma name only the fields that are read; their offsets come from the running kernel's BTF.
 * Nesting must be as in the kernel, because CO-RE finds a field by its path of names. Give members their true width.
 */
#ifndef NODESCOPE_KERNEL_H
#define NODESCOPE_KERNEL_H

/* Makes bpf_tracing.h use the kernel's names of registers. */
#define __VMLINUX_H__ 1

typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef _Bool bool;

#define NULL ((void *)0)
#define true 1
#define false 0

/* include/uapi/linux/bpf.h */
enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_MAP_TYPE_SK_STORAGE = 24,
	BPF_MAP_TYPE_RINGBUF = 27,
};
enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_F_NO_PREALLOC = 1,
	BPF_SK_STORAGE_GET_F_CREATE = 1,
};
enum {
	BPF_SOCK_OPS_TCP_CONNECT_CB = 3,
	BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB = 4,
	BPF_SOCK_OPS_STATE_CB = 10,
	BPF_SOCK_OPS_TCP_LISTEN_CB = 11,
	BPF_SOCK_OPS_STATE_CB_FLAG = 1 << 2,
};

/* include/uapi/asm-generic/errno-base.h */
#define E2BIG 7
#define EEXIST 17

/* include/uapi/linux/stat.h, include/uapi/asm-generic/fcntl.h, include/linux/fs.h */
#define S_IFMT 0170000
#define S_IFREG 0100000
#define O_ACCMODE 3
#define O_WRONLY 1
#define O_APPEND 02000
#define FMODE_WRITE 2

/* include/linux/socket.h, include/uapi/linux/in.h, include/uapi/linux/if_ether.h */
#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86DD

/* include/linux/sched.h */
#define PF_KTHREAD 0x00200000
#define EXIT_DEAD 0x00000010

/* include/net/tcp_states.h; the same values in bpf.h */
enum tcp_state {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT = 2,
	TCP_SYN_RECV = 3,
	TCP_CLOSE = 7,
	TCP_LISTEN = 10,
	TCP_NEW_SYN_RECV = 12,
};

/* include/uapi/linux/netfilter/nf_conntrack_common.h: what a packet is to its connection. */
enum ip_conntrack_info {
	IP_CT_NEW = 2,
	IP_CT_ESTABLISHED_REPLY = 3,
};
/* include/linux/skbuff.h: the bits of sk_buff._nfct that are an ip_conntrack_info; the others are a pointer. */
#define NFCT_INFOMASK 7UL

/* Opaque to CO-RE: the verifier knows it by name. */
struct bpf_spin_lock {
	__u32 val;
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* Contexts and helper results; stable UAPI, in BTF like everything else. */
struct bpf_sock {
	__u32 protocol;
	__u32 state;
};

struct bpf_tcp_sock {
	__u32 srtt_us;
	__u32 rcv_nxt;
	__u32 total_retrans;
};

struct __sk_buff {
	__u32 len;
	__u32 protocol;
	struct bpf_sock *sk;
};

struct bpf_sock_ops {
	__u32 op;
	__u32 args[4];
	__u32 bpf_sock_ops_cb_flags;
	__u32 total_retrans;
	struct bpf_sock *sk;
};

/* Cgroups. */
struct kernfs_node {
	u64 id;
};

struct cgroup_root {
	int hierarchy_id;
};

struct cgroup {
	struct kernfs_node *kn;
	struct cgroup_root *root;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
};

struct css_set {
	struct cgroup_subsys_state *subsys[1];
	struct cgroup *dfl_cgrp;
};

/* Which numbers the controllers have depends on the kernel's configuration. */
enum cgroup_subsys_id {
	cpuset_cgrp_id,
	cpu_cgrp_id,
	cpuacct_cgrp_id,
	memory_cgrp_id,
	pids_cgrp_id,
};

/* Processes. */
typedef struct {
	int counter;
} atomic_t;

struct qstr {
	const unsigned char *name;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	struct super_block *d_sb;
};

struct path {
	struct dentry *dentry;
};

struct super_block {
	u32 s_dev;
	unsigned long s_magic;
	struct dentry *s_root;
};

struct inode {
	u16 i_mode;
	struct super_block *i_sb;
	unsigned long i_ino;
	unsigned int i_nlink;
};

struct file {
	unsigned int f_mode;
	unsigned int f_flags;
	struct inode *f_inode;
	struct path f_path;
	void *private_data;
};

struct mm_struct {
	struct file *exe_file;
};

struct signal_struct {
	atomic_t live;
};

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

struct nsproxy {
	struct net *net_ns;
};

struct sched_info {
	unsigned long long run_delay;
};

/* The members came one after the other: thrashing_delay with 4.20, compact_delay 5.17, wpcopy_delay 6.1, irq_delay 6.4.
 */
struct task_delay_info {
	u64 blkio_delay;
	u64 swapin_delay;
	u64 freepages_delay;
	u64 thrashing_delay;
	u64 compact_delay;
	u64 wpcopy_delay;
	u64 irq_delay;
};

struct task_struct {
	unsigned int flags;
	int exit_state;
	struct sched_info sched_info;
	u64 start_time;
	unsigned in_iowait : 1;
	struct task_delay_info *delays;
	struct mm_struct *mm;
	int pid;
	int tgid;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	struct css_set *cgroups;
};

/* Sockets. */
struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct sock_common {
	union {
		struct {
			__be32 skc_daddr;
			__be32 skc_rcv_saddr;
		};
	};
	union {
		struct {
			__be16 skc_dport;
			__u16 skc_num;
		};
	};
	unsigned short skc_family;
	volatile unsigned char skc_state;
	unsigned char skc_ipv6only : 1;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
	struct sock_common __sk_common;
	u16 sk_protocol;
	u32 sk_max_ack_backlog;
};

struct tcp_sock {
	u32 rcv_nxt;
	u32 snd_nxt;
	u32 total_retrans;
};

struct socket {
	struct sock *sk;
};

/* Connection tracking. */
union nf_inet_addr {
	__be32 ip;
	__be32 ip6[4];
};

union nf_conntrack_man_proto {
	__be16 all;
};

struct nf_conntrack_man {
	union nf_inet_addr u3;
	union nf_conntrack_man_proto u;
	u16 l3num;
};

struct nf_conntrack_tuple {
	struct nf_conntrack_man src;
	struct {
		union nf_inet_addr u3;
		union {
			__be16 all;
		} u;
		u8 protonum;
	} dst;
};

struct nf_conntrack_tuple_hash {
	struct nf_conntrack_tuple tuple;
};

struct nf_conn {
	struct nf_conntrack_tuple_hash tuplehash[2];
	possible_net_t ct_net;
};

struct sk_buff {
	struct sock *sk;
	unsigned long _nfct;
};

/* Iterators. */
struct seq_file;

struct bpf_iter_meta {
	union {
		struct seq_file *seq;
	};
};

struct bpf_iter__task {
	union {
		struct bpf_iter_meta *meta;
	};
	union {
		struct task_struct *task;
	};
};

struct bpf_iter__task_file {
	union {
		struct bpf_iter_meta *meta;
	};
	union {
		struct task_struct *task;
	};
	union {
		struct file *file;
	};
};

#pragma clang attribute pop

#endif
