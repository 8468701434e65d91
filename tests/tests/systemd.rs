//! Services by their cgroup: units of any slice, of users, nested ones, and what is not reported.

use nodescope_tests::*;

static AGENT: Shared<Agent> = Shared::new();

/// Connects from the cgroup `path` and expects it under `container_id`.
fn connects_count_under(path: &str, container_id: &str) {
    let (agent, unit) = (AGENT.get(Agent::start), Unit::at(path));
    let server = Server::start(Agent::here(), &format!("127.0.0.1:{}", free_port()));
    let to = server.address();
    run_load(
        Place::in_unit(&unit),
        &format!("connect --to {to} --count 4"),
    );
    Expected {
        connects: 4,
        ..Expected::default()
    }
    .settles(&agent, container_id, &to.to_string());
}

#[test]
fn a_service_of_the_system() {
    require_root!();
    let name = unique("shop");
    let path = format!("/system.slice/{name}.service");
    connects_count_under(&path, &path);
}

#[test]
fn a_slice_nobody_has_heard_of() {
    require_root!();
    let path = format!("/{}.slice/web.service", unique("tenants"));
    connects_count_under(&path, &path);
}

#[test]
fn escaped_names_are_shown_plain() {
    require_root!();
    let slice = unique("escaped");
    connects_count_under(
        &format!("/{slice}.slice/my\\x2dshop.service"),
        &format!("/{slice}.slice/my-shop.service"),
    );
}

#[test]
fn instances_of_a_template_are_one() {
    require_root!();
    let path = format!(
        "/system.slice/system-{}.slice",
        unique("getty").replace('-', "_")
    );
    connects_count_under(&format!("{path}/getty@tty1.service"), &path);
}

#[test]
fn a_service_of_a_user() {
    require_root!();
    let service = format!("{}.service", unique("player"));
    connects_count_under(
        &format!("/user.slice/user-4242.slice/user@4242.service/app.slice/{service}"),
        &format!("/user.slice/user-4242.slice/{service}"),
    );
}

#[test]
fn sessions_are_not_reported_unless_asked_for() {
    require_root!();
    let server = Server::start(Agent::here(), &format!("127.0.0.1:{}", free_port()));
    let to = server.address().to_string();
    let unit = Unit::at(&format!(
        "/user.slice/user-4242.slice/session-{}.scope",
        std::process::id()
    ));
    let options = AgentOptions {
        aggregator: vec!["--report-other".to_owned()],
        ..AgentOptions::default()
    };
    let (quiet, talkative) = (Agent::start(), Agent::start_with(options));
    run_load(
        Place::in_unit(&unit),
        &format!("connect --to {to} --count 6"),
    );
    let destination = [("destination", to.as_str())];
    let other = [("container_id", "/other/nodescope-load"), destination[0]];
    talkative.settles("container_net_tcp_successful_connects_total", &other, 6);
    quiet.settles(
        "container_net_tcp_successful_connects_total",
        &destination,
        0,
    );
}

#[test]
fn cpu_and_memory_of_a_service() {
    require_root!();
    let (agent, unit) = (AGENT.get(Agent::start), Unit::service("memory"));
    const BYTES: u64 = 64 << 20;
    let mut command = Place::in_unit(&unit).command(load_program());
    let log = tempfile::NamedTempFile::new().expect("a temporary file");
    command.args(["memory", "--bytes", &BYTES.to_string()]);
    let _process = Process::start("memory", &mut command, log.path());
    let label = [("container_id", unit.path())];
    agent.eventually("resident memory of the service", unit.path(), |scrape| {
        let resident = scrape.sum("container_resources_memory_rss_bytes", &label)?;
        // What it touched, and a few pages of program and stack.
        (resident >= BYTES as f64 && resident < (BYTES + (8 << 20)) as f64).then_some(())
    });
    let cpu = |scrape: &Scrape| scrape.sum("container_resources_cpu_usage_seconds_total", &label);
    agent.eventually("its CPU time", unit.path(), |scrape| {
        cpu(scrape).filter(|seconds| *seconds > 0.0)
    });
}

#[test]
fn restarts_of_a_service() {
    require_root!();
    let (agent, unit) = (AGENT.get(Agent::start), Unit::service("restarts"));
    let label = [("container_id", unit.path())];
    let port = free_port();
    for restarts in 0..4 {
        let server = Server::start(Place::in_unit(&unit), &format!("127.0.0.1:{port}"));
        agent.settles("container_restarts_total", &label, restarts);
        drop(server);
    }
}
