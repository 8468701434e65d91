//! An LXC container.

use nodescope_tests::*;

#[test]
fn name_and_listens() {
    require_root!();
    let (name, port) = (unique("box"), free_port());
    let lxc = Lxc::start(&name, &format!("serve --listen 0.0.0.0:{port}"));
    let agent = Agent::start_beside(lxc.sandbox());
    let id = format!("/lxc/{name}");
    let address = format!("{}:{port}", lxc.sandbox().address());
    let labels = [
        ("container_id", id.as_str()),
        ("listen_addr", address.as_str()),
    ];
    agent.settles("container_net_tcp_listen_info", &labels, 1);
}
