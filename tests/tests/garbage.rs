//! Broken files of one container cost that container its name and nobody else anything.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use nodescope_tests::*;

/// Starts a container, breaks its `config.v2.json` with `damage`, then starts an agent: the container beside it must be
/// there under its name, the broken one must not, and the agent must live.
fn only_one_loses_its_name(damage: impl FnOnce(&PathBuf)) {
    let docker = Docker::start();
    let (broken, whole) = (unique("broken"), unique("whole"));
    let id = docker.run_load(&format!("--name {broken}"), "serve --listen 0.0.0.0:8080");
    docker.run_load(&format!("--name {whole}"), "serve --listen 0.0.0.0:8080");
    damage(&docker.outside(&format!("/var/lib/docker/containers/{id}/config.v2.json")));
    let agent = Agent::start_beside(docker.sandbox());
    let whole_id = Docker::container_id(&whole);
    let listen = docker.address_of(&whole) + ":8080";
    let labels = [
        ("container_id", whole_id.as_str()),
        ("listen_addr", listen.as_str()),
    ];
    agent.settles("container_net_tcp_listen_info", &labels, 1);
    let ids = agent.scrape().container_ids();
    assert!(!ids.contains(&Docker::container_id(&broken)), "{ids:?}");
    // What happens from now on is still seen.
    docker.run(&format!(
        "exec {whole} /bin/nodescope-load connect --to {listen} --count 2"
    ));
    Expected {
        connects: 2,
        ..Expected::default()
    }
    .settles(&agent, &whole_id, &listen);
}

fn replace(path: &PathBuf, content: &[u8]) {
    fs::write(path, content).expect("the sandbox's own file");
}

#[test]
fn cut_in_the_middle() {
    require_root!();
    only_one_loses_its_name(|path| {
        let content = fs::read(path).expect("docker wrote it");
        replace(path, &content[..content.len() / 2]);
    });
}

#[test]
fn nested_without_end() {
    require_root!();
    only_one_loses_its_name(|path| replace(path, &b"[".repeat(1 << 20)));
}

#[test]
fn a_name_that_is_no_text() {
    require_root!();
    only_one_loses_its_name(|path| {
        replace(
            path,
            b"{\"Name\":\"/\xff\xfe\",\"Config\":{\"Image\":\"\xff\"}}",
        )
    });
}

#[test]
fn larger_than_any_honest_one() {
    require_root!();
    only_one_loses_its_name(|path| {
        let file = fs::File::options()
            .write(true)
            .open(path)
            .expect("docker wrote it");
        file.set_len(10 << 30).expect("a sparse file");
    });
}

#[test]
fn a_link_to_a_secret() {
    require_root!();
    only_one_loses_its_name(|path| {
        fs::remove_file(path).expect("docker wrote it");
        symlink("/etc/shadow", path).expect("the sandbox's own directory");
    });
}
