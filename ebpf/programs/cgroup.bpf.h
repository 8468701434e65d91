/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Cgroups as they are made, renamed (v1 only) and removed, from the cgroup tracepoints, which give the path from the
 * root of the hierarchy. Only the v2 tree and the watched v1 hierarchy.
 */

static __always_inline void read_path(struct cgroup_entry *entry, const char *path)
{
	long bytes = bpf_probe_read_kernel_str(entry->path, sizeof(entry->path), path);

	entry->path_bytes = bytes > 0 ? bytes - 1 : 0;
	if (bytes == sizeof(entry->path))
		count_loss(LOSS_CGROUPS, LOSS_TRUNCATED);
}

static __always_inline bool key_of(struct cgroup_key *key, struct cgroup *cgroup)
{
	key->id = BPF_CORE_READ(cgroup, kn, id);
	key->hierarchy = BPF_CORE_READ(cgroup, root, hierarchy_id);
	key->reserved = 0;
	return is_watched(key->hierarchy);
}

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(cgroup_mkdir, struct cgroup *cgroup, const char *path)
{
	struct cgroup_entry *entry;
	struct cgroup_key key;
	__u32 zero = 0;
	int err;

	if (!key_of(&key, cgroup))
		return 0;
	entry = bpf_map_lookup_elem(&scratch, &zero);
	if (!entry)
		return 0;
	__builtin_memset(entry, 0, sizeof(*entry));
	entry->created_ns = bpf_ktime_get_ns();
	entry->updated_ns = entry->created_ns;
	read_path(entry, path);
	err = bpf_map_update_elem(&cgroups, &key, entry, BPF_ANY);
	if (err)
		count_failed_update(LOSS_CGROUPS, err);
	else
		notify(EVENT_CGROUP, key.hierarchy, key.id);
	return 0;
}

SEC("tp_btf/cgroup_rename")
int BPF_PROG(cgroup_rename, struct cgroup *cgroup, const char *path)
{
	struct cgroup_entry *entry;
	struct cgroup_key key;

	if (!key_of(&key, cgroup))
		return 0;
	entry = bpf_map_lookup_elem(&cgroups, &key);
	if (!entry)
		return 0;
	read_path(entry, path);
	entry->updated_ns = bpf_ktime_get_ns();
	notify(EVENT_CGROUP, key.hierarchy, key.id);
	return 0;
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(cgroup_rmdir, struct cgroup *cgroup)
{
	struct cgroup_entry *entry;
	struct cgroup_key key;

	if (!key_of(&key, cgroup))
		return 0;
	entry = bpf_map_lookup_elem(&cgroups, &key);
	if (!entry)
		return 0;
	entry->removed_ns = bpf_ktime_get_ns();
	entry->updated_ns = entry->removed_ns;
	notify(EVENT_CGROUP, key.hierarchy, key.id);
	return 0;
}
