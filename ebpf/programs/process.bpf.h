/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Processes (thread groups) of each cgroup, from the sched tracepoints, cgroup_attach_task and oom:mark_victim.
 *
 * `processes` remembers which cgroups a process was counted in, so that its end is counted in the same ones and two
 * hooks that see the same beginning count it once. Kernel threads are not counted.
 */

static __always_inline struct population *population_of(__u32 hierarchy, __u64 cgroup)
{
	struct cgroup_key key = { .id = cgroup, .hierarchy = hierarchy };
	struct population *population = bpf_map_lookup_elem(&populations, &key);
	struct population fresh = {};
	int err;

	if (population)
		return population;
	fresh.generation_ns = bpf_ktime_get_ns();
	fresh.updated_ns = fresh.generation_ns;
	err = bpf_map_update_elem(&populations, &key, &fresh, BPF_NOEXIST);
	population = bpf_map_lookup_elem(&populations, &key);
	if (!population)
		count_failed_update(LOSS_POPULATIONS, err);
	return population;
}

static __always_inline void count_begin(__u32 hierarchy, __u64 cgroup)
{
	struct population *population = population_of(hierarchy, cgroup);

	if (!population)
		return;
	/* A process comes into an empty cgroup by being moved there, which the kernel does one at a time. */
	if (population->live <= 0 && population->started)
		__sync_fetch_and_add(&population->restarts, 1);
	__sync_fetch_and_add(&population->started, 1);
	__sync_fetch_and_add(&population->live, 1);
	population->updated_ns = bpf_ktime_get_ns();
}

static __always_inline void count_end(__u32 hierarchy, __u64 cgroup)
{
	struct population *population = population_of(hierarchy, cgroup);

	if (!population)
		return;
	__sync_fetch_and_add(&population->ended, 1);
	__sync_fetch_and_add(&population->live, -1);
	population->updated_ns = bpf_ktime_get_ns();
}

static __always_inline void count_oom_kill_in(__u32 hierarchy, __u64 cgroup)
{
	struct population *population = population_of(hierarchy, cgroup);

	if (!population)
		return;
	__sync_fetch_and_add(&population->oom_kills, 1);
	population->updated_ns = bpf_ktime_get_ns();
}

static __always_inline void begin_process(struct task_struct *task, __u32 tgid)
{
	struct process process;
	int err;

	fill_workload(&process.workload, task);
	process.start_ns = BPF_CORE_READ(task, start_time);
	err = bpf_map_update_elem(&processes, &tgid, &process, BPF_NOEXIST);
	if (err) {
		if (err != -EEXIST)
			count_failed_update(LOSS_PROCESSES, err);
		return;
	}
	count_begin(0, process.workload.cgroup_v2);
	if (v1_controller != V1_NONE)
		count_begin(v1_hierarchy, process.workload.cgroup_v1);
}

/* Only the one that deletes the entry counts the end. */
static __always_inline void end_process(__u32 tgid)
{
	struct process *process = bpf_map_lookup_elem(&processes, &tgid);
	struct workload_key workload;

	if (!process)
		return;
	workload = process->workload;
	if (bpf_map_delete_elem(&processes, &tgid))
		return;
	count_end(0, workload.cgroup_v2);
	if (v1_controller != V1_NONE)
		count_end(v1_hierarchy, workload.cgroup_v1);
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

/*
 * The kernel frees the first task of a process last, after the others and its parent are done with it: what is still
 * counted then had its process_exit skipped. RCU calls this with softirqs off, where no other run can be under way. The
 * number may be another process's already.
 */
SEC("tp_btf/sched_process_free")
int BPF_PROG(process_free, struct task_struct *task)
{
	__u32 tgid = BPF_CORE_READ(task, tgid);
	struct process *process;

	if (!is_leader(task))
		return 0;
	process = bpf_map_lookup_elem(&processes, &tgid);
	if (process && process->start_ns == BPF_CORE_READ(task, start_time))
		end_process(tgid);
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
	struct process *process;
	__u64 before, *counted;

	if (!is_watched(hierarchy) || !is_leader(leader))
		return 0;
	process = bpf_map_lookup_elem(&processes, &tgid);
	/* A kernel thread, or one that its fork hook has yet to see: it will see the new cgroup. */
	if (!process)
		return 0;
	counted = hierarchy == 0 ? &process->workload.cgroup_v2 : &process->workload.cgroup_v1;
	before = *counted;
	if (before == id)
		return 0;
	*counted = id;
	count_end(hierarchy, before);
	count_begin(hierarchy, id);
	return 0;
}

static __always_inline void count_oom_kill(__u32 tgid)
{
	struct process *process = bpf_map_lookup_elem(&processes, &tgid);

	if (!process) {
		count_loss(LOSS_PROCESSES, LOSS_UNKNOWN);
		return;
	}
	count_oom_kill_in(0, process->workload.cgroup_v2);
	if (v1_controller != V1_NONE)
		count_oom_kill_in(v1_hierarchy, process->workload.cgroup_v1);
}

/*
 * Since 72ba14deb40a ("mm: update mark_victim tracepoints fields", 6.9, and backported: Debian's 5.10 and 6.1 have it)
 * the argument is the task. The verifier refuses this on kernels where it is a number, because it follows the pointer
 * by its type.
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
