/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Files below /var/log that processes hold open to write to them, from a BPF iterator over open files that may ask for
 * their paths (Linux 5.12). For each it prints a struct held_log to who reads it.
 *
 * A log is only written, or appended to. So databases, which read their files too, cost no look at a path.
 *
 * In a union of directories a file that came with the image has the number it has there. What is written is a copy in
 * another directory, with a number of its own, and that is the one to open: it is told instead.
 */

/* include/uapi/linux/magic.h */
#define OVERLAYFS_SUPER_MAGIC 0x794c7630

static const char log_directory[] = "/var/log/";

static __always_inline bool is_written_as_log(struct file *file)
{
	struct inode *inode = file->f_inode;

	return (file->f_mode & FMODE_WRITE) &&
	       ((file->f_flags & O_ACCMODE) == O_WRONLY || (file->f_flags & O_APPEND)) &&
	       (inode->i_mode & S_IFMT) == S_IFREG && inode->i_nlink;
}

/* Whether this is the first descriptor of the file in this scan. */
static __always_inline bool is_new_candidate(const struct log_candidate *candidate)
{
	__u32 one = 1;
	int err = bpf_map_update_elem(&log_candidates, candidate, &one, BPF_NOEXIST);

	if (err && err != -EEXIST)
		count_failed_update(LOSS_LOGS, err);
	return !err;
}

static __always_inline bool is_in_log_directory(const struct held_log *log)
{
	__u32 i;

#pragma unroll
	for (i = 0; i < sizeof(log_directory) - 1; i++)
		if (log->path[i] != log_directory[i])
			return false;
	return true;
}

/* The inode of an open file below a union; NULL if `file` is none. */
static __always_inline struct inode *inode_below(struct file *file, struct inode *inode)
{
	struct inode *below = BPF_CORE_READ(file, f_inode);
	struct super_block *filesystem = BPF_CORE_READ(below, i_sb);

	/* What is no file at all does not lead to a file system whose root says that it is of that file system. */
	if (!filesystem || BPF_CORE_READ(filesystem, s_root, d_sb) != filesystem)
		return NULL;
	return BPF_CORE_READ(below, i_mode) == inode->i_mode ? below : NULL;
}

/*
 * The number of the file that is written. overlayfs keeps the open file below in private_data, since 6.13 as the first
 * of two there (fs/overlayfs/file.c); its own types are those of a module, so that the kernel's BTF does not tell
 * which.
 */
static __always_inline __u64 written_inode(struct file *file)
{
	struct inode *inode = file->f_inode, *below;
	struct file *kept, *first = NULL;

	if (inode->i_sb->s_magic != OVERLAYFS_SUPER_MAGIC)
		return inode->i_ino;
	kept = (struct file *)file->private_data;
	bpf_probe_read_kernel(&first, sizeof(first), kept);
	below = inode_below(first, inode);
	if (!below)
		below = inode_below(kept, inode);
	return below ? BPF_CORE_READ(below, i_ino) : inode->i_ino;
}

SEC("iter/task_file")
int scan_logs(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	/* Read once: the verifier takes a second read for another pointer. */
	struct file *file = ctx->file;
	struct log_candidate candidate = {};
	struct held_log *log;
	__u32 zero = 0;

	if (!task || !file || !is_written_as_log(file))
		return 0;
	fill_workload(&candidate.workload, task);
	candidate.inode = file->f_inode->i_ino;
	candidate.device = file->f_inode->i_sb->s_dev;
	if (!is_new_candidate(&candidate))
		return 0;
	log = bpf_map_lookup_elem(&log_scratch, &zero);
	if (!log || bpf_d_path(&file->f_path, log->path, sizeof(log->path)) < 0 || !is_in_log_directory(log))
		return 0;
	log->workload = candidate.workload;
	log->inode = written_inode(file);
	log->device = candidate.device;
	log->pid = BPF_CORE_READ(task, tgid);
	/* Without room in its buffer the kernel comes again with the same file. */
	if (bpf_seq_write(ctx->meta->seq, log, sizeof(*log)))
		bpf_map_delete_elem(&log_candidates, &candidate);
	return 0;
}
