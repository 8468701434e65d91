/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The life of TCP sockets from the callbacks of cgroups, none of which the kernel ever skips: sockops for a SYN, the
 * changes of state after it and listening; sock_release for what is left when a socket is closed.
 *
 * They complete tcp_state, and stand in for it before 5.12. Each change counts once, whoever tells it first: the kernel
 * calls tcp_state before the callback of a SYN or a listen, and after that of any other change. What they do not see:
 * attempts that fail before their SYN; changes of sockets older than the sensor, but the first to ESTABLISHED; that a
 * listener is shut down before it is closed.
 */

/* tcp_connect() calls it in the system call of the process that connects; the destination is final. */
static __always_inline void connect_callback(struct bpf_sock_ops *ctx, struct bpf_sock *socket)
{
	struct sock *sk = (struct sock *)bpf_skc_to_tcp_sock(socket);

	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
	if (sk && !bpf_sk_storage_get(&connections, socket, NULL, 0))
		begin_connection(sk, socket);
}

/* inet_listen() calls it when the socket has a port, also where nobody bound one. */
static __always_inline void listen_callback(struct bpf_sock_ops *ctx, struct bpf_sock *socket)
{
	struct sock *sk = (struct sock *)bpf_skc_to_tcp_sock(socket);
	__u64 cookie = bpf_get_socket_cookie(ctx);
	struct listen *listen = bpf_map_lookup_elem(&listens, &cookie);

	if (sk && (!listen || !listen->port))
		open_listen(sk, cookie);
}

SEC("sockops")
int tcp_callbacks(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *socket = ctx->sk;

	if (!socket)
		return 1;
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		connect_callback(ctx, socket);
		break;
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		/* Asks for no changes of state: all sockets accepted from it would have them too. */
		listen_callback(ctx, socket);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		change_state(socket, ctx->args[1], ctx->total_retrans);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		/* Else STATE_CB has told it. */
		if (ctx->bpf_sock_ops_cb_flags & BPF_SOCK_OPS_STATE_CB_FLAG)
			break;
		bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
		change_state(socket, TCP_ESTABLISHED, ctx->total_retrans);
		break;
	}
	return 1;
}

/* The last descriptor is being closed; the state is the one before. */
SEC("cgroup/sock_release")
int tcp_release(struct bpf_sock *ctx)
{
	struct connection *connection;

	if (ctx->protocol != IPPROTO_TCP)
		return 1;
	if (ctx->state == TCP_LISTEN || ctx->state == TCP_CLOSE)
		close_listen(bpf_get_socket_cookie(ctx));
	connection = bpf_sk_storage_get(&connections, ctx, NULL, 0);
	if (!connection)
		return 1;
	if (ctx->state == TCP_CLOSE)
		enter_state(connection, TCP_CLOSE, 0);
	else
		leave_if_over(connection, ctx->state);
	return 1;
}
