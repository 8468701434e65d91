//! The aggregator.
#![forbid(unsafe_code)]
