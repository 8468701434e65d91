/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is older than the sensor, from BPF iterators over tasks and their open files (Linux 5.11), and who holds the
 * listening sockets now. The iterators write maps and print nothing. Order: the hooks are attached first, then
 * find_processes, scan_listens, adopt_connections; what both see is counted once. The first two run again every few
 * seconds and put right what the kernel skipped of the hooks' runs (see tcp.bpf.h).
 */

/* Far longer than a fork takes, far shorter than loading the programs does. */
#define FORK_NS 100000000

/* The walk sees a task before fork has put it into its cgroup and process_fork counts it; the next walk will do. */
static __always_inline bool may_be_forking(struct task_struct *task)
{
	return bpf_ktime_get_ns() - task->start_time < FORK_NS;
}

SEC("iter/task")
int find_processes(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct process *process;
	__u32 tgid;

	/* A leader that is gone while other threads live has no mm, but is not a kernel thread. */
	if (!task || !is_leader(task) || is_kernel_thread(task))
		return 0;
	tgid = BPF_CORE_READ(task, tgid);
	process = bpf_map_lookup_elem(&processes, &tgid);
	if (process && process->start_ns == task->start_time) {
		/* It waits for its parent, and process_exit was skipped. */
		if (BPF_CORE_READ(task, signal, live.counter) == 0)
			end_process(tgid);
		return 0;
	}
	/* An earlier one of the same number, whose end was not seen. */
	if (process)
		end_process(tgid);
	if (BPF_CORE_READ(task, signal, live.counter) == 0 || may_be_forking(task))
		return 0;
	begin_process(task, tgid);
	/* It may have ended before the entry was there for process_exit to find. */
	if (BPF_CORE_READ(task, signal, live.counter) == 0)
		end_process(tgid);
	return 0;
}

/* The TCP socket behind the file of this step, if there is one. */
static __always_inline struct sock *tcp_of_file(struct bpf_iter__task_file *ctx)
{
	/* Read once: the verifier takes a second read for another pointer. */
	struct file *file = ctx->file;
	struct socket *socket;
	struct sock *sk;

	if (!file)
		return NULL;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return NULL;
	sk = socket->sk;
	return sk && is_tcp(sk) ? sk : NULL;
}

static __always_inline __u32 rank_holder(const struct listen *listen, const struct owner *owner, __u32 tgid)
{
	if (tgid == 1)
		return HOLDER_INIT;
	if (owner->workload.cgroup_v2 != listen->maker.workload.cgroup_v2 ||
	    owner->workload.cgroup_v1 != listen->maker.workload.cgroup_v1)
		return HOLDER_FOREIGN;
	return tgid == listen->maker_pid ? HOLDER_MAKER : HOLDER_SAME_WORKLOAD;
}

/* Of all holders a scan finds, the first of the highest rank stays. */
static __always_inline void note_holder(struct listen *listen, const struct owner *owner, __u32 tgid, __u32 number)
{
	__u32 rank = rank_holder(listen, owner, tgid);

	if (listen->holder_scan == number && listen->holder_rank >= rank)
		return;
	listen->holder = *owner;
	listen->holder_pid = tgid;
	listen->holder_rank = rank;
	listen->holder_scan = number;
}

static __always_inline void note_port(struct sock *sk)
{
	struct listen_port port = {};
	__u32 one = 1;
	int err;

	port.netns = netns_of_socket(sk);
	port.port = BPF_CORE_READ(sk, __sk_common.skc_num);
	err = bpf_map_update_elem(&listen_ports, &port, &one, BPF_ANY);
	if (err)
		count_failed_update(LOSS_LISTENS, err);
}

/* A listener whose making was not seen: whoever holds it first stands for the maker. */
static __always_inline struct listen *find_listen(struct sock *sk, __u64 cookie, const struct owner *owner, __u32 tgid)
{
	struct listen *listen = bpf_map_lookup_elem(&listens, &cookie);
	struct listen fresh = {};
	int err;

	if (listen)
		return listen;
	fresh.maker = *owner;
	fresh.maker_pid = tgid;
	fresh.netns = netns_of_socket(sk);
	local_address(&fresh, sk);
	err = bpf_map_update_elem(&listens, &cookie, &fresh, BPF_NOEXIST);
	if (err && err != -EEXIST)
		count_failed_update(LOSS_LISTENS, err);
	/* It may have stopped before the entry was there for the state hook to delete. */
	if (state_of(sk) != TCP_LISTEN)
		bpf_map_delete_elem(&listens, &cookie);
	return bpf_map_lookup_elem(&listens, &cookie);
}

