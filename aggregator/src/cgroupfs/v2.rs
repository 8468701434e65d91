//! Files of cgroup v2. A cgroup without the cpu controller still has `cpu.stat` with its usage.

use std::path::Path;

use super::values::{cpu_max, keyed, number, pressure, seconds_of_micros};
use super::{Resources, text};

pub(super) fn read_cpu(directory: &Path, resources: &mut Resources) {
    resources.cpu_limit_cores = text(directory, "cpu.max").and_then(|text| cpu_max(&text));
    resources.cpu_throttled_seconds = cpu_stat(directory, "throttled_usec");
}

pub(super) fn read_cpu_usage(directory: &Path, resources: &mut Resources) {
    resources.cpu_usage_seconds = cpu_stat(directory, "usage_usec");
}

fn cpu_stat(directory: &Path, key: &str) -> Option<f64> {
    text(directory, "cpu.stat")
        .and_then(|text| keyed(&text, key))
        .map(seconds_of_micros)
}

pub(super) fn read_memory(directory: &Path, resources: &mut Resources) {
    resources.memory_limit_bytes = text(directory, "memory.max").and_then(|text| number(&text));
    let Some(stat) = text(directory, "memory.stat") else {
        return;
    };
    resources.memory_rss_bytes = keyed(&stat, "anon")
        .zip(keyed(&stat, "file_mapped"))
        .and_then(|(anonymous, mapped)| anonymous.checked_add(mapped));
    resources.memory_cache_bytes = keyed(&stat, "file");
}

pub(super) fn read_pressure(directory: &Path, resources: &mut Resources) {
    let read = |file| text(directory, file).and_then(|text| pressure(&text));
    resources.cpu_pressure = read("cpu.pressure");
    resources.memory_pressure = read("memory.pressure");
    resources.io_pressure = read("io.pressure");
}
