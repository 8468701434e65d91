use std::fs;

use nodescope_schema::{FileKind, Refusal};

use self::directory::{Directory, Fault};
use super::super::cgroup_path::classify;
use super::super::opener::{OpenError, OwnedOpenFile};
use super::super::runtimes::{docker, lxc};
use super::*;

mod directory;

const ID: &str = "575e91a0695d8cf4f2022848748c76a4a7a45991e63ba5dd3f6bf3cfa8c584c7";
const CRI_ID: &str = "1b619e4a80cdcc1ef12c5ba1e35fe413bc0f2d89ea47f825d939ae5118bbfcb8";
const PODMAN_ID: &str = "3d17faa88fe7261fb8c1cdf66d7c63bc611e988de9fa811e2592de90b8c9e370";

fn docker_file(id: &str) -> OwnedOpenFile {
    OwnedOpenFile {
        container: id.into(),
        ..OwnedOpenFile::of_kind(FileKind::DockerConfig)
    }
}

fn resolver(directory: &Arc<Directory>) -> Resolver {
    Resolver::new(directory.clone(), Settings::default())
}

async fn resolve(resolver: &Resolver, path: &str) -> Resolution {
    resolver.resolve(&classify(path.as_bytes())).await
}

fn id(resolution: &Resolution) -> &str {
    match resolution {
        Resolution::Container(identity) => &identity.id,
        other => panic!("{other:?}"),
    }
}

