//! The helpers themselves: that every runtime starts here, that load counts right, and that nothing stays behind.

use nodescope_tests::*;

/// What a test that died would leave.
fn mounts_and_namespaces() -> String {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    let own = mounts
        .lines()
        .filter(|line| line.contains("nodescope-sandbox"));
    own.map(|line| format!("{line}\n")).collect()
}

#[test]
fn docker_runs_here() {
    require_root!();
    let docker = Docker::start();
    docker.run_load("--name server", "serve --listen 0.0.0.0:8080");
    let address = docker.address_of("server");
    let output = docker.run(&format!(
        "run --rm {} /bin/nodescope-load connect --to {address}:8080 --count 7 --download 1000",
        docker.image()
    ));
    assert_eq!(LoadReport::parse(&output).received_bytes, 7000);
}

#[test]
fn containerd_runs_here() {
    require_root!();
    let containerd = Containerd::start();
    containerd.run_load("default", "one", &[], "serve --listen 0.0.0.0:8080");
    assert!(
        try_run(containerd.client("default").args(["task", "ls"]))
            .status
            .success()
    );
    containerd.remove("default", "one");
}

#[test]
fn podman_runs_here() {
    require_root!();
    let podman = Podman::start();
    podman.run_load("--name one", "serve --listen 0.0.0.0:8080");
    assert_eq!(podman.run("ps --format {{.Names}}"), "one");
}

#[test]
fn lxc_runs_here() {
    require_root!();
    let lxc = Lxc::start(&unique("one"), "serve --listen 0.0.0.0:8080");
    let to = format!("connect --count 3 --to {}:8080", lxc.sandbox().address());
    let place = Place {
        sandbox: Some(lxc.sandbox()),
        ..Place::default()
    };
    assert_eq!(run_load(place, &to).established, 3);
}

#[test]
fn load_counts_what_it_does() {
    require_root!();
    let (unit, netns) = (Unit::service("load"), Netns::linked());
    let inside = Place::in_unit(&unit).and_netns(&netns);
    let server = Server::start(inside, &format!("[{}]:8080", netns.inner6()));
    let report = run_load(
        Agent::here(),
        &format!("connect --to {} --count 20 --upload 5", server.address()),
    );
    assert_eq!((report.established, report.sent_bytes), (20, 20 * 21));
    let refused = run_load(
        inside,
        &format!("connect --to {}:1 --count 4", netns.outer()),
    );
    assert_eq!(refused.refused, 4);
    netns
        .nft("table inet t { chain c { type filter hook output priority 0; tcp dport 9 drop; }; }");
    let late = run_load(
        inside,
        &format!(
            "connect --to {}:9 --count 2 --timeout-ms 100",
            netns.outer()
        ),
    );
    assert_eq!(late.timed_out, 2);
    let storm = run_load(
        inside,
        &format!("storm --to {} --count 100", server.address()),
    );
    assert_eq!(storm.established, 100);
}

#[test]
fn sandboxes_do_not_show_outside() {
    require_root!();
    let sandbox = Sandbox::new();
    sandbox.write("/etc/nodescope-test", "inside");
    assert!(!std::path::Path::new("/etc/nodescope-test").exists());
    assert_eq!(mounts_and_namespaces(), "");
}
