/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Backends that Cilium has chosen. Its programs translate packets of pods on their way out, with no connection tracking
 * entry of the kernel; they note each connection in a map of their own when its SYN passes, so that the backend is
 * known before the answer comes. The sensor puts Cilium's maps into ours as soon as they are there, see
 * sensor/src/kernel/cilium.rs.
 *
 * Keys and values are those of Cilium 1.13 and later (its bpf/lib/common.h). Addresses and ports are in network order.
 */
#ifndef NODESCOPE_CILIUM_H
#define NODESCOPE_CILIUM_H

/* TUPLE_F_SERVICE: the entry says which backend a connection to a service has. */
#define CILIUM_SERVICE 4

/* What Cilium's map, which is the only entry of ours if it is there, has for `key`. */
static __always_inline void *ask_cilium(void *ours, const void *key)
{
	__u32 zero = 0;
	void *map = bpf_map_lookup_elem(ours, &zero);

	return map ? bpf_map_lookup_elem(map, key) : NULL;
}

static __always_inline void *find_chosen(void *connections, void *backends, const void *asked)
{
	struct cilium_entry *entry = ask_cilium(connections, asked);
	__u32 id;

	if (!entry)
		return NULL;
	id = entry->backend;
	return ask_cilium(backends, &id);
}

static __always_inline bool find_cilium_backend4(const struct tuple *tuple, struct flow_key *key)
{
	struct cilium_tuple4 asked = { .protocol = IPPROTO_TCP, .flags = CILIUM_SERVICE };
	struct cilium_backend4 *backend;
	__be32 ip;

	__builtin_memcpy(asked.service_ip, tuple->destination_ip + 12, sizeof(asked.service_ip));
	__builtin_memcpy(asked.client_ip, tuple->source_ip + 12, sizeof(asked.client_ip));
	asked.service_port = bpf_htons(tuple->destination_port);
	asked.client_port = bpf_htons(tuple->source_port);
	backend = find_chosen(&cilium_ct4, &cilium_backends4, &asked);
	if (!backend)
		return false;
	__builtin_memcpy(&ip, backend->ip, sizeof(ip));
	map_ipv4(key->actual_ip, ip);
	key->actual_port = bpf_ntohs(backend->port);
	return true;
}

static __always_inline bool find_cilium_backend6(const struct tuple *tuple, struct flow_key *key)
{
	struct cilium_tuple6 asked = { .protocol = IPPROTO_TCP, .flags = CILIUM_SERVICE };
	struct cilium_backend6 *backend;

	__builtin_memcpy(asked.service_ip, tuple->destination_ip, sizeof(asked.service_ip));
	__builtin_memcpy(asked.client_ip, tuple->source_ip, sizeof(asked.client_ip));
	asked.service_port = bpf_htons(tuple->destination_port);
	asked.client_port = bpf_htons(tuple->source_port);
	backend = find_chosen(&cilium_ct6, &cilium_backends6, &asked);
	if (!backend)
		return false;
	__builtin_memcpy(key->actual_ip, backend->ip, sizeof(key->actual_ip));
	key->actual_port = bpf_ntohs(backend->port);
	return true;
}

/* Whether Cilium has chosen a backend for a connection; that is its actual destination then. */
static __always_inline bool find_cilium_backend(const struct tuple *tuple, struct flow_key *key)
{
	if (is_mapped_ipv4(tuple->destination_ip))
		return find_cilium_backend4(tuple, key);
	return find_cilium_backend6(tuple, key);
}

#endif
