/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Counting into `flows`. An entry that the sensor removed is made again when its connection does something.
 */
#ifndef NODESCOPE_FLOWS_H
#define NODESCOPE_FLOWS_H

/* Finds or makes an entry; the error of making it, or 0. */
static __always_inline int make_flow(void *map, const struct flow_key *key, struct flow **flow)
{
	struct flow fresh = {};
	int err;

	*flow = bpf_map_lookup_elem(map, key);
	if (*flow)
		return 0;
	fresh.generation_ns = bpf_ktime_get_ns();
	fresh.updated_ns = fresh.generation_ns;
	err = bpf_map_update_elem(map, key, &fresh, BPF_NOEXIST);
	*flow = bpf_map_lookup_elem(map, key);
	return *flow ? 0 : err;
}

/* Its owner's entry for destinations that found no room. */
static __always_inline struct flow *other_flow(const struct owner *owner)
{
	struct flow_key key = { .kind = FLOW_OTHER };
	struct flow *flow;
	int err;

	key.owner = *owner;
	err = make_flow(&other_flows, &key, &flow);
	if (!flow)
		count_failed_update(LOSS_FLOWS, err);
	return flow;
}

static __always_inline struct flow *flow_of(struct connection *connection)
{
	struct flow *flow;

	if (!(connection->flags & CONNECTION_OTHER)) {
		make_flow(&flows, &connection->key, &flow);
		if (flow)
			return flow;
		bpf_spin_lock(&connection->lock);
		connection->flags |= CONNECTION_OTHER;
		bpf_spin_unlock(&connection->lock);
	}
	return other_flow(&connection->key.owner);
}

static __always_inline void add(__u64 *counter, __u64 count)
{
	if (count)
		__sync_fetch_and_add(counter, count);
}

/* What the connection did in the meantime; 0 when `total` is not ahead. Call with the lock held. */
static __always_inline __u32 new_retransmits(struct connection *connection, __u32 total)
{
	__u32 count = total - connection->retransmits;

	if ((__s32)count <= 0)
		return 0;
	connection->retransmits = total;
	return count;
}

/* The connection goes to another TCP state. Each change is decided under the lock and counts once, whoever tells it. */
static __always_inline void enter_state(struct connection *connection, int state, __u32 retransmits)
{
	bool established = false, left = false, failed = false, was_established;
	__u32 again = 0, early_sent = 0, early_received = 0;
	__u64 now = bpf_ktime_get_ns();
	struct flow *flow = NULL;

	was_established = connection->flags & CONNECTION_ESTABLISHED;
	if (!was_established && (state == TCP_ESTABLISHED || state == TCP_CLOSE))
		settle_destination(connection, state == TCP_ESTABLISHED);
	/* Made while packets do not count yet, it decides between the destination and FLOW_OTHER. */
	if (!was_established && state == TCP_ESTABLISHED)
		flow = flow_of(connection);

	bpf_spin_lock(&connection->lock);
	if (state == TCP_ESTABLISHED) {
		established = !(connection->flags & CONNECTION_ESTABLISHED);
		connection->flags |= established ? CONNECTION_ACTIVE | CONNECTION_ESTABLISHED : 0;
		early_sent = connection->early_sent;
		early_received = connection->early_received;
		connection->early_sent = 0;
		connection->early_received = 0;
	} else if (connection->flags & CONNECTION_ACTIVE) {
		connection->flags &= ~CONNECTION_ACTIVE;
		left = true;
	} else {
		failed = state == TCP_CLOSE && !(connection->flags & CONNECTION_ESTABLISHED);
	}
	if (established || was_established || failed)
		again = new_retransmits(connection, retransmits);
	bpf_spin_unlock(&connection->lock);

	if (!established && !left && !failed && !again)
		return;
	if (!flow)
		flow = flow_of(connection);
	if (!flow)
		return;
	if (established) {
		__sync_fetch_and_add(&flow->connects, 1);
		__sync_fetch_and_add(&flow->active, 1);
		__sync_fetch_and_add(&flow->connect_time_ns, now - connection->connecting_ns);
	}
	if (left)
		__sync_fetch_and_add(&flow->active, -1);
	add(&flow->failures, failed);
	add(&flow->retransmits, again);
	add(&flow->sent_bytes, early_sent);
	add(&flow->received_bytes, early_received);
	flow->updated_ns = now;
}

/*
 * For who looks at a socket from outside, without its lock, and may so have read a state it is in no more: no
 * connection comes back from one behind ESTABLISHED.
 */
static __always_inline void leave_if_over(struct connection *connection, __u32 state)
{
	if (!(connection->flags & CONNECTION_ACTIVE))
		return;
	if (state != TCP_ESTABLISHED && state != TCP_SYN_SENT && state != TCP_SYN_RECV)
		enter_state(connection, state, 0);
}

#endif
