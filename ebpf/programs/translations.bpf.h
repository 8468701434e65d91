/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where a connection really goes when its destination is translated on this machine: a service address, a published
 * port. Known before the connection is established, so that it is counted for its actual destination from the first.
 *
 * A translation in the socket's own namespace shows in the SYN itself: cgroup_skb/egress comes after all netfilter
 * hooks, and the header no longer has the destination that the program asked for. This needs no connection tracking, so
 * it holds for IPVS and stateless NAT too.
 *
 * One in the host's namespace, through which the SYN of a container goes, is read from its connection tracking entry on
 * the way: tracepoint net:net_dev_queue sees the SYN leave the host's stack or, if the actual destination is this host,
 * the answer to it. Both come before the answer reaches the socket.
 *
 * What needs a netlink event instead, see sensor/src/conntrack. What Cilium translates, see cilium.bpf.h.
 *
 * Known limits: IPVS takes the socket from packets of the host's own processes, so that cgroup_skb/egress does not see
 * these; namespaces with the same addresses that reach the host untranslated are told apart by ports only; what BPF
 * programs of others than Cilium translate is not seen in the host's namespace.
 */
#ifndef NODESCOPE_TRANSLATIONS_H
#define NODESCOPE_TRANSLATIONS_H

static __always_inline bool same_ip(const __u8 a[16], const __u8 b[16])
{
	const __u64 *left = (const __u64 *)a, *right = (const __u64 *)b;

	return left[0] == right[0] && left[1] == right[1];
}

/* A SYN leaves the socket's namespace with these addresses. It may be sent again. */
static __always_inline void note_departure(struct connection *connection, const struct tuple *tuple)
{
	struct flow_key *key = &connection->key;
	struct translation fresh = {};
	int err;

	if (tuple->destination_port != key->remote_port || !same_ip(tuple->destination_ip, key->remote_ip)) {
		__builtin_memcpy(key->actual_ip, tuple->destination_ip, sizeof(key->actual_ip));
		key->actual_port = tuple->destination_port;
	}
	if (key->host_netns && !every_netns)
		return;
	connection->departure = *tuple;
	fresh.created_ns = bpf_ktime_get_ns();
	err = bpf_map_update_elem(&translations, &connection->departure, &fresh, BPF_NOEXIST);
	if (err && err != -EEXIST) {
		count_failed_update(LOSS_TRANSLATIONS, err);
		return;
	}
	bpf_spin_lock(&connection->lock);
	connection->flags |= CONNECTION_DEPARTED;
	bpf_spin_unlock(&connection->lock);
}

/*
 * The connection is established: what was told of it until now is what it counts for. What is told later finds that,
 * and is counted by the sensor.
 */
static __always_inline void settle_with_events(struct connection *connection)
{
	struct flow_key *key = &connection->key;
	struct translation nothing = {}, *told;
	int err;

	nothing.created_ns = bpf_ktime_get_ns();
	err = bpf_map_update_elem(&settlements, &connection->departure, &nothing, BPF_NOEXIST);
	if (!err)
		return;
	if (err != -EEXIST) {
		count_failed_update(LOSS_TRANSLATIONS, err);
		return;
	}
	told = bpf_map_lookup_elem(&settlements, &connection->departure);
	/* Of an earlier connection of the same ports, of which nothing was told yet. */
	if (!told || !told->port)
		return;
	__builtin_memcpy(key->actual_ip, told->ip, sizeof(key->actual_ip));
	key->actual_port = told->port;
	bpf_map_delete_elem(&settlements, &connection->departure);
}

/* The connection is established or has failed: from now on it is known what it counts for. */
static __always_inline void settle_destination(struct connection *connection, bool established)
{
	struct flow_key *key = &connection->key;
	struct translation *translation;
	__u32 zero = 0, *follows;
	bool known = false;

	if (!established) {
		__builtin_memset(key->actual_ip, 0, sizeof(key->actual_ip));
		key->actual_port = 0;
	}
	if (!(connection->flags & CONNECTION_DEPARTED))
		return;
	if (established)
		known = find_cilium_backend(&connection->departure, key);
	translation = bpf_map_lookup_elem(&translations, &connection->departure);
	if (!translation)
		return;
	if (established && !known && translation->port) {
		__builtin_memcpy(key->actual_ip, translation->ip, sizeof(key->actual_ip));
		key->actual_port = translation->port;
		known = true;
	}
	follows = bpf_map_lookup_elem(&follows_events, &zero);
	if (established && !known && follows && *follows)
		settle_with_events(connection);
	/* Only now: while it is here or in `settlements`, an event finds it. */
	bpf_map_delete_elem(&translations, &connection->departure);
	if (!established && follows && *follows)
		bpf_map_delete_elem(&settlements, &connection->departure);
}

#endif
