/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Connection tracking entries of new connections, from the tracepoint net:net_dev_queue; see translations.bpf.h.
 *
 * It runs for every packet that a device is to send, so that what is nothing new is left after one or two loads. The
 * entry was confirmed before: its reply tuple says who really answers.
 */

/* The answer to a SYN: from a listener, or its request. */
static __always_inline bool answers_syn(struct sk_buff *skb)
{
	struct sock *sk = skb->sk;
	__u8 state;

	if (!sk)
		return false;
	state = sk->__sk_common.skc_state;
	return state == TCP_NEW_SYN_RECV || state == TCP_LISTEN || state == TCP_SYN_RECV;
}

/* The connection tracking entry of a connection that begins, else null. */
static __always_inline struct nf_conn *entry_of_new(struct sk_buff *skb)
{
	unsigned long nfct = skb->_nfct;
	__u32 info = nfct & NFCT_INFOMASK;

	if (info == IP_CT_NEW || (info == IP_CT_ESTABLISHED_REPLY && answers_syn(skb)))
		return (struct nf_conn *)(nfct & ~NFCT_INFOMASK);
	return NULL;
}

static __always_inline void read_address(__u8 ip[16], const union nf_inet_addr *address, u16 family)
{
	if (family == AF_INET)
		map_ipv4(ip, BPF_CORE_READ(address, ip));
	else
		bpf_core_read(ip, 16, &address->ip6);
}

SEC("tp_btf/net_dev_queue")
int BPF_PROG(translate, struct sk_buff *skb)
{
	struct nf_conn *entry = entry_of_new(skb);
	const struct nf_conntrack_tuple *asked, *answers;
	struct translation *translation, found = {};
	struct tuple tuple = {};
	u16 family;

	if (!entry)
		return 0;
	asked = &entry->tuplehash[0].tuple;
	if (BPF_CORE_READ(asked, dst.protonum) != IPPROTO_TCP)
		return 0;
	family = BPF_CORE_READ(asked, src.l3num);
	read_address(tuple.source_ip, &asked->src.u3, family);
	read_address(tuple.destination_ip, &asked->dst.u3, family);
	tuple.source_port = bpf_ntohs(BPF_CORE_READ(asked, src.u.all));
	tuple.destination_port = bpf_ntohs(BPF_CORE_READ(asked, dst.u.all));
	translation = bpf_map_lookup_elem(&translations, &tuple);
	if (!translation)
		return 0;
	if (!every_netns && BPF_CORE_READ(entry, ct_net.net, ns.inum) != host_netns)
		return 0;
	answers = &entry->tuplehash[1].tuple;
	read_address(found.ip, &answers->src.u3, family);
	found.port = bpf_ntohs(BPF_CORE_READ(answers, src.u.all));
	if (found.port == tuple.destination_port && same_ip(found.ip, tuple.destination_ip))
		return 0;
	__builtin_memcpy(translation->ip, found.ip, sizeof(translation->ip));
	translation->port = found.port;
	return 0;
}
