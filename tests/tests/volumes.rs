//! Disks of real containers: ext4 and xfs on loop devices, docker's own volumes, and a file system that hangs.

use nix::sys::statvfs::statvfs;
use nodescope_tests::*;
use tempfile::NamedTempFile;

const MIB: u64 = 1 << 20;

/// A daemon, two file systems of its node, and an agent that sees them.
struct Node {
    // Stopped before the daemon whose files it reads.
    agent: Agent,
    docker: Docker,
    _settings: NamedTempFile,
}

static NODE: Shared<Node> = Shared::new();

impl Node {
    fn start() -> Self {
        let docker = Docker::start();
        let images = docker.sandbox().directory().display();
        let script = format!(
            "set -e
            truncate -s 64M {images}/ext4
            truncate -s 320M {images}/xfs
            mkfs.ext4 -q -m 5 {images}/ext4
            mkfs.xfs -q {images}/xfs
            mkdir /run/ext4 /run/xfs /run/shared
            mount -o loop {images}/ext4 /run/ext4
            mount -o loop {images}/xfs /run/xfs
            mount --bind /run/shared /run/shared
            mount --make-shared /run/shared
            mkdir /run/shared/hanging"
        );
        run(docker.sandbox().command("sh").args(["-c", &script]));
        let settings = quick_settings();
        Self {
            agent: Agent::start_with(AgentOptions {
                mounts_of: Some(docker.sandbox().pid()),
                ..AgentOptions::configured(&settings)
            }),
            docker,
            _settings: settings,
        }
    }

    fn container(&self, options: &str) -> (String, String) {
        let name = unique("volumes");
        self.docker.run_load(
            &format!("--name {name} {options}"),
            "serve --listen 127.0.0.1:1",
        );
        let id = Docker::container_id(&name);
        (name, id)
    }

    /// Size, used and reserved bytes, as the node itself says.
    fn space(&self, path: &str) -> [u64; 3] {
        let found = statvfs(&self.docker.outside(path)).expect("it is mounted");
        let unit = found.fragment_size();
        let (all, free) = (found.blocks(), found.blocks_free());
        [all, all - free, free - found.blocks_available()].map(|blocks| blocks * unit)
    }

    fn shows_space(&self, id: &str, point: &str, path: &str) {
        let labels = [("container_id", id), ("mount_point", point)];
        self.agent.eventually("the space", id, |scrape| {
            let shown = ["size", "used", "reserved"]
                .map(|what| scrape.sum(&format!("container_resources_disk_{what}_bytes"), &labels));
            let wanted = self.space(path).map(|bytes| Some(bytes as f64));
            (shown == wanted).then_some(())
        });
    }
}

#[test]
fn space_of_ext4_and_xfs() {
    require_root!();
    let node = NODE.get(Node::start);
    let (_, id) = node.container("--volume /run/ext4:/data --volume /run/xfs:/logs");
    node.shows_space(&id, "/data", "/run/ext4");
    node.shows_space(&id, "/logs", "/run/xfs");
    let [size, _, reserved] = node.space("/run/ext4");
    assert!(size > 50 * MIB && reserved > 2 * MIB, "{size} {reserved}");
    let scrape = node.agent.scrape();
    let of = |point| [("container_id", id.as_str()), ("mount_point", point)];
    for point in ["/data", "/logs"] {
        let labels = of(point);
        let mut series = scrape.matching("container_resources_disk_size_bytes", &labels);
        let device = series.next().expect("it was there").label("device");
        assert!(device.starts_with("loop"), "{device}");
    }
    // Files that the runtime mounts are no volumes.
    let hosts = scrape.sum("container_resources_disk_size_bytes", &of("/etc/hosts"));
    assert_eq!(hosts, None);
}

#[test]
fn the_root_and_a_volume_of_docker() {
    require_root!();
    let node = NODE.get(Node::start);
    let volume = unique("volume");
    let (_, id) = node.container(&format!("--volume {volume}:/var/data"));
    let labels = [("container_id", id.as_str()), ("mount_point", "/")];
    node.agent
        .eventually("the space of the root", &id, |scrape| {
            scrape.sum("container_resources_disk_size_bytes", &labels)
        });
    // The sandbox keeps /var/lib in memory: what is there is no volume, and is not shown as one.
    let labels = [("container_id", id.as_str()), ("mount_point", "/var/data")];
    let scrape = node.agent.scrape();
    assert_eq!(
        scrape.sum("container_resources_disk_size_bytes", &labels),
        None
    );
}

