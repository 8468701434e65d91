//! Waits for what the load generator logged to be counted, all of it and each line once.

use std::time::{Duration, Instant};

use crate::{Agent, Scrape};

const MESSAGES: &str = "container_log_messages_total";
/// How long nothing may be counted before what is missing is taken for lost.
const STANDSTILL: Duration = Duration::from_secs(30);
/// Enough for what would be counted twice to show.
const SETTLE: Duration = Duration::from_secs(3);

/// Waits until `count` messages were counted, and that it stays so. Writing them may take long on a busy machine, so only
/// a standstill ends the wait.
#[track_caller]
pub fn counts_lines(agent: &Agent, id: &str, count: u64) {
    let label = [("container_id", id)];
    let counted = |scrape: &Scrape| scrape.sum(MESSAGES, &label).unwrap_or(0.0) as u64;
    let mut last = (0, Instant::now());
    while last.0 < count && last.1.elapsed() < STANDSTILL {
        std::thread::sleep(Duration::from_millis(200));
        let now = counted(&agent.scrape());
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
    std::thread::sleep(SETTLE);
    let scrape = agent.scrape();
    let own: String = scrape
        .samples
        .iter()
        .filter(|sample| sample.name.starts_with("nodescope_log_"))
        .map(|sample| format!("{} {:?} {}\n", sample.name, sample.labels, sample.value))
        .collect();
    assert_eq!(counted(&scrape), count, "{own}{}", agent.logs());
}

/// The same, and a quarter of them is of each level.
#[track_caller]
pub fn counts_levels(agent: &Agent, id: &str, source: &str, count: u64) {
    counts_lines(agent, id, count);
    let scrape = agent.scrape();
    for level in ["error", "warning", "info", "debug"] {
        let labels = [("container_id", id), ("source", source), ("level", level)];
        assert_eq!(
            scrape.sum(MESSAGES, &labels),
            Some((count / 4) as f64),
            "{level}"
        );
    }
}
