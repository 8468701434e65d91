//! The kernel side of the sensor: loads the BPF programs and turns what their maps hold into records.

mod source;

pub use source::{Source, SourceError};
