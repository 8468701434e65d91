//! One row a layout. `ID` and `POD` in a path stand for ids of 64 digits, `U-I-D` for a pod's uid, `SESSION` for the
//! cgroup of a user's service manager.

use proptest::prelude::*;

use super::*;

const ID: &str = "1b619e4a80cdcc1ef12c5ba1e35fe413bc0f2d89ea47f825d939ae5118bbfcb8";
const POD: &str = "1144647567e361b51a7c14b5b874170d3f21ef389d019e5645db9495154f790c";
const SESSION: &str = "/user.slice/user-1000.slice/user@1000.service";
const UID: &str = "5e0f3b1c_0d3a_4f0e_9a57_2f6f4b1c8d11";

fn expand(path: &str) -> Vec<u8> {
    path.replace("SESSION", SESSION)
        .replace("POD", POD)
        .replace("ID", ID)
        .replace("U-I-D", UID)
        .into_bytes()
}

/// A container in the notation of the tables: `RUNTIME [NAMESPACE/]ID [pod] [user=UID] [?]`.
fn notation(class: &Class) -> String {
    let container = match class {
        Class::Container(container) => container,
        Class::Pod => return "pod directory".to_owned(),
        Class::Unit(id) => return id.clone(),
        Class::Ignored(reason) => return format!("ignored {}", reason.as_str()),
    };
    let mut text = container.runtime.unwrap_or("any").to_owned() + " ";
    if let Some(namespace) = &container.namespace {
        text += &format!("{namespace}/");
    }
    text += &String::from_utf8_lossy(&container.id).replace(ID, "ID");
    for (is_set, word) in [(container.in_pod, " pod"), (!container.certain, " ?")] {
        text += if is_set { word } else { "" };
    }
    if container.uid != 0 {
        text += &format!(" user={}", container.uid);
    }
    text
}

/// Checks rows of the form `PATH => CLASS`; `#` begins a remark.
fn check(table: &str) {
    let lines = table
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        let (path, expected) = line.split_once(" => ").unwrap();
        assert_eq!(notation(&classify(&expand(path))), expected, "{path}");
    }
}

#[test]
fn docker() {
    check(
        r"
        /docker/ID => docker ID
        /docker/ID/init.scope => docker ID
        /system.slice/docker-ID.scope => docker ID
        /system.slice/docker-ID.scope/init.scope => docker ID
        /../../../../system.slice/docker-ID.scope => docker ID
        /custom.slice/docker-ID.scope => docker ID
        /ecstasks.slice/ecstasks-0123456789abcdef.slice/docker-ID.scope => docker ID
        # The cgroupfs driver with a parent of its own does not say docker.
        /custom.slice/parent/ID => any ID ?
        /actions_job/ID => any actions_job/ID ?
        /ID => any ID ?
        SESSION/user.slice/docker-ID.scope => docker ID user=1000
        SESSION/app.slice/docker.service => /user.slice/user-1000.slice/docker.service
        /system.slice/docker.service => /system.slice/docker.service
        /docker/buildkit/q2ox9zv3x5jz0c6iqg4r3dz1k => ignored unknown_layout
        /docker => ignored unknown_layout
        ",
    );
}

