//! LXC in a sandbox.

use crate::wait::DEADLINE;
use crate::{Sandbox, image, poll, run_output, try_run};

/// A running LXC container. Dropping it stops it.
#[derive(Debug)]
pub struct Lxc {
    sandbox: Sandbox,
    name: String,
}

impl Lxc {
    /// Starts a container that runs the load generator in the sandbox's network.
    #[track_caller]
    pub fn start(name: &str, words: &str) -> Self {
        let lxc = Self {
            sandbox: Sandbox::new(),
            name: name.to_owned(),
        };
        let root = format!("/var/lib/lxc/{name}/rootfs");
        std::fs::create_dir_all(lxc.sandbox.outside(&root)).expect("the sandbox's own directory");
        image::root_directory(&lxc.sandbox.outside(&root));
        let config = format!(
            "lxc.uts.name = {name}\nlxc.rootfs.path = dir:{root}\nlxc.net.0.type = none\nlxc.apparmor.profile = unconfined\n\
             lxc.mount.auto = proc:mixed\nlxc.autodev = 0\nlxc.pty.max = 1\nlxc.execute.cmd = /bin/nodescope-load {words}\n"
        );
        lxc.sandbox
            .write(&format!("/var/lib/lxc/{name}/config"), &config);
        lxc.sandbox.write(
            &format!("{root}/bin/init"),
            &format!("#!/bin/sh\nexec /bin/nodescope-load {words}\n"),
        );
        lxc.sandbox.shell(&format!("chmod 755 {root}/bin/init"));
        let log = "/run/lxc.log";
        let mut command = lxc.sandbox.command("lxc-start");
        command.args([
            "--name",
            name,
            "--daemon",
            "--logfile",
            log,
            "--logpriority",
            "DEBUG",
            "--",
            "/bin/init",
        ]);
        let output = try_run(&mut command);
        let text = std::fs::read_to_string(lxc.sandbox.outside(log)).unwrap_or_default();
        assert!(
            output.status.success(),
            "lxc-start: {}\n{text}",
            String::from_utf8_lossy(&output.stderr)
        );
        let state = || {
            run_output(lxc.sandbox.command("lxc-info").args([
                "--name",
                name,
                "--state",
                "--no-humanize",
            ]))
        };
        assert!(
            poll(DEADLINE, || (state() == "RUNNING").then_some(())).is_some(),
            "{name}: {}\n{text}",
            state()
        );
        lxc
    }

    /// Where it runs.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl Drop for Lxc {
    fn drop(&mut self) {
        let _ = try_run(
            self.sandbox
                .command("lxc-stop")
                .args(["--name", &self.name, "--kill"]),
        );
    }
}
