//! `make run`: it comes up, shows its table, survives the death of either process, and leaves nothing behind.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use nodescope_tests::*;

/// The script with directories, a port and mounts of its own: what others of this machine mount is not seen there.
struct Run {
    process: Process,
    keeper: Process,
    mounts_before: Vec<String>,
    listen: String,
    directory: tempfile::TempDir,
}

/// A process that keeps a mount namespace.
fn keep_mounts(directory: &Path) -> Process {
    let ready = directory.join("ready");
    let script = "touch \"$0\" && exec sleep infinity";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "--"])
        .args(["sh", "-c", script])
        .arg(&ready);
    let keeper = Process::start("keeper", &mut command, &directory.join("keeper.log"));
    eventually("there is a mount namespace", || {
        ready.exists().then_some(())
    });
    keeper
}

fn mounts_of(process: &Process) -> Vec<String> {
    let file = format!("/proc/{}/mountinfo", process.pid());
    let text = std::fs::read_to_string(file).expect("it runs");
    text.lines().map(str::to_owned).collect()
}

impl Run {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let temporary = directory.path().join("tmp");
        std::fs::create_dir(&temporary).expect("our own directory");
        // The aggregator's user must reach its program.
        for path in [directory.path(), &temporary] {
            std::fs::set_permissions(path, Permissions::from_mode(0o755))
                .expect("our own directory");
        }
        let listen = format!("127.0.0.1:{}", free_port());
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let target = programs().parent().expect("target/PROFILE");
        let keeper = keep_mounts(directory.path());
        // Whoever starts the tests in the background makes them ignore Ctrl-C, and a shell cannot undo that.
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", keeper.pid()))
            .args(["--", "env", "--default-signal=INT"])
            .arg(source.join("scripts/run.sh"));
        command.env("CARGO_TARGET_DIR", target);
        command.args(["--no-build", "--profile", "debug", "--listen", &listen]);
        command.arg("--run-dir").arg(directory.path().join("run"));
        command.env("TMPDIR", directory.path().join("tmp"));
        let log = directory.path().join("log");
        Self {
            mounts_before: mounts_of(&keeper),
            process: Process::start("run.sh", &mut command, &log),
            keeper,
            listen,
            directory,
        }
    }

    fn wait_running(&mut self) {
        eventually("the script says that it runs", || {
            assert!(self.process.is_alive(), "{}", self.log());
            self.log().contains("Ctrl-C ends it").then_some(())
        });
    }

    /// What was mounted and is there still. What others remove goes from here too.
    fn new_mounts(&self) -> Vec<String> {
        let mut mounts = mounts_of(&self.keeper);
        mounts.retain(|mount| !self.mounts_before.contains(mount));
        mounts
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Pids of the programs it started, by the path of their copies.
    fn pids(&self, program: &str) -> Vec<i32> {
        let temporary = self.directory.path().join("tmp");
        let is_ours = |pid: &i32| {
            let exe = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            exe.starts_with(&temporary) && exe.ends_with(program)
        };
        let entries = std::fs::read_dir("/proc")
            .expect("/proc is mounted")
            .flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(is_ours).collect()
    }

    /// The same without the sensor's helpers, which have names of their own.
    fn main_pids(&self, program: &str) -> Vec<i32> {
        let is_main = |pid: &i32| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            program.starts_with(name.trim_end())
        };
        self.pids(program).into_iter().filter(is_main).collect()
    }

    fn status(&self, path: &str) -> Option<u16> {
        let address = self.listen.parse().expect("an address");
        http_get(address, path, &[])
            .ok()
            .map(|response| response.status)
    }
}

/// The script once more, beside one that runs.
fn second(listen: &str, run_dir: &Path) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/run.sh"));
    command.args(["--no-build", "--profile", "debug", "--listen", listen]);
    command.arg("--run-dir").arg(run_dir);
    command.env(
        "CARGO_TARGET_DIR",
        programs().parent().expect("target/PROFILE"),
    );
    command
}

fn children_of(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect()
}

#[test]
fn comes_up_survives_and_goes() {
    require_root!();
    let mut run = Run::start();
    run.wait_running();
    for heading in ["HOOK", "SERVICE OR CONTAINER", "FROM", "/metrics"] {
        assert!(
            run.log().contains(heading),
            "no {heading} in\n{}",
            run.log()
        );
    }
    for program in ["nodescope-sensor", "nodescope-aggregator"] {
        let [old] = run.main_pids(program)[..] else {
            panic!("{program}: {:?}", run.main_pids(program))
        };
        let killed = nix::sys::signal::kill(nix::unistd::Pid::from_raw(old), Signal::SIGKILL);
        killed.expect("it runs");
        eventually("it is started again", || {
            run.main_pids(program)
                .iter()
                .any(|pid| *pid != old)
                .then_some(())
        });
        eventually("all is well again", || {
            (run.status("/readyz") == Some(200)).then_some(())
        });
    }
    run.process.signal(Signal::SIGINT);
    let status = run.process.wait(Duration::from_secs(20)).expect("it ends");
    assert_eq!(status.code(), Some(130), "{}", run.log());
    assert_eq!(
        run.pids("nodescope-sensor").len() + run.pids("nodescope-aggregator").len(),
        0
    );
    assert_eq!(
        children_of(&run.directory.path().join("tmp")),
        Vec::<PathBuf>::new()
    );
    assert!(!run.directory.path().join("run").exists());
    assert_eq!(run.new_mounts(), Vec::<String>::new());
}

#[test]
fn a_taken_port_ends_it_with_its_reason() {
    require_root!();
    let mut run = Run::start();
    run.wait_running();
    let run_dir = run.directory.path().join("run2");
    let output = try_run(&mut second(&run.listen, &run_dir));
    assert_eq!(
        output.status.code(),
        Some(73),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!run_dir.exists());
    assert!(run.process.is_alive());
}

#[test]
fn a_taken_socket_ends_it_and_stays() {
    require_root!();
    let mut run = Run::start();
    run.wait_running();
    let run_dir = run.directory.path().join("run");
    let listen = format!("127.0.0.1:{}", free_port());
    let output = try_run(&mut second(&listen, &run_dir));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(73), "{said}");
    assert!(said.contains("sensor.sock"), "{said}");
    assert!(run_dir.join("sensor.sock").exists());
    assert!(run.process.is_alive());
    assert_eq!(run.status("/readyz"), Some(200));
}

#[test]
fn without_root_it_says_so() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/run.sh");
    let mut command = Command::new("bash");
    if nix::unistd::geteuid().is_root() {
        command = Command::new("setpriv");
        command.args([
            "--reuid",
            UNPRIVILEGED_USER,
            "--regid",
            "nogroup",
            "--clear-groups",
            "bash",
        ]);
    }
    // Through standard input's name, since the user may not reach the source tree.
    let text = std::fs::read_to_string(script)
        .expect("our own script")
        .replace("cd \"$(dirname \"$0\")/..\"", "");
    let output = try_run(command.arg("-c").arg(text));
    assert_eq!(output.status.code(), Some(77));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("needs root"),
        "{output:?}"
    );
}
