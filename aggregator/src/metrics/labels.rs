//! Label blocks, escaped once and copied at every scrape.
//!
//! Both formats know three escapes in a label value: `\\`, `\"` and `\n`; an unknown one makes a reader refuse the page.
//! Other control characters are legal but can drive a terminal, so they are written as the visible text `\x1b`, that is
//! `\\x1b` in the page. Values are `&str`: what is not UTF-8 has been replaced before it comes here.

use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, LazyLock};

/// Labels of a series or a part of them, ready to be copied: `a="x",b="y"`.
///
/// Cheap to clone. The hash does not depend on the order of the labels, and that of two blocks together is the sum of
/// theirs, which is how [`Exposition`](super::Exposition) finds duplicates without putting blocks together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeriesLabels {
    text: Arc<str>,
    hash: u64,
}

impl Default for SeriesLabels {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl SeriesLabels {
    /// Escapes values. Names are taken as they are: they come from the catalogue.
    pub fn new(labels: &[(&'static str, &str)]) -> Self {
        let mut text = String::with_capacity(
            labels
                .iter()
                .map(|(name, value)| name.len() + value.len() + 4)
                .sum(),
        );
        let mut hash = 0u64;
        for (name, value) in labels {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(name);
            text.push_str("=\"");
            escape_value(value, &mut text);
            text.push('"');
            hash = hash.wrapping_add(HASHER.hash_one((name, value)));
        }
        Self {
            text: text.into(),
            hash,
        }
    }

    /// Whether it is the very block that `other` is a clone of; quick, where comparing the text is not.
    pub(super) fn is_clone_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.text, &other.text)
    }

    /// The escaped block without its braces.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// Names of the labels in their order, read back from the block.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let mut rest = &*self.text;
        std::iter::from_fn(move || {
            let (name, value) = rest.split_once("=\"")?;
            rest = after_value(value);
            Some(name)
        })
    }
}

/// Seeded, so that nobody can choose label values that hash alike.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

fn escape_value(value: &str, out: &mut String) {
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            control if control.is_control() => {
                let written = write!(out, "\\\\x{:02x}", u32::from(control));
                debug_assert!(written.is_ok(), "writing to memory cannot fail");
            }
            plain => out.push(plain),
        }
    }
}

/// What follows a quoted value and its comma; `text` begins after the opening quote.
fn after_value(text: &str) -> &str {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' if !escaped => {
                let rest = &text[at + 1..];
                return rest.strip_prefix(',').unwrap_or(rest);
            }
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::SeriesLabels;

    #[test]
    fn escapes_what_the_formats_escape() {
        let labels =
            SeriesLabels::new(&[("a", "x\\\"\ny"), ("b", ""), ("c", "\u{1b}[31m\r\0\u{85}é")]);
        assert_eq!(
            labels.as_str(),
            r#"a="x\\\"\ny",b="",c="\\x1b[31m\\x0d\\x00\\x85é""#
        );
    }

    #[test]
    fn names_survive_hostile_values() {
        let labels = SeriesLabels::new(&[("a", "\","), ("b", "c=\"d\""), ("e", "\\"), ("f", "")]);
        assert_eq!(labels.names().collect::<Vec<_>>(), ["a", "b", "e", "f"]);
        assert_eq!(SeriesLabels::default().names().count(), 0);
    }

    #[test]
    fn hash_ignores_order_and_adds_up() {
        let both = SeriesLabels::new(&[("a", "1"), ("b", "2")]);
        let turned = SeriesLabels::new(&[("b", "2"), ("a", "1")]);
        let (first, second) = (
            SeriesLabels::new(&[("a", "1")]),
            SeriesLabels::new(&[("b", "2")]),
        );
        assert_eq!(both.hash(), turned.hash());
        assert_eq!(both.hash(), first.hash().wrapping_add(second.hash()));
        assert_ne!(
            both.hash(),
            SeriesLabels::new(&[("a", "2"), ("b", "1")]).hash()
        );
    }
}
