//! What the collectors read, kept until the next run.

use crate::metrics::catalogue::node::FAMILIES;
use crate::metrics::{Descriptor, Exposition, SeriesLabels, Value};

/// Readings of one run.
#[derive(Debug, Clone, Default)]
pub struct Readings {
    readings: Vec<Reading>,
}

#[derive(Debug, Clone)]
struct Reading {
    family: &'static Descriptor,
    labels: SeriesLabels,
    value: Value,
}

impl Readings {
    pub(super) fn push(
        &mut self,
        family: &'static Descriptor,
        labels: &[(&'static str, &str)],
        value: impl Into<Value>,
    ) {
        self.readings.push(Reading {
            family,
            labels: SeriesLabels::new(labels),
            value: value.into(),
        });
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.readings.len()
    }

    /// Whether nothing was read yet.
    pub fn is_empty(&self) -> bool {
        self.readings.is_empty()
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.readings.truncate(len);
    }

    /// Writes them in the order of the catalogue. `machine` has the labels of [`Scope::Node`](crate::metrics::Scope::Node).
    pub fn render(&self, machine: &SeriesLabels, exposition: &mut Exposition<'_>) {
        for family in FAMILIES {
            exposition.family(family);
            for reading in self
                .readings
                .iter()
                .filter(|reading| reading.family == *family)
            {
                exposition.sample_with(machine, &reading.labels, reading.value);
            }
        }
    }
}
