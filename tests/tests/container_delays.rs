//! What the processes of real containers waited for, compared with what the kernel says of them in `/proc`.

use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nodescope_tests::*;

/// A container of Docker with a limit, beside an agent.
struct Limited {
    // Stopped before the daemon whose files it reads.
    agent: Agent,
    docker: Docker,
    name: String,
    begun: Instant,
}

impl Limited {
    fn start(options: &str, script: &str) -> Self {
        let docker = Docker::start();
        let agent = Agent::start_beside(docker.sandbox());
        let (name, begun) = (unique("limited"), Instant::now());
        let image = docker.image();
        let mut command = docker.command(&format!(
            "run --detach --name {name} {options} {image} /bin/busybox sh -c"
        ));
        run(command.arg(script));
        Self {
            agent,
            docker,
            name,
            begun,
        }
    }

    /// Its first process and the children of that.
    fn pids(&self) -> Vec<u32> {
        let first = format!("inspect --format {{{{.State.Pid}}}} {}", self.name);
        let first = self.docker.run(&first).trim().parse().expect("a number");
        let mut pids = children(first);
        pids.push(first);
        pids
    }

    /// Waits until they have waited so long, stops them, and compares what is shown. Gives what they waited.
    fn compare(&self, series: &str, waited_for: fn(u32) -> f64, seconds: f64) -> f64 {
        let waited = || self.pids().into_iter().map(waited_for).sum::<f64>();
        eventually("a wait", || (waited() > seconds).then_some(()));
        for pid in self.pids() {
            let pid = Pid::from_raw(i32::try_from(pid).expect("a process id"));
            kill(pid, Signal::SIGSTOP).expect("it lives");
        }
        let id = Docker::container_id(&self.name);
        let labels = [("container_id", id.as_str())];
        // A wait that was under way when it was told to stop is over some time later.
        let (value, expected) = self.agent.eventually("the wait", &id, |scrape| {
            let (value, expected) = (scrape.sum(series, &labels)?, waited());
            is_near(value, expected).then_some((value, expected))
        });
        eprintln!("{series} {value}, expected {expected}");
        expected
    }
}

#[test]
fn a_container_that_shares_a_cpu() {
    require_root!();
    // Threads of the runtime wait in the container's cgroup too, before there is a container: a few hundredths.
    let script = "while :; do :; done & while :; do :; done";
    let container = Limited::start("--cpuset-cpus 0", script);
    container.compare(
        "container_resources_cpu_delay_seconds_total",
        waited_for_cpu,
        5.0,
    );
}

#[test]
fn a_container_with_a_slow_disk() {
    require_root!();
    let Some(_accounting) = Accounting::on() else {
        return;
    };
    let device = LoopDevice::new(64 << 20);
    let path = device.path();
    let options = format!("--device {path} --device-write-bps {path}:16mb");
    let script = format!("exec dd if=/dev/zero of={path} bs=1M oflag=direct");
    let tries = || {
        let container = Limited::start(&options, &script);
        let waited = container.compare(
            "container_resources_disk_delay_seconds_total",
            waited_for_disk,
            1.0,
        );
        (!is_impossible(waited, container.begun)).then_some(())
    };
    poll(DEADLINE, tries).expect("a kernel that counts its waits");
}
