/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Payload bytes by TCP sequence numbers, from cgroup_skb on the root of the v2 tree.
 *
 * A byte counts when the highest sequence number moves past it, so retransmissions, duplicates, SYN and FIN count
 * nothing. The base is the SYN of each side or, for an older connection, what adopt_connections found in the socket.
 * The round trip is the kernel's own smoothed estimate at the time of a segment that goes out.
 * Sockets without storage (everything but outbound TCP) cost one lookup. Known limit: bytes that never came of a
 * connection that broke off behind a gap are counted as received.
 */

#define IPV6_EXTENSIONS_MAX 4
/* Larger than any window can be (RFC 7323): what claims to be further ahead is not of this connection. */
#define SEQ_AHEAD_MAX (1 << 30)

enum direction {
	INGRESS,
	EGRESS,
};

struct segment {
	/* Sequence numbers of the first payload byte and of the one behind the last. */
	__u32 start;
	__u32 end;
	bool syn;
	/* What is in the TCP header; the addresses are read where they are needed. */
	__be16 source;
	__be16 destination;
};

struct tcp_header {
	__be16 source;
	__be16 destination;
	__be32 sequence;
	__be32 acknowledgement;
	__u8 offset;
	__u8 flags;
};

#define TCP_FLAG_SYN 0x02
/* tcp_sock.srtt_us is in eighths of a microsecond. */
#define SRTT_UNIT_NS 125

/* Offset of the TCP header behind an IPv4 header, or 0. */
static __always_inline __u32 skip_ipv4(struct __sk_buff *skb)
{
	__u8 header[10];

	if (bpf_skb_load_bytes(skb, 0, header, sizeof(header)) || header[9] != IPPROTO_TCP)
		return 0;
	return (header[0] & 0x0f) * 4;
}

/* The same behind an IPv6 header and the extension headers that TCP may follow. */
static __always_inline __u32 skip_ipv6(struct __sk_buff *skb)
{
	__u32 offset = 40;
	__u8 extension[2];
	__u8 next;
	int i;

	if (bpf_skb_load_bytes(skb, 6, &next, sizeof(next)))
		return 0;
	for (i = 0; i < IPV6_EXTENSIONS_MAX; i++) {
		if (next == IPPROTO_TCP)
			return offset;
		/* Hop-by-hop, routing, destination options. */
		if (next != 0 && next != 43 && next != 60)
			return 0;
		if (bpf_skb_load_bytes(skb, offset, extension, sizeof(extension)))
			return 0;
		next = extension[0];
		offset += (extension[1] + 1) * 8;
	}
	return next == IPPROTO_TCP ? offset : 0;
}

static __always_inline bool read_segment(struct __sk_buff *skb, struct segment *segment)
{
	struct tcp_header tcp;
	__u32 offset;

	if (skb->protocol == bpf_htons(ETH_P_IP))
		offset = skip_ipv4(skb);
	else if (skb->protocol == bpf_htons(ETH_P_IPV6))
		offset = skip_ipv6(skb);
	else
		return false;
	if (!offset || bpf_skb_load_bytes(skb, offset, &tcp, 14))
		return false;
	offset += (tcp.offset >> 4) * 4;
	if (offset > skb->len)
		return false;
	segment->syn = tcp.flags & TCP_FLAG_SYN;
	segment->source = tcp.source;
	segment->destination = tcp.destination;
	/* A SYN takes a number of its own, before its payload (TCP Fast Open). */
	segment->start = bpf_ntohl(tcp.sequence) + segment->syn;
	segment->end = segment->start + (skb->len - offset);
	return true;
}

/* Bytes by which `segment` moves `seq` on. Call with the lock held. */
static __always_inline __u32 advance(struct connection *connection, __u32 *seq, __u32 known, struct segment *segment)
{
	__u32 ahead;

	if (!(connection->flags & known)) {
		if (!segment->syn)
			return 0;
		connection->flags |= known;
		*seq = segment->start;
	}
	/* What is empty may come behind a FIN, which takes a number but is no byte. */
	if (segment->end == segment->start)
		return 0;
	ahead = segment->end - *seq;
	/* Behind (a retransmission) is far ahead as an unsigned number. */
	if (ahead > SEQ_AHEAD_MAX)
		return 0;
	*seq = segment->end;
	return ahead;
}

