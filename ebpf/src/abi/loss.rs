//! What the programs count as lost, in the map `losses`.

/// Stages of [`losses`], in the order of `enum loss_stage`.
pub const LOSS_STAGES: [&str; 10] = [
    "kernel_flows",
    "kernel_connections",
    "kernel_listens",
    "kernel_processes",
    "kernel_populations",
    "kernel_cgroups",
    "kernel_events",
    "kernel_delays",
    "kernel_translations",
    "kernel_logs",
];
/// Reasons of [`losses`], in the order of `enum loss_reason`.
pub const LOSS_REASONS: [&str; 5] = ["full", "refused", "truncated", "unknown", "impossible"];

/// Stage and reason of each index of the map `losses`, in order.
pub fn losses() -> impl Iterator<Item = (&'static str, &'static str)> {
    LOSS_STAGES
        .into_iter()
        .flat_map(|stage| LOSS_REASONS.into_iter().map(move |reason| (stage, reason)))
}
