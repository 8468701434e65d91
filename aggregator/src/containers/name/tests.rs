use proptest::prelude::*;

use super::super::runtimes::{Runtime, containerd, crio, docker, lxc, podman};
use super::*;

/// 2026-11-22 13:45 UTC: minute 29922585 since the epoch.
const NOW_S: u64 = 29_922_585 * 60;

fn metadata(name: &str, facts: &[(&str, &str)]) -> Metadata {
    let mut metadata = Metadata {
        name: Some(name.to_owned()),
        ..Metadata::default()
    };
    metadata.note(facts.iter().map(|(key, value)| (*key, (*value).to_owned())));
    metadata
}

fn id(metadata: &Metadata) -> Result<String, Ignored> {
    container_id(&docker::Docker, &ContainerRef::default(), metadata, NOW_S)
}

fn pod(name: &str, container: &str) -> Metadata {
    metadata(
        "k8s_app",
        &[
            ("io.kubernetes.pod.name", name),
            ("io.kubernetes.pod.namespace", "shop"),
            ("io.kubernetes.container.name", container),
        ],
    )
}

#[test]
fn kubernetes_comes_first() {
    assert_eq!(
        id(&pod("cart-7d4b9c6f5-x2vlq", "cart")),
        Ok("/k8s/shop/cart-7d4b9c6f5-x2vlq/cart".into())
    );
    let mut both = pod("a", "b");
    both.note([
        ("com.docker.swarm.task.name", "s.1.x".to_owned()),
        ("com.docker.swarm.service.name", "s".to_owned()),
    ]);
    assert_eq!(id(&both), Ok("/k8s/shop/a/b".into()));
    for name in ["POD", ""] {
        assert_eq!(
            id(&pod("cart-7d4b9c6f5-x2vlq", name)),
            Err(Ignored::Pause),
            "{name:?}"
        );
    }
}

#[test]
fn a_slash_does_not_make_another_container() {
    assert_eq!(id(&pod("a/b", "c")), Ok("/docker/k8s_app".into()));
    assert_eq!(id(&pod("a", "../b")), Err(Ignored::Pause));
}

#[test]
fn a_user_cannot_name_a_container_like_the_systems() {
    let container = ContainerRef {
        uid: 1000,
        ..ContainerRef::default()
    };
    let id = container_id(
        &docker::Docker,
        &container,
        &pod("cart-7d4b9c6f5-x2vlq", "cart"),
        NOW_S,
    );
    assert_eq!(id, Ok("/docker/user-1000/k8s_app".into()));
}

#[test]
fn gvisor_is_the_sandbox_of_its_pod() {
    let container = ContainerRef {
        sandbox: true,
        in_pod: true,
        ..ContainerRef::default()
    };
    let metadata = Metadata {
        is_pause: true,
        ..pod("web-0", "")
    };
    let id = container_id(&containerd::Containerd, &container, &metadata, NOW_S);
    assert_eq!(id, Ok("/k8s/shop/web-0/sandbox".into()));
}

#[test]
fn cronjobs_are_told_by_their_minute() {
    let rows = [
        ("backup-29922585-x2vlq", "/k8s-cronjob/shop/backup/c"),
        ("db-backup-29912505-x2vlq", "/k8s-cronjob/shop/db-backup/c"),
        ("db-backup-29932665-x2vlq", "/k8s-cronjob/shop/db-backup/c"),
        // A week and a minute, before and after.
        ("backup-29912504-x2vlq", "/k8s/shop/backup-29912504-x2vlq/c"),
        ("backup-29932666-x2vlq", "/k8s/shop/backup-29932666-x2vlq/c"),
        ("backup-29922585-aaaaa", "/k8s/shop/backup-29922585-aaaaa/c"),
        ("backup-2992258-x2vlq", "/k8s/shop/backup-2992258-x2vlq/c"),
        ("-29922585-x2vlq", "/k8s/shop/-29922585-x2vlq/c"),
        ("29922585-x2vlq", "/k8s/shop/29922585-x2vlq/c"),
    ];
    for (name, expected) in rows {
        assert_eq!(id(&pod(name, "c")).as_deref(), Ok(expected), "{name}");
    }
}

#[test]
fn swarm() {
    let task = |task, service, stack| {
        id(&metadata(
            "shop_front.1.gubh4jxg8ulo1a95arnvf2tem",
            &[
                ("com.docker.swarm.task.name", task),
                ("com.docker.swarm.service.name", service),
                ("com.docker.stack.namespace", stack),
            ],
        ))
        .unwrap()
    };
    assert_eq!(
        task("shop_front.1.gubh4", "shop_front", "shop"),
        "/swarm/shop/front/1"
    );
    assert_eq!(task("lone.2.9xgoa", "lone", ""), "/swarm/_/lone/2");
    assert_eq!(
        task("shopping.1.9xgoa", "shopping", "shop"),
        "/swarm/shop/shopping/1"
    );
    assert_eq!(
        task("a.b", "a", "x"),
        "/docker/shop_front.1.gubh4jxg8ulo1a95arnvf2tem"
    );
    assert_eq!(
        task("a.b.c.d", "a", "x"),
        "/docker/shop_front.1.gubh4jxg8ulo1a95arnvf2tem"
    );
}

