/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who a task is: its two cgroups and its executable.
 */
#ifndef NODESCOPE_OWNER_H
#define NODESCOPE_OWNER_H

/* Set by the sensor before loading. */
const volatile __u32 host_netns;
/* Tasks that began earlier are older than the sensor. */
const volatile __u64 started_ns;
/* Nonzero: destinations count as translated wherever it happens, not only in the host's and the socket's namespace. */
const volatile __u32 every_netns;
/* The watched v1 hierarchy and one of its controllers; V1_NONE when there is none. */
const volatile __u32 v1_hierarchy;
const volatile __u32 v1_controller;

enum v1_controllers {
	V1_NONE = 0,
	V1_MEMORY = 1,
	V1_PIDS = 2,
	V1_CPU = 3,
	V1_CPUACCT = 4,
	V1_CPUSET = 5,
};

/* A controller the kernel lacks cannot be the one chosen; its branch is dead code and need not relocate. */
static __always_inline __u32 v1_subsys(void)
{
	switch (v1_controller) {
	case V1_MEMORY:
		return bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id);
	case V1_PIDS:
		return bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id);
	case V1_CPU:
		return bpf_core_enum_value(enum cgroup_subsys_id, cpu_cgrp_id);
	case V1_CPUACCT:
		return bpf_core_enum_value(enum cgroup_subsys_id, cpuacct_cgrp_id);
	default:
		return bpf_core_enum_value(enum cgroup_subsys_id, cpuset_cgrp_id);
	}
}

static __always_inline void fill_workload(struct workload_key *workload, struct task_struct *task)
{
	struct css_set *set = BPF_CORE_READ(task, cgroups);
	struct cgroup_subsys_state *state = NULL;
	void *states;

	workload->cgroup_v2 = BPF_CORE_READ(set, dfl_cgrp, kn, id);
	workload->cgroup_v1 = 0;
	if (v1_controller == V1_NONE)
		return;
	states = __builtin_preserve_access_index(&set->subsys[0]);
	bpf_probe_read_kernel(&state, sizeof(state), states + v1_subsys() * sizeof(state));
	workload->cgroup_v1 = BPF_CORE_READ(state, cgroup, kn, id);
}

/* `owner` must be zeroed: the bytes behind a short name are part of a key. */
static __always_inline void fill_owner(struct owner *owner, struct task_struct *task)
{
	const unsigned char *name = BPF_CORE_READ(task, mm, exe_file, f_path.dentry, d_name.name);

	fill_workload(&owner->workload, task);
	/* Kernel threads have no executable; the name stays empty. */
	if (name)
		bpf_probe_read_kernel_str(owner->executable, sizeof(owner->executable), name);
}

static __always_inline struct task_struct *current_task(void)
{
	return (struct task_struct *)bpf_get_current_task();
}

/* On 5.10 and 6.1 cgroup programs cannot call bpf_get_current_pid_tgid. */
static __always_inline __u32 current_pid(void)
{
	return BPF_CORE_READ(current_task(), tgid);
}

#endif
