//! The part of an OCI bundle's `config.json` that nodescope uses: its annotations.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::metadata::{self, Lenient, ParseError, Strings};

#[derive(Deserialize)]
struct Bundle {
    #[serde(default)]
    annotations: Lenient<Strings>,
}

/// The annotations of a bundle that are strings.
pub(super) fn annotations(bytes: &[u8]) -> Result<BTreeMap<String, String>, ParseError> {
    let bundle: Bundle = serde_json::from_slice(bytes)?;
    Ok(metadata::strings(bundle.annotations.0.unwrap_or_default()).collect())
}

/// Takes an annotation that is not empty.
pub(super) fn take(annotations: &mut BTreeMap<String, String>, key: &str) -> Option<String> {
    annotations.remove(key).filter(|value| !value.is_empty())
}
