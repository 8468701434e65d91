//! LXC, LXD, Incus and Proxmox: the cgroup has the container's name. The container's config, which only plain LXC keeps
//! where the sensor may open it, adds the distribution as the image.
//!
//! Incus and LXD put a project other than `default` in front, `PROJECT_NAME`; plain LXC allows `_` in names, so the two
//! are not taken apart. A rootless LXC is told by its user's slice like other rootless runtimes.

use nodescope_schema::FileKind;

use super::super::class::ContainerRef;
use super::super::metadata::{Metadata, ParseError};
use super::super::opener::OwnedOpenFile;
use super::{Places, Role, Runtime};

/// Name of the runtime.
pub const NAME: &str = "lxc";

/// LXC and what is built on it.
pub struct Lxc;

impl Runtime for Lxc {
    fn name(&self) -> &'static str {
        NAME
    }

    fn words(&self) -> &'static [(&'static str, Role)] {
        &[]
    }

    fn files(&self, container: &ContainerRef, _: &Places) -> Vec<OwnedOpenFile> {
        // Only the system's containers have their config under /var/lib.
        if container.runtime != Some(NAME) || container.uid != 0 {
            return Vec::new();
        }
        vec![OwnedOpenFile {
            container: container.id.clone(),
            ..OwnedOpenFile::of_kind(FileKind::LxcConfig)
        }]
    }

    fn parse(&self, _: &ContainerRef, bytes: &[u8]) -> Result<Metadata, ParseError> {
        Ok(parse(bytes))
    }

    fn own_id(&self, container: &ContainerRef, _: &Metadata) -> Option<String> {
        Some(super::named(
            NAME,
            container.uid,
            &String::from_utf8_lossy(&container.id),
        ))
    }

    fn needs_file(&self) -> bool {
        false
    }
}

/// The container or monitor whose cgroup a component is: `lxc.payload.NAME`, `lxc.monitor.NAME`, or the component below a
/// directory `lxc`, `lxc.payload` or `lxc.monitor` at the root.
pub(in super::super) fn component<'a>(above: &[&[u8]], name: &'a [u8]) -> Option<(&'a [u8], Role)> {
    if name == b"lxc.pivot" {
        return Some((name, Role::Monitor));
    }
    let found = match above {
        [b"lxc" | b"lxc.payload"] => (name, Role::Container),
        [b"lxc.monitor"] => (name, Role::Monitor),
        _ => match name.strip_prefix(b"lxc.payload.") {
            Some(container) => (container, Role::Container),
            None => (name.strip_prefix(b"lxc.monitor.")?, Role::Monitor),
        },
    };
    (!found.0.is_empty()).then_some(found)
}

/// Reads a container's config: `DISTRIBUTION:RELEASE` from the arguments that the creating template noted in a comment.
pub fn parse(bytes: &[u8]) -> Metadata {
    const ARGUMENTS: &str = "# Parameters passed to the template:";
    let text = String::from_utf8_lossy(bytes);
    let arguments = text
        .lines()
        .find_map(|line| line.strip_prefix(ARGUMENTS))
        .unwrap_or_default();
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let option = |short: &str, long: &str| {
        let pair = words
            .windows(2)
            .find(|pair| pair[0] == short || pair[0] == long)?;
        Some(pair[1])
    };
    let image = option("-d", "--dist").zip(option("-r", "--release"));
    Metadata {
        image: image.map(|(dist, release)| format!("{dist}:{release}")),
        ..Metadata::default()
    }
}