fn retry(resolution: &Resolution) -> (RetryReason, Duration) {
    match resolution {
        Resolution::Retry { reason, after } => (*reason, *after),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn units_need_no_file() {
    let directory = Directory::new();
    let resolver = resolver(&directory);
    assert_eq!(
        id(&resolve(&resolver, "/system.slice/ssh.service").await),
        "/system.slice/ssh.service"
    );
    assert_eq!(
        resolve(&resolver, "/kubepods").await,
        Resolution::Ignored(Ignored::PodDirectory)
    );
    assert_eq!(
        resolve(&resolver, "/init.scope").await,
        Resolution::Ignored(Ignored::Init)
    );
    assert_eq!(directory.opened(), 0);
}

#[tokio::test]
async fn containers_are_named_from_their_files() {
    let directory = Directory::new();
    directory.put(&docker_file(ID), "docker_web.json");
    let bundle = |namespace: &str, container: &str| OwnedOpenFile {
        namespace: namespace.into(),
        container: container.into(),
        ..OwnedOpenFile::of_kind(FileKind::ContainerdBundle)
    };
    directory.put(&bundle("k8s.io", CRI_ID), "containerd_cri_container.json");
    directory.put(&bundle("k8s.io", PODMAN_ID), "containerd_cri_sandbox.json");
    directory.put(
        &bundle("default", "plain1"),
        "containerd_nerdctl_labels.json",
    );
    directory.put(
        &OwnedOpenFile {
            uid: 1000,
            ..OwnedOpenFile::of_kind(FileKind::StorageContainers)
        },
        "podman_containers.json",
    );
    directory.put(
        &OwnedOpenFile {
            container: b"web".to_vec(),
            ..OwnedOpenFile::of_kind(FileKind::LxcConfig)
        },
        "lxc_download.conf",
    );
    let resolver = resolver(&directory);
    let user = "/user.slice/user-1000.slice/user@1000.service/user.slice";
    let rows = [
        (format!("/docker/{ID}"), "/docker/web", "", Some("bb:1")),
        (
            format!("/custom.slice/parent/{ID}"),
            "/docker/web",
            "",
            Some("bb:1"),
        ),
        (
            format!("/kubepods/burstable/podx/{CRI_ID}"),
            "/k8s/shop/cart-7d4b9c6f5-x2vlq/cart",
            "/k8s/shop/cart",
            Some("localhost/bb:1"),
        ),
        (
            "/default/plain1".into(),
            "/containerd/default/jolly",
            "",
            None,
        ),
        (
            format!("{user}/libpod-{PODMAN_ID}.scope"),
            "/podman/user-1000/pweb",
            "",
            Some("localhost/bb:1"),
        ),
        (
            "/lxc.payload.web".into(),
            "/lxc/web",
            "",
            Some("debian:bookworm"),
        ),
        ("/lxc.payload.other".into(), "/lxc/other", "", None),
    ];
    for (path, id, app_id, image) in rows {
        let Resolution::Container(identity) = resolve(&resolver, &path).await else {
            panic!("{path}")
        };
        assert_eq!(
            (&*identity.id, &*identity.app_id, identity.image.as_deref()),
            (id, app_id, image),
            "{path}"
        );
    }
    let pause = resolve(&resolver, &format!("/kubepods/burstable/podx/{PODMAN_ID}")).await;
    assert_eq!(pause, Resolution::Ignored(Ignored::Pause));
}

#[tokio::test]
async fn a_gvisor_sandbox_is_named_after_its_pod() {
    let directory = Directory::new();
    let file = OwnedOpenFile {
        namespace: b"k8s.io".to_vec(),
        container: CRI_ID.into(),
        ..OwnedOpenFile::of_kind(FileKind::ContainerdBundle)
    };
    directory.put(&file, "containerd_cri_sandbox.json");
    let class = classify(b"/kubepods/burstable/podx")
        .with_cmdline(format!("runsc-sandbox\0boot\0{CRI_ID}").as_bytes());
    let resolution = resolver(&directory).resolve(&class).await;
    assert_eq!(id(&resolution), "/k8s/shop/cart-7d4b9c6f5-x2vlq/sandbox");
}

#[tokio::test]
async fn docker_may_keep_its_files_elsewhere() {
    let directory = Directory::new();
    let daemon = OwnedOpenFile::of_kind(FileKind::DockerDaemon);
    directory.write(&daemon, br#"{"data-root": "/srv/docker"}"#);
    directory.write(
        &OwnedOpenFile {
            uid: 1001,
            ..daemon
        },
        br#"{"data-root": "/srv/1001"}"#,
    );
    let rows = [
        (ID, "/srv/docker", 0, "/docker/web"),
        (CRI_ID, "", 0, "/docker/web"),
        (ID, "/srv/1001", 1001, "/docker/user-1001/web"),
        (ID, "", 1000, "/docker/user-1000/web"),
        (PODMAN_ID, "/mnt", 0, "/docker/web"),
    ];
    let settings = Settings {
        docker_roots: vec!["/mnt".into()],
        ..Settings::default()
    };
    let resolver = Resolver::new(directory.clone(), settings);
    for (container, root, uid, expected) in rows {
        directory.put(
            &OwnedOpenFile {
                root: root.into(),
                uid,
                ..docker_file(container)
            },
            "docker_web.json",
        );
        let path = match uid {
            0 => format!("/docker/{container}"),
            uid => format!(
                "/user.slice/user-{uid}.slice/user@{uid}.service/user.slice/docker-{container}.scope"
            ),
        };
        assert_eq!(
            id(&resolve(&resolver, &path).await),
            expected,
            "{root} {uid}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_used_until_it_is_old() {
    let directory = Directory::new();
    directory.put(&docker_file(ID), "docker_web.json");
    let resolver = resolver(&directory);
    let path = format!("/docker/{ID}");
    assert_eq!(id(&resolve(&resolver, &path).await), "/docker/web");
    let opened = directory.opened();
    // Renamed.
    directory.put(&docker_file(ID), "docker_nomad.json");
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(id(&resolve(&resolver, &path).await), "/docker/web");
    assert_eq!(directory.opened(), opened);
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(id(&resolve(&resolver, &path).await).starts_with("/nomad/"));
    // Renamed again, and known to have stopped.
    directory.put(&docker_file(ID), "docker_web.json");
    resolver.forget(&classify(path.as_bytes()));
    assert_eq!(id(&resolve(&resolver, &path).await), "/docker/web");
    // Removed: the last name stays.
    fs::remove_file(directory.path(&docker_file(ID))).unwrap();
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(id(&resolve(&resolver, &path).await), "/docker/web");
}

#[tokio::test(start_paused = true)]
async fn retries_are_quick_first_and_rare_later() {
    let directory = Directory::new();
    let resolver = resolver(&directory);
    let path = format!("/docker/{ID}");
    let mut pauses = Vec::new();
    for _ in 0..12 {
        let (reason, after) = retry(&resolve(&resolver, &path).await);
        assert_eq!(reason, RetryReason::NotFound);
        let opened = directory.opened();
        let (_, early) = retry(&resolve(&resolver, &path).await);
        assert_eq!(
            directory.opened(),
            opened,
            "asked before the pause was over"
        );
        assert!(early <= after);
        pauses.push(after.as_millis());
        tokio::time::advance(after).await;
    }
    assert_eq!(pauses[..4], [50, 100, 200, 400]);
    assert_eq!(pauses[10..], [30_000, 30_000]);
    directory.put(&docker_file(ID), "docker_web.json");
    assert_eq!(id(&resolve(&resolver, &path).await), "/docker/web");
}

#[tokio::test(start_paused = true)]
async fn what_only_looks_like_a_container_is_given_up() {
    let directory = Directory::new();
    let resolver = resolver(&directory);
    for _ in 0..3 {
        let (_, after) = retry(&resolve(&resolver, "/process_api/0123").await);
        tokio::time::advance(after).await;
    }
    let last = resolve(&resolver, "/process_api/0123").await;
    assert_eq!(last, Resolution::Ignored(Ignored::UnknownContainer));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_given_up_while_the_sensor_is_away() {
    let directory = Directory::new();
    let resolver = resolver(&directory);
    for error in [
        OpenError::Disconnected,
        OpenError::TimedOut,
        OpenError::Refused(Refusal::RateLimited),
    ] {
        directory.fault("plain1", Some(Fault::Fails(error)));
        for _ in 0..8 {
            let (reason, after) = retry(&resolve(&resolver, "/default/plain1").await);
            assert!(
                reason.is_about_sensor() && after <= Duration::from_secs(1),
                "{reason:?} {after:?}"
            );
            tokio::time::advance(after).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_holds_up_no_other() {
    let directory = Directory::new();
    directory.put(&docker_file(ID), "docker_web.json");
    directory.fault(CRI_ID, Some(Fault::Hangs));
    let resolver = Arc::new(resolver(&directory));
    let hanging = tokio::spawn({
        let resolver = resolver.clone();
        async move { resolve(&resolver, &format!("/docker/{CRI_ID}")).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(
        id(&resolve(&resolver, &format!("/docker/{ID}")).await),
        "/docker/web"
    );
    assert_eq!(retry(&hanging.await.unwrap()).0, RetryReason::TimedOut);
    directory.fault(CRI_ID, None);
}

#[tokio::test]
async fn bad_files_are_told_apart() {
    let directory = Directory::new();
    directory.write(&docker_file(ID), b"{\"Name\": \"/we");
    directory.write(&docker_file(CRI_ID), &vec![b' '; (1 << 20) + 1]);
    directory.fault(PODMAN_ID, Some(Fault::Fails(Refusal::Forbidden.into())));
    let resolver = resolver(&directory);
    for (container, expected) in [
        (ID, RetryReason::Malformed),
        (CRI_ID, RetryReason::Unreadable),
        (PODMAN_ID, RetryReason::Unreadable),
    ] {
        assert_eq!(
            retry(&resolve(&resolver, &format!("/docker/{container}")).await).0,
            expected
        );
    }
}

#[tokio::test]
async fn the_cache_is_bounded_and_keeps_what_is_used() {
    let directory = Directory::new();
    let settings = Settings {
        capacity: 8,
        ..Settings::default()
    };
    let resolver = Resolver::new(directory.clone(), settings);
    for number in 0..100 {
        resolve(&resolver, &format!("/lxc/{number}")).await;
        resolve(&resolver, "/lxc/kept").await;
        assert!(resolver.cache().len() <= 8);
    }
    assert_eq!(directory.opened(), 101);
}

#[tokio::test]
async fn lxc_is_named_without_the_sensor() {
    let directory = Directory::new();
    directory.fault("box", Some(Fault::Fails(OpenError::Disconnected)));
    let resolution = resolve(&resolver(&directory), "/lxc.payload.box").await;
    let Resolution::Container(identity) = resolution else {
        panic!("{resolution:?}")
    };
    assert_eq!((&*identity.id, identity.runtime), ("/lxc/box", lxc::NAME));
    assert_ne!(identity.runtime, docker::NAME);
}
