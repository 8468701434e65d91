//! The aggregator.
#![forbid(unsafe_code)]

pub mod host;
pub mod machine_id;
pub mod metrics;
pub mod node;
