/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The life of TCP sockets for kernels before 5.12, where tracing programs cannot reach socket storage.
 *
 * cgroup/connect4 and connect6 run in the system call of the process that connects and note the owner; the sockops
 * callbacks follow the connection from its SYN. Sockets older than the sensor are not seen, and whether an IPv6
 * listener refuses IPv4 is not known.
 */

static __always_inline void note_owner(struct bpf_sock_addr *ctx)
{
	struct connection fresh = { .flags = CONNECTION_PENDING };
	struct task_struct *task = current_task();
	struct bpf_sock *sk = ctx->sk;

	if (ctx->type != SOCK_STREAM || ctx->protocol != IPPROTO_TCP || !sk)
		return;
	fill_owner(&fresh.key.owner, task);
	fresh.key.host_netns = netns_of_task(task) == host_netns;
	fresh.connecting_ns = bpf_ktime_get_ns();
	/* One may be left of an attempt that failed before its SYN. */
	bpf_sk_storage_delete(&connections, sk);
	if (!bpf_sk_storage_get(&connections, sk, &fresh, BPF_SK_STORAGE_GET_F_CREATE))
		count_loss(LOSS_CONNECTIONS, LOSS_REFUSED);
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	note_owner(ctx);
	return 1;
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	note_owner(ctx);
	return 1;
}

static __always_inline void copy_ipv6(__u8 ip[16], __u32 a, __u32 b, __u32 c, __u32 d)
{
	__u32 words[4] = { a, b, c, d };

	__builtin_memcpy(ip, words, sizeof(words));
}

/* The SYN is about to go: the destination is final, also where another program rewrote it. */
static __always_inline void sockops_connect(struct bpf_sock_ops *ctx, struct connection *connection)
{
	if (!(connection->flags & CONNECTION_PENDING))
		return;
	if (ctx->family == AF_INET)
		map_ipv4(connection->key.remote_ip, ctx->remote_ip4);
	else
		copy_ipv6(connection->key.remote_ip, ctx->remote_ip6[0], ctx->remote_ip6[1], ctx->remote_ip6[2],
			  ctx->remote_ip6[3]);
	connection->key.remote_port = bpf_ntohl(ctx->remote_port);
	bpf_spin_lock(&connection->lock);
	connection->flags &= ~CONNECTION_PENDING;
	bpf_spin_unlock(&connection->lock);
}

static __always_inline void sockops_listen(struct bpf_sock_ops *ctx)
{
	struct task_struct *task = current_task();
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct listen listen = {};
	int err;

	fill_owner(&listen.maker, task);
	listen.maker_pid = current_pid();
	listen.netns = netns_of_task(task);
	if (ctx->family == AF_INET)
		map_ipv4(listen.ip, ctx->local_ip4);
	else
		copy_ipv6(listen.ip, ctx->local_ip6[0], ctx->local_ip6[1], ctx->local_ip6[2], ctx->local_ip6[3]);
	listen.port = ctx->local_port;
	err = bpf_map_update_elem(&listens, &cookie, &listen, BPF_ANY);
	if (err)
		count_failed_update(LOSS_LISTENS, err);
	else
		notify(EVENT_LISTEN, 0, cookie);
}

static __always_inline void sockops_state(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	int from = ctx->args[0], to = ctx->args[1];
	struct connection *connection;

	if (from == TCP_LISTEN) {
		close_listen(bpf_get_socket_cookie(ctx));
		return;
	}
	connection = bpf_sk_storage_get(&connections, sk, NULL, 0);
	if (!connection || connection->flags & CONNECTION_PENDING)
		return;
	enter_state(connection, to, ctx->total_retrans);
	if (to == TCP_CLOSE)
		bpf_sk_storage_delete(&connections, sk);
}

SEC("sockops")
int tcp_sockops(struct bpf_sock_ops *ctx)
{
	struct connection *connection;
	struct bpf_sock *sk = ctx->sk;

	if (!sk)
		return 1;
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
		connection = bpf_sk_storage_get(&connections, sk, NULL, 0);
		if (connection)
			sockops_connect(ctx, connection);
		else
			count_loss(LOSS_CONNECTIONS, LOSS_UNKNOWN);
		break;
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
		sockops_listen(ctx);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		sockops_state(ctx, sk);
		break;
	}
	return 1;
}
