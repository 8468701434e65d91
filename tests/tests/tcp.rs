//! Outbound TCP of imitated services, counted exactly.

use nodescope_tests::*;

static AGENT: Shared<Agent> = Shared::new();

#[test]
fn connects_and_bytes_over_ipv4() {
    require_root!();
    let (agent, unit) = (AGENT.get(Agent::start), Unit::service("v4"));
    let server = Server::start(Agent::here(), &format!("127.0.0.1:{}", free_port()));
    let to = server.address();
    let report = run_load(
        Place::in_unit(&unit),
        &format!("connect --to {to} --count 50 --parallel 3 --upload 1000 --download 70000"),
    );
    assert_eq!(report.established, 50);
    let expected = Expected {
        connects: 50,
        sent_bytes: report.sent_bytes,
        received_bytes: 50 * 70_000,
        ..Expected::default()
    };
    expected.settles(&agent, unit.path(), &to.to_string());
}

#[test]
fn connects_and_bytes_over_ipv6() {
    require_root!();
    let (agent, unit) = (AGENT.get(Agent::start), Unit::service("v6"));
    let server = Server::start(Agent::here(), &format!("[::1]:{}", free_port()));
    let to = server.address();
    let words = format!("connect --to {to} --count 17 --upload 100000 --download 1");
    let report = run_load(Place::in_unit(&unit), &words);
    let expected = Expected {
        connects: 17,
        sent_bytes: report.sent_bytes,
        received_bytes: 17,
        ..Expected::default()
    };
    expected.settles(&agent, unit.path(), &to.to_string());
}

#[test]
fn mapped_addresses_are_shown_as_ipv4() {
    require_root!();
    let (agent, unit) = (AGENT.get(Agent::start), Unit::service("mapped"));
    let server = Server::start(Agent::here(), &format!("127.0.0.1:{}", free_port()));
    let port = server.address().port();
    let words = format!("connect --to [::ffff:127.0.0.1]:{port} --count 9 --upload 1 --download 2");
    let report = run_load(Place::in_unit(&unit), &words);
    assert_eq!(report.established, 9);
    let expected = Expected {
        connects: 9,
        sent_bytes: report.sent_bytes,
        received_bytes: report.received_bytes,
        ..Expected::default()
    };
    expected.settles(&agent, unit.path(), &format!("127.0.0.1:{port}"));
    expected.settles(&agent, unit.path(), "");
}

#[test]
fn refused_connects_fail() {
    require_root!();
    let (agent, unit) = (AGENT.get(Agent::start), Unit::service("refused"));
    let to = format!("127.0.0.1:{}", free_port());
    let report = run_load(
        Place::in_unit(&unit),
        &format!("connect --to {to} --count 23"),
    );
    assert_eq!(report.refused, 23);
    Expected {
        failures: 23,
        ..Expected::default()
    }
    .settles(&agent, unit.path(), &to);
}

#[test]
fn connects_that_time_out_fail() {
    require_root!();
    let (agent, unit, netns) = (
        AGENT.get(Agent::start),
        Unit::service("timeout"),
        Netns::linked(),
    );
    netns
        .nft("table inet t { chain c { type filter hook output priority 0; tcp dport 9 drop; }; }");
    let to = format!("{}:9", netns.outer());
    let words = format!("connect --to {to} --count 6 --parallel 3 --timeout-ms 300");
    let report = run_load(Place::in_unit(&unit).and_netns(&netns), &words);
    assert_eq!(report.timed_out, 6);
    Expected {
        failures: 6,
        ..Expected::default()
    }
    .settles(&agent, unit.path(), &to);
}

