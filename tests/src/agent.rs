//! Both real processes: the sensor as root, the aggregator as an unprivileged user, with a socket and a port of their own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::{NamedTempFile, TempDir};

use crate::{Place, Process, Sandbox, Scrape, http_get, poll, run};

/// Whom the aggregator runs as in tests.
pub const UNPRIVILEGED_USER: &str = "nobody";

/// The group it runs in, `nogroup`.
pub const UNPRIVILEGED_GROUP_ID: u32 = 65534;

/// Long enough for a value to move again after it was right once: several polls and ingest rounds.
const SETTLE: Duration = Duration::from_millis(Agent::POLL_INTERVAL.as_millis() as u64 * 8);

/// How to start the two.
#[derive(Debug, Default, Clone)]
pub struct AgentOptions {
    /// Added to the sensor's command line.
    pub sensor: Vec<String>,
    /// Added to the aggregator's command line.
    pub aggregator: Vec<String>,
    /// Pid whose mount namespace the sensor enters, to see a sandbox's container runtimes.
    pub mounts_of: Option<u32>,
}

impl AgentOptions {
    /// An aggregator with a configuration file.
    pub fn configured(settings: &NamedTempFile) -> Self {
        let path = settings.path().display().to_string();
        Self {
            aggregator: vec!["--config".to_owned(), path],
            ..Self::default()
        }
    }
}

/// The two running processes.
#[derive(Debug)]
pub struct Agent {
    aggregator: Option<Process>,
    sensor: Option<Process>,
    listen: SocketAddr,
    options: AgentOptions,
    directory: TempDir,
}

impl Agent {
    /// Kernel tables are read this often in tests, so that they need not wait for a second each time.
    pub const POLL_INTERVAL: Duration = Duration::from_millis(100);

