//! The unprivileged half of nodescope: takes the sensor's records, finds out what containers they are about, serves
//! metrics.
//!
//! [`ingest`] reads the socket, [`model`] holds the node, [`containers`] names what runs on it and [`applications`] guesses
//! its kind, [`volumes`] says what disks it writes to, [`logs`] what it logs and [`jvm`] what its Java virtual machines say of
//! themselves, [`node`], [`cgroupfs`] and [`collect`] read the host's files, [`metrics`] and [`http`] write and serve pages, [`app`] ties them together.
#![forbid(unsafe_code)]

pub mod app;
pub mod applications;
pub mod args;
pub mod broker;
mod causes;
pub mod cgroupfs;
pub mod collect;
pub mod config;
pub mod containers;
pub mod host;
pub mod http;
pub mod ingest;
pub mod jvm;
pub mod logs;
pub mod machine_id;
pub mod metrics;
pub mod model;
mod mountinfo;
pub mod node;
pub mod pages;
pub mod volumes;

/// Version of this release.
pub const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// Now, on the clock of the sensor's records (`CLOCK_MONOTONIC`).
pub(crate) fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
