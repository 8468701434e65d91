//! CPU time by mode and the number of cores, from `/proc/stat`.
//!
//! Times are in clock ticks, whose rate the system states (`sysconf(_SC_CLK_TCK)`). The kernel corrects `idle` and `iowait`
//! downwards now and then; a counter that steps back by one tick would read as a restart, so each mode keeps its highest
//! value.

use super::{Collector, NodeFacts, Readings};
use crate::host::{HostError, HostRoot, ParseError};
use crate::metrics::catalogue::node::{CPU_CORES, CPU_USAGE};

/// Modes in the order of the fields of the line `cpu`.
const MODES: [&str; 8] = [
    "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal",
];

type Ticks = [u64; MODES.len()];

#[derive(Debug, Default)]
pub(super) struct Cpu {
    highest: Ticks,
}

impl Collector for Cpu {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn collect(
        &mut self,
        host: &HostRoot,
        _: &NodeFacts,
        readings: &mut Readings,
    ) -> Result<(), HostError> {
        let stat = host.proc("stat").parse(parse)?;
        for ((mode, highest), now) in MODES.iter().zip(&mut self.highest).zip(stat.ticks) {
            *highest = now.max(*highest);
            readings.push(
                &CPU_USAGE,
                &[("mode", mode)],
                *highest as f64 / host.ticks_per_second(),
            );
        }
        readings.push(&CPU_CORES, &[], stat.cores);
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    ticks: Ticks,
    cores: u64,
}

fn parse(text: &str) -> Result<Stat, ParseError> {
    let mut ticks = None;
    let mut cores = 0;
    for (at, line) in text.lines().enumerate() {
        let Some(rest) = line.strip_prefix("cpu") else {
            continue;
        };
        if rest.starts_with(|first: char| first.is_ascii_digit()) {
            cores += 1;
        } else if rest.starts_with(' ') {
            let error = ParseError {
                line: at + 1,
                what: "fewer than eight numbers of CPU time",
            };
            ticks = Some(parse_ticks(rest).ok_or(error)?);
        }
    }
    let ticks = ticks.ok_or(ParseError {
        line: 1,
        what: "no line of all CPUs",
    })?;
    Ok(Stat { ticks, cores })
}

fn parse_ticks(fields: &str) -> Option<Ticks> {
    let mut fields = fields.split_ascii_whitespace();
    let mut ticks = [0; MODES.len()];
    for value in &mut ticks {
        *value = fields.next()?.parse().ok()?;
    }
    Some(ticks)
}

#[cfg(test)]
mod tests {
    use super::{Cpu, Stat, parse};
    use crate::host::HostRoot;
    use crate::node::{Collector as _, NodeFacts, Readings};

    const STAT: &str = "cpu  1195 3 527 9000 12 0 7 1 5 0\ncpu0 600 1 200 4500 6 0 3 0 5 0\n\
                        cpu1 595 2 327 4500 6 0 4 1 0 0\nintr 1 2 3\nctxt 9\ncpufreq 1\n";

    #[test]
    fn parses_modes_and_cores() {
        let stat = Stat {
            ticks: [1195, 3, 527, 9000, 12, 0, 7, 1],
            cores: 2,
        };
        assert_eq!(parse(STAT), Ok(stat));
    }

    #[test]
    fn names_the_bad_line() {
        assert_eq!(parse("ctxt 1\ncpu  1 2 3\n").unwrap_err().line, 2);
        assert_eq!(parse("cpu  1 2 3 4 5 6 7 -8\n").unwrap_err().line, 1);
        assert!(parse("").is_err() && parse("cpu0 1 2 3 4 5 6 7 8\n").is_err());
    }

    #[test]
    fn counters_do_not_step_back() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("proc/stat");
        std::fs::create_dir(root.path().join("proc")).unwrap();
        let host = HostRoot::new(root.path());
        let mut cpu = Cpu::default();
        for (written, wanted) in [
            ("cpu  5 0 0 90 7 0 0 0", 7),
            ("cpu  6 0 0 91 5 0 0 0", 7),
            ("cpu  6 0 0 91 8 0 0 0", 8),
        ] {
            std::fs::write(&path, written).unwrap();
            cpu.collect(&host, &NodeFacts::default(), &mut Readings::default())
                .unwrap();
            assert_eq!(cpu.highest[4], wanted);
        }
    }
}
