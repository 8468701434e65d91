//! What services and containers log to the journal: real journal files, exact counts.

use nodescope_tests::*;

const MESSAGES: &str = "container_log_messages_total";

/// Options with which the aggregator reads the journal in a directory, and the file they are in.
fn reading(journal: &JournalDirectory) -> (AgentOptions, tempfile::NamedTempFile) {
    let directory = journal.path().to_str().expect("a UTF-8 path");
    let settings = settings(&format!("[logs]\njournal_directory = {directory:?}\n"));
    (AgentOptions::configured(&settings), settings)
}

/// A service with one process.
struct Service {
    unit: Unit,
    _server: Server,
}

impl Service {
    fn start(prefix: &str) -> Self {
        let unit = Unit::service(prefix);
        let server = Server::start(Place::in_unit(&unit), &format!("127.0.0.1:{}", free_port()));
        Self {
            unit,
            _server: server,
        }
    }

    /// An entry of it.
    fn entry(&self, priority: u8, message: String) -> Vec<(&'static str, String)> {
        vec![
            ("_SYSTEMD_CGROUP", self.unit.path().to_owned()),
            ("PRIORITY", priority.to_string()),
            ("MESSAGE", message),
        ]
    }

    fn labels<'a>(&'a self, level: &'a str) -> [(&'a str, &'a str); 3] {
        [
            ("container_id", self.unit.path()),
            ("source", "journald"),
            ("level", level),
        ]
    }
}

fn wait_until_open(agent: &Agent) {
    agent.settles("nodescope_journal_readable", &[], 1);
}

#[test]
fn a_hundred_thousand_entries_are_counted_once_each() {
    require_root!();
    const ENTRIES: u64 = 100_000;
    let journal = JournalDirectory::new();
    let (options, _config) = reading(&journal);
    let (api, worker) = (Service::start("api"), Service::start("worker"));
    let agent = Agent::start_with(options);
    wait_until_open(&agent);
    journal.add((0..ENTRIES).map(|number| match number % 4 {
        0 => api.entry(3, format!("cannot reach 10.0.0.{}: timeout", number % 250)),
        1 => api.entry(6, format!("served request {number}")),
        _ => worker.entry(4, format!("queue {number} is slow")),
    }));
    agent.settles(MESSAGES, &api.labels("error"), ENTRIES / 4);
    agent.settles(MESSAGES, &api.labels("info"), ENTRIES / 4);
    agent.settles(MESSAGES, &worker.labels("warning"), ENTRIES / 2);
    let scrape = agent.scrape();
    let of_api = api.labels("error");
    let errors: Vec<_> = scrape.matching(MESSAGES, &of_api).collect();
    assert_eq!(errors.len(), 1, "one pattern");
    assert!(errors[0].label("sample").starts_with("cannot reach"));
}

#[test]
fn a_message_of_many_entries_counts_once() {
    require_root!();
    let journal = JournalDirectory::new();
    let (options, _config) = reading(&journal);
    let shop = Service::start("shop");
    let agent = Agent::start_with(options);
    wait_until_open(&agent);
    let trace = [
        "Traceback (most recent call last):",
        "  File \"shop.py\", line 7, in buy",
        "    raise ValueError(\"no such item\")",
        "ValueError: no such item",
    ];
    journal.add(
        (0..50)
            .flat_map(|_| trace)
            .map(|line| shop.entry(3, line.to_owned())),
    );
    agent.settles(MESSAGES, &shop.labels("error"), 50);
}

#[test]
fn a_killed_aggregator_neither_skips_nor_repeats() {
    require_root!();
    const ROUNDS: u64 = 5;
    const ENTRIES: u64 = 2_000;
    let journal = JournalDirectory::new();
    let (options, _config) = reading(&journal);
    let shop = Service::start("shop");
    let mut agent = Agent::start_with(options);
    wait_until_open(&agent);
    let mut shown = 0;
    for round in 0..ROUNDS {
        let line = |number: u64| shop.entry(3, format!("no item {number} in round {round}"));
        journal.add((0..ENTRIES / 2).map(line));
        let expected = (round * ENTRIES + ENTRIES / 2) - shown;
        agent.settles(MESSAGES, &shop.labels("error"), expected);
        shown += expected;
        agent.kill_aggregator();
        journal.add((ENTRIES / 2..ENTRIES).map(line));
        agent.start_aggregator();
        agent.wait_ready();
    }
    agent.settles(MESSAGES, &shop.labels("error"), ROUNDS * ENTRIES - shown);
}

#[test]
fn a_journal_that_nobody_may_read_is_said_once() {
    require_root!();
    let journal = JournalDirectory::new();
    let (options, _config) = reading(&journal);
    std::fs::remove_dir(journal.path()).expect("our own directory");
    let agent = Agent::start_with(options);
    agent.settles("nodescope_log_errors_total", &[("operation", "journal")], 1);
    agent.settles("nodescope_journal_readable", &[], 0);
    assert_eq!(agent.aggregator_said("The journal is not read").len(), 1);
}
