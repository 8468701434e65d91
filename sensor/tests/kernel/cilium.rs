//! Maps as Cilium pins them, with entries as it writes them: where connections of another network namespace go.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use aya::Pod;
use aya::maps::{HashMap, Map, MapData};
use nix::sched::{CloneFlags, unshare};
use nodescope_schema::{FlowKind, Record, Verdict};
use nodescope_sensor::kernel::{Kernel, Source as _};

use super::support::Node;

const SERVICE4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1)), 80);
const SERVICE6: SocketAddr = SocketAddr::new(
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, 1)),
    80,
);
const BACKEND4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 1, 2, 3)), 8080);
const BACKEND6: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 3)), 8443);
const OTHER4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 1, 2, 4)), 8081);
/// All ports that connections of the namespace can come from.
const PORTS: std::ops::RangeInclusive<u16> = 40_000..=40_031;
/// An LRU hash with fewer may forget what is in it.
const ENTRIES: u32 = 4096;
const HASH: u32 = 1;
const LRU_HASH: u32 = 9;
const NO_PREALLOC: u32 = 1;
/// What Cilium calls TUPLE_F_SERVICE.
const SERVICE_FLAG: u8 = 4;

/// A file system for pinned maps.
struct Pins(tempfile::TempDir);

impl Pins {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mount = Command::new("mount")
            .args(["-t", "bpf", "bpf"])
            .arg(directory.path())
            .status();
        assert!(mount.expect("mount runs").success());
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn map(&self, name: &str, kind: u32, key_bytes: u32, value_bytes: u32) -> MapData {
        let flags = if kind == HASH { NO_PREALLOC } else { 0 };
        let map = aya_obj::Map::new_from_params(kind, key_bytes, value_bytes, ENTRIES, flags);
        let map = MapData::create(map, "cilium", None).expect("a map");
        let path = self.path().join(name);
        let _ = fs::remove_file(&path);
        map.pin(path).expect("to pin it");
        map
    }

    /// The maps of IPv4, with a connection from each port to its backend.
    fn ipv4(&self, backend: SocketAddr) {
        let entries = self.map("cilium_ct4_global", LRU_HASH, 14, 56);
        let backends = self.map("cilium_lb4_backends_v3", HASH, 4, 12);
        fill::<14, 12>(entries, backends, SERVICE4, backend);
    }

    /// The same of IPv6.
    fn ipv6(&self, backend: SocketAddr) {
        let entries = self.map("cilium_ct6_global", LRU_HASH, 38, 56);
        let backends = self.map("cilium_lb6_backends_v3", HASH, 4, 24);
        fill::<38, 24>(entries, backends, SERVICE6, backend);
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

fn fill<const KEY: usize, const BACKEND: usize>(
    entries: MapData,
    backends: MapData,
    service: SocketAddr,
    backend: SocketAddr,
) where
    [u8; KEY]: Pod,
    [u8; BACKEND]: Pod,
{
    const ID: u32 = 7;
    let mut entries = Map::LruHashMap(entries);
    let mut entries: HashMap<&mut MapData, [u8; KEY], [u8; 56]> =
        (&mut entries).try_into().expect("its type");
    let mut value = [0xee; 56];
    value[8..16].copy_from_slice(&u64::from(ID).to_ne_bytes());
    for port in PORTS {
        // Services are on the loopback interface, where a connection's own address is the one it goes to.
        let mut key = [octets(service.ip()), octets(service.ip())].concat();
        key.extend(port.to_be_bytes());
        key.extend(service.port().to_be_bytes());
        key.extend([6, SERVICE_FLAG]);
        let key: [u8; KEY] = key.try_into().expect("the size of a key");
        entries.insert(key, value, 0).expect("room");
    }
    let mut backends = Map::HashMap(backends);
    let mut backends: HashMap<&mut MapData, u32, [u8; BACKEND]> =
        (&mut backends).try_into().expect("its type");
    let mut value = octets(backend.ip());
    value.extend(backend.port().to_be_bytes());
    value.resize(BACKEND, 0xee);
    let value: [u8; BACKEND] = value.try_into().expect("the size of a backend");
    backends.insert(ID, value, 0).expect("room");
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// Runs `work` in a network namespace with both services.
fn in_namespace<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a namespace");
            let script = format!(
                "ip link set lo up
                ip address add {}/32 dev lo
                ip address add {}/128 dev lo nodad
                echo {} {} >/proc/sys/net/ipv4/ip_local_port_range",
                SERVICE4.ip(),
                SERVICE6.ip(),
                PORTS.start(),
                PORTS.end()
            );
            let status = Command::new("sh").args(["-ec", &script]).status();
            assert!(status.expect("a shell").success());
            work()
        });
        thread.join().expect("it does not panic")
    })
}

