//! What the system tests share: the two real processes under test, places to run load in (cgroups, network namespaces,
//! real containers), a client for `/metrics`, and deadlines for everything.
//!
//! Helpers panic with what they were doing instead of returning errors: in a test the trace is worth more. Whatever a
//! helper makes (process, cgroup, namespace, mount, directory) its `Drop` removes. Nothing outside of it is touched:
//! container daemons live in a [`Sandbox`] with their own `/run`, `/var/lib`, `/etc` and network.
#![forbid(unsafe_code)]

mod accounting;
mod agent;
mod cgroup;
mod containerd;
mod cri;
mod docker;
mod guard;
mod hanging_filesystem;
mod http;
mod image;
mod java;
mod journal;
mod load;
mod log_lines;
mod loop_device;
mod lxc;
mod metrics;
mod netns;
mod place;
mod podman;
mod process;
mod rootless_docker;
mod sandbox;
mod series;
mod service;
mod settings;
mod shared;
mod taskstats;
mod usage;
mod user;
mod wait;
mod waits;

pub use accounting::Accounting;
pub use agent::{Agent, AgentOptions, UNPRIVILEGED_GROUP_ID, UNPRIVILEGED_USER, programs};
pub use cgroup::{Unit, hierarchies};
pub use containerd::Containerd;
pub use cri::{Cri, Pod, PodSpec};
pub use docker::Docker;
pub use guard::{RootGuard, root_guard};
pub use hanging_filesystem::HangingFilesystem;
pub use http::{HttpError, Response, http_get};
pub use image::{SHIPPED_LOG, root_directory};
pub use java::{Java, JvmReport};
pub use journal::JournalDirectory;
pub use load::{Hold, LoadReport, Server, free_port, load_program, run_load};
pub use log_lines::{counts_levels, counts_lines};
pub use loop_device::LoopDevice;
pub use lxc::Lxc;
pub use metrics::{Sample, Scrape};
pub use netns::{Netns, active_opens};
pub use place::Place;
pub use podman::Podman;
pub use process::{Process, run, run_output, try_run};
pub use rootless_docker::RootlessDocker;
pub use sandbox::Sandbox;
pub use series::Expected;
pub use service::VirtualService;
pub use settings::{quick_settings, settings};
pub use shared::Shared;
pub use taskstats::{Taskstats, WAITS as TASKSTATS_WAITS};
pub use usage::{children, children_cpu_seconds, cpu_seconds};
pub use wait::{DEADLINE, eventually, poll};
pub use waits::{is_impossible, is_near, waited_for_cpu, waited_for_disk};

/// A name no other test of any run uses at the same time.
pub fn unique(prefix: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{prefix}-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}
