//! Destinations and listening addresses.

use super::*;

#[test]
fn a_flow_counts_for_its_service() {
    let mut node = unit_node();
    node.apply(&[flow(WEB, DB, 3, 2)]);
    let web = [
        "container_id=\"/system.slice/web.service\"",
        "destination=\"10.0.0.5:5432\"",
    ];
    assert_eq!(node.connects(&web), Some(3.0));
    assert_eq!(
        node.value("container_net_tcp_active_connections", &web),
        Some(2.0)
    );
    node.apply(&[flow(WEB, DB, 3, 2), flow(WEB, DB, 4, 0)]);
    assert_eq!(node.connects(&web), Some(4.0));
    assert_eq!(
        node.value("container_net_tcp_active_connections", &web),
        None
    );
    assert_eq!(
        node.value("container_net_tcp_bytes_sent_total", &web),
        Some(400.0)
    );
    assert_eq!(
        node.value("container_net_tcp_failed_connects_total", &[]),
        None
    );
}

#[test]
fn servers_behind_a_service_have_series_of_their_own() {
    const SERVERS: [&str; 2] = ["[::ffff:10.1.0.1]:15432", "[::ffff:10.1.0.2]:15432"];
    let mut node = unit_node();
    let Record::Flow(mut failed) = flow(WEB, DB, 0, 0) else {
        return;
    };
    failed.totals.failures = 2;
    node.apply(&[
        Record::Flow(failed),
        to_server(flow(WEB, DB, 3, 1), SERVERS[0]),
        to_server(flow(WEB, DB, 4, 0), SERVERS[1]),
    ]);
    let service = "destination=\"10.0.0.5:5432\"";
    let actual = |address| format!("actual_destination=\"{address}\"");
    for (address, connects) in [
        ("10.1.0.1:15432", Some(3.0)),
        ("10.1.0.2:15432", Some(4.0)),
        ("10.0.0.5:5432", None),
    ] {
        assert_eq!(node.connects(&[service, &actual(address)]), connects);
    }
    assert_eq!(
        node.value("container_net_tcp_failed_connects_total", &[service]),
        Some(2.0)
    );
    assert_eq!(
        node.value(
            "container_net_tcp_active_connections",
            &[service, &actual("10.1.0.1:15432")]
        ),
        Some(1.0)
    );
}

#[test]
fn servers_count_towards_the_budget_of_destinations() {
    let mut node = unit_node();
    node.model.settings.destinations_per_container = 2;
    for server in 1..=5 {
        let actual = format!("[::ffff:10.1.0.{server}]:80");
        node.apply(&[to_server(flow(WEB, DB, 1, 0), &actual)]);
    }
    for server in ["10.1.0.1:80", "10.1.0.2:80"] {
        assert_eq!(node.connects(&[server]), Some(1.0));
    }
    assert_eq!(
        node.connects(&["destination=\"~other\"", "actual_destination=\"~other\""]),
        Some(3.0)
    );
}

#[test]
fn a_loopback_server_of_a_container_is_its_own() {
    let mut node = unit_node();
    node.apply(&[to_server(flow(WEB, DB, 1, 0), "[::ffff:127.0.0.1]:15001")]);
    assert_eq!(node.connects(&[]), None);
}

#[test]
fn the_last_round_trip_is_shown() {
    const RTT: &str = "container_net_tcp_rtt_seconds";
    let with = |connects, rtt_ns| match flow(WEB, DB, connects, 1) {
        Record::Flow(mut flow) => {
            flow.totals.rtt_ns = rtt_ns;
            Record::Flow(flow)
        }
        other => other,
    };
    let mut node = unit_node();
    node.apply(&[with(1, 0)]);
    assert_eq!(node.value(RTT, &[]), None);
    node.apply(&[with(2, 20_000_000)]);
    assert_eq!(node.value(RTT, &["10.0.0.5:5432"]), Some(0.02));
    node.apply(&[with(3, 20_000_000), with(4, 1_000_000)]);
    assert_eq!(node.value(RTT, &["10.0.0.5:5432"]), Some(0.001));
    // Every other destination is one series, and has none.
    node.model.settings.destinations_per_container = 0;
    let Record::Flow(mut other) = with(1, 5) else {
        return;
    };
    other.key.remote_port = 1;
    node.apply(&[Record::Flow(other)]);
    assert_eq!(node.connects(&["~other"]), Some(1.0));
    assert_eq!(node.value(RTT, &["~other"]), None);
}

#[test]
fn what_a_snapshot_leaves_out_is_gone() {
    let mut node = unit_node();
    node.apply(&[flow(WEB, DB, 1, 1), flow(WEB, "[::ffff:10.0.0.6]:80", 1, 1)]);
    node.apply(&[
        Record::SnapshotBegin,
        cgroup(10, UNIT),
        flow(WEB, DB, 1, 1),
        Record::SnapshotEnd,
    ]);
    assert_eq!(
        node.value("container_net_tcp_active_connections", &["10.0.0.5:5432"]),
        Some(1.0)
    );
    assert_eq!(
        node.value("container_net_tcp_active_connections", &["10.0.0.6:80"]),
        None
    );
    assert_eq!(node.connects(&["10.0.0.6:80"]), Some(1.0));
    node.pass(601);
    assert_eq!(node.connects(&["10.0.0.6:80"]), None);
}

