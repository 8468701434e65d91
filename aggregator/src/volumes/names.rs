//! Names of Kubernetes volumes, which are in the path on the node that kubelet mounts into the container.

use serde::Deserialize;

/// Plugins whose volumes are no storage.
const NO_STORAGE: [&str; 4] = ["configmap", "empty-dir", "projected", "secret"];

/// Which name a Kubernetes volume is shown with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumeNames {
    /// That of its directory: of the persistent volume, or as the pod calls it. coroot-node-agent's rule until 2023.
    #[default]
    Directory,
    /// `pvc-UUID`, of volumes made for a claim. coroot-node-agent's present rule.
    Claim,
}

/// Whether a path on the node can be a Kubernetes volume's.
pub fn is_kubernetes_volume(source: &str) -> bool {
    source.contains("/volumes/kubernetes.io~")
        || source.contains("/volume-subpaths/")
        || source.contains("pvc-")
}

impl VolumeNames {
    /// The name in `source`; empty when there is none.
    pub fn name_in(self, source: &str) -> &str {
        let name = match self {
            Self::Directory => directory(source),
            Self::Claim => claim(source),
        };
        name.unwrap_or_default()
    }
}

/// `.../volumes/kubernetes.io~PLUGIN/NAME/...` or `.../volume-subpaths/NAME/...`.
fn directory(source: &str) -> Option<&str> {
    if let Some((_, rest)) = source.split_once("volumes/kubernetes.io~") {
        let (plugin, rest) = rest.split_once('/')?;
        let name = rest.split('/').next()?;
        return (!NO_STORAGE.contains(&plugin)).then_some(name);
    }
    let (_, rest) = source.split_once("volume-subpaths/")?;
    rest.split('/').next()
}

/// The last `pvc-` with a UUID behind it.
fn claim(source: &str) -> Option<&str> {
    const LENGTH: usize = "pvc-".len() + 36;
    let starts = source.rmatch_indices("pvc-").map(|(at, _)| at);
    starts
        .filter_map(|at| source.get(at..at + LENGTH))
        .find(|name| is_uuid(&name.as_bytes()["pvc-".len()..]))
}

fn is_uuid(text: &[u8]) -> bool {
    text.iter().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PVC: &str = "pvc-0f2a8a64-9c0e-4d6a-8d0c-5a4b3c2d1e0f";

    #[test]
    fn both_rules() {
        let pods = "/var/lib/kubelet/pods/u";
        let csi = format!("{pods}/volumes/kubernetes.io~csi/{PVC}/mount");
        let local = format!("/opt/local-path-provisioner/{PVC}_default_data");
        let cases = [
            (csi.as_str(), PVC, PVC),
            (&local, "", PVC),
            ("/p/volumes/kubernetes.io~nfs/share", "share", ""),
            ("/p/volumes/kubernetes.io~empty-dir/cache", "", ""),
            ("/p/volumes/kubernetes.io~secret/token/x", "", ""),
            ("/p/volume-subpaths/data/app/0", "data", ""),
            ("/p/volumes/kubernetes.io~csi", "", ""),
            ("/srv/data", "", ""),
            ("/x/pvc-short", "", ""),
            ("", "", ""),
        ];
        for (source, by_directory, by_claim) in cases {
            assert_eq!(
                VolumeNames::Directory.name_in(source),
                by_directory,
                "{source}"
            );
            assert_eq!(VolumeNames::Claim.name_in(source), by_claim, "{source}");
            if !(by_directory.is_empty() && by_claim.is_empty()) {
                assert!(is_kubernetes_volume(source), "{source}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(pvc-|volumes/kubernetes.io~|volume-subpaths/|/|é|[0-9a-f-]{1,40}|\\PC){0,8}") {
            let _ = (VolumeNames::Directory.name_in(&text), VolumeNames::Claim.name_in(&text));
        }
    }
}
