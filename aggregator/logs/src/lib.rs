//! What log bytes mean: from the bytes of a log file or journal to messages, their levels and their patterns.
//!
//! Pure: no clock, no I/O. Whoever reads the bytes says when, and the same bytes cut at any place give the same result.
//! Everything is bounded, and what is over a bound is counted.
#![forbid(unsafe_code)]

pub mod decode;
pub mod level;
pub mod multiline;
pub mod pattern;
pub mod sample;
mod source;
pub mod structured;

pub use level::Level;
pub use source::{Source, SourceCounts, SourceLimits};