/* True when the connection has another round trip than before. Call with the lock held. */
static __always_inline bool is_new_srtt(struct connection *connection, __u32 srtt_us)
{
	if (!srtt_us || srtt_us == connection->srtt_us)
		return false;
	connection->srtt_us = srtt_us;
	return true;
}

/* The addresses of a packet that read_segment has read, and its ports. */
static __always_inline bool read_tuple(struct __sk_buff *skb, const struct segment *segment, struct tuple *tuple)
{
	__be32 ipv4[2];

	tuple->source_port = bpf_ntohs(segment->source);
	tuple->destination_port = bpf_ntohs(segment->destination);
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes(skb, 12, ipv4, sizeof(ipv4)))
			return false;
		map_ipv4(tuple->source_ip, ipv4[0]);
		map_ipv4(tuple->destination_ip, ipv4[1]);
		return true;
	}
	return !bpf_skb_load_bytes(skb, 8, tuple->source_ip, sizeof(tuple->source_ip)) &&
	       !bpf_skb_load_bytes(skb, 24, tuple->destination_ip, sizeof(tuple->destination_ip));
}

/* Where a connection that is not established yet goes: what is left of its SYN behind the hooks of netfilter. */
static __always_inline void note_syn(struct connection *connection, struct __sk_buff *skb,
				     const struct segment *segment)
{
	struct tuple tuple = {};

	if (read_tuple(skb, segment, &tuple))
		note_departure(connection, &tuple);
}

static __always_inline void count_packet(struct __sk_buff *skb, enum direction direction)
{
	__u32 sent = 0, received = 0, again = 0, retransmits = 0, srtt_us = 0;
	bool new_srtt = false, is_established;
	struct connection *connection;
	struct bpf_sock *sk = skb->sk;
	struct bpf_tcp_sock *tcp;
	struct segment segment;
	struct flow *flow;

	if (!sk)
		return;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return;
	connection = bpf_sk_storage_get(&connections, sk, NULL, 0);
	if (!connection)
		return;
	/* In case the change itself was skipped: a connection older than the sensor has no callbacks. */
	leave_if_over(connection, sk->state);
	if (!read_segment(skb, &segment))
		return;
	if (direction == EGRESS) {
		tcp = bpf_tcp_sock(sk);
		if (tcp) {
			retransmits = tcp->total_retrans;
			srtt_us = tcp->srtt_us;
		}
	}
	if (direction == EGRESS && segment.syn && !(connection->flags & CONNECTION_ESTABLISHED))
		note_syn(connection, skb, &segment);
	bpf_spin_lock(&connection->lock);
	is_established = connection->flags & CONNECTION_ESTABLISHED;
	if (direction == EGRESS)
		sent = advance(connection, &connection->sent_seq, CONNECTION_SENT_KNOWN, &segment);
	else
		received = advance(connection, &connection->received_seq, CONNECTION_RECEIVED_KNOWN, &segment);
	if (!is_established) {
		connection->early_sent += sent;
		connection->early_received += received;
	} else if (direction == EGRESS) {
		again = new_retransmits(connection, retransmits);
		new_srtt = is_new_srtt(connection, srtt_us);
	}
	bpf_spin_unlock(&connection->lock);
	if (!is_established || (!sent && !received && !again && !new_srtt))
		return;
	flow = flow_of(connection);
	if (!flow)
		return;
	add(&flow->sent_bytes, sent);
	add(&flow->received_bytes, received);
	add(&flow->retransmits, again);
	if (new_srtt)
		flow->rtt_ns = (__u64)srtt_us * SRTT_UNIT_NS;
	flow->updated_ns = bpf_ktime_get_ns();
}

SEC("cgroup_skb/egress")
int packet_egress(struct __sk_buff *skb)
{
	count_packet(skb, EGRESS);
	return 1;
}

SEC("cgroup_skb/ingress")
int packet_ingress(struct __sk_buff *skb)
{
	count_packet(skb, INGRESS);
	return 1;
}
