//! `node_uptime_seconds`, the first field of `/proc/uptime`.

use procfs::FromRead as _;

use super::{Collector, NodeFacts, Readings};
use crate::host::{HostError, HostRoot, ParseError};
use crate::metrics::catalogue::node::UPTIME;

#[derive(Debug)]
pub(super) struct Uptime;

impl Collector for Uptime {
    fn name(&self) -> &'static str {
        "uptime"
    }

    fn collect(
        &mut self,
        host: &HostRoot,
        _: &NodeFacts,
        readings: &mut Readings,
    ) -> Result<(), HostError> {
        readings.push(&UPTIME, &[], host.proc("uptime").parse(parse)?);
        Ok(())
    }
}

fn parse(text: &str) -> Result<f64, ParseError> {
    let error = ParseError {
        line: 1,
        what: "not two numbers of seconds",
    };
    let times = procfs::Uptime::from_read(text.as_bytes()).map_err(|_| error)?;
    let sane = times.uptime.is_finite() && times.uptime >= 0.0;
    if sane { Ok(times.uptime) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn takes_the_first_of_two_numbers() {
        assert_eq!(parse("2659150.03 20941500.49\n"), Ok(2_659_150.03));
        for text in ["", "1", "x 1", "1 x", "inf 1", "NaN 1", "-1 1"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