    /// Starts both and waits until the aggregator has the sensor's snapshot.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(AgentOptions::default())
    }

    /// The same beside a sandbox, whose runtimes' files the sensor sees.
    #[track_caller]
    pub fn start_beside(sandbox: &Sandbox) -> Self {
        Self::start_with(AgentOptions {
            mounts_of: Some(sandbox.pid()),
            ..AgentOptions::default()
        })
    }

    /// The same with options.
    #[track_caller]
    pub fn start_with(options: AgentOptions) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("nodescope-test")
            .tempdir()
            .expect("a temporary directory");
        // The aggregator's user must reach its socket and its copy of the program.
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(directory.path(), open).expect("our own directory");
        // By a process of its own: a copy that we had open for writing could not be run while another test forks.
        let names = ["nodescope-sensor", "nodescope-aggregator"];
        run(Command::new("cp")
            .args(names.map(|name| programs().join(name)))
            .arg(directory.path()));
        let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let listen = probe.local_addr().expect("its address");
        drop(probe);
        let mut agent = Self {
            aggregator: None,
            sensor: None,
            listen,
            options,
            directory,
        };
        let state = agent.state_directory();
        fs::create_dir(&state).expect("our own directory");
        run(Command::new("chown").arg(UNPRIVILEGED_USER).arg(&state));
        agent.start_sensor();
        agent.start_aggregator();
        agent.wait_ready();
        agent
    }

    /// Where the aggregator keeps what survives its restart.
    pub fn state_directory(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.listen
    }

    /// The sensor's socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("sensor.sock")
    }

    /// Pids of sensor and aggregator.
    pub fn pids(&self) -> [u32; 2] {
        let pid = |process: &Option<Process>| process.as_ref().map_or(0, Process::pid);
        [pid(&self.sensor), pid(&self.aggregator)]
    }

    /// Starts the sensor.
    #[track_caller]
    pub fn start_sensor(&mut self) {
        let program = self.directory.path().join("nodescope-sensor");
        let mut command = Command::new("nsenter");
        command.args(
            self.options
                .mounts_of
                .map(|pid| format!("--mount=/proc/{pid}/ns/mnt")),
        );
        command.arg("--").arg(&program);
        command
            .arg("--socket")
            .arg(self.socket())
            .args(["--client-user", UNPRIVILEGED_USER]);
        command
            .arg("--poll-interval-ms")
            .arg(Self::POLL_INTERVAL.as_millis().to_string())
            .args(&self.options.sensor);
        self.sensor = Some(Process::start(
            "sensor",
            &mut command,
            &self.directory.path().join("sensor.log"),
        ));
    }

    /// Starts the aggregator.
    #[track_caller]
    pub fn start_aggregator(&mut self) {
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid",
            UNPRIVILEGED_USER,
            "--regid",
            &UNPRIVILEGED_GROUP_ID.to_string(),
            "--clear-groups",
        ]);
        command.args([
            "--inh-caps=-all",
            "--bounding-set=-all",
            "--no-new-privs",
            "--",
        ]);
        command.arg(self.directory.path().join("nodescope-aggregator"));
        command
            .arg("--sensor-socket")
            .arg(self.socket())
            .arg("--listen")
            .arg(self.listen.to_string())
            .arg("--state-directory")
            .arg(self.state_directory());
        command.args(&self.options.aggregator);
        self.aggregator = Some(Process::start(
            "aggregator",
            &mut command,
            &self.directory.path().join("aggregator.log"),
        ));
    }

    /// SIGKILL to the sensor.
    pub fn kill_sensor(&mut self) {
        self.sensor
            .take()
            .into_iter()
            .for_each(|mut process| process.kill());
    }

    /// SIGKILL to the aggregator.
    pub fn kill_aggregator(&mut self) {
        self.aggregator
            .take()
            .into_iter()
            .for_each(|mut process| process.kill());
    }

    /// Waits until `/readyz` says 200.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        let listen = self.listen;
        let is_ready = || {
            http_get(listen, "/readyz", &[])
                .ok()
                .filter(|response| response.status == 200)
        };
        let ready = poll(Duration::from_secs(30), || {
            let processes = [&mut self.sensor, &mut self.aggregator];
            let all_run = processes.into_iter().flatten().all(Process::is_alive);
            (!all_run || is_ready().is_some()).then_some(all_run)
        });
        assert!(ready == Some(true), "not ready\n{}", self.logs());
    }

    /// How many whole snapshots the aggregator has had.
    #[track_caller]
    pub fn snapshots(&self) -> u64 {
        let received = self.scrape().sum(
            "nodescope_records_received_total",
            &[("kind", "snapshot_end")],
        );
        received.unwrap_or(0.0) as u64
    }

    /// SIGKILL to the sensor, a new one after `pause`, and its snapshot.
    #[track_caller]
    pub fn replace_sensor(&mut self, pause: Duration) {
        let before = self.snapshots();
        self.kill_sensor();
        std::thread::sleep(pause);
        self.start_sensor();
        let arrived = poll(crate::DEADLINE, || {
            (self.snapshots() > before).then_some(())
        });
        assert!(
            arrived.is_some(),
            "no snapshot of the new sensor\n{}",
            self.logs()
        );
    }

    /// One scrape.
    #[track_caller]
    pub fn scrape(&self) -> Scrape {
        let response = http_get(self.listen, "/metrics", &[]);
        let response =
            response.unwrap_or_else(|error| panic!("/metrics: {error}\n{}", self.logs()));
        assert_eq!(response.status, 200, "{}", response.text());
        Scrape::parse(&response.text())
    }

    /// Scrapes until `check` finds something; panics with `what` and the series of `container_id` when it never does.
    #[track_caller]
    pub fn eventually<T>(
        &self,
        what: &str,
        container_id: &str,
        mut check: impl FnMut(&Scrape) -> Option<T>,
    ) -> T {
        let mut last = Scrape::default();
        let found = poll(crate::DEADLINE, || {
            last = self.scrape();
            check(&last)
        });
        found.unwrap_or_else(|| {
            let ids = last.container_ids().join(" ");
            panic!(
                "in vain: {what}\n{}containers: {ids}\n{}",
                last.of_container(container_id),
                self.logs()
            )
        })
    }

    /// Waits until the sum over a container's series is `expected`, and then that it stays so. 0 also means no series.
    #[track_caller]
    pub fn settles(&self, name: &str, labels: &[(&str, &str)], expected: u64) {
        self.settle_together(labels, &[(name, expected)]);
    }

    /// The same for several families at once.
    #[track_caller]
    pub fn settle_together(&self, labels: &[(&str, &str)], expected: &[(&str, u64)]) {
        let is_there = |scrape: &Scrape| {
            expected
                .iter()
                .all(|(name, value)| scrape.sum(name, labels).unwrap_or(0.0) == *value as f64)
        };
        if poll(crate::DEADLINE, || is_there(&self.scrape()).then_some(())).is_some() {
            std::thread::sleep(SETTLE);
        }
        let scrape = self.scrape();
        if !is_there(&scrape) {
            let values: Vec<_> = expected
                .iter()
                .map(|(name, value)| (name, value, scrape.sum(name, labels)))
                .collect();
            let container = labels
                .iter()
                .find(|(key, _)| *key == "container_id")
                .map_or("", |(_, value)| value);
            let series = scrape.of_container(container);
            panic!(
                "{labels:?}: family, expected, is: {values:#?}\n{series}{}",
                self.logs()
            );
        }
    }

    /// The end of both logs.
    pub fn logs(&self) -> String {
        let tail =
            |process: &Option<Process>| process.as_ref().map(Process::log_tail).unwrap_or_default();
        format!("{}\n{}", tail(&self.sensor), tail(&self.aggregator))
    }

    /// The lines of the aggregator's log that contain `text`.
    #[track_caller]
    pub fn aggregator_said(&self, text: &str) -> Vec<String> {
        self.said("aggregator.log", text)
    }

    /// The lines of all sensors' log that contain `text`.
    #[track_caller]
    pub fn sensor_said(&self, text: &str) -> Vec<String> {
        self.said("sensor.log", text)
    }

    #[track_caller]
    fn said(&self, log: &str, text: &str) -> Vec<String> {
        let log = fs::read_to_string(self.directory.path().join(log)).expect("our own log");
        let lines = log.lines().filter(|line| line.contains(text));
        lines.map(str::to_owned).collect()
    }

    /// Where load runs that has no place of its own.
    pub fn here() -> Place<'static> {
        Place::default()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // The reader first: the sensor then has nobody to wait for.
        self.aggregator = None;
        self.sensor = None;
    }
}

/// The directory with both programs, built if they are older than their sources.
pub fn programs() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let test = std::env::current_exe().expect("our own path");
        // target/PROFILE/deps/TEST
        let directory = test
            .ancestors()
            .nth(2)
            .expect("a cargo target directory")
            .to_owned();
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args([
            "build",
            "--quiet",
            "--package",
            "nodescope-sensor",
            "--package",
            "nodescope-aggregator",
        ]);
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        if directory.ends_with("release") {
            build.arg("--release");
        }
        // On a busy machine an optimised build takes longer than any command of a test may.
        let status = build
            .status()
            .unwrap_or_else(|error| panic!("{build:?}: {error}"));
        assert!(status.success(), "{build:?}: {status}");
        directory
    })
}