#[test]
fn nomad_needs_all_five() {
    let facts = [
        ("NOMAD_NAMESPACE", "default"),
        ("NOMAD_JOB_NAME", "shop/dispatch-1485411496-58f24d2d"),
        ("NOMAD_GROUP_NAME", "cart"),
        ("NOMAD_ALLOC_ID", "b7a9d3f2"),
        ("NOMAD_TASK_NAME", "server"),
    ];
    let expected = "/nomad/default/shop/dispatch-1485411496-58f24d2d/cart/b7a9d3f2/server";
    assert_eq!(id(&metadata("task", &facts)).unwrap(), expected);
    for missing in 0..facts.len() {
        let mut some = facts.to_vec();
        some.remove(missing);
        assert_eq!(id(&metadata("task", &some)).unwrap(), "/docker/task");
    }
}

#[test]
fn runtimes_use_their_own_name() {
    let of = |uid| ContainerRef {
        uid,
        id: b"b\xffx".to_vec(),
        ..ContainerRef::default()
    };
    let named = metadata("web", &[]);
    let nerdctl = Metadata {
        namespace: Some("prod".into()),
        ..named.clone()
    };
    let none = Metadata::default();
    let in_pod = ContainerRef {
        in_pod: true,
        ..of(0)
    };
    type Row<'a> = (
        &'a dyn Runtime,
        ContainerRef,
        &'a Metadata,
        Result<&'a str, Ignored>,
    );
    let rows: [Row<'_>; 11] = [
        (&docker::Docker, of(0), &named, Ok("/docker/web")),
        (
            &docker::Docker,
            of(1000),
            &named,
            Ok("/docker/user-1000/web"),
        ),
        (&docker::Docker, of(0), &none, Err(Ignored::Unnamed)),
        (&podman::Podman, of(0), &named, Ok("/podman/web")),
        (
            &podman::Podman,
            of(1001),
            &named,
            Ok("/podman/user-1001/web"),
        ),
        (
            &containerd::Containerd,
            of(0),
            &nerdctl,
            Ok("/containerd/prod/web"),
        ),
        (
            &containerd::Containerd,
            of(0),
            &none,
            Ok("/containerd/default/b\u{fffd}x"),
        ),
        (
            &containerd::Containerd,
            in_pod,
            &none,
            Err(Ignored::Unnamed),
        ),
        (&crio::Crio, of(0), &named, Err(Ignored::Unnamed)),
        (&lxc::Lxc, of(0), &none, Ok("/lxc/b\u{fffd}x")),
        (&lxc::Lxc, of(1000), &none, Ok("/lxc/user-1000/b\u{fffd}x")),
    ];
    for (runtime, container, metadata, expected) in rows {
        let id = container_id(runtime, &container, metadata, NOW_S);
        assert_eq!(
            id.as_deref().map_err(|reason| *reason),
            expected,
            "{}",
            runtime.name()
        );
    }
    let pause = Metadata {
        is_pause: true,
        ..named
    };
    assert_eq!(id(&pause), Err(Ignored::Pause));
}

#[test]
fn app_ids() {
    let rows = [
        ("/k8s/shop/cart-7d4b9c6f5-x2vlq/cart", "/k8s/shop/cart"),
        (
            "/k8s/shop/my-cart-7d4b9c6f5-x2vlq/cart",
            "/k8s/shop/my-cart",
        ),
        (
            "/k8s/kube-system/kube-proxy-x2vlq/kube-proxy",
            "/k8s/kube-system/kube-proxy",
        ),
        ("/k8s/db/postgres-0/postgres", "/k8s/db/postgres"),
        ("/k8s/db/postgres-main-12/postgres", "/k8s/db/postgres-main"),
        // The hash is too long for one, so this is a DaemonSet.
        (
            "/k8s/shop/cart-7d4b9c6f5aa-x2vlq/cart",
            "/k8s/shop/cart-7d4b9c6f5aa",
        ),
        // Vowels are no suffix.
        ("/k8s/shop/cart-abcde/cart", ""),
        ("/k8s/shop/cart/cart", ""),
        ("/k8s/shop/-x2vlq/cart", ""),
        ("/k8s-cronjob/shop/backup/c", ""),
        ("/docker/web-0", ""),
        ("/system.slice/a.service", ""),
        ("/k8s/shop", ""),
        ("", ""),
    ];
    for (id, expected) in rows {
        assert_eq!(app_id(id), expected, "{id}");
    }
}

proptest! {
    #[test]
    fn any_facts_make_an_id_or_none(name in ".*", facts in proptest::collection::vec(".*", 11), now_s in any::<u64>()) {
        let keys = [
            "io.kubernetes.pod.name", "io.kubernetes.pod.namespace", "io.kubernetes.container.name",
            "com.docker.swarm.task.name", "com.docker.swarm.service.name", "com.docker.stack.namespace",
            "NOMAD_NAMESPACE", "NOMAD_JOB_NAME", "NOMAD_GROUP_NAME", "NOMAD_ALLOC_ID", "NOMAD_TASK_NAME",
        ];
        let pairs: Vec<(&str, &str)> = keys.into_iter().zip(facts.iter().map(String::as_str)).collect();
        let id = container_id(&docker::Docker, &ContainerRef::default(), &metadata(&name, &pairs), now_s);
        if let Ok(id) = id {
            prop_assert!(id.starts_with('/'));
            app_id(&id);
        }
    }
}
