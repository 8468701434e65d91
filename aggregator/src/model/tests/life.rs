//! Names, restarts, runs of the sensor, and the end of containers.

use super::*;

#[test]
fn totals_wait_for_a_name_and_are_not_lost() {
    let mut node = Node::new(Settings::default());
    node.apply(&[flow(WEB, DB, 1, 0)]);
    let path = format!("/docker/{DOCKER_ID}");
    node.apply(&[cgroup(10, path.as_bytes()), flow(WEB, DB, 5, 1)]);
    assert_eq!(node.connects(&[]), None);
    node.resolve("shop");
    assert_eq!(node.connects(&["/docker/shop"]), Some(5.0));
    assert_eq!(
        node.value("container_info", &["image=\"img:1\""]),
        Some(1.0)
    );
}

#[test]
fn a_renamed_container_goes_on_under_its_new_name() {
    let mut node = Node::new(Settings::default());
    let path = format!("/docker/{DOCKER_ID}");
    node.apply(&[cgroup(10, path.as_bytes()), flow(WEB, DB, 5, 1)]);
    node.resolve("old");
    node.pass(60);
    node.resolve("new");
    node.apply(&[flow(WEB, DB, 7, 1)]);
    assert_eq!(node.connects(&["/docker/old"]), None);
    assert_eq!(node.connects(&["/docker/new"]), Some(2.0));
    assert_eq!(
        node.value("container_net_tcp_active_connections", &["/docker/new"]),
        Some(1.0)
    );
}

#[test]
fn a_new_run_of_the_sensor_continues_the_counters() {
    let mut node = unit_node();
    node.apply(&[flow(WEB, DB, 10, 3), processes(10, 1, 4, 2)]);
    node.model.disconnected();
    assert_eq!(node.connects(&[]), Some(10.0));
    node.connect(2);
    let snapshot = [
        Record::SnapshotBegin,
        cgroup(10, UNIT),
        cgroup(110, UNIT),
        processes(10, 1, 1, 0),
        flow(WEB, DB, 1, 3),
        Record::SnapshotEnd,
    ];
    node.apply(&snapshot);
    assert_eq!(node.connects(&[]), Some(11.0));
    assert_eq!(
        node.value("container_net_tcp_active_connections", &[]),
        Some(3.0)
    );
    assert_eq!(node.value("container_restarts_total", &[]), Some(2.0));
    node.apply(&snapshot);
    assert_eq!(node.connects(&[]), Some(11.0));
}

#[test]
fn waits_are_kept_over_names_cgroups_and_runs() {
    const CPU: &str = "container_resources_cpu_delay_seconds_total";
    const DISK: &str = "container_resources_disk_delay_seconds_total";
    const MEMORY: &str = "container_resources_memory_delay_seconds_total";
    let mut node = Node::new(Settings::default());
    let path = format!("/docker/{DOCKER_ID}");
    node.apply(&[
        cgroup(10, path.as_bytes()),
        processes(10, 1, 1, 0),
        delays(10, 1, false, 1500),
        delays(11, 1, false, 9000),
    ]);
    node.pass(1);
    assert_eq!(node.value(CPU, &[]), None);
    node.resolve("shop");
    assert_eq!(node.value(CPU, &["/docker/shop"]), Some(1.5));
    // The kernel does not account for anything else.
    assert_eq!(
        (node.value(DISK, &[]), node.value(MEMORY, &[])),
        (None, None)
    );
    node.apply(&[cgroup(110, path.as_bytes()), delays(110, 1, true, 1500)]);
    node.pass(1);
    assert_eq!(node.value(CPU, &[]), Some(1.5), "the same tasks");
    assert_eq!(node.value(DISK, &[]), Some(0.0));
    assert_eq!(node.value(MEMORY, &["kind=\"freepages\""]), Some(0.5));
    node.model.disconnected();
    node.connect(2);
    node.apply(&[
        Record::SnapshotBegin,
        cgroup(10, path.as_bytes()),
        processes(10, 1, 1, 0),
        delays(10, 7, true, 250),
        Record::SnapshotEnd,
    ]);
    assert_eq!(node.value(CPU, &["/docker/shop"]), Some(1.75));
    // The sensor removed the entry and made another one.
    node.apply(&[delays(10, 8, true, 250)]);
    node.pass(1);
    assert_eq!(node.value(CPU, &["/docker/shop"]), Some(2.0));
}

#[test]
fn processes_of_no_service_are_shown_on_request_only() {
    for (report_other, expected) in [(false, None), (true, Some(1.0))] {
        let mut node = Node::new(Settings {
            report_other,
            ..Settings::default()
        });
        node.apply(&[
            cgroup(1, b"/"),
            flow(
                Workload {
                    cgroup_v2: 1,
                    cgroup_v1: 0,
                },
                DB,
                1,
                0,
            ),
        ]);
        node.model.settle(node.now_ns);
        assert_eq!(node.connects(&["container_id=\"/other/curl\""]), expected);
    }
}

