//! What is older than the sensor or the aggregator, and what a restart of either must not change.

use std::time::Duration;

use nodescope_tests::*;

#[test]
fn an_older_connection_is_active_and_no_connect() {
    require_root!();
    let unit = Unit::service("older");
    let server = Server::start(Agent::here(), &format!("127.0.0.1:{}", free_port()));
    let to = server.address();
    let mut hold = Hold::open(Place::in_unit(&unit), to, 3);
    hold.tell("exchange 5000 6000");
    let agent = Agent::start();
    let expected = Expected {
        active: 3,
        ..Expected::default()
    };
    expected.settles(&agent, unit.path(), &to.to_string());
    // Only what is sent from now on counts.
    hold.tell("exchange 100 200");
    let expected = Expected {
        sent_bytes: 3 * (16 + 100),
        received_bytes: 3 * 200,
        ..expected
    };
    expected.settles(&agent, unit.path(), &to.to_string());
    drop(hold);
    Expected {
        active: 0,
        ..expected
    }
    .settles(&agent, unit.path(), &to.to_string());
}

#[test]
fn an_older_connection_that_came_in_is_none() {
    require_root!();
    let unit = Unit::service("older-server");
    // A port above every ephemeral one: who guesses the direction by port order is wrong here.
    let server = Server::start(Place::in_unit(&unit), "127.0.0.1:61999");
    let _hold = Hold::open(Agent::here(), server.address(), 2);
    let agent = Agent::start();
    let listen = server.address().to_string();
    agent.settles(
        "container_net_tcp_listen_info",
        &[("container_id", unit.path()), ("listen_addr", &listen)],
        1,
    );
    Expected::default().settles(&agent, unit.path(), "");
}

#[test]
fn a_server_that_closed_its_listener_is_still_the_passive_side() {
    require_root!();
    let (unit, client) = (
        Unit::service("orphan-server"),
        Unit::service("orphan-client"),
    );
    let words = format!("serve-once --listen 127.0.0.1:{}", free_port());
    let mut server = Server::start_with(Place::in_unit(&unit), &words);
    let _hold = Hold::open(Place::in_unit(&client), server.address(), 1);
    assert_eq!(server.line().trim_end(), "{\"accepted\":1}");
    let agent = Agent::start();
    let to = server.address().to_string();
    Expected {
        active: 1,
        ..Expected::default()
    }
    .settles(&agent, client.path(), &to);
    Expected::default().settles(&agent, unit.path(), "");
}

#[test]
fn a_new_aggregator_takes_over_what_the_sensor_counted() {
    require_root!();
    let (mut agent, unit) = (Agent::start(), Unit::service("takeover"));
    let server = Server::start(Agent::here(), &format!("127.0.0.1:{}", free_port()));
    let to = server.address();
    let mut hold = Hold::open(Place::in_unit(&unit), to, 8);
    let report = hold.tell("exchange 1000 2000");
    let expected = Expected {
        connects: 8,
        active: 8,
        sent_bytes: report.sent_bytes,
        received_bytes: report.received_bytes,
        ..Expected::default()
    };
    expected.settles(&agent, unit.path(), &to.to_string());
    agent.kill_aggregator();
    run_load(
        Place::in_unit(&unit),
        &format!("connect --to {to} --count 5"),
    );
    agent.start_aggregator();
    agent.wait_ready();
    // Including what happened while it was away.
    Expected {
        connects: 13,
        ..expected
    }
    .settles(&agent, unit.path(), &to.to_string());
}

#[test]
fn a_new_sensor_counts_no_connection_twice() {
    require_root!();
    let (mut agent, unit) = (Agent::start(), Unit::service("resensor"));
    let server = Server::start(Agent::here(), &format!("127.0.0.1:{}", free_port()));
    let to = server.address();
    let mut hold = Hold::open(Place::in_unit(&unit), to, 8);
    hold.tell("exchange 1000 2000");
    let expected = Expected {
        connects: 8,
        active: 8,
        sent_bytes: 8 * 1016,
        received_bytes: 8 * 2000,
        ..Expected::default()
    };
    expected.settles(&agent, unit.path(), &to.to_string());
    agent.replace_sensor(Duration::ZERO);
    // The aggregator goes on where it was: the eight are still open, and none of them is new.
    expected.settles(&agent, unit.path(), &to.to_string());
    hold.tell("exchange 10 20");
    let more = Expected {
        sent_bytes: expected.sent_bytes + 8 * 26,
        received_bytes: expected.received_bytes + 8 * 20,
        ..expected
    };
    more.settles(&agent, unit.path(), &to.to_string());
}