#[test]
fn what_a_container_writes_to_a_disk() {
    require_root!();
    let node = NODE.get(Node::start);
    let mut device = node.docker.sandbox().command("findmnt");
    let device = run_output(device.args(["--noheadings", "--output", "SOURCE", "/run/xfs"]));
    // A limit far away: with cgroup v1, Linux 6.10 and later count nothing on a disk without one.
    let (name, id) = node.container(&format!(
        "--volume /run/xfs:/logs --device-write-bps {}:10gb",
        device.trim()
    ));
    let write = format!(
        "exec {name} /bin/busybox dd if=/dev/zero of=/logs/{name} bs=1M count=8 conv=fsync"
    );
    node.docker.run(&write);
    let labels = [("container_id", id.as_str()), ("mount_point", "/logs")];
    let written = node.agent.eventually("the bytes written", &id, |scrape| {
        let bytes = scrape.sum("container_resources_disk_written_bytes_total", &labels)?;
        (bytes >= (8 * MIB) as f64).then_some(bytes)
    });
    assert!(written < (9 * MIB) as f64, "{written}");
    let writes = node
        .agent
        .scrape()
        .sum("container_resources_disk_writes_total", &labels);
    assert!(writes.is_some_and(|writes| writes >= 1.0), "{writes:?}");
}

#[test]
fn a_file_system_that_hangs_costs_only_its_own_numbers() {
    require_root!();
    let node = NODE.get(Node::start);
    let shared = "type=bind,source=/run/shared,target=/shared,bind-propagation=rslave";
    let (name, id) = node.container(&format!("--volume /run/ext4:/data --mount {shared}"));
    let _hanging = HangingFilesystem::mount(node.docker.sandbox(), "/run/shared/hanging");
    let errors = |scrape: &Scrape| {
        let labels = [("collector", "filesystems")];
        scrape.sum("nodescope_collector_errors_total", &labels)
    };
    // Once for the time limit, and again for what the sensor then refuses at once.
    node.agent.eventually("it hangs", &id, |scrape| {
        errors(scrape).filter(|errors| *errors >= 2.0)
    });
    // Others are still asked, with what they hold now, and files are still opened.
    let write = format!(
        "exec {name} /bin/busybox dd if=/dev/zero of=/data/{name} bs=1M count=3 conv=fsync"
    );
    node.docker.run(&write);
    node.shows_space(&id, "/data", "/run/ext4");
    let (_, late) = node.container("--volume /run/xfs:/logs");
    node.shows_space(&late, "/logs", "/run/xfs");
    let labels = [
        ("container_id", id.as_str()),
        ("mount_point", "/shared/hanging"),
    ];
    let scrape = node.agent.scrape();
    assert_eq!(
        scrape.sum("container_resources_disk_size_bytes", &labels),
        None
    );
}

#[test]
fn published_ports_and_the_program() {
    require_root!();
    let node = NODE.get(Node::start);
    let (_, id) = node.container("--publish 127.0.0.1:18080:8080");
    let labels = [
        ("container_id", id.as_str()),
        ("listen_addr", "127.0.0.1:18080"),
        ("proxy", "dockerd"),
    ];
    // docker writes the port down after the container began, and what is known of a container is read again seldom.
    let shown = poll(2 * DEADLINE, || {
        node.agent
            .scrape()
            .sum("container_net_tcp_listen_info", &labels)
    });
    assert_eq!(shown, Some(1.0));
    let name = unique("nginx");
    let node_run = format!(
        "run --detach --name {name} {} /bin/sh -c",
        node.docker.image()
    );
    let mut command = node.docker.command(&node_run);
    // A program of this name, as far as its command line tells.
    command
        .arg("/bin/busybox ln -s nodescope-load /bin/nginx; exec nginx serve --listen 127.0.0.1:1");
    run(&mut command);
    let id = Docker::container_id(&name);
    let labels = [("container_id", id.as_str()), ("application_type", "nginx")];
    node.agent.settles("container_application_type", &labels, 1);
}

/// A loop device with one partition, and an ext4 on that, mounted where everybody on the node sees it.
struct Partition {
    directory: tempfile::TempDir,
    /// The whole device, `/dev/loop0` for example.
    device: String,
}

