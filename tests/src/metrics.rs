//! Prometheus text exposition (0.0.4 and OpenMetrics) as a list of samples.

use std::collections::BTreeMap;

/// One series with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Metric name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Value.
    pub value: f64,
}

impl Sample {
    /// True when it has all these labels.
    pub fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels
            .iter()
            .all(|(key, value)| self.labels.get(*key).is_some_and(|have| have == value))
    }

    /// A label's value, empty when it has none.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

/// Everything one scrape returned.
#[derive(Debug, Clone, Default)]
pub struct Scrape {
    /// In the order of the text.
    pub samples: Vec<Sample>,
}

impl Scrape {
    /// Parses; panics on a line that is not of the format, with the line.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples =
            lines.map(|line| parse_line(line).unwrap_or_else(|| panic!("not a sample: {line:?}")));
        Self {
            samples: samples.collect(),
        }
    }

    /// All samples of a metric that have these labels.
    pub fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&str, &str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.samples
            .iter()
            .filter(move |sample| sample.name == name && sample.has(labels))
    }

    /// Sum over all samples that have these labels; `None` when there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.matching(name, labels)
            .map(|sample| sample.value)
            .reduce(|total, value| total + value)
    }

    /// All series of one container, for messages.
    pub fn of_container(&self, container_id: &str) -> String {
        let own = self
            .samples
            .iter()
            .filter(|sample| sample.label("container_id") == container_id);
        own.map(|sample| format!("{} {:?} {}\n", sample.name, sample.labels, sample.value))
            .collect()
    }

    /// Every container id there is, sorted.
    pub fn container_ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self
            .samples
            .iter()
            .filter_map(|s| s.labels.get("container_id").cloned())
            .collect();
        ids.sort();
        ids.dedup();
        ids
    }
}

fn parse_line(line: &str) -> Option<Sample> {
    let (name, rest) = line.split_at(line.find(['{', ' '])?);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => parse_labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

fn parse_labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (key, tail) = rest.split_once("=\"")?;
        let (value, tail) = parse_value(tail)?;
        // A label given twice makes the sample invalid.
        if labels.insert(key.to_owned(), value).is_some() {
            return None;
        }
        rest = tail;
    }
}

fn parse_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::Scrape;

    #[test]
    fn samples_with_and_without_labels() {
        let scrape = Scrape::parse(
            "# TYPE a counter\na{x=\"1\",y=\"q\\\"\\n\"} 3\na{x=\"2\",y=\"\",} 4 123\nb 1e3\n# EOF\n",
        );
        assert_eq!(scrape.sum("a", &[]), Some(7.0));
        assert_eq!(scrape.sum("a", &[("y", "q\"\n")]), Some(3.0));
        assert_eq!(scrape.sum("a", &[("x", "3")]), None);
        assert_eq!(scrape.sum("b", &[]), Some(1000.0));
    }

    #[test]
    #[should_panic(expected = "not a sample")]
    fn a_label_given_twice_is_refused() {
        Scrape::parse("a{x=\"1\",x=\"2\"} 3\n");
    }
}
