//! The aggregator.
#![forbid(unsafe_code)]

pub mod host;
pub mod metrics;
