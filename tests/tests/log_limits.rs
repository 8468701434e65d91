//! Budgets of logs, on real containers: what is over one is counted, and nobody else's lines are missing.

use nodescope_tests::*;

const STANDARD_STREAMS: &str = "stdout/stderr";

/// A daemon and an agent with these settings of logs.
fn start(text: &str) -> (Agent, Docker) {
    let docker = Docker::start();
    let settings = settings(&format!("[logs]\n{text}\n"));
    let agent = Agent::start_with(AgentOptions {
        mounts_of: Some(docker.sandbox().pid()),
        ..AgentOptions::configured(&settings)
    });
    (agent, docker)
}

/// A container that logs so many lines; its id.
fn log(docker: &Docker, count: u64, per_second: u64) -> String {
    let name = unique("limits");
    let words = format!("log --count {count} --per-second {per_second} --hold yes");
    docker.run_load(&format!("--name {name}"), &words);
    name
}

#[test]
fn who_logs_too_much_is_read_in_part_and_others_whole() {
    require_root!();
    let (agent, docker) = start("max_bytes_per_second_per_container = 65536");
    let loud = log(&docker, 200_000, 50_000);
    let quiet = log(&docker, 2_000, 100);
    counts_levels(
        &agent,
        &Docker::container_id(&quiet),
        STANDARD_STREAMS,
        2_000,
    );
    let bytes = |of: &str| {
        let path = docker.run(&format!("inspect --format {{{{.LogPath}}}} {of}"));
        let file = std::fs::metadata(docker.outside(&path)).expect("docker's log");
        file.len()
    };
    let all = bytes(&loud) + bytes(&quiet);
    let total = |scrape: &Scrape, name: &str, labels: &[(&str, &str)]| {
        scrape.sum(name, labels).unwrap_or(0.0) as u64
    };
    let over_budget = [("reason", "budget")];
    agent.eventually("every byte is read or passed over", "", |scrape| {
        let read = total(scrape, "nodescope_log_read_bytes_total", &[]);
        let skipped = total(scrape, "nodescope_log_skipped_bytes_total", &over_budget);
        assert!(read + skipped <= all, "{read} + {skipped} of {all}");
        (read + skipped == all && skipped > all / 2).then_some(())
    });
    let messages = [("container_id", &*Docker::container_id(&loud))];
    let counted = total(&agent.scrape(), "container_log_messages_total", &messages);
    assert!(counted > 0 && counted < 100_000, "{counted}");
}

#[test]
fn more_logs_than_may_be_open_are_read_in_turn() {
    require_root!();
    let (agent, docker) = start("max_open_files = 2");
    let names: Vec<String> = (0..4).map(|_| log(&docker, 400, 1_000)).collect();
    for name in &names {
        let id = Docker::container_id(name);
        counts_levels(&agent, &id, STANDARD_STREAMS, 400);
    }
    let open = [("state", "open")];
    let open = agent.scrape().sum("nodescope_log_files", &open);
    assert!(open.is_some_and(|open| open <= 2.0), "{open:?}");
}
