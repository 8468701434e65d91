/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The life of TCP sockets from the tracepoint sock:inet_sock_set_state, with its arguments typed by BTF.
 *
 * CLOSE -> SYN_SENT and CLOSE -> LISTEN happen in the system call of the process that connects or listens, so the
 * current task is the owner, whoever made the socket. Later changes may happen in any context. Needs Linux 5.12
 * (socket cookies in tracing programs).
 *
 * The kernel skips a run of a tracing program that would interrupt another run of it on the same CPU
 * (recursion_misses): one of a softirq inside a system call, since 7.x also one of another task. So callbacks.bpf.h
 * tells the same changes again, from programs that have no such guard.
 */

/* `holder` is the same socket, as the type by which the kind of program reaches storage. */
static __always_inline void begin_connection(struct sock *sk, void *holder)
{
	struct connection fresh = {};

	fill_owner(&fresh.key.owner, current_task());
	remote_address(&fresh.key, sk);
	fresh.key.host_netns = netns_of_socket(sk) == host_netns;
	fresh.connecting_ns = bpf_ktime_get_ns();
	/* Nonzero when the socket is used again after a disconnect. */
	fresh.retransmits = retransmits_of(sk);
	if (!bpf_sk_storage_get(&connections, holder, &fresh, BPF_SK_STORAGE_GET_F_CREATE))
		count_loss(LOSS_CONNECTIONS, LOSS_REFUSED);
}

static __always_inline void change_state(void *holder, int state, __u32 retransmits)
{
	struct connection *connection = bpf_sk_storage_get(&connections, holder, NULL, 0);

	if (!connection)
		return;
	enter_state(connection, state, retransmits);
	if (state == TCP_CLOSE)
		bpf_sk_storage_delete(&connections, holder);
}

static __always_inline void open_listen(struct sock *sk, __u64 cookie)
{
	struct listen listen = {};
	int err;

	fill_owner(&listen.maker, current_task());
	listen.maker_pid = current_pid();
	listen.netns = netns_of_socket(sk);
	local_address(&listen, sk);
	err = bpf_map_update_elem(&listens, &cookie, &listen, BPF_ANY);
	if (err)
		count_failed_update(LOSS_LISTENS, err);
	else
		notify(EVENT_LISTEN, 0, cookie);
}

static __always_inline void close_listen(__u64 cookie)
{
	if (!bpf_map_delete_elem(&listens, &cookie))
		notify(EVENT_LISTEN, 0, cookie);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_state, struct sock *sk, int from, int to)
{
	if (!is_tcp(sk))
		return 0;
	if (from == TCP_LISTEN) {
		/*
		 * Some kernels (6.12, not 6.17) also trace the copy of a listener that is made for an incoming
		 * connection: it goes to SYN_RECV and still has the listener's cookie.
		 */
		if (to == TCP_CLOSE)
			close_listen(bpf_get_socket_cookie(sk));
		return 0;
	}
	if (to == TCP_LISTEN) {
		/* A socket that was not bound has no port yet; listen_callback comes when it has. */
		open_listen(sk, bpf_get_socket_cookie(sk));
		return 0;
	}
	if (from == TCP_CLOSE && to == TCP_SYN_SENT) {
		/* There is one only if the end of the socket's last connection was skipped. */
		change_state(sk, TCP_CLOSE, retransmits_of(sk));
		begin_connection(sk, sk);
		return 0;
	}
	change_state(sk, to, retransmits_of(sk));
	return 0;
}
