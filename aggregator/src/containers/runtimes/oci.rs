//! The part of an OCI bundle's `config.json` that nodescope uses: its annotations and mounts.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::metadata::{self, Lenient, ParseError, Strings};

/// What is used of a bundle.
pub(super) struct Bundle {
    /// Its annotations that are strings.
    pub(super) annotations: BTreeMap<String, String>,
    /// Its mounts: mount point, and what is mounted there.
    pub(super) mounts: Vec<(String, String)>,
}

/// Reads `config.json`.
pub(super) fn parse(bytes: &[u8]) -> Result<Bundle, ParseError> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(default)]
        annotations: Lenient<Strings>,
        #[serde(default)]
        mounts: Lenient<Vec<Lenient<Mount>>>,
    }
    #[derive(Deserialize)]
    struct Mount {
        destination: String,
        source: String,
    }
    let document: Document = serde_json::from_slice(bytes)?;
    let mounts = document.mounts.0.unwrap_or_default().into_iter();
    Ok(Bundle {
        annotations: metadata::strings(document.annotations.0.unwrap_or_default()).collect(),
        mounts: mounts
            .filter_map(|Lenient(mount)| mount)
            .map(|mount| (mount.destination, mount.source))
            .collect(),
    })
}

/// Takes an annotation that is not empty.
pub(super) fn take(annotations: &mut BTreeMap<String, String>, key: &str) -> Option<String> {
    annotations.remove(key).filter(|value| !value.is_empty())
}