#[test]
fn kubernetes() {
    check(
        r"
        /kubepods/burstable/pod5e0f3b1c-0d3a-4f0e-9a57-2f6f4b1c8d11/ID => any ID pod
        /kubepods/besteffort/pod5e0f3b1c-0d3a-4f0e-9a57-2f6f4b1c8d11/ID/kube-proxy => any ID pod
        /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU-I-D.slice/docker-ID.scope => docker ID pod
        /kubepods.slice/kubepods-podU-I-D.slice/cri-containerd-ID.scope => containerd ID pod
        /kubepods.slice/kubepods-podU-I-D.slice/cri-containerd-ID.scope/init.scope => containerd ID pod
        /kubepods/podU-I-D/cri-containerd-ID => containerd ID pod
        /system.slice/containerd.service/kubepods-burstable-podU-I-D.slice:cri-containerd:ID => containerd ID pod
        /kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU-I-D.slice/cri-containerd-ID.scope => containerd ID pod
        /kubepods/podU-I-D/crio-ID => crio ID pod
        /kubepods.slice/kubepods-podU-I-D.slice/crio-ID.scope => crio ID pod
        /kubepods.slice/kubepods-podU-I-D.slice/crio-ID.scope/container => crio ID pod
        /kubepods.slice/kubepods-podU-I-D.slice/crio-conmon-ID.scope => ignored monitor
        /system.slice/crio-conmon-ID.scope => ignored monitor
        /kubepods/podU-I-D/kata_ID => any ID pod
        # Only the pod: gVisor, or a directory without processes.
        /kubepods/burstable/pod5e0f3b1c-0d3a-4f0e-9a57-2f6f4b1c8d11 => pod directory
        /kubepods.slice/kubepods-podU-I-D.slice => pod directory
        /kubepods => pod directory
        # Not below a pod, as tools that speak CRI without a kubelet make them.
        /system.slice/cri-containerd-ID.scope => containerd ID
        /runtime.slice/kubelet.service => /runtime.slice/kubelet.service
        ",
    );
}

#[test]
fn podman() {
    check(
        r"
        /machine.slice/libpod-ID.scope => podman ID
        /machine.slice/libpod-ID.scope/container => podman ID
        /machine.slice/machine-libpod_pod_POD.slice/libpod-ID.scope/container => podman ID
        /machine.slice/machine-libpod_pod_POD.slice/libpod-conmon-ID.scope => ignored monitor
        /machine.slice/libpod-conmon-ID.scope => ignored monitor
        /libpod_parent/libpod-ID => podman ID
        /libpod_parent/POD/libpod-ID => podman ID
        /libpod_parent => ignored pod_directory
        /libpod_parent/POD => ignored pod_directory
        /libpod_parent/conmon => ignored monitor
        /libpod_parent/POD/conmon => ignored monitor
        /system.slice/web.service/libpod-payload-ID => podman ID
        /system.slice/web.service/runtime => /system.slice/web.service
        SESSION/user.slice/libpod-ID.scope/container => podman ID user=1000
        SESSION/user.slice/user-libpod_pod_POD.slice/libpod-ID.scope => podman ID user=1000
        SESSION/user.slice/libpod-conmon-ID.scope => ignored monitor
        SESSION/app.slice/web.service/libpod-payload-ID => podman ID user=1000
        SESSION/user.slice/podman-pause-1a2b3c4d.scope => ignored user_session
        /user.slice/user-0.slice/session-1.scope/libpod_parent/libpod-ID => podman ID
        ",
    );
}

#[test]
fn containerd_without_kubernetes() {
    check(
        r"
        /default/plain1 => containerd default/plain1 ?
        /default/plain1/sub => containerd default/plain1 ?
        /default/ID => any default/ID ?
        /nerdctl-ID.scope => containerd ID
        /system.slice/nerdctl-ID.scope => containerd ID
        SESSION/user.slice/nerdctl-ID.scope => containerd ID user=1000
        # containerd allows neither.
        /a--b/c => ignored unknown_layout
        /default/.hidden => ignored unknown_layout
        ",
    );
}

#[test]
fn lxc() {
    check(
        r"
        /lxc/name => lxc name
        /lxc/101/ns/init.scope => lxc 101
        /lxc.payload.first/system.slice/ssh.service => lxc first
        /lxc.payload/first => lxc first
        /lxc.payload.project_web => lxc project_web
        /lxc.monitor.first => ignored monitor
        /lxc.monitor/101 => ignored monitor
        /lxc.pivot => ignored monitor
        SESSION/app.slice/run-r1.scope/lxc.payload.first => lxc first user=1000
        /lxc => ignored root
        /lxc.payload. => ignored root
        ",
    );
}