#[test]
fn active_connections_rise_and_fall() {
    require_root!();
    let (agent, unit) = (AGENT.get(Agent::start), Unit::service("active"));
    let server = Server::start(Agent::here(), &format!("127.0.0.1:{}", free_port()));
    let to = server.address();
    let mut hold = Hold::open(Place::in_unit(&unit), to, 12);
    let mut expected = Expected {
        connects: 12,
        active: 12,
        ..Expected::default()
    };
    expected.settles(&agent, unit.path(), &to.to_string());
    hold.tell("close 5");
    let report = hold.tell("exchange 300 400");
    expected = Expected {
        active: 7,
        sent_bytes: report.sent_bytes,
        received_bytes: 7 * 400,
        ..expected
    };
    expected.settles(&agent, unit.path(), &to.to_string());
    drop(hold);
    expected.active = 0;
    expected.settles(&agent, unit.path(), &to.to_string());
}

#[test]
fn connections_that_come_in_are_not_counted() {
    require_root!();
    let (agent, unit) = (AGENT.get(Agent::start), Unit::service("passive"));
    let server = Server::start(Place::in_unit(&unit), &format!("127.0.0.1:{}", free_port()));
    let listen = server.address().to_string();
    run_load(
        Agent::here(),
        &format!("connect --to {listen} --count 5 --upload 10 --download 10"),
    );
    agent.settles(
        "container_net_tcp_listen_info",
        &[("container_id", unit.path()), ("listen_addr", &listen)],
        1,
    );
    Expected::default().settles(&agent, unit.path(), "");
}

#[test]
fn listens_end() {
    require_root!();
    let (agent, unit) = (AGENT.get(Agent::start), Unit::service("listen"));
    let port = free_port();
    let server = Server::start_with(
        Place::in_unit(&unit),
        &format!("listen --listen [::]:{port}"),
    );
    let address = format!("127.0.0.1:{port}");
    let labels = [
        ("container_id", unit.path()),
        ("listen_addr", address.as_str()),
    ];
    agent.settles("container_net_tcp_listen_info", &labels, 1);
    drop(server);
    agent.settles("container_net_tcp_listen_info", &labels, 0);
}

#[test]
fn short_processes_are_all_counted() {
    require_root!();
    let (agent, unit) = (AGENT.get(Agent::start), Unit::service("storm"));
    let server = Server::start(Agent::here(), &format!("127.0.0.1:{}", free_port()));
    let to = server.address();
    let report = run_load(
        Place::in_unit(&unit),
        &format!("storm --to {to} --count 1000"),
    );
    assert_eq!(report.established, 1000);
    Expected {
        connects: 1000,
        ..Expected::default()
    }
    .settles(&agent, unit.path(), &to.to_string());
}

#[test]
fn connect_time_is_that_of_the_connects() {
    require_root!();
    let (agent, unit) = (AGENT.get(Agent::start), Unit::service("time"));
    let server = Server::start(Agent::here(), &format!("127.0.0.1:{}", free_port()));
    let to = server.address().to_string();
    let report = run_load(
        Place::in_unit(&unit),
        &format!("connect --to {to} --count 100"),
    );
    let labels = [("container_id", unit.path()), ("destination", to.as_str())];
    agent.settles("container_net_tcp_successful_connects_total", &labels, 100);
    let seconds = agent
        .scrape()
        .sum("container_net_tcp_connection_time_seconds_total", &labels);
    // Each takes microseconds over loopback, and all of them less than the whole run.
    let limit = (report.elapsed_ms + 1) as f64 / 1000.0;
    assert!(
        seconds.is_some_and(|seconds| seconds > 0.0 && seconds < limit),
        "{seconds:?} of {limit}"
    );
}

#[test]
fn a_moved_process_counts_where_it_is() {
    require_root!();
    let (agent, first, second) = (
        AGENT.get(Agent::start),
        Unit::service("first"),
        Unit::service("second"),
    );
    let server = Server::start(Agent::here(), &format!("127.0.0.1:{}", free_port()));
    let to = server.address();
    run_load(
        Place::in_unit(&first),
        &format!("connect --to {to} --count 3"),
    );
    run_load(
        Place::in_unit(&second),
        &format!("connect --to {to} --count 4"),
    );
    Expected {
        connects: 3,
        ..Expected::default()
    }
    .settles(&agent, first.path(), &to.to_string());
    Expected {
        connects: 4,
        ..Expected::default()
    }
    .settles(&agent, second.path(), &to.to_string());
}