#[test]
fn a_process_of_no_service_comes_back_after_a_long_pause() {
    let mut node = Node::new(Settings {
        report_other: true,
        ..Settings::default()
    });
    let of_root = |connects| {
        let root = Workload {
            cgroup_v2: 1,
            cgroup_v1: 0,
        };
        flow(root, DB, connects, 0)
    };
    node.apply(&[cgroup(1, b"/"), of_root(3)]);
    node.pass(1);
    assert_eq!(node.connects(&["/other/curl"]), Some(3.0));
    node.pass(601);
    assert_eq!(node.page(), "");
    node.pass(1);
    assert_eq!(node.page(), "");
    node.apply(&[of_root(5)]);
    node.pass(1);
    assert_eq!(node.connects(&["/other/curl"]), Some(2.0));
}

#[test]
fn what_the_budget_had_no_room_for_is_counted_once_it_has() {
    let mut node = Node::new(Settings {
        report_other: true,
        containers: 1,
        ..Settings::default()
    });
    let root = Workload {
        cgroup_v2: 1,
        cgroup_v1: 0,
    };
    node.apply(&[cgroup(10, UNIT), cgroup(1, b"/"), processes(10, 1, 1, 0)]);
    node.resolve("");
    node.apply(&[flow(root, DB, 3, 0)]);
    node.pass(1);
    node.apply(&[flow(root, DB, 4, 0), processes(10, 0, 1, 0)]);
    node.pass(1);
    assert_eq!(node.connects(&["/other/curl"]), None);
    assert_eq!(node.model.limits().containers, 1, "not at each change");
    node.pass(601);
    node.pass(1);
    assert_eq!(node.connects(&["/other/curl"]), Some(4.0));
}

#[test]
fn containers_that_come_and_go_leave_nothing_behind() {
    let mut node = unit_node();
    for number in 1_000..1_000 + 3 * cgroups::MAX_REMOVED as u64 {
        let path = format!("/docker/{number:064x}");
        node.apply(&[
            cgroup(number, path.as_bytes()),
            removed_at(number, path.as_bytes(), number),
        ]);
        if number % 4_096 == 0 {
            node.resolve("same-name");
            node.pass(1);
        }
    }
    node.pass(1);
    let removed = cgroups::MAX_REMOVED / 2;
    assert!(node.model.owners.len() <= 2 * removed + 1);
    assert!(node.model.cgroups.len() <= 2 * removed + 2);
    let kept = node
        .model
        .containers
        .iter()
        .map(|(_, container)| container.classes().len());
    assert!(kept.sum::<usize>() <= 2 * removed + 1);
    assert_eq!(
        node.value("container_restarts_total", &["web.service"]),
        Some(0.0)
    );
}

#[test]
fn restarts_stay_counted_when_their_cgroups_are_forgotten() {
    const RESTARTS: u64 = cgroups::MAX_REMOVED as u64 + 10;
    let mut node = Node::new(Settings::default());
    let restart = |number: u64| {
        let id = 1_000 + number;
        [removed_at(id, UNIT, id), processes(id, 0, 1, 0)]
    };
    let restarts = |node: &Node| node.value("container_restarts_total", &[]);
    for number in 0..RESTARTS {
        node.apply(&restart(number));
    }
    node.apply(&[cgroup(200, UNIT), processes(200, 1, 1, 0)]);
    node.resolve("");
    assert_eq!(restarts(&node), Some(RESTARTS as f64));
    node.pass(1);
    assert!((node.model.cgroups.len() as u64) < RESTARTS);
    assert_eq!(restarts(&node), Some(RESTARTS as f64));
    // A snapshot that still tells of those, and one that tells of none.
    node.apply(&[
        Record::SnapshotBegin,
        cgroup(200, UNIT),
        processes(200, 1, 1, 0),
    ]);
    for number in 0..RESTARTS {
        node.apply(&restart(number));
    }
    node.apply(&[Record::SnapshotEnd]);
    assert_eq!(restarts(&node), Some(RESTARTS as f64));
    node.apply(&[
        Record::SnapshotBegin,
        cgroup(200, UNIT),
        processes(200, 1, 1, 0),
        Record::SnapshotEnd,
    ]);
    assert_eq!(node.model.cgroups.len(), 1);
    assert_eq!(restarts(&node), Some(RESTARTS as f64));
}

#[test]
fn restarts_in_place_and_in_a_new_cgroup() {
    let mut node = unit_node();
    node.apply(&[processes(10, 1, 3, 2)]);
    assert_eq!(node.value("container_restarts_total", &[]), Some(2.0));
    node.apply(&[removed(10, UNIT), cgroup(11, UNIT), processes(11, 1, 1, 0)]);
    node.resolve("");
    assert_eq!(node.value("container_restarts_total", &[]), Some(3.0));
    node.apply(&[
        cgroup(12, b"/system.slice/web.service/sub"),
        processes(12, 1, 9, 5),
    ]);
    node.resolve("");
    assert_eq!(node.value("container_restarts_total", &[]), Some(3.0));
}