#[test]
fn destinations_over_the_budget_share_one_series() {
    let settings = Settings {
        destinations_per_container: 2,
        ..Settings::default()
    };
    let mut node = Node::new(settings);
    node.apply(&[cgroup(10, UNIT), processes(10, 1, 1, 0)]);
    node.resolve("");
    for port in 1..=5 {
        node.apply(&[flow(WEB, &format!("[::ffff:10.0.0.5]:{port}"), 2, 0)]);
    }
    assert_eq!(
        node.connects(&["destination=\"~other\"", "actual_destination=\"~other\""]),
        Some(6.0)
    );
    assert_eq!(
        node.page()
            .matches("container_net_tcp_successful_connects_total{")
            .count(),
        3
    );
    assert_eq!(node.model.limits().destinations, 3);
}

#[test]
fn after_a_restart_the_same_destinations_are_within_the_budget() {
    let aged = |port: u16, generation| {
        let Record::Flow(flow) = flow(WEB, &format!("[::ffff:10.0.0.5]:{port}"), 2, 0) else {
            unreachable!()
        };
        Record::Flow(Flow { generation, ..flow })
    };
    let settings = Settings {
        destinations_per_container: 2,
        ..Settings::default()
    };
    for order in [[1, 2, 3, 4], [4, 3, 2, 1], [3, 1, 4, 2]] {
        let mut node = Node::new(settings.clone());
        node.apply(&[
            Record::SnapshotBegin,
            cgroup(10, UNIT),
            processes(10, 1, 1, 0),
        ]);
        node.resolve("");
        node.apply(&order.map(|age| aged(age, age.into())));
        node.apply(&[Record::SnapshotEnd]);
        assert_eq!(
            node.connects(&["destination=\"10.0.0.5:1\""]),
            Some(2.0),
            "{order:?}"
        );
        assert_eq!(
            node.connects(&["destination=\"10.0.0.5:2\""]),
            Some(2.0),
            "{order:?}"
        );
        assert_eq!(
            node.connects(&["destination=\"~other\""]),
            Some(4.0),
            "{order:?}"
        );
    }
}

#[test]
fn filtered_destinations_are_left_out() {
    let mut node = unit_node();
    for remote in [
        "[::ffff:127.0.0.1]:80",
        "[::1]:80",
        "[::ffff:10.0.0.1]:40000",
        "[fe80::1]:80",
    ] {
        node.apply(&[flow(WEB, remote, 1, 0)]);
    }
    assert_eq!(node.connects(&[]), None);
}

#[test]
fn listens_are_shown_per_address_and_stay_a_while_as_closed() {
    let mut node = unit_node();
    let listen = |open| {
        Record::Listen(Listen {
            cookie: 5,
            owner: Owner {
                workload: WEB,
                executable: b"web",
            },
            pid: 1,
            netns: 99,
            ip: "::ffff:0.0.0.0".parse().unwrap(),
            port: 8080,
            ipv6_only: false,
            open,
        })
    };
    node.apply(&[listen(true)]);
    assert_eq!(node.model.namespaces_to_read().len(), 1);
    let ips = ["127.0.0.1", "172.17.0.2"].map(|ip| ip.parse().unwrap());
    node.model
        .set_namespace_addresses([(99, ips.to_vec())].into());
    node.model.settle(node.now_ns);
    let shown = |node: &Node| {
        node.value(
            "container_net_tcp_listen_info",
            &["listen_addr=\"172.17.0.2:8080\"", "proxy=\"\""],
        )
    };
    assert_eq!(shown(&node), Some(1.0));
    assert_eq!(
        node.value("container_net_tcp_listen_info", &["127.0.0.1"]),
        None
    );
    node.apply(&[listen(false)]);
    node.model.settle(node.now_ns);
    assert_eq!(shown(&node), Some(0.0));
    node.pass(601);
    node.model.settle(node.now_ns);
    assert_eq!(shown(&node), None);
}

#[test]
fn published_ports_are_listens_of_the_host() {
    let mut node = Node::new(Settings::default());
    let path = format!("/docker/{DOCKER_ID}");
    node.apply(&[cgroup(20, path.as_bytes()), processes(20, 1, 1, 0)]);
    let published = ["0.0.0.0:80", "[::]:80", "192.0.2.1:81", "0.0.0.0:40000"];
    for ResolveJob { class } in node.model.next_to_resolve(node.now_ns, 10) {
        let identity = Identity {
            published: published.map(|address| address.parse().unwrap()).to_vec(),
            ..identity("/docker/web".to_owned())
        };
        let resolution = Resolution::Container(identity.into());
        node.model.resolved(&class, resolution, node.now_ns);
    }
    let jobs = node.model.namespaces_to_read();
    assert_eq!((jobs[0].netns, &jobs[0].pids[..]), (7, &[1][..]));
    let host = ["127.0.0.1", "10.0.0.1", "fd00::1"].map(|ip| ip.parse().unwrap());
    node.model
        .set_namespace_addresses([(7, host.to_vec())].into());
    node.pass(1);
    let shown = |node: &Node| {
        let page = node.page();
        let mut lines: Vec<_> = page
            .lines()
            .filter_map(|line| line.strip_prefix("container_net_tcp_listen_info{"))
            .map(|line| line.split_once("listen_addr=\"").unwrap().1.to_owned())
            .collect();
        lines.sort();
        lines
    };
    let expected = |value| {
        [
            "10.0.0.1:80",
            "127.0.0.1:80",
            "192.0.2.1:81",
            "[fd00::1]:80",
        ]
        .map(|address| format!("{address}\",proxy=\"dockerd\"}} {value}"))
    };
    assert_eq!(shown(&node), expected(1));
    // They end with the container's last process, and do not keep it for ever.
    node.apply(&[processes(20, 0, 1, 0)]);
    node.pass(1);
    node.pass(1);
    assert_eq!(shown(&node), expected(0));
    node.pass(601);
    node.pass(601);
    assert_eq!(node.page().matches("/docker/web").count(), 0);
}
