//! Writes families in the text format 0.0.4 or in OpenMetrics 1.0.
//!
//! The formats differ in what a counter's family is called (OpenMetrics: without `_total`), in the type of a counter whose
//! name has no `_total` (OpenMetrics has no such counter, so it is `unknown`), in escaping help and in the final `# EOF`.
//! A series that may not be written (a duplicate, a counter that is negative or not a number) costs that series and is
//! counted in the [`Summary`], never the page.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use super::{Descriptor, Kind, SeriesLabels, Sink, Value};

/// An exposition format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// Value of the `Content-Type` header.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What was written, and what was left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Series written of each family that has any, in the order of the page.
    pub series: Vec<(&'static str, u64)>,
    /// Series left out because the page already had one with the same name and labels.
    pub duplicates: u64,
    /// Samples of counters left out because they were negative or not finite.
    pub invalid_values: u64,
    /// Samples left out because their family had been ended by another one.
    pub out_of_order: u64,
}

/// Bytes gathered before they go to the sink.
pub const BUFFER_BYTES: usize = 256 << 10;
/// Room for the line that exceeds them; a longer one makes its buffer grow.
const LINE_BYTES: usize = 4 << 10;

/// Writes a page into a [`Sink`], a `Vec<u8>` for example.
pub struct Exposition<'a> {
    sink: &'a mut dyn Sink,
    out: Vec<u8>,
    format: Format,
    current: Option<Current>,
    seen: HashSet<u64, BuildHasherDefault<Identity>>,
    begun: Begun,
    summary: Summary,
}

/// What the next line most likely begins with: the name of the family and the first labels of the last line. Copied as
/// a whole, it is in the cache while the labels themselves need not be.
#[derive(Debug, Default)]
struct Begun {
    text: Vec<u8>,
    /// None before the first line of a family.
    labels: Option<SeriesLabels>,
}

#[derive(Debug, Clone, Copy)]
struct Current {
    descriptor: &'static Descriptor,
    series: u64,
    refused: bool,
}

impl<'a> Exposition<'a> {
    /// Begins a page.
    pub fn new(format: Format, sink: &'a mut dyn Sink) -> Self {
        Self {
            sink,
            out: Vec::new(),
            format,
            current: None,
            seen: HashSet::default(),
            begun: Begun::default(),
            summary: Summary::default(),
        }
    }

    /// The format of this page.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Begins a family. Its help and type are written with its first sample, so a family without samples leaves nothing.
    ///
    /// A family must not be begun again after another one: readers refuse a page with scattered families. Samples of such
    /// a second beginning are left out and counted.
    pub fn family(&mut self, descriptor: &'static Descriptor) {
        if self
            .current
            .is_some_and(|current| current.descriptor == descriptor)
        {
            return;
        }
        self.end_family();
        let refused = self
            .summary
            .series
            .iter()
            .any(|(name, _)| *name == descriptor.name);
        self.current = Some(Current {
            descriptor,
            series: 0,
            refused,
        });
    }

    /// Writes a sample of the current family whose labels are all in one block.
    pub fn sample(&mut self, labels: &SeriesLabels, value: impl Into<Value>) {
        self.write(labels, None, value.into());
    }

    /// Writes a sample of the current family whose labels are `labels` and then `more`.
    pub fn sample_with(
        &mut self,
        labels: &SeriesLabels,
        more: &SeriesLabels,
        value: impl Into<Value>,
    ) {
        self.write(labels, Some(more), value.into());
    }

    /// Ends the families of the catalogue. [`own::Metrics::write_page`](super::own::Metrics::write_page) writes the rest of the page
    /// and its end.
    pub fn finish(mut self) -> Summary {
        self.end_family();
        self.flush();
        self.summary
    }

    fn end_family(&mut self) {
        if let Some(ended) = self.current.take()
            && ended.series > 0
        {
            self.summary
                .series
                .push((ended.descriptor.name, ended.series));
        }
        self.seen.clear();
        self.begun.labels = None;
    }

    fn write(&mut self, labels: &SeriesLabels, more: Option<&SeriesLabels>, value: Value) {
        let Some(current) = &mut self.current else {
            self.summary.out_of_order += 1;
            return;
        };
        debug_assert!(
            labels
                .names()
                .chain(more.iter().flat_map(|more| more.names()))
                .eq(current.descriptor.all_labels()),
            "{} has other labels in the catalogue",
            current.descriptor.name
        );
        if current.refused {
            self.summary.out_of_order += 1;
            return;
        }
        if current.descriptor.kind == Kind::Counter && !value.fits_counter() {
            self.summary.invalid_values += 1;
            return;
        }
        if !self.seen.insert(
            labels
                .hash()
                .wrapping_add(more.map_or(0, SeriesLabels::hash)),
        ) {
            self.summary.duplicates += 1;
            return;
        }
        current.series += 1;
        let Current {
            descriptor, series, ..
        } = *current;
        if self.out.capacity() < BUFFER_BYTES {
            self.out.reserve_exact(BUFFER_BYTES + LINE_BYTES);
        }
        if series == 1 {
            self.write_header(descriptor);
        }
        self.begin_line(descriptor.name, labels);
        self.end_line(labels, more.map_or("", SeriesLabels::as_str), value);
    }

    fn write_header(&mut self, descriptor: &Descriptor) {
        let (name, kind) = self.family_name_and_type(descriptor);
        self.put(&["# HELP ", name, " "]);
        for character in descriptor.help.chars() {
            match character {
                '\\' => self.put(&["\\\\"]),
                '\n' => self.put(&["\\n"]),
                '"' if self.format == Format::OpenMetrics => self.put(&["\\\""]),
                plain => self.put(&[plain.encode_utf8(&mut [0; 4])]),
            }
        }
        self.put(&["\n# TYPE ", name, " ", kind, "\n"]);
    }

    fn family_name_and_type(&self, descriptor: &Descriptor) -> (&'static str, &'static str) {
        match (
            self.format,
            descriptor.kind,
            descriptor.name.strip_suffix("_total"),
        ) {
            (Format::OpenMetrics, Kind::Counter, Some(family)) => (family, "counter"),
            (Format::OpenMetrics, Kind::Counter, None) => (descriptor.name, "unknown"),
            (_, kind, _) => (descriptor.name, kind.as_str()),
        }
    }

    fn begin_line(&mut self, name: &str, labels: &SeriesLabels) {
        let Begun {
            text,
            labels: begun,
        } = &mut self.begun;
        if !begun
            .as_ref()
            .is_some_and(|begun| begun.is_clone_of(labels))
        {
            text.clear();
            text.extend_from_slice(name.as_bytes());
            text.push(b'{');
            text.extend_from_slice(labels.as_str().as_bytes());
            *begun = Some(labels.clone());
        }
        self.out.extend_from_slice(text);
    }

    fn end_line(&mut self, labels: &SeriesLabels, more: &str, value: Value) {
        match (labels.as_str().is_empty(), more.is_empty()) {
            (true, true) => {
                self.out.pop();
                self.put(&[" "]);
            }
            (false, false) => self.put(&[",", more, "} "]),
            _ => self.put(&[more, "} "]),
        }
        value.write(&mut self.out);
        self.out.push(b'\n');
        if self.out.len() >= BUFFER_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let full = std::mem::take(&mut self.out);
        self.out = self.sink.take_buffer(full);
    }

    fn put(&mut self, pieces: &[&str]) {
        for piece in pieces {
            self.out.extend_from_slice(piece.as_bytes());
        }
    }
}

/// The values are hashes already.
#[derive(Debug, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        debug_assert!(false, "only for u64, got {} bytes", bytes.len());
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests;
