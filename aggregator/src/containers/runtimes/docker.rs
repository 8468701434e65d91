//! Docker: `config.v2.json` of a container, and `daemon.json` for where docker keeps them. The answer of docker's API to
//! an inspection has the same fields in the same places, so it is read by the same parser.
//!
//! Also covers Swarm and Nomad, which leave their names in labels and in the environment.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use nodescope_schema::FileKind;
use serde::Deserialize;

use super::super::class::ContainerRef;
use super::super::metadata::{self, Lenient, MAX_PUBLISHED, Metadata, ParseError, Strings};
use super::super::opener::OwnedOpenFile;
use super::{Places, Role, Runtime};

/// Name of the runtime.
pub const NAME: &str = "docker";
/// The cgroup that holds docker's containers with the cgroupfs driver.
pub(in super::super) const PARENT: &[u8] = b"docker";

/// Docker, or Podman's and others' exact imitations of its files.
pub struct Docker;

impl Runtime for Docker {
    fn name(&self) -> &'static str {
        NAME
    }

    fn words(&self) -> &'static [(&'static str, Role)] {
        &[("docker", Role::Container)]
    }

    fn files(&self, container: &ContainerRef, places: &Places) -> Vec<OwnedOpenFile> {
        let file = |root: &Vec<u8>| OwnedOpenFile {
            container: container.id.clone(),
            root: root.clone(),
            uid: container.uid,
            ..OwnedOpenFile::of_kind(FileKind::DockerConfig)
        };
        places.docker_roots.iter().map(file).collect()
    }

    fn parse(&self, _: &ContainerRef, bytes: &[u8]) -> Result<Metadata, ParseError> {
        parse(bytes)
    }

    fn own_id(&self, container: &ContainerRef, metadata: &Metadata) -> Option<String> {
        Some(super::named(NAME, container.uid, metadata.name.as_deref()?))
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Container {
    name: Lenient<String>,
    config: Lenient<Config>,
    network_settings: Lenient<NetworkSettings>,
    mount_points: Lenient<BTreeMap<String, Lenient<MountPoint>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct MountPoint {
    source: Lenient<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Config {
    image: Lenient<String>,
    labels: Lenient<Strings>,
    env: Lenient<Vec<Lenient<String>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct NetworkSettings {
    ports: Lenient<BTreeMap<String, Lenient<Vec<Lenient<Binding>>>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Binding {
    host_ip: Lenient<String>,
    host_port: Lenient<String>,
}

/// Reads `config.v2.json`, or the API's description of a container.
pub fn parse(bytes: &[u8]) -> Result<Metadata, ParseError> {
    let container: Container = serde_json::from_slice(bytes)?;
    let config = container.config.0.unwrap_or_default();
    let mut metadata = Metadata {
        name: metadata::filled(container.name).map(|name| name.trim_start_matches('/').to_owned()),
        image: metadata::filled(config.image),
        published: published(container.network_settings.0.unwrap_or_default()),
        ..Metadata::default()
    };
    let environment = config.env.0.unwrap_or_default();
    metadata.note(environment.iter().filter_map(|Lenient(variable)| {
        let (name, value) = variable.as_ref()?.split_once('=')?;
        Some((name, value.to_owned()))
    }));
    metadata.note(metadata::strings(config.labels.0.unwrap_or_default()));
    let mounts = container.mount_points.0.unwrap_or_default().into_iter();
    metadata.note_mounts(mounts.filter_map(|(point, mount)| Some((point, mount.0?.source.0?))));
    Ok(metadata)
}

fn published(settings: NetworkSettings) -> Vec<SocketAddr> {
    let ports = settings.ports.0.unwrap_or_default();
    let tcp = ports.into_iter().filter(|(port, _)| port.ends_with("/tcp"));
    let bindings = tcp.flat_map(|(_, bindings)| bindings.0.unwrap_or_default());
    bindings
        .filter_map(|binding| address(binding.0?))
        .take(MAX_PUBLISHED)
        .collect()
}

fn address(binding: Binding) -> Option<SocketAddr> {
    Some(SocketAddr::new(
        binding.host_ip.0?.parse().ok()?,
        binding.host_port.0?.parse().ok()?,
    ))
}

/// The data-root that `daemon.json` sets, if it does.
pub fn parse_data_root(bytes: &[u8]) -> Result<Option<String>, ParseError> {
    #[derive(Deserialize)]
    struct Daemon {
        #[serde(default, rename = "data-root")]
        data_root: Lenient<String>,
        /// The name before docker 17.05.
        #[serde(default)]
        graph: Lenient<String>,
    }
    let daemon: Daemon = serde_json::from_slice(bytes)?;
    Ok(metadata::filled(daemon.data_root).or_else(|| metadata::filled(daemon.graph)))
}