SEC("iter/task_file")
int scan_listens(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct sock *sk = tcp_of_file(ctx);
	struct owner owner = {};
	struct connection *connection;
	struct listen *listen;
	__u32 zero = 0, tgid;
	__u32 *number;
	__u64 cookie;

	if (!task || !sk)
		return 0;
	if (state_of(sk) != TCP_LISTEN) {
		/* In case the kernel skipped the change, and neither a packet nor a close told it. */
		connection = bpf_sk_storage_get(&connections, sk, NULL, 0);
		if (connection)
			leave_if_over(connection, state_of(sk));
		return 0;
	}
	number = bpf_map_lookup_elem(&scan, &zero);
	if (!number)
		return 0;
	tgid = BPF_CORE_READ(task, tgid);
	fill_owner(&owner, task);
	cookie = bpf_get_socket_cookie(sk);
	listen = find_listen(sk, cookie, &owner, tgid);
	if (!listen)
		return 0;
	if (!listen->port)
		local_address(listen, sk);
	note_holder(listen, &owner, tgid, *number);
	if (*number == 1)
		note_port(sk);
	return 0;
}

/*
 * An accepted socket has the backlog of its listener, which is 0 only after listen(fd, 0), and its port. A socket that
 * connected has backlog 0, and the port of a listener only if its program bound both on purpose.
 */
static __always_inline bool was_accepted(struct sock *sk)
{
	struct listen_port port = {};

	if (BPF_CORE_READ(sk, sk_max_ack_backlog))
		return true;
	port.netns = netns_of_socket(sk);
	port.port = BPF_CORE_READ(sk, __sk_common.skc_num);
	return bpf_map_lookup_elem(&listen_ports, &port) != NULL;
}

/* A connection older than the sensor, whose SYN was not seen. */
static __always_inline void find_older_translation(struct flow_key *key, struct sock *sk)
{
	struct translation *translation;
	struct tuple tuple = {};

	local_ip(tuple.source_ip, sk);
	tuple.source_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	__builtin_memcpy(tuple.destination_ip, key->remote_ip, sizeof(tuple.destination_ip));
	tuple.destination_port = key->remote_port;
	if (find_cilium_backend(&tuple, key))
		return;
	translation = bpf_map_lookup_elem(&older_translations, &tuple);
	if (!translation)
		return;
	__builtin_memcpy(key->actual_ip, translation->ip, sizeof(key->actual_ip));
	key->actual_port = translation->port;
}

static __always_inline void adopt(struct sock *sk, struct connection *fresh, bool established)
{
	struct connection *connection;
	struct flow *flow = NULL;

	if (established && make_flow(&flows, &fresh->key, &flow)) {
		fresh->flags |= CONNECTION_OTHER;
		flow = other_flow(&fresh->key.owner);
	}
	if (flow) {
		/* Before the storage is there, so that the state hook cannot take away what was not yet added. */
		__sync_fetch_and_add(&flow->active, 1);
		flow->updated_ns = fresh->connecting_ns;
	}
	connection = bpf_sk_storage_get(&connections, sk, fresh, BPF_SK_STORAGE_GET_F_CREATE);
	if (!connection) {
		count_loss(LOSS_CONNECTIONS, LOSS_REFUSED);
		if (flow)
			__sync_fetch_and_add(&flow->active, -1);
		return;
	}
	/* It may have ended before the storage was there for the state hook to find. */
	if (established && state_of(sk) != TCP_ESTABLISHED)
		enter_state(connection, state_of(sk), retransmits_of(sk));
}

SEC("iter/task_file")
int adopt_connections(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct sock *sk = tcp_of_file(ctx);
	struct connection fresh = {};
	bool established;
	__u8 state;

	if (!task || !sk)
		return 0;
	state = state_of(sk);
	established = state == TCP_ESTABLISHED;
	if ((!established && state != TCP_SYN_SENT) || was_accepted(sk))
		return 0;
	/* Seen by the hooks, or through another descriptor. */
	if (bpf_sk_storage_get(&connections, sk, NULL, 0))
		return 0;
	fill_owner(&fresh.key.owner, task);
	remote_address(&fresh.key, sk);
	fresh.key.host_netns = netns_of_socket(sk) == host_netns;
	fresh.connecting_ns = bpf_ktime_get_ns();
	fresh.retransmits = retransmits_of(sk);
	if (established) {
		find_older_translation(&fresh.key, sk);
		fresh.flags =
			CONNECTION_ACTIVE | CONNECTION_ESTABLISHED | CONNECTION_SENT_KNOWN | CONNECTION_RECEIVED_KNOWN;
		fresh.sent_seq = BPF_CORE_READ((struct tcp_sock *)sk, snd_nxt);
		fresh.received_seq = BPF_CORE_READ((struct tcp_sock *)sk, rcv_nxt);
	}
	adopt(sk, &fresh, established);
	return 0;
}