impl Partition {
    fn mount() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let script = format!(
            "set -e; cd {}; truncate -s 64M image; mkdir disk; losetup --find --show image",
            directory.path().display()
        );
        let device = run_output(std::process::Command::new("sh").args(["-c", &script]));
        let made = Self { directory, device };
        // Not every kernel reads partition tables, but each can be told of a partition.
        let (device, path) = (&made.device, made.path());
        let script = format!(
            "set -e; addpart {device} 1 2048 129024; mkfs.ext4 -q {device}p1; \
             mount {device}p1 {}",
            path.display()
        );
        run(std::process::Command::new("sh").args(["-c", &script]));
        made
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("disk")
    }

    /// Name of the whole device.
    fn name(&self) -> &str {
        self.device.trim_start_matches("/dev/")
    }

    fn size(&self) -> f64 {
        let found = statvfs(&self.path()).expect("it is mounted");
        (found.blocks() * found.fragment_size()) as f64
    }
}

impl Drop for Partition {
    fn drop(&mut self) {
        let script = format!(
            "umount {}; delpart {device} 1; losetup --detach {device}",
            self.path().display(),
            device = self.device
        );
        let _ = try_run(std::process::Command::new("sh").args(["-c", &script]));
    }
}

fn agent_of_node() -> (Agent, NamedTempFile) {
    let settings = quick_settings();
    let agent = Agent::start_with(AgentOptions::configured(&settings));
    (agent, settings)
}

#[test]
fn what_a_service_writes_to_a_partition() {
    require_root!();
    let (agent, _settings) = agent_of_node();
    let (partition, unit) = (Partition::mount(), Unit::service("partition"));
    let number = format!("/sys/class/block/{}/dev", partition.name());
    let number = std::fs::read_to_string(number).expect("the device exists");
    // A limit far away, see above.
    let limit = format!("{} 10000000000", number.trim());
    for directory in unit.directories() {
        let file = directory.join("blkio.throttle.write_bps_device");
        if file.exists() {
            std::fs::write(file, &limit).expect("the limit is set");
        }
    }
    let path = partition.path().display().to_string();
    let script = format!(
        "dd if=/dev/zero of={path}/file bs=1M count=8 conv=fsync 2>/dev/null; exec sleep 1000"
    );
    let mut command = Place::in_unit(&unit).command("sh");
    let log = partition.directory.path().join("log");
    let process = Process::start("writer", command.args(["-c", &script]), &log);
    let labels = [
        ("container_id", unit.path()),
        ("mount_point", path.as_str()),
        ("device", partition.name()),
    ];
    agent.eventually("what it wrote", unit.path(), |scrape| {
        let value = |name: &str| scrape.sum(&format!("container_resources_disk_{name}"), &labels);
        let written = value("written_bytes_total")?;
        let is_shown = written >= (8 * MIB) as f64
            && written < (9 * MIB) as f64
            && value("writes_total")? >= 1.0
            && value("size_bytes")? == partition.size();
        is_shown.then_some(())
    });
    // Before the disk they are on.
    drop((process, unit));
}

#[test]
fn a_root_that_only_its_container_sees() {
    require_root!();
    let (agent, _settings) = agent_of_node();
    let (disk, name) = (Partition::mount(), unique("overlay"));
    let at = disk.path().display().to_string();
    root_directory(&disk.path().join("lower"));
    // As a rootless runtime does it: an overlay mounted in a mount namespace of its own.
    let script = format!(
        "set -e; mkdir {at}/upper {at}/work {at}/merged; \
         mount -t overlay overlay -o lowerdir={at}/lower,upperdir={at}/upper,workdir={at}/work {at}/merged; \
         exec chroot {at}/merged /bin/sleep 1000"
    );
    let unit = Unit::at(&format!("/lxc.payload.{name}"));
    let mut command = Place::in_unit(&unit).command("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    let process = Process::start(
        "container",
        &mut command,
        &disk.directory.path().join("log"),
    );
    let id = format!("/lxc/{name}");
    let labels = [("container_id", id.as_str()), ("mount_point", "/")];
    agent.eventually("the space of the disk below", &id, |scrape| {
        let size = scrape.sum("container_resources_disk_size_bytes", &labels)?;
        (size == disk.size()).then_some(())
    });
    // Before the disk below it.
    drop((process, unit));
}
