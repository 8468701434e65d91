//! Which container or service a cgroup belongs to, and what it is called.
//!
//! [`classify`] turns the path of a cgroup into a [`Class`]; that is pure and enough for systemd's units. For a container
//! the [`Resolver`] reads its runtime's own files through a [`FileOpener`] and makes an [`Identity`] of them. As an
//! option, docker's API and CRI can be asked for what the files do not tell.
//!
//! A container runtime is one file in `runtimes` and one line in [`RUNTIMES`].

mod cgroup_path;
mod class;
mod cri;
mod docker_api;
mod gvisor;
mod kubernetes;
mod metadata;
mod name;
mod opener;
mod resolver;
pub mod runtimes;
mod unit;

pub use cgroup_path::classify;
pub use class::{Class, ContainerRef, Ignored};
pub use cri::{Cri, CriError};
pub use docker_api::{DockerApi, DockerApiError};
pub use metadata::{Fact, MAX_PUBLISHED, MAX_VOLUMES, Metadata, ParseError};
pub use name::{app_id, container_id};
pub use opener::{
    FileOpener, OpenError, OpenFuture, OwnedOpenFile, ReadError, longest, read_capped,
};
pub use resolver::{Identity, Resolution, Resolver, RetryReason, Settings};
pub use runtimes::{Places, RUNTIMES, Runtime};
