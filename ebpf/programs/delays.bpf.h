/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How long tasks waited, from what the scheduler and delay accounting keep in each task_struct (the numbers that
 * taskstats gives), added up by cgroup.
 *
 * scan_delays adds what is new in every task that lives, delays_end the rest when the kernel frees a task: after its
 * last wait, however short its life was. Both read the same fields, and `threads` says what was added already. A wait
 * is known when it ends. What a task waited for since the last scan counts for the cgroup it is in now, even if it was
 * moved there in between. Kernel threads are not counted.
 *
 * The two never have one task at once, so neither takes a lock: an iterator's program runs in an RCU read-side section
 * and passes over tasks in EXIT_DEAD, which is set before the kernel asks RCU for the call that frees the task.
 *
 * Everything but the wait for a CPU is 0 unless kernel.task_delayacct was 1 when the task began.
 *
 * The kernel gets a wait for block I/O wrong when it did not take the time of its begin, and then counts from the one
 * before, or from the start of the machine for the first one. It happens when the setting is switched on meanwhile, and
 * since Linux 6.12 also when a task that blocks stays queued for a while and is then taken off by another one, whose
 * time is taken (so __block_task in kernel/sched/sched.h reads; seen on 6.18 and 7.3). So waits that are longer than
 * there was time for are left out.
 */

static __always_inline struct delays *delays_of(__u32 hierarchy, __u64 cgroup)
{
	struct cgroup_key key = { .id = cgroup, .hierarchy = hierarchy };
	struct delays *found = bpf_map_lookup_elem(&delays, &key);
	struct delays fresh = {};
	int err;

	if (found)
		return found;
	fresh.generation_ns = bpf_ktime_get_ns();
	fresh.updated_ns = fresh.generation_ns;
	err = bpf_map_update_elem(&delays, &key, &fresh, BPF_NOEXIST);
	found = bpf_map_lookup_elem(&delays, &key);
	if (!found)
		count_failed_update(LOSS_DELAYS, err);
	return found;
}

static __always_inline void read_waits(struct task_struct *task, __u64 waited_ns[DELAY_KINDS])
{
	struct task_delay_info *info;

	waited_ns[DELAY_CPU] = task->sched_info.run_delay;
	if (!bpf_core_field_exists(task->delays))
		return;
	info = task->delays;
	if (!info)
		return;
	waited_ns[DELAY_BLOCK_IO] = info->blkio_delay;
	waited_ns[DELAY_SWAP_IN] = info->swapin_delay;
	waited_ns[DELAY_RECLAIM] = info->freepages_delay;
	waited_ns[DELAY_THRASHING] = info->thrashing_delay;
	if (bpf_core_field_exists(info->compact_delay))
		waited_ns[DELAY_COMPACTION] = info->compact_delay;
	if (bpf_core_field_exists(info->wpcopy_delay))
		waited_ns[DELAY_WRITE_COPY] = info->wpcopy_delay;
	if (bpf_core_field_exists(info->irq_delay))
		waited_ns[DELAY_IRQ] = info->irq_delay;
}

static __always_inline bool waited(const __u64 waited_ns[DELAY_KINDS])
{
	__u64 any = 0;
	int kind;

	_Pragma("unroll") for (kind = 0; kind < DELAY_KINDS; kind++) any |= waited_ns[kind];
	return any != 0;
}

static __always_inline void add_waits_in(__u32 hierarchy, __u64 cgroup, const __u64 waited_ns[DELAY_KINDS])
{
	struct delays *found = delays_of(hierarchy, cgroup);
	int kind;

	if (!found)
		return;
	_Pragma("unroll") for (kind = 0; kind < DELAY_KINDS; kind++) add(&found->waited_ns[kind], waited_ns[kind]);
	found->updated_ns = bpf_ktime_get_ns();
}

static __always_inline void add_waits(struct task_struct *task, const __u64 waited_ns[DELAY_KINDS])
{
	struct workload_key workload;

	if (!waited(waited_ns))
		return;
	fill_workload(&workload, task);
	add_waits_in(0, workload.cgroup_v2, waited_ns);
	if (v1_controller != V1_NONE)
		add_waits_in(v1_hierarchy, workload.cgroup_v1, waited_ns);
}