/// Both ends of a new connection.
fn connect(listener: &TcpListener) -> [TcpStream; 2] {
    let address = listener.local_addr().expect("its address");
    let client = TcpStream::connect(address).expect("a connection");
    let (mut server, _) = listener.accept().expect("the other end");
    server.write_all(b"x").expect("to send");
    [client, server]
}

/// Connects of this process by where they went and where they really went.
fn connects(kernel: &mut Kernel, node: &Node) -> BTreeMap<(SocketAddr, SocketAddr), (u64, u32)> {
    let mut seen = BTreeMap::new();
    let mut take = |record: &Record<'_>| {
        let Record::Flow(flow) = record else { return };
        let (key, totals) = (&flow.key, &flow.totals);
        if key.owner.workload.cgroup_v2 != node.own.id || key.kind != FlowKind::Destination {
            return;
        }
        let address = |ip: Ipv6Addr, port| SocketAddr::new(ip.to_canonical(), port);
        let remote = address(key.remote_ip, key.remote_port);
        let actual = address(key.actual_ip, key.actual_port);
        seen.insert((remote, actual), (totals.connects, totals.active));
    };
    kernel.snapshot(&mut take).expect("a snapshot");
    seen
}

fn untranslated() -> SocketAddr {
    SocketAddr::new(Ipv6Addr::UNSPECIFIED.to_canonical(), 0)
}

fn verdict(kernel: &Kernel) -> (Verdict, String) {
    let hook = kernel
        .hooks()
        .find(|hook| hook.name == "cilium_translations");
    let hook = hook.expect("the hook");
    (hook.verdict, hook.detail.to_owned())
}

fn load(node: &Node, pins: &Pins) -> Kernel {
    let directories: Vec<PathBuf> = vec!["/nonexistent".into(), pins.path().to_owned()];
    node.load_with(|options| options.cilium_directories = directories)
}

#[test]
fn backends_that_cilium_chose() {
    let Some(node) = Node::new("cilium") else {
        return;
    };
    let pins = Pins::new();
    let mut kernel = load(&node, &pins);
    assert_eq!(verdict(&kernel), (Verdict::Ok, String::new()));
    in_namespace(|| {
        let listeners = [SERVICE4, SERVICE6].map(|to| TcpListener::bind(to).expect("a listener"));
        let [to4, to6] = &listeners;
        connect(to4);
        // They come after the sensor.
        pins.ipv4(BACKEND4);
        pins.ipv6(BACKEND6);
        kernel.rescan().expect("a scan");
        let names =
            "cilium_ct4_global, cilium_ct6_global, cilium_lb4_backends_v3, cilium_lb6_backends_v3";
        assert_eq!(verdict(&kernel), (Verdict::Ok, names.to_owned()));
        let held = [connect(to4), connect(to4), connect(to6)];
        let expected = BTreeMap::from([
            ((SERVICE4, untranslated()), (1, 0)),
            ((SERVICE4, BACKEND4), (2, 2)),
            ((SERVICE6, BACKEND6), (1, 1)),
        ]);
        assert_eq!(connects(&mut kernel, &node), expected);

        // Those who come later know where older connections go.
        drop(kernel);
        let mut kernel = load(&node, &pins);
        let older = BTreeMap::from([
            ((SERVICE4, BACKEND4), (0, 2)),
            ((SERVICE6, BACKEND6), (0, 1)),
        ]);
        assert_eq!(connects(&mut kernel, &node), older);
        drop(held);

        // They are made anew.
        pins.ipv4(OTHER4);
        kernel.rescan().expect("a scan");
        connect(to4);
        let seen = connects(&mut kernel, &node);
        assert_eq!(seen.get(&(SERVICE4, OTHER4)), Some(&(1, 0)), "{seen:?}");
    });
}

#[test]
fn maps_of_another_kind_are_left_alone() {
    let Some(node) = Node::new("ciliumkind") else {
        return;
    };
    let pins = Pins::new();
    pins.ipv4(BACKEND4);
    let mut kernel = load(&node, &pins);
    let names = "cilium_ct4_global, cilium_lb4_backends_v3";
    assert_eq!(verdict(&kernel), (Verdict::Ok, names.to_owned()));
    pins.map("cilium_ct4_global", LRU_HASH, 14, 64);
    kernel.rescan().expect("a scan");
    let (told, detail) = verdict(&kernel);
    assert_eq!(told, Verdict::Degraded);
    assert!(detail.contains("cilium_ct4_global: "), "{detail}");
    in_namespace(|| {
        connect(&TcpListener::bind(SERVICE4).expect("a listener"));
    });
    let seen = connects(&mut kernel, &node);
    assert_eq!(
        seen.get(&(SERVICE4, untranslated())),
        Some(&(1, 0)),
        "{seen:?}"
    );

    for name in ["cilium_ct4_global", "cilium_lb4_backends_v3"] {
        fs::remove_file(pins.path().join(name)).expect("it is pinned");
    }
    kernel.rescan().expect("a scan");
    assert_eq!(verdict(&kernel), (Verdict::Ok, String::new()));
}
