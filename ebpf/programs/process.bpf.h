/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Processes (thread groups) of each workload, from the sched tracepoints, cgroup_attach_task and oom:mark_victim.
 *
 * `processes` remembers which workload a process was counted in, so that its end is counted in the same one and two
 * hooks that see the same beginning count it once. Kernel threads are not counted.
 */

static __always_inline struct workload *workload_of(const struct workload_key *key)
{
	struct workload *workload = bpf_map_lookup_elem(&workloads, key);
	struct workload fresh = {};
	long err;

	if (workload)
		return workload;
	fresh.generation_ns = bpf_ktime_get_ns();
	fresh.updated_ns = fresh.generation_ns;
	err = bpf_map_update_elem(&workloads, key, &fresh, BPF_NOEXIST);
	workload = bpf_map_lookup_elem(&workloads, key);
	if (!workload)
		count_failed_update(LOSS_WORKLOADS, err);
	return workload;
}

static __always_inline void count_begin(const struct workload_key *key)
{
	struct workload *workload = workload_of(key);

	if (!workload)
		return;
	/* A process comes into an empty workload by being moved there, which the kernel does one at a time. */
	if (workload->live <= 0 && workload->started)
		__sync_fetch_and_add(&workload->restarts, 1);
	__sync_fetch_and_add(&workload->started, 1);
	__sync_fetch_and_add(&workload->live, 1);
	workload->updated_ns = bpf_ktime_get_ns();
}

static __always_inline void count_end(const struct workload_key *key)
{
	struct workload *workload = workload_of(key);

	if (!workload)
		return;
	__sync_fetch_and_add(&workload->ended, 1);
	__sync_fetch_and_add(&workload->live, -1);
	workload->updated_ns = bpf_ktime_get_ns();
}

static __always_inline void begin_process(struct task_struct *task, __u32 tgid)
{
	struct process process;
	long err;

	fill_workload(&process.workload, task);
	err = bpf_map_update_elem(&processes, &tgid, &process, BPF_NOEXIST);
	if (!err)
		count_begin(&process.workload);
	else if (err != -EEXIST)
		count_failed_update(LOSS_PROCESSES, err);
}

/* Only the one that deletes the entry counts the end. */
static __always_inline void end_process(__u32 tgid)
{
	struct process *process = bpf_map_lookup_elem(&processes, &tgid);
	struct workload_key workload;

	if (!process)
		return;
	workload = process->workload;
	if (!bpf_map_delete_elem(&processes, &tgid))
		count_end(&workload);
}

static __always_inline bool is_leader(struct task_struct *task)
{
	return BPF_CORE_READ(task, pid) == BPF_CORE_READ(task, tgid);
}

static __always_inline bool is_kernel_thread(struct task_struct *task)
{
	return BPF_CORE_READ(task, flags) & PF_KTHREAD;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(process_fork, struct task_struct *parent, struct task_struct *child)
{
	if (is_leader(child) && !is_kernel_thread(child))
		begin_process(child, BPF_CORE_READ(child, tgid));
	return 0;
}

/* The kernel's user mode helpers are kernel threads until they run a program. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(process_exec, struct task_struct *task)
{
	begin_process(task, BPF_CORE_READ(task, tgid));
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	if (BPF_CORE_READ(task, signal, live.counter) == 0)
		end_process(BPF_CORE_READ(task, tgid));
	return 0;
}

static __always_inline bool is_watched(__u32 hierarchy)
{
	return hierarchy == 0 || (v1_controller != V1_NONE && hierarchy == v1_hierarchy);
}

/* Runs after the move. `leader` is a single thread when only that was moved. */
SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(process_move, struct cgroup *to, const char *path, struct task_struct *leader)
{
	__u32 hierarchy = BPF_CORE_READ(to, root, hierarchy_id);
	__u32 tgid = BPF_CORE_READ(leader, tgid);
	__u64 id = BPF_CORE_READ(to, kn, id);
	struct workload_key before, after;
	struct process *process;

	if (!is_watched(hierarchy) || !is_leader(leader))
		return 0;
	process = bpf_map_lookup_elem(&processes, &tgid);
	/* A kernel thread, or one that its fork hook has yet to see: it will see the new workload. */
	if (!process)
		return 0;
	before = process->workload;
	after = before;
	if (hierarchy == 0)
		after.cgroup_v2 = id;
	else
		after.cgroup_v1 = id;
	if (before.cgroup_v1 == after.cgroup_v1 && before.cgroup_v2 == after.cgroup_v2)
		return 0;
	process->workload = after;
	count_end(&before);
	count_begin(&after);
	return 0;
}

static __always_inline void count_oom_kill(__u32 tgid)
{
	struct process *process = bpf_map_lookup_elem(&processes, &tgid);
	struct workload *workload = process ? workload_of(&process->workload) : NULL;

	if (!workload) {
		count_loss(LOSS_PROCESSES, LOSS_UNKNOWN);
		return;
	}
	__sync_fetch_and_add(&workload->oom_kills, 1);
	workload->updated_ns = bpf_ktime_get_ns();
}

/*
 * Since 72ba14deb40a ("mm: update mark_victim tracepoints fields", 6.9) the argument is the task. The verifier refuses
 * this on kernels where it is a number, because it follows the pointer by its type.
 */
SEC("tp_btf/mark_victim")
int BPF_PROG(oom_task, struct task_struct *victim)
{
	count_oom_kill(victim->tgid);
	return 0;
}

/* Before, it is the number of a thread of the victim, as a rule the first. */
SEC("tp_btf/mark_victim")
int BPF_PROG(oom_pid, int pid)
{
	count_oom_kill(pid);
	return 0;
}
