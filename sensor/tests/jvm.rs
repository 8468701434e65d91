//! Asks the real sensor, under its own filter and with the rights it keeps, for the performance data of processes of
//! another user.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::{Peer, Sensor, is_root};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nodescope_schema::{OpenJvmData, Refusal, RequestKind};

/// `nobody`.
const USER: u32 = 65534;

/// A process of that user.
struct Machine {
    process: Child,
    directory: PathBuf,
}

impl Machine {
    /// `prepare` is run as root in a mount namespace of the process's own.
    fn start(prepare: &str) -> Self {
        let script = format!("{prepare} exec setpriv --reuid {USER} --clear-groups cat");
        let process = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let directory = format!("/tmp/hsperfdata_nodescope-hostile-{}", process.id());
        let machine = Self {
            directory: directory.into(),
            process,
        };
        machine.wait_for_user();
        machine
    }

    fn wait_for_user(&self) {
        let path = format!("/proc/{}/status", self.process.id());
        let wanted = format!("Uid:\t{USER}\t{USER}");
        for _ in 0..500 {
            if fs::read_to_string(&path).unwrap().contains(&wanted) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("the process does not become that user's");
    }

    fn make_directory(&self, directory: &Path) {
        fs::create_dir_all(directory).unwrap();
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
        chown(directory, Some(USER), None).unwrap();
    }

    fn make_file(&self, directory: &Path, owner: u32) {
        self.make_directory(directory);
        let file = directory.join(self.process.id().to_string());
        fs::write(&file, "data").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&file, Some(owner), None).unwrap();
    }

    fn ask(&self, peer: &mut Peer, id: u64) -> Result<String, Refusal> {
        let pid = self.process.id();
        peer.content(id, RequestKind::OpenJvmData(OpenJvmData { pid }))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn a_file_of_another_user_is_reached_without_rights_over_its_process() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    let mut peer = Peer::greeted(&sensor);
    let machine = Machine::start("");
    assert_eq!(machine.ask(&mut peer, 1), Err(Refusal::NotFound));
    machine.make_file(&machine.directory, USER);
    assert_eq!(machine.ask(&mut peer, 2).as_deref(), Ok("data"));
    sensor.serves();
}

#[test]
fn what_is_not_the_process_s_own_is_not_given_out() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    let mut peer = Peer::greeted(&sensor);
    let machine = Machine::start("");
    machine.make_file(&machine.directory, 0);
    assert_eq!(
        machine.ask(&mut peer, 1),
        Err(Refusal::Forbidden),
        "root's file under the right name"
    );
    let file = machine.directory.join(machine.process.id().to_string());
    fs::remove_file(&file).unwrap();
    symlink("/etc/shadow", &file).unwrap();
    assert_eq!(machine.ask(&mut peer, 2), Err(Refusal::Forbidden), "a link");
    sensor.serves();
}

#[test]
fn a_tmp_that_is_something_else_leads_nowhere() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    let mut peer = Peer::greeted(&sensor);
    let preparations = [
        "mount --bind /etc /tmp;",
        "mount --bind /proc /tmp;",
        "mount -t tmpfs own /tmp;",
        "mount --bind /etc/passwd /tmp;",
    ];
    for (id, prepare) in (1..).zip(preparations) {
        // The last one fails, and the node's own directory stays.
        let machine = Machine::start(prepare);
        assert_eq!(
            machine.ask(&mut peer, id),
            Err(Refusal::NotFound),
            "{prepare}"
        );
    }
    sensor.serves();
}

/// Whatever answers there may be slow, or never answer.
#[test]
fn a_mount_on_the_way_is_not_entered() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    let mut peer = Peer::greeted(&sensor);
    let machine = Machine::start("");
    machine.make_file(&machine.directory, USER);
    let file = machine.directory.join(machine.process.id().to_string());
    for (id, covered) in (1..).zip([&machine.directory, &file]) {
        let mount = BindMount::on(covered);
        let answer = machine.ask(&mut peer, id);
        drop(mount);
        assert_eq!(answer, Err(Refusal::NotFound), "{}", covered.display());
    }
    assert_eq!(machine.ask(&mut peer, 9).as_deref(), Ok("data"));
    sensor.serves();
}

/// A file or directory mounted on itself.
struct BindMount<'a>(&'a Path);

impl<'a> BindMount<'a> {
    fn on(place: &'a Path) -> Self {
        let none: Option<&str> = None;
        mount(Some(place), place, none, MsFlags::MS_BIND, none).unwrap();
        Self(place)
    }
}

impl Drop for BindMount<'_> {
    fn drop(&mut self) {
        umount2(self.0, MntFlags::MNT_DETACH).unwrap();
    }
}

#[test]
fn any_number_may_be_asked_for() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    let mut peer = Peer::greeted(&sensor);
    let ask = |peer: &mut Peer, pid| {
        let kind = RequestKind::OpenJvmData(OpenJvmData { pid });
        peer.content(u64::from(pid) + 1, kind)
    };
    assert_eq!(ask(&mut peer, 0), Err(Refusal::BadArgument));
    let numbers = (1..300).chain([u32::MAX, i32::MAX as u32, std::process::id()]);
    for pid in numbers {
        // A real machine may be among them.
        let answer = ask(&mut peer, pid);
        let is_honest = answer.is_err() || Path::new(&format!("/proc/{pid}")).exists();
        assert!(is_honest, "{pid}");
    }
    sensor.serves();
}
