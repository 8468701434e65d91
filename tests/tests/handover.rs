//! A socket belongs to the process that uses it, not to the one that made it.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nodescope_tests::*;

#[test]
fn a_passed_listening_socket_is_the_holders() {
    require_root!();
    let (agent, maker, holder) = (
        Agent::start(),
        Unit::service("activator"),
        Unit::service("activated"),
    );
    let mut words = format!("activate --listen 127.0.0.1:{}", free_port());
    for directory in holder.directories() {
        words.push_str(&format!(" --join {}", directory.display()));
    }
    let server = Server::start_with(Place::in_unit(&maker), &words);
    let address = server.address().to_string();
    let labels = |unit| [("container_id", unit), ("listen_addr", address.as_str())];
    agent.settles("container_net_tcp_listen_info", &labels(holder.path()), 1);
    agent.settles("container_net_tcp_listen_info", &labels(maker.path()), 0);
}

#[test]
fn a_passed_listening_socket_older_than_the_sensor_is_the_holders() {
    require_root!();
    let (maker, holder) = (
        Unit::service("old-activator"),
        Unit::service("old-activated"),
    );
    let mut words = format!("activate --listen 127.0.0.1:{}", free_port());
    for directory in holder.directories() {
        words.push_str(&format!(" --join {}", directory.display()));
    }
    let mut server = Server::start_with(Place::in_unit(&maker), &words);
    // The child announces itself too: it holds the socket now.
    server.line();
    let agent = Agent::start();
    let address = server.address().to_string();
    let labels = [
        ("container_id", holder.path()),
        ("listen_addr", address.as_str()),
    ];
    agent.settles("container_net_tcp_listen_info", &labels, 1);
}

#[test]
fn a_passed_socket_counts_for_who_connects_it() {
    require_root!();
    let (agent, maker, user) = (
        Agent::start(),
        Unit::service("maker"),
        Unit::service("user"),
    );
    let server = Server::start(Agent::here(), &format!("127.0.0.1:{}", free_port()));
    let to = server.address().to_string();
    let mut command = Place::in_unit(&maker).command(env!("CARGO_BIN_EXE_nodescope-handover"));
    command
        .args([to.as_str(), &user.join_script()])
        .stdout(Stdio::piped())
        .stdin(Stdio::null());
    let mut child = command.spawn().expect("nodescope-handover");
    let mut line = String::new();
    let output = child.stdout.take().expect("it is piped");
    BufReader::new(output)
        .read_line(&mut line)
        .expect("a pipe can be read");
    assert_eq!(line, "{\"connected\":1}\n");
    let expected = Expected {
        connects: 1,
        active: 1,
        ..Expected::default()
    };
    expected.settles(&agent, user.path(), &to);
    Expected::default().settles(&agent, maker.path(), "");
    // Both processes end with their cgroups.
    drop((maker, user));
    let _ = child.wait();
}
