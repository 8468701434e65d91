//! From the path of a cgroup to what it belongs to. Pure: bytes in, [`Class`] out, for any bytes.
//!
//! The path is walked from the root and the first component that is a container's decides, so everything below it
//! belongs to that container. Hence of nested runtimes (docker in docker, kind, docker inside LXC) the outermost wins:
//! only its files are on this host, those of the inner ones lie inside the container and are never opened.
//! What holds no container is tried against [`LAYOUTS`] in order.
//!
//! Container layouts are told by the word before an id of 64 hexadecimal digits (`docker-ID.scope`,
//! `SLICE:cri-containerd:ID`); every [`Runtime`](super::Runtime) lists its words. A bare id does not tell its runtime:
//! docker, containerd and CRI-O all use it with the cgroupfs driver.

use super::class::{Class, ContainerRef, Ignored};
use super::runtimes::{self, Role, docker, lxc, podman};
use super::unit;

/// Characters of a container id.
const ID_LENGTH: usize = 64;
/// What the kernel puts behind the path of a cgroup that is gone.
const REMOVED: &[u8] = b" (deleted)";
/// Word that marks the cgroups of the kubelet's pods, as a component of its own or inside a slice's name.
const PODS: &[u8] = b"kubepods";

/// Says what a path without a container is, or that it is another layout's.
type Layout = fn(&[&[u8]]) -> Option<Class>;

/// Layouts of paths that hold no container, in the order they are tried.
const LAYOUTS: &[Layout] = &[
    pod_directory,
    podman_directory,
    docker_directory,
    unit::talos,
    unit::user,
    unit::system,
    containerd_name,
];

/// What the cgroup at `path` belongs to. The path begins at the root of its hierarchy; a leading `..`, as seen from a
/// cgroup namespace, is skipped.
pub fn classify(path: &[u8]) -> Class {
    if path.ends_with(REMOVED) {
        return Class::Ignored(Ignored::Removed);
    }
    let components = components(path);
    if components.is_empty() {
        return Class::Ignored(Ignored::Root);
    }
    container(&components)
        .or_else(|| LAYOUTS.iter().find_map(|layout| layout(&components)))
        .unwrap_or(Class::Ignored(if components.len() < 2 {
            Ignored::Root
        } else {
            Ignored::UnknownLayout
        }))
}

fn components(path: &[u8]) -> Vec<&[u8]> {
    let mut components = Vec::new();
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => drop(components.pop()),
            name => components.push(name),
        }
    }
    components
}

/// The outermost container on the path, or the process that watches one.
fn container(components: &[&[u8]]) -> Option<Class> {
    let uid = unit::user_id(components).unwrap_or(0);
    (0..components.len()).find_map(|at| {
        let (above, name) = (&components[..at], components[at]);
        let found = by_id(above, name).or_else(|| by_name(above, name))?;
        Some(match found {
            Class::Container(container) => Class::Container(ContainerRef { uid, ..container }),
            other => other,
        })
    })
}

/// A component with a 64-digit id in it.
fn by_id(above: &[&[u8]], name: &[u8]) -> Option<Class> {
    let HexId { before, id } = hex_id(name)?;
    let in_pod = is_in_pod(above) || contains(name, PODS);
    let word = last_word(before);
    if word.is_empty() {
        return bare_id(above, id, in_pod).map(Class::Container);
    }
    let container = |runtime, certain| {
        Class::Container(ContainerRef {
            runtime,
            id: id.to_vec(),
            in_pod,
            certain,
            ..ContainerRef::default()
        })
    };
    match runtimes::by_word(word) {
        Some((_, Role::Monitor)) => Some(Class::Ignored(Ignored::Monitor)),
        Some((runtime, Role::Container)) => Some(container(Some(runtime.name()), true)),
        None => in_pod.then(|| container(None, true)),
    }
}

