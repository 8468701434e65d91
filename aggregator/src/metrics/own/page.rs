//! Puts a page together: node and container families, then the own metrics, then the end.

use std::time::Instant;

use prometheus_client::encoding::text;

use super::{Metrics, labels};
use crate::metrics::{Exposition, Format, Sink, Summary, classic};

impl Metrics {
    /// A whole page in memory, see [`write_page`](Self::write_page).
    pub fn page(&self, format: Format, families: impl FnOnce(&mut Exposition<'_>)) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_page(format, &mut out, families);
        out
    }

    /// Writes a whole page. `families` writes everything but the own metrics; what it could not write is counted, and the
    /// counts are already in this page.
    pub fn write_page(
        &self,
        format: Format,
        sink: &mut dyn Sink,
        families: impl FnOnce(&mut Exposition<'_>),
    ) {
        let started = Instant::now();
        let mut exposition = Exposition::new(format, sink);
        families(&mut exposition);
        let summary = exposition.finish();
        self.scrape_duration
            .observe(started.elapsed().as_secs_f64());
        self.record(&summary);
        self.render(format, sink);
    }

    fn record(&self, summary: &Summary) {
        self.series.clear();
        for (family, series) in &summary.series {
            self.series
                .get_or_create(&labels::FamilyName { family })
                .set(*series);
        }
        self.add_series_dropped("duplicate", summary.duplicates);
        self.add_series_dropped("invalid_value", summary.invalid_values);
        self.add_series_dropped("out_of_order", summary.out_of_order);
    }

    fn render(&self, format: Format, sink: &mut dyn Sink) {
        let mut page = String::new();
        let written = text::encode(&mut page, &self.registry);
        debug_assert!(written.is_ok(), "writing to memory cannot fail");
        match format {
            Format::OpenMetrics => sink.take(page.as_bytes()),
            Format::Text => sink.take(classic::convert(&page).as_bytes()),
        }
    }
}
