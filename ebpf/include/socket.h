/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Addresses and facts of a kernel socket, IPv4 as v4-mapped.
 */
#ifndef NODESCOPE_SOCKET_H
#define NODESCOPE_SOCKET_H

static __always_inline void map_ipv4(__u8 ip[16], __be32 ipv4)
{
	__builtin_memset(ip, 0, 10);
	ip[10] = 0xff;
	ip[11] = 0xff;
	__builtin_memcpy(ip + 12, &ipv4, sizeof(ipv4));
}

static __always_inline bool is_mapped_ipv4(const __u8 ip[16])
{
	const __u32 *words = (const __u32 *)ip;

	return !words[0] && !words[1] && words[2] == bpf_htonl(0xffff);
}

static __always_inline void remote_address(struct flow_key *key, struct sock *sk)
{
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET)
		map_ipv4(key->remote_ip, BPF_CORE_READ(sk, __sk_common.skc_daddr));
	else
		BPF_CORE_READ_INTO(&key->remote_ip, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr8);
	key->remote_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
}

static __always_inline void local_ip(__u8 ip[16], struct sock *sk)
{
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET)
		map_ipv4(ip, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
	else
		bpf_core_read(ip, 16, &sk->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8);
}

static __always_inline void local_address(struct listen *listen, struct sock *sk)
{
	local_ip(listen->ip, sk);
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6)
		listen->ipv6_only = BPF_CORE_READ_BITFIELD_PROBED(sk, __sk_common.skc_ipv6only);
	listen->port = BPF_CORE_READ(sk, __sk_common.skc_num);
}

static __always_inline __u32 netns_of_socket(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

static __always_inline __u8 state_of(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_state);
}

/* MPTCP, SCTP and DCCP sockets go through the same hooks. */
static __always_inline bool is_tcp(struct sock *sk)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	return (family == AF_INET || family == AF_INET6) && BPF_CORE_READ(sk, sk_protocol) == IPPROTO_TCP;
}

static __always_inline __u32 retransmits_of(struct sock *sk)
{
	return BPF_CORE_READ((struct tcp_sock *)sk, total_retrans);
}

#endif
