//! What programs are, as far as only their files tell.

use std::path::Path;

use nodescope_tests::*;

fn is_of_type(agent: &Agent, id: &str, application_type: &str) {
    let labels = [("container_id", id), ("application_type", application_type)];
    agent.settles("container_application_type", &labels, 1);
}

fn types_of(agent: &Agent, id: &str) -> usize {
    let all = agent.scrape();
    let labels = [("container_id", id)];
    all.matching("container_application_type", &labels).count()
}

#[test]
fn containers_of_docker_and_podman() {
    require_root!();
    let docker = Docker::start();
    let agent = Agent::start_beside(docker.sandbox());
    let name = unique("rust");
    docker.run_load(&format!("--name {name}"), "serve --listen 127.0.0.1:1");
    is_of_type(&agent, &Docker::container_id(&name), "rust");
    let name = unique("none");
    docker.run(&format!(
        "run --detach --name {name} {} /bin/busybox sleep 1000",
        docker.image()
    ));
    let id = Docker::container_id(&name);
    agent.settles("container_info", &[("container_id", &id)], 1);

    let podman = Podman::start();
    let beside_podman = Agent::start_beside(podman.sandbox());
    let name = unique("rust");
    podman.run_load(&format!("--name {name}"), "serve --listen 127.0.0.1:1");
    is_of_type(&beside_podman, &format!("/podman/{name}"), "rust");
    assert_eq!(types_of(&agent, &id), 0);
}

#[test]
fn services() {
    require_root!();
    let agent = Agent::start();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let unit = Unit::service("podman");
    let socket = directory.path().join("podman.sock");
    let mut command = Place::in_unit(&unit).command("podman");
    command.args(["system", "service", "--time", "0"]);
    command.arg(format!("unix://{}", socket.display()));
    let mut go = Process::start("podman", &mut command, Path::new("/dev/null"));
    is_of_type(&agent, unit.path(), "golang");
    go.kill();

    // An interpreter whose program has written over its arguments.
    let unit = Unit::service("worker");
    let python = directory.path().join("python3.11");
    std::fs::copy("/bin/sleep", &python).expect("a copy");
    let script = format!("exec -a 'worker: idle' {} 1000", python.display());
    let mut command = Place::in_unit(&unit).command("bash");
    command.args(["-c", &script]);
    let mut worker = Process::start("worker", &mut command, Path::new("/dev/null"));
    is_of_type(&agent, unit.path(), "python");
    worker.kill();
}
