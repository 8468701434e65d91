//! Label sets of the own metrics. Field names are the label names of [`catalogue::own`](crate::metrics::catalogue::own).

use nodescope_schema::PROTOCOL_VERSION;
use prometheus_client::encoding::EncodeLabelSet;

macro_rules! label_sets {
    ($($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty),+ })+) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
        pub(super) struct $name {
            $(pub(super) $field: $type),+
        }
    )+};
}

label_sets! {
    Build { version: String, protocol_version: u16 }
    Kind { kind: &'static str }
    Loss { stage: String, reason: String }
    Hook { hook: String, rung: String, verdict: &'static str }
    Map { map: String }
    RequestResult { result: &'static str }
    FamilyName { family: &'static str }
    Reason { reason: &'static str }
    Queue { queue: &'static str }
    Collector { collector: &'static str }
    Operation { operation: &'static str }
    State { state: &'static str }
}

impl Build {
    pub(super) fn new(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            protocol_version: PROTOCOL_VERSION,
        }
    }
}