#[test]
fn the_outermost_of_nested_containers_wins() {
    check(
        r"
        /lxc.payload.box/docker/ID => lxc box
        /lxc.payload.box/system.slice/docker-ID.scope => lxc box
        /docker/ID/docker/POD => docker ID
        /system.slice/docker-ID.scope/docker/POD => docker ID
        /docker/ID/kubelet/kubepods/burstable/pod5e0f3b1c/POD => docker ID
        /system.slice/docker-ID.scope/kubelet.slice/kubelet-kubepods.slice/cri-containerd-POD.scope => docker ID
        /kubepods/besteffort/podU-I-D/ID/docker/POD => any ID pod
        /machine.slice/libpod-ID.scope/container/kubelet.slice/kubepods/cri-containerd-POD.scope => podman ID
        ",
    );
}

#[test]
fn units() {
    check(
        r"
        /system.slice/ssh.service => /system.slice/ssh.service
        /system.slice/ssh.service/sub/deeper => /system.slice/ssh.service
        # What a service does below its own cgroup is its own affair.
        /system.slice/buildkit.service/ID => /system.slice/buildkit.service
        /system.slice/foo.service/init.scope => /system.slice/foo.service
        /system.slice/system-getty.slice/getty@tty1.service => /system.slice/system-getty.slice
        /system.slice/system-serial\x2dgetty.slice => /system.slice/system-serial-getty.slice
        /system.slice/system-postgresql.slice/postgresql@9.4-main.service => /system.slice/system-postgresql.slice
        /foo.slice/bar-baz.slice/x.service => /foo.slice/bar-baz.slice
        /azure.slice/walinuxagent.service => /azure.slice/walinuxagent.service
        /podruntime.slice/kubelet.service => /podruntime.slice/kubelet.service
        /reserved.slice/containerd.service => /reserved.slice/containerd.service
        /machine.slice/systemd-nspawn@deb.service/payload/init.scope => /machine.slice/systemd-nspawn@deb.service
        /system.slice/run-u42.scope => ignored scope
        /system.slice/run-u42.scope/sub => ignored scope
        /system.slice/system-foo.slice/run-u1.scope => ignored scope
        /machine.slice/machine-qemu\x2d1\x2dvm.scope => ignored scope
        ",
    );
}

#[test]
fn users() {
    check(
        r"
        /user.slice/user-1000.slice/session-3.scope => ignored user_session
        /user.slice => ignored user_session
        SESSION/init.scope => ignored user_session
        SESSION/app.slice/foo.service => /user.slice/user-1000.slice/foo.service
        SESSION/foo.service => /user.slice/user-1000.slice/foo.service
        SESSION/app.slice/app-foo.slice/foo@1.service/sub => /user.slice/user-1000.slice/foo@1.service
        SESSION/app.slice/app-firefox-123.scope => ignored user_session
        /user.slice/user-x.slice/user@1000.service/app.slice/foo.service => ignored user_session
        /user.slice/user-99999999999.slice/user@1.service/a.service => ignored user_session
        ",
    );
}

#[test]
fn talos() {
    check(
        r"
        /init => /talos/init
        /system/dashboard => /talos/dashboard
        /podruntime/runtime => /talos/runtime
        /podruntime/kubelet/sub => /talos/kubelet
        ",
    );
}

#[test]
fn nothing() {
    assert_eq!(classify(b""), Class::Ignored(Ignored::Root));
    check(
        r"
        / => ignored root
        /../.. => ignored root
        /init.scope => ignored init
        /systemd/foo => ignored init
        /system.slice => ignored root
        /docker/ID (deleted) => ignored removed
        /system.slice/ssh.service (deleted) => ignored removed
        /what ever/it is => ignored unknown_layout
        ",
    );
}

