//! The aggregator.
fn main() {}
