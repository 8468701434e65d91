//! Content negotiation (RFC 9110, section 12.5): which format, and whether to compress.
//!
//! What cannot be understood counts as not sent. Nobody gets 406: like Prometheus's own libraries, the text format answers
//! whoever asks for nothing that exists.

use hyper::HeaderMap;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, HeaderName};

use crate::metrics::Format;

/// A quality value in thousandths; 0 means "not acceptable".
type Quality = u16;

const FULL_QUALITY: Quality = 1000;

/// The format the client likes best. OpenMetrics is sent only to a client that names it.
pub(super) fn format(headers: &HeaderMap) -> Format {
    let quality_of = |wanted: &dyn Fn(&Element<'_>) -> bool| {
        elements(headers, &ACCEPT)
            .filter(|element| wanted(element))
            .map(|element| element.quality)
            .max()
    };
    let openmetrics = quality_of(&|element| {
        element.is("application/openmetrics-text")
            && element.version.is_none_or(|version| version == "1.0.0")
    });
    let text = quality_of(&|element| {
        element.is("text/plain") && element.version.is_none_or(|version| version == "0.0.4")
    })
    .or_else(|| quality_of(&|element| element.is("text/*")))
    .or_else(|| quality_of(&|element| element.is("*/*")));
    match openmetrics {
        Some(openmetrics) if openmetrics > 0 && openmetrics >= text.unwrap_or(0) => {
            Format::OpenMetrics
        }
        _ => Format::Text,
    }
}

/// Whether to send gzip.
pub(super) fn gzip(headers: &HeaderMap) -> bool {
    let quality_of = |wanted: &[&str]| {
        elements(headers, &ACCEPT_ENCODING)
            .filter(|element| wanted.iter().any(|name| element.is(name)))
            .map(|element| element.quality)
            .max()
    };
    let gzip = quality_of(&["gzip", "x-gzip"])
        .or_else(|| quality_of(&["*"]))
        .unwrap_or(0);
    gzip > 0 && gzip >= quality_of(&["identity"]).unwrap_or(0)
}

/// One element of the list in such a header.
struct Element<'a> {
    name: &'a str,
    version: Option<&'a str>,
    quality: Quality,
}

impl Element<'_> {
    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = Element<'a>> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(parse_element)
}

fn parse_element(text: &str) -> Option<Element<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let mut element = Element {
        name: parts.next()?,
        version: None,
        quality: FULL_QUALITY,
    };
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        if name.trim_end().eq_ignore_ascii_case("q") {
            element.quality = parse_quality(value.trim())?;
        } else if name.trim_end().eq_ignore_ascii_case("version") {
            element.version = Some(value.trim().trim_matches('"'));
        }
    }
    Some(element)
}

/// `0` or `1` with at most three decimals.
fn parse_quality(text: &str) -> Option<Quality> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: Quality = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(FULL_QUALITY),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;
    use hyper::header::{ACCEPT, ACCEPT_ENCODING, HeaderName, HeaderValue};

    use super::{format, gzip};
    use crate::metrics::Format::{self, OpenMetrics, Text};

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        values
            .iter()
            .map(|value| {
                (
                    name.clone(),
                    HeaderValue::from_bytes(value.as_bytes()).unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn chooses_the_format() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let cases: [(&[&str], Format); 14] = [
            (&[], Text),
            (&["*/*"], Text),
            (&["text/html,application/xml;q=0.9,*/*;q=0.8"], Text),
            (&["application/json"], Text),
            (&[prometheus], OpenMetrics),
            (
                &["text/plain;version=0.0.4, application/openmetrics-text; version=1.0.0; q=0.5"],
                Text,
            ),
            (
                &["text/plain;q=0.3", "Application/OpenMetrics-Text;Q=0.4"],
                OpenMetrics,
            ),
            (&["text/*;q=0.9,application/openmetrics-text;q=0.8"], Text),
            (
                &["application/openmetrics-text;version=\"1.0.0\""],
                OpenMetrics,
            ),
            (&["application/openmetrics-text;version=0.0.1"], Text),
            (&["application/openmetrics-text;q=0"], Text),
            (&["application/openmetrics-text;q=2"], Text),
            (
                &["application/openmetrics-text;q=x, text/plain;q=0.1"],
                Text,
            ),
            (
                &["\u{ff}", ",;=,;q=,", "application/openmetrics-text"],
                OpenMetrics,
            ),
        ];
        for (values, wanted) in cases {
            assert_eq!(format(&headers(ACCEPT, values)), wanted, "{values:?}");
        }
    }

    #[test]
    fn chooses_the_encoding() {
        for values in [
            &["gzip"][..],
            &["deflate, gzip;q=0.5"],
            &["br", "GZIP;q=1.000"],
            &["*"],
            &["identity;q=0.5, gzip"],
        ] {
            assert!(gzip(&headers(ACCEPT_ENCODING, values)), "{values:?}");
        }
        for values in [
            &[][..],
            &["identity"],
            &["gzip;q=0"],
            &["gzip;q=0.000, *"],
            &["br"],
            &["gzip;q=0.2, identity;q=0.3"],
            &["gzip;q=1.1"],
        ] {
            assert!(!gzip(&headers(ACCEPT_ENCODING, values)), "{values:?}");
        }
    }
}