#[test]
fn names_need_not_be_text() {
    assert_eq!(
        notation(&classify(b"/system.slice/\xff\xfe.service")),
        "/system.slice/\u{fffd}\u{fffd}.service"
    );
    let Class::Container(container) = classify(b"/lxc.payload.b\xffx") else {
        panic!("not a container")
    };
    assert_eq!(container.id, b"b\xffx");
}

#[test]
fn an_id_has_64_lower_case_digits() {
    for name in [
        &ID[1..],
        &format!("{ID}0"),
        &ID.to_uppercase(),
        &format!("x{ID}"),
    ] {
        assert_eq!(hex_id(name.as_bytes()), None, "{name}");
    }
    let name = format!("a-{}_{ID}.scope", &ID[..32]);
    let found = hex_id(name.as_bytes()).expect("an id");
    assert_eq!(
        (found.id, found.before.len()),
        (ID.as_bytes(), name.len() - ".scope".len() - ID.len())
    );
}

#[test]
fn the_better_hierarchy_wins() {
    let rows = [
        // (v2, v1, result)
        (
            "/reserved.slice/containerd.service",
            "/kubepods/podU-I-D/ID",
            "any ID pod",
        ),
        (
            "/system.slice/docker-ID.scope",
            "/kubepods/podU-I-D/ID",
            "any ID pod",
        ),
        ("/", "/docker/ID", "docker ID"),
        ("/docker/ID", "/", "docker ID"),
        ("/docker/ID", "/docker/POD", "docker ID"),
        (
            "/system.slice/a.service",
            "/system.slice/b.service",
            "/system.slice/a.service",
        ),
        (
            "/init.scope",
            "/system.slice/b.service",
            "/system.slice/b.service",
        ),
        (
            "/system.slice/a.service",
            "/default/plain1",
            "/system.slice/a.service",
        ),
        ("/", "/default/plain1", "containerd default/plain1 ?"),
        ("/", "/libpod_parent/conmon", "ignored monitor"),
        (
            "/",
            "/process_api/8795485854c600c6f0429bd6f62297ec",
            "containerd process_api/8795485854c600c6f0429bd6f62297ec ?",
        ),
    ];
    for (v2, v1, expected) in rows {
        let class = classify(&expand(v2)).or_better(classify(&expand(v1)));
        assert_eq!(notation(&class), expected, "{v2} {v1}");
    }
}

#[test]
fn gvisor_is_told_by_its_command_line() {
    let cmdline = format!("runsc-sandbox\0boot\0{ID}\0");
    let pod = classify(b"/kubepods/burstable/pod5e0f3b1c");
    assert_eq!(pod.clone().with_cmdline(b"nginx\0"), Class::Pod);
    let Class::Container(container) = pod.with_cmdline(cmdline.as_bytes()) else {
        panic!("not a container")
    };
    assert!(container.sandbox && container.in_pod);
    assert_eq!(container.id, ID.as_bytes());
    let unit = classify(b"/system.slice/ssh.service");
    assert_eq!(unit.clone().with_cmdline(cmdline.as_bytes()), unit);
}

proptest! {
    #[test]
    fn any_bytes_have_a_class(path in proptest::collection::vec(any::<u8>(), 0..300)) {
        classify(&path);
        classify(&path).with_cmdline(&path);
    }

    /// Paths made of the words that matter, in any order.
    #[test]
    fn any_words_have_a_class(words in proptest::collection::vec(
        prop::sample::select(vec![
            "docker", "kubepods", "lxc", "lxc.payload.", "libpod_parent", "conmon", "user.slice", "user-1000.slice",
            "user@1000.service", "a.slice", "a.service", "a.scope", "..", "", ID, "libpod-", "docker-", "init",
        ]), 0..8)) {
        let path = format!("/{}", words.join("/"));
        let class = classify(path.as_bytes());
        // Only what is below decides, never a trailing slash.
        prop_assert_eq!(classify(format!("{path}/").as_bytes()), class);
    }
}
