//! Metrics: what may be exported, and how it is written.
//!
//! [`catalogue`] declares every `node_*` and `container_*` family once, as a [`Descriptor`]. [`Exposition`] writes families
//! in the text format 0.0.4 and in OpenMetrics 1.0 from label blocks that were escaped beforehand ([`SeriesLabels`]), so
//! that a scrape copies bytes and formats numbers and does nothing else. [`own`] holds nodescope's metrics about itself.
//! [`reference`] turns the catalogue into `docs/metrics.md`.

pub mod catalogue;
mod classic;
mod descriptor;
mod exposition;
mod labels;
pub mod own;
pub mod reference;
mod sink;
mod value;

pub use descriptor::{Descriptor, Kind, Scope};
pub use exposition::{BUFFER_BYTES, Exposition, Format, Summary};
pub use labels::SeriesLabels;
pub use sink::Sink;
pub use value::Value;
