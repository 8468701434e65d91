//! Files of the cgroup v1 controllers `cpu`, `cpuacct` and `memory`.

use std::path::Path;

use super::values::{cores, keyed, number, seconds_of_nanos};
use super::{Resources, text};

/// A memory limit above this is none: the kernel's highest is 2^63 rounded down to a page.
const MAX_MEMORY_LIMIT_BYTES: u64 = 1 << 62;

pub(super) fn read_cpu(directory: &Path, resources: &mut Resources) {
    // The quota is -1, which is not a `u64`, when there is no limit.
    let quota = text(directory, "cpu.cfs_quota_us").and_then(|text| number(&text));
    let period = text(directory, "cpu.cfs_period_us").and_then(|text| number(&text));
    resources.cpu_limit_cores = quota
        .zip(period)
        .and_then(|(quota, period)| cores(quota, period));
    resources.cpu_throttled_seconds = text(directory, "cpu.stat")
        .and_then(|text| keyed(&text, "throttled_time"))
        .map(seconds_of_nanos);
}

pub(super) fn read_cpu_usage(directory: &Path, resources: &mut Resources) {
    resources.cpu_usage_seconds = text(directory, "cpuacct.usage")
        .and_then(|text| number(&text))
        .map(seconds_of_nanos);
}

pub(super) fn read_memory(directory: &Path, resources: &mut Resources) {
    resources.memory_limit_bytes = text(directory, "memory.limit_in_bytes")
        .and_then(|text| number(&text))
        .filter(|limit| *limit <= MAX_MEMORY_LIMIT_BYTES);
    let Some(stat) = text(directory, "memory.stat") else {
        return;
    };
    resources.memory_rss_bytes = keyed(&stat, "total_rss")
        .zip(keyed(&stat, "total_mapped_file"))
        .and_then(|(anonymous, mapped)| anonymous.checked_add(mapped));
    resources.memory_cache_bytes = keyed(&stat, "total_cache");
}