/// An id that stands alone, which is what cgroupfs drivers use.
fn bare_id(above: &[&[u8]], id: &[u8], in_pod: bool) -> Option<ContainerRef> {
    let parent = above.last().copied();
    // Podman names the directories of its own pods so; the containers are one level below, with their word.
    let is_podman_pod = above.contains(&podman::PARENT);
    // A service may name its own sub-cgroups as it likes. The kubelet's are an exception: containerd puts pods below its
    // own service when its driver and the kubelet's differ.
    let is_delegated = !in_pod && above.iter().any(|name| name.ends_with(b".service"));
    if is_podman_pod || is_delegated {
        return None;
    }
    let is_docker = above == [docker::PARENT];
    Some(ContainerRef {
        runtime: is_docker.then_some(docker::NAME),
        id: id.to_vec(),
        namespace: match parent {
            Some(parent) if above.len() == 1 && !is_docker && !in_pod => identifier(parent),
            _ => None,
        },
        in_pod,
        certain: is_docker || in_pod,
        ..ContainerRef::default()
    })
}

/// A component that is a container's or a monitor's by its name.
fn by_name(above: &[&[u8]], name: &[u8]) -> Option<Class> {
    if name == podman::MONITOR && above.contains(&podman::PARENT) {
        return Some(Class::Ignored(Ignored::Monitor));
    }
    match lxc::component(above, name)? {
        (_, Role::Monitor) => Some(Class::Ignored(Ignored::Monitor)),
        (id, Role::Container) => Some(Class::Container(ContainerRef {
            runtime: Some(lxc::NAME),
            id: id.to_vec(),
            certain: true,
            ..ContainerRef::default()
        })),
    }
}

fn pod_directory(components: &[&[u8]]) -> Option<Class> {
    is_in_pod(components).then_some(Class::Pod)
}

/// Podman's directory of all containers, or that of one of its pods.
fn podman_directory(components: &[&[u8]]) -> Option<Class> {
    components
        .contains(&podman::PARENT)
        .then_some(Class::Ignored(Ignored::PodDirectory))
}

/// Below `/docker`, but not a container: a step of an image build, for example.
fn docker_directory(components: &[&[u8]]) -> Option<Class> {
    (components[0] == docker::PARENT).then_some(Class::Ignored(Ignored::UnknownLayout))
}

/// `/NAMESPACE/ID`, containerd's own default. Anything can be called so, therefore it stays to be confirmed.
fn containerd_name(components: &[&[u8]]) -> Option<Class> {
    let [namespace, id, ..] = components else {
        return None;
    };
    Some(Class::Container(ContainerRef {
        runtime: Some(runtimes::containerd::NAME),
        namespace: Some(identifier(namespace)?),
        id: identifier(id)?.into_bytes(),
        ..ContainerRef::default()
    }))
}

/// The text of `name` when containerd allows it as an identifier: letters and digits with single `.`, `_` or `-` between.
fn identifier(name: &[u8]) -> Option<String> {
    const LONGEST: usize = 76;
    let is_valid = name.len() <= LONGEST
        && name
            .split(|byte| b"._-".contains(byte))
            .all(|part| !part.is_empty() && part.iter().all(u8::is_ascii_alphanumeric));
    is_valid.then(|| String::from_utf8_lossy(name).into_owned())
}

fn is_in_pod(components: &[&[u8]]) -> bool {
    components.iter().any(|name| contains(name, PODS))
}

fn contains(name: &[u8], word: &[u8]) -> bool {
    name.windows(word.len()).any(|window| window == word)
}

/// An id within a component.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HexId<'a> {
    /// What stands before it.
    pub(super) before: &'a [u8],
    /// Its 64 digits.
    pub(super) id: &'a [u8],
}

/// The first run of exactly 64 lower-case hexadecimal digits that is not part of a longer word.
pub(super) fn hex_id(name: &[u8]) -> Option<HexId<'_>> {
    let mut start = 0;
    for word in name.split(|byte| !byte.is_ascii_alphanumeric()) {
        if word.len() == ID_LENGTH
            && word
                .iter()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Some(HexId {
                before: &name[..start],
                id: word,
            });
        }
        start += word.len() + 1;
    }
    None
}

/// The word before an id: of `SLICE:cri-containerd:` and of `cri-containerd-` alike `cri-containerd`.
fn last_word(before: &[u8]) -> &[u8] {
    let trimmed = before
        .strip_suffix(b":")
        .or_else(|| before.strip_suffix(b"-"))
        .unwrap_or(before);
    trimmed
        .rsplit(|&byte| byte == b':')
        .next()
        .unwrap_or(trimmed)
}

#[cfg(test)]
mod tests;