static __always_inline bool waits_for_block_io(struct task_struct *task)
{
	return !bpf_core_field_exists(task->in_iowait) || BPF_CORE_READ_BITFIELD(task, in_iowait);
}

/*
 * What is new ended after the last look, and began no earlier than the task was last seen not waiting. A quarter more
 * is let through: a task that does nothing but wait has one that is counted twice now and then.
 */
static __always_inline void leave_out_impossible(__u64 waited_ns[DELAY_KINDS], __u64 no_block_io_ns)
{
	__u64 possible_ns = bpf_ktime_get_ns() - no_block_io_ns;

	if (waited_ns[DELAY_BLOCK_IO] <= possible_ns + possible_ns / 4)
		return;
	waited_ns[DELAY_BLOCK_IO] = 0;
	count_loss(LOSS_DELAYS, LOSS_IMPOSSIBLE);
}

/* Leaves in `waited_ns` what was not counted yet, and counts it. */
static __always_inline void take_new_waits(struct thread *thread, __u64 waited_ns[DELAY_KINDS])
{
	__u64 total;
	int kind;

	_Pragma("unroll") for (kind = 0; kind < DELAY_KINDS; kind++)
	{
		total = waited_ns[kind];
		if (total <= thread->counted_ns[kind]) {
			waited_ns[kind] = 0;
			continue;
		}
		waited_ns[kind] = total - thread->counted_ns[kind];
		thread->counted_ns[kind] = total;
	}
	leave_out_impossible(waited_ns, thread->no_block_io_ns);
}

static __always_inline struct thread *find_thread(struct task_struct *task, __u64 key)
{
	struct thread *thread = bpf_map_lookup_elem(&threads, &key);

	return thread && thread->start_ns == task->start_time ? thread : NULL;
}

static __always_inline bool is_older(struct task_struct *task)
{
	return task->start_time < started_ns;
}

/* What a task older than the sensor waited for until now was another time's. */
static __always_inline struct thread *make_thread(struct task_struct *task, __u64 key,
						  const __u64 waited_ns[DELAY_KINDS])
{
	struct thread fresh = { .start_ns = task->start_time, .no_block_io_ns = task->start_time };
	int err;

	if (is_older(task))
		__builtin_memcpy(fresh.counted_ns, waited_ns, sizeof(fresh.counted_ns));
	else if (!waited(waited_ns))
		return NULL;
	err = bpf_map_update_elem(&threads, &key, &fresh, BPF_ANY);
	if (err) {
		if (is_older(task))
			count_failed_update(LOSS_DELAYS, err);
		return NULL;
	}
	return find_thread(task, key);
}

SEC("iter/task")
int scan_delays(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	__u64 waited_ns[DELAY_KINDS] = {};
	__u64 key = (__u64)task;
	struct thread *thread;
	__u64 looked_ns;
	bool waits;

	if (!task || task->flags & PF_KTHREAD || task->exit_state == EXIT_DEAD)
		return 0;
	/* Before the totals: a wait that ends in between is then in them, and not too long at the next look. */
	waits = waits_for_block_io(task);
	looked_ns = bpf_ktime_get_ns();
	read_waits(task, waited_ns);
	thread = find_thread(task, key);
	if (!thread)
		thread = make_thread(task, key, waited_ns);
	if (!thread)
		return 0;
	take_new_waits(thread, waited_ns);
	if (!waits)
		thread->no_block_io_ns = looked_ns;
	add_waits(task, waited_ns);
	return 0;
}

SEC("tp_btf/sched_process_free")
int BPF_PROG(delays_end, struct task_struct *task)
{
	__u64 waited_ns[DELAY_KINDS] = {};
	__u64 key = (__u64)task;
	struct thread *thread;

	if (task->flags & PF_KTHREAD)
		return 0;
	read_waits(task, waited_ns);
	thread = find_thread(task, key);
	if (thread) {
		take_new_waits(thread, waited_ns);
		bpf_map_delete_elem(&threads, &key);
	} else if (is_older(task)) {
		/* It ended before the first scan, or there was no room. */
		return 0;
	} else {
		leave_out_impossible(waited_ns, task->start_time);
	}
	add_waits(task, waited_ns);
	return 0;
}
