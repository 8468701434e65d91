//! Network namespaces, linked to the namespace of the test by a pair of virtual interfaces.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::{Place, run, run_output, try_run, unique};

/// A named network namespace with one link: `outer` addresses on our side, `inner` on its side.
#[derive(Debug)]
pub struct Netns {
    name: String,
    index: u8,
}

impl Netns {
    /// Makes it, with IPv4 and IPv6 addresses on both ends.
    pub fn linked() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        // The process id keeps two test programs that run at once apart; a subnet in use is an error here, not later.
        let index = NEXT
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add((std::process::id() % 251) as u8);
        let netns = Self {
            name: unique("nodescope"),
            index,
        };
        netns.make();
        netns
    }

    fn make(&self) {
        let (host, peer) = (self.host_interface(), "uplink");
        ip(&format!("netns add {}", self.name));
        ip(&format!(
            "link add {host} type veth peer name {peer} netns {}",
            self.name
        ));
        ip(&format!("address add {}/24 dev {host}", self.outer()));
        ip(&format!(
            "address add {}/64 dev {host} nodad",
            self.outer6()
        ));
        ip(&format!("link set {host} up"));
        for words in [
            "link set lo up".to_owned(),
            format!("address add {}/24 dev {peer}", self.inner()),
            format!("address add {}/64 dev {peer} nodad", self.inner6()),
            format!("link set {peer} up"),
            format!("route add default via {}", self.outer()),
            format!("-6 route add default via {}", self.outer6()),
        ] {
            ip(&format!("-n {} {words}", self.name));
        }
    }

    /// Links it directly with another one; returns the address of each.
    pub fn link_with(&self, other: &Self) -> [String; 2] {
        let addresses = [1, 2].map(|host| format!("10.215.{}.{host}", self.index));
        let ends = [
            (self, &addresses[0], "left"),
            (other, &addresses[1], "right"),
        ];
        ip(&format!(
            "link add left netns {} type veth peer name right netns {}",
            self.name, other.name
        ));
        for (netns, address, interface) in ends {
            ip(&format!(
                "-n {} address add {address}/24 dev {interface}",
                netns.name
            ));
            ip(&format!("-n {} link set {interface} up", netns.name));
        }
        addresses
    }

    /// For `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// IPv4 address on our side.
    pub fn outer(&self) -> String {
        format!("10.213.{}.1", self.index)
    }

    /// IPv4 address on its side.
    pub fn inner(&self) -> String {
        format!("10.213.{}.2", self.index)
    }

    /// IPv6 address on our side.
    pub fn outer6(&self) -> String {
        format!("fd00:213:{:x}::1", self.index)
    }

    /// IPv6 address on its side.
    pub fn inner6(&self) -> String {
        format!("fd00:213:{:x}::2", self.index)
    }

    /// Loads rules for nftables inside.
    pub fn nft(&self, rules: &str) {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("rules.nft");
        std::fs::write(&file, rules).expect("a temporary file");
        run(Command::new("ip")
            .args(["netns", "exec", &self.name, "nft", "-f"])
            .arg(&file));
    }

    /// A counter of `/proc/net/snmp` inside, for example `("Tcp", "RetransSegs")`.
    pub fn snmp(&self, group: &str, field: &str) -> u64 {
        let place = Place::default().and_netns(self);
        let text = run_output(place.command("cat").arg("/proc/net/snmp"));
        counter(&text, group, field).unwrap_or_else(|| panic!("no {group} {field} in {text}"))
    }

    fn host_interface(&self) -> String {
        format!("nst{}", self.index)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // The namespace lives on while a process is in it; without its link it is harmless.
        let _ = try_run(Command::new("ip").args(["link", "del", &self.host_interface()]));
        let _ = try_run(Command::new("ip").args(["netns", "del", &self.name]));
    }
}

/// The connects that the kernel counted in each network namespace that has a process, by a number of the namespace.
pub fn active_opens() -> BTreeMap<u64, u64> {
    let processes = std::fs::read_dir("/proc").expect("/proc is mounted");
    let files = processes
        .flatten()
        .map(|entry| entry.path().join("net/snmp"));
    // What is no process, or one that ended meanwhile, has no such file.
    let opened = |file: PathBuf| {
        let namespace = std::fs::metadata(&file).ok()?.ino();
        let text = std::fs::read_to_string(&file).ok()?;
        Some((namespace, counter(&text, "Tcp", "ActiveOpens")?))
    };
    files.filter_map(opened).collect()
}

fn counter(text: &str, group: &str, field: &str) -> Option<u64> {
    let mut lines = text
        .lines()
        .filter_map(|line| line.strip_prefix(group)?.strip_prefix(": "));
    let (names, values) = (lines.next()?, lines.next()?);
    let mut pairs = names.split(' ').zip(values.split(' '));
    let (_, value) = pairs.find(|(name, _)| *name == field)?;
    value.parse().ok()
}

#[track_caller]
fn ip(words: &str) {
    run(Command::new("ip").args(words.split(' ')));
}
