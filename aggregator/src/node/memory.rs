//! Memory of the machine, from `/proc/meminfo`, whose kB are 1024 bytes.

use super::{Collector, NodeFacts, Readings};
use crate::host::{HostError, HostRoot, ParseError};
use crate::metrics::Descriptor;
use crate::metrics::catalogue::node::{MEMORY_AVAILABLE, MEMORY_CACHED, MEMORY_FREE, MEMORY_TOTAL};

/// Names in `/proc/meminfo` and their families.
static FIELDS: [(&str, &Descriptor); 4] = [
    ("MemTotal", &MEMORY_TOTAL),
    ("MemFree", &MEMORY_FREE),
    ("MemAvailable", &MEMORY_AVAILABLE),
    ("Cached", &MEMORY_CACHED),
];

#[derive(Debug)]
pub(super) struct Memory;

impl Collector for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn collect(
        &mut self,
        host: &HostRoot,
        _: &NodeFacts,
        readings: &mut Readings,
    ) -> Result<(), HostError> {
        for (family, bytes) in host.proc("meminfo").parse(parse)? {
            readings.push(family, &[], bytes);
        }
        Ok(())
    }
}

/// The fields that are there, in bytes.
fn parse(text: &str) -> Result<Vec<(&'static Descriptor, u64)>, ParseError> {
    let mut found = Vec::with_capacity(FIELDS.len());
    for (at, line) in text.lines().enumerate() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let Some((_, family)) = FIELDS.iter().find(|(field, _)| *field == name) else {
            continue;
        };
        let bytes = parse_kilobytes(value).ok_or(ParseError {
            line: at + 1,
            what: "not a number of kB",
        })?;
        found.push((*family, bytes));
    }
    if found.is_empty() {
        return Err(ParseError {
            line: 1,
            what: "no field that is known",
        });
    }
    Ok(found)
}

fn parse_kilobytes(value: &str) -> Option<u64> {
    value
        .trim()
        .strip_suffix("kB")?
        .trim_end()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::{MEMORY_AVAILABLE, MEMORY_CACHED, MEMORY_FREE, MEMORY_TOTAL, parse};

    #[test]
    fn a_kilobyte_is_1024_bytes() {
        let text = "MemTotal:        3998704 kB\nMemFree:           10 kB\nMemAvailable:     20 kB\nBuffers: 1 kB\n\
                    Cached:           30 kB\nSwapCached:        9 kB\nHugePages_Total:       0\n";
        let wanted = vec![
            (&MEMORY_TOTAL, 3_998_704 * 1024),
            (&MEMORY_FREE, 10_240),
            (&MEMORY_AVAILABLE, 20_480),
            (&MEMORY_CACHED, 30_720),
        ];
        assert_eq!(parse(text), Ok(wanted));
    }

    #[test]
    fn a_field_that_is_not_there_is_absent() {
        assert_eq!(parse("MemTotal: 1 kB\n").unwrap().len(), 1);
    }

    #[test]
    fn names_the_bad_line() {
        for value in ["x kB", "1 MB", "", "18446744073709551615 kB", "-1 kB"] {
            assert_eq!(
                parse(&format!("Buffers: 1 kB\nMemFree: {value}\n"))
                    .unwrap_err()
                    .line,
                2,
                "{value}"
            );
        }
        assert!(parse("").is_err());
    }
}
