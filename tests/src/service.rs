//! A service with an address of its own that nftables translates to one of its servers, as kube-proxy does it.

use std::fmt::Write;
use std::net::SocketAddr;
use std::process::Command;

use crate::{run, run_output, try_run, unique};

/// The rules of one service in the host's network namespace, for what it forwards and for its own processes.
#[derive(Debug)]
pub struct VirtualService {
    table: String,
    address: SocketAddr,
    route: Vec<String>,
}

impl VirtualService {
    /// Makes the rules; each connection goes to one of `servers` at random.
    #[track_caller]
    pub fn new(address: SocketAddr, servers: &[SocketAddr]) -> Self {
        let service = Self {
            table: unique("nodescope-test"),
            address,
            route: route_through(address, &servers[0]),
        };
        for forwarding in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            std::fs::write(format!("/proc/sys/net/{forwarding}"), "1")
                .unwrap_or_else(|error| panic!("{forwarding}: {error}"));
        }
        service.route("replace");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("rules.nft");
        std::fs::write(&file, service.rules(servers)).expect("a temporary file");
        run(Command::new("nft").arg("-f").arg(&file));
        service
    }

    fn rules(&self, servers: &[SocketAddr]) -> String {
        let (table, address) = (&self.table, self.address);
        let family = if address.is_ipv4() { "ip" } else { "ip6" };
        let mut text = format!("table inet {table} {{\n");
        for (index, server) in servers.iter().enumerate() {
            let _ = writeln!(
                text,
                "chain server{index} {{ meta l4proto tcp dnat {family} to {server}; }}"
            );
        }
        let choices: Vec<String> = (0..servers.len())
            .map(|index| format!("{index} : goto server{index}"))
            .collect();
        let _ = writeln!(
            text,
            "chain choose {{ numgen random mod {} vmap {{ {} }}; }}",
            servers.len(),
            choices.join(", ")
        );
        for hook in ["prerouting", "output"] {
            let _ = writeln!(
                text,
                "chain {hook} {{ type nat hook {hook} priority -100; \
                 {family} daddr {} tcp dport {} goto choose; }}",
                address.ip(),
                address.port()
            );
        }
        text + "}\n"
    }

    /// Where it is reached.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn route(&self, verb: &str) {
        let family = if self.address.is_ipv4() { "-4" } else { "-6" };
        run(Command::new("ip")
            .args([family, "route", verb])
            .args(&self.route));
    }
}

impl Drop for VirtualService {
    fn drop(&mut self) {
        let _ = try_run(Command::new("nft").args(["delete", "table", "inet", &self.table]));
        let _ = try_run(Command::new("ip").args(["route", "del"]).args(&self.route));
    }
}

/// A route for the service's address, only so that there is one at all: the packets go elsewhere.
fn route_through(address: SocketAddr, server: &SocketAddr) -> Vec<String> {
    let (service, server) = (address.ip().to_string(), server.ip().to_string());
    let found = run_output(Command::new("ip").args(["route", "get", &server]));
    let mut words = found.split_whitespace().skip_while(|word| *word != "dev");
    let device = words.nth(1).unwrap_or("lo").to_owned();
    let mut route = vec![service, "dev".to_owned(), device];
    if route[2] != "lo" {
        route.extend(["via".to_owned(), server]);
    }
    route
}
