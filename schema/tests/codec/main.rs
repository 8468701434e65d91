//! Tests of the wire format, one file for each thing they check.

#![expect(
    clippy::unwrap_used,
    reason = "a test that fails here should stop here"
)]

mod golden;
mod hostile;
mod messages;
mod property;
mod recording;
mod records;
mod skew;
mod support;
