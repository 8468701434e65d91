/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Which file each process executes, from a BPF iterator over tasks. /proc/PID/exe says it too, but to who has
 * CAP_SYS_PTRACE. The path is that within the file's own file system, whatever is mounted where; names are read one by
 * one, since bpf_d_path takes no file that was found through a pointer.
 */

/* The number of names from `dentry` up to the root of its file system; 0 if there are too many. */
static __always_inline __u32 fill_names(struct executable_path *path, struct dentry *dentry)
{
	struct dentry *parent;
	__u32 i;

	for (i = 0; i < EXECUTABLE_PATH_NAMES; i++) {
		parent = BPF_CORE_READ(dentry, d_parent);
		if (parent == dentry)
			return i;
		bpf_probe_read_kernel_str(path->names[i], EXECUTABLE_NAME_BYTES, BPF_CORE_READ(dentry, d_name.name));
		dentry = parent;
	}
	return 0;
}

SEC("iter/task")
int scan_executables(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct executable_output *out;
	struct executable_key key = {};
	struct dentry *dentry;
	__u32 zero = 0, one = 1, names = 0;

	if (!task || !is_leader(task) || is_kernel_thread(task))
		return 0;
	dentry = BPF_CORE_READ(task, mm, exe_file, f_path.dentry);
	out = bpf_map_lookup_elem(&executable_scratch, &zero);
	if (!dentry || !out)
		return 0;
	key.inode = BPF_CORE_READ(dentry, d_inode, i_ino);
	key.device = BPF_CORE_READ(dentry, d_sb, s_dev);
	out->executable.inode = key.inode;
	out->executable.device = key.device;
	out->executable.pid = BPF_CORE_READ(task, tgid);
	if (bpf_map_update_elem(&executables, &key, &one, BPF_NOEXIST) != -EEXIST)
		names = fill_names(&out->path, dentry);
	out->executable.names = names;
	/* Without room in its buffer the kernel comes again with the same task. */
	if (bpf_seq_write(ctx->meta->seq, out, sizeof(out->executable) + names * EXECUTABLE_NAME_BYTES))
		bpf_map_delete_elem(&executables, &key);
	return 0;
}