#[test]
fn a_process_in_both_hierarchies_counts_once() {
    let mut node = unit_node();
    node.apply(&[processes(10, 1, 2, 1), processes(110, 1, 2, 1)]);
    assert_eq!(node.value("container_restarts_total", &[]), Some(1.0));
}

#[test]
fn containers_without_processes_disappear_and_come_back() {
    let mut node = unit_node();
    node.apply(&[flow(WEB, DB, 1, 0), processes(10, 0, 1, 0)]);
    node.pass(1);
    node.pass(599);
    assert_eq!(node.connects(&[]), Some(1.0));
    node.pass(2);
    assert_eq!(node.page(), "");
    node.apply(&[processes(10, 1, 2, 1), flow(WEB, DB, 2, 0)]);
    node.resolve("");
    assert_eq!(node.value("container_restarts_total", &[]), Some(1.0));
    assert!(node.connects(&[]).is_some());
}

#[test]
fn unknown_containers_are_tried_again_and_hurt_nobody() {
    let mut node = unit_node();
    let path = format!("/docker/{DOCKER_ID}");
    node.apply(&[
        cgroup(20, path.as_bytes()),
        flow(
            Workload {
                cgroup_v2: 20,
                cgroup_v1: 0,
            },
            DB,
            1,
            0,
        ),
    ]);
    let jobs = node.model.next_to_resolve(node.now_ns, 10);
    assert_eq!(jobs.len(), 1);
    node.model.resolved(
        &jobs[0].class,
        Resolution::Retry {
            reason: RetryReason::NotFound,
            after: Duration::from_millis(200),
        },
        node.now_ns,
    );
    assert!(node.model.next_to_resolve(node.now_ns, 10).is_empty());
    node.now_ns += SECOND;
    let jobs = node.model.next_to_resolve(node.now_ns, 10);
    node.model.resolved(
        &jobs[0].class,
        Resolution::Ignored(Ignored::Pause),
        node.now_ns,
    );
    node.apply(&[flow(WEB, DB, 1, 0)]);
    assert_eq!(node.connects(&["web.service"]), Some(1.0));
}

#[test]
fn a_cgroup_that_is_gone_keeps_counters_and_no_gauges() {
    let mut node = unit_node();
    let job = node.model.cgroups_to_read().remove(0);
    let read = Resources {
        cpu_usage_seconds: Some(3.0),
        memory_rss_bytes: Some(4096),
        ..Resources::default()
    };
    let usage = |node: &Node| node.value("container_resources_cpu_usage_seconds_total", &[]);
    let memory = |node: &Node| node.value("container_resources_memory_rss_bytes", &[]);
    node.model.set_resources(vec![(job.clone(), read)]);
    assert_eq!((usage(&node), memory(&node)), (Some(3.0), Some(4096.0)));
    node.model.set_resources(Vec::new());
    assert_eq!((usage(&node), memory(&node)), (Some(3.0), None));
    // Its place was that of another container when its files were read.
    let id = "/docker/earlier".into();
    node.model
        .set_resources(vec![(ResourceJob { id, ..job }, read)]);
    assert_eq!((usage(&node), memory(&node)), (Some(3.0), None));
}

#[test]
fn connects_are_counted_whether_they_are_shown_or_not() {
    let mut node = Node::new(Settings::default());
    let seen = |node: &Node| {
        let seen = node.model.seen_connects();
        seen.map(|seen| (seen.run_id, seen.attempts))
    };
    // Nothing is known before the snapshot is whole.
    let open = flow(WEB, DB, 3, 1);
    node.apply(&[Record::SnapshotBegin, open]);
    assert_eq!(seen(&node), None);
    node.apply(&[Record::SnapshotEnd]);
    assert_eq!(seen(&node), Some((1, 3)));
    node.apply(&[open, flow(WEB, DB, 5, 1)]);
    assert_eq!(seen(&node), Some((1, 5)));
    // A flow that leaves the kernel's table was counted, and counts from 0 if it comes back.
    let Record::Flow(gone) = open else {
        panic!("it is a flow");
    };
    let mut back = gone;
    back.generation += 1;
    node.apply(&[Record::FlowEvicted(gone.key), Record::Flow(back)]);
    assert_eq!(seen(&node), Some((1, 8)));
    // Another sensor begins again, what was counted stays.
    node.model.disconnected();
    assert_eq!(seen(&node), None);
    node.connect(2);
    node.apply(&[Record::SnapshotBegin, open, Record::SnapshotEnd]);
    assert_eq!(seen(&node), Some((2, 11)));
}
