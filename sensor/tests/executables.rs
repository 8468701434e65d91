//! Asks the real sensor, under its own filter and with the rights it keeps, what processes of others execute.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{PATIENCE, Peer, Seen, Sensor, Waited, is_root};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nodescope_schema::{DescribeExecutable, Language, Refusal, Reply, RequestKind};

/// Offset of `e_shoff` in a 64-bit ELF file, where the table of sections is.
const SECTION_TABLE: usize = 0x28;

/// A sensor with a client; none without root.
fn start() -> Option<(Sensor, Peer)> {
    is_root().then(|| {
        let sensor = Sensor::start(&[]);
        let peer = Peer::greeted(&sensor);
        (sensor, peer)
    })
}

/// A process that waits for its input, as `nobody`.
struct Running {
    process: Child,
}

impl Running {
    fn start(program: &Path) -> Self {
        let process = Command::new("setpriv")
            .args(["--reuid", "65534", "--clear-groups"])
            .arg(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let running = Self { process };
        let link = format!("/proc/{}/exe", running.process.id());
        for _ in 0..500 {
            if fs::read_link(&link).is_ok_and(|path| path == program) {
                return running;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{} does not run", program.display());
    }

    fn ask(&self, peer: &mut Peer, id: u64) -> Result<(String, Language), Refusal> {
        describe(peer, id, self.process.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn describe(peer: &mut Peer, id: u64, pid: u32) -> Result<(String, Language), Refusal> {
    peer.ask(
        id,
        RequestKind::DescribeExecutable(DescribeExecutable { pid }),
    )
    .unwrap();
    peer.reply(id).result?;
    Ok(peer.seen.programs[&id].clone())
}

/// Programs in a directory that only their user can look into.
struct Programs(tempfile::TempDir);

impl Programs {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(directory.path(), Some(65534), None).unwrap();
        Self(directory)
    }

    /// A copy of `cat` that only its user can read.
    fn cat(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
        let mut bytes = fs::read("/bin/cat").unwrap();
        change(&mut bytes);
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        path
    }

    /// The same with a section more.
    fn with_section(&self, name: &str, section: &str, content: &str) -> PathBuf {
        let path = self.cat(name, |_| {});
        let file = self.0.path().join("section");
        fs::write(&file, content).unwrap();
        let added = Command::new("objcopy")
            .args(["--remove-section", section, "--add-section"])
            .arg(format!("{section}={}", file.display()))
            .arg(&path)
            .status();
        assert!(added.unwrap().success());
        path
    }
}

#[test]
fn marks_of_compilers() {
    let Some((mut sensor, mut peer)) = start() else {
        return;
    };
    let programs = Programs::new();
    let rustc = "GCC: (Debian 12.2.0)\0rustc version 1.90.0 (abc 2025-09-14)\0";
    let cases = [
        (programs.cat("plain", |_| {}), Language::Unknown),
        (
            programs.with_section("go", ".go.buildinfo", "\u{ff} Go buildinf:"),
            Language::Go,
        ),
        (
            programs.with_section("rust", ".comment", rustc),
            Language::Rust,
        ),
    ];
    for (id, (path, language)) in (1..).zip(cases) {
        let running = Running::start(&path);
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(running.ask(&mut peer, id), Ok((name, language)));
    }
    let own = describe(&mut peer, 9, std::process::id()).unwrap();
    assert!(own.0.starts_with("executables-"), "{}", own.0);
    assert_eq!(own.1, Language::Rust);
    sensor.serves();
}

#[test]
fn a_run_path_of_dotnet() {
    let Some((mut sensor, mut peer)) = start() else {
        return;
    };
    let programs = Programs::new();
    let path = programs.0.path().join("apphost");
    let source = programs.0.path().join("apphost.c");
    fs::write(
        &source,
        "int getchar(void); int main(void) { return getchar(); }",
    )
    .unwrap();
    let compiled = Command::new("cc")
        .args(["-Wl,-rpath,$ORIGIN/netcoredeps", "-o"])
        .args([&path, &source])
        .status();
    assert!(compiled.unwrap().success());
    let running = Running::start(&path);
    let answer = ("apphost".to_owned(), Language::DotNet);
    assert_eq!(running.ask(&mut peer, 1), Ok(answer));
    sensor.serves();
}

#[test]
fn hostile_and_removed_files_have_a_name_only() {
    let Some((mut sensor, mut peer)) = start() else {
        return;
    };
    let programs = Programs::new();
    let far_away = programs.cat("far", |bytes| {
        bytes[SECTION_TABLE..][..8].copy_from_slice(&[0xff; 8]);
    });
    // The table of sections is the header itself, with as many entries as can be.
    let itself = programs.cat("itself", |bytes| {
        bytes[SECTION_TABLE..][..8].copy_from_slice(&[0; 8]);
        bytes[0x3c..0x40].copy_from_slice(&[0xff, 0xff, 0, 0]);
    });
    for (id, path) in [(1, far_away), (2, itself)] {
        let running = Running::start(&path);
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(running.ask(&mut peer, id), Ok((name, Language::Unknown)));
    }
    let path = programs.with_section("removed", ".go.buildinfo", "x");
    let running = Running::start(&path);
    fs::remove_file(&path).unwrap();
    let another = programs.with_section("removed", ".comment", "rustc version 1.90.0");
    assert_eq!(another, path);
    let answer = ("removed".to_owned(), Language::Unknown);
    assert_eq!(running.ask(&mut peer, 3), Ok(answer));

    drop(running);
    assert_eq!(describe(&mut peer, 4, 0), Err(Refusal::BadArgument));
    assert_eq!(describe(&mut peer, 5, 4_194_304), Err(Refusal::NotFound));
    // A kernel thread.
    assert_eq!(describe(&mut peer, 6, 2), Err(Refusal::NotFound));
    sensor.serves();
}

/// As the root of a container is that begins.
#[test]
fn a_file_on_what_was_mounted_just_now() {
    let Some((mut sensor, mut peer)) = start() else {
        return;
    };
    assert!(describe(&mut peer, 1, std::process::id()).is_ok());
    // The table of mounts may be as old as that.
    std::thread::sleep(Duration::from_millis(150));
    let programs = Programs::new();
    let point = programs.0.path();
    mount(
        Some("tmpfs"),
        point,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=755"),
    )
    .unwrap();
    let running = Running::start(&programs.with_section("new", ".go.buildinfo", "x"));
    let answer = ("new".to_owned(), Language::Go);
    assert_eq!(running.ask(&mut peer, 2), Ok(answer));
    drop(running);
    umount2(point, MntFlags::MNT_DETACH).unwrap();
    sensor.serves();
}

#[test]
fn a_flood_of_questions_costs_little() {
    const QUESTIONS: u64 = 3000;
    let Some((mut sensor, mut peer)) = start() else {
        return;
    };
    peer.wait_for_snapshot();
    let (memory, cpu, start) = (sensor.resident_kib(), sensor.cpu(), Instant::now());
    // There are no such processes, so each may be younger than the last walk.
    for id in 1..=QUESTIONS {
        let pid = 4_194_304 + u32::try_from(id).unwrap();
        let kind = RequestKind::DescribeExecutable(DescribeExecutable { pid });
        peer.ask(id, kind).unwrap();
        if id % 100 == 0 {
            peer.read_for(Duration::from_millis(10));
        }
    }
    let all = |seen: &Seen| seen.replies.len() as u64 == QUESTIONS;
    assert_eq!(peer.read_until(PATIENCE, all), Waited::Done);
    let share = (sensor.cpu() - cpu).as_secs_f64() / start.elapsed().as_secs_f64();
    let limited = |reply: &&Reply| reply.result == Err(Refusal::RateLimited);
    let limited = peer.seen.replies.iter().filter(limited).count();
    println!(
        "{limited} of {QUESTIONS} were too many, sensor {:.1} % of a core",
        share * 100.0
    );
    assert!(limited > 0);
    assert!(share < 0.5, "{share}");
    assert!(sensor.resident_kib() <= memory + 2048);
    let own = describe(&mut peer, QUESTIONS + 1, std::process::id()).unwrap();
    assert_eq!(own.1, Language::Rust);
    sensor.serves();
}
