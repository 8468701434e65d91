//! A Java virtual machine with a heap of known size: `java/Steady.java`, compiled when it is first wanted.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::{DEADLINE, poll, run};

/// Largest heap of the machine.
const HEAP: &str = "-Xmx64m";

/// The compiled program, and where the machine is.
#[derive(Debug)]
pub struct Java {
    classes: TempDir,
    machine: PathBuf,
}

/// What a machine says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JvmReport {
    /// Bytes of the heap that are committed.
    pub committed: u64,
    /// Bytes of it in use.
    pub used: u64,
    /// Milliseconds of all collections.
    pub collection_ms: u64,
    /// Version of Java.
    pub version: String,
}

impl Java {
    /// Compiles it, with the JDK's compiler or Eclipse's.
    #[track_caller]
    pub fn compiled() -> Self {
        let machine = std::fs::canonicalize("/usr/bin/java").expect("a Java virtual machine");
        // Not below /tmp, in place of which some tests mount another.
        let classes = tempfile::tempdir_in("/var/tmp").expect("a temporary directory");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("java/Steady.java");
        let compiler = ["javac", "ecj"]
            .into_iter()
            .find(|name| Path::new("/usr/bin").join(name).exists());
        let mut compile = Command::new(compiler.expect("a Java compiler"));
        compile.args(["-source", "11", "-target", "11", "-nowarn"]);
        // Ubuntu's build of Eclipse's lacks what processes them.
        compile.args(["-proc:none", "-d"]);
        run(compile.arg(classes.path()).arg(source));
        Self { classes, machine }
    }

    /// Largest heap of the machine, in bytes.
    pub fn heap_max(&self) -> u64 {
        64 << 20
    }

    /// Its own directories, which a container needs to run it.
    pub fn directories(&self) -> Vec<PathBuf> {
        let settings = std::fs::read_dir("/etc").expect("it can be read");
        let settings = settings
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.to_string_lossy().starts_with("/etc/java-"));
        let system = ["/usr", "/lib", "/lib64"].map(PathBuf::from);
        let system = system.into_iter().filter(|path| path.exists());
        let own = self.classes.path().to_owned();
        system.chain(settings).chain([own]).collect()
    }

    /// The words of the command that runs it with these arguments of its own.
    pub fn words(&self, arguments: &str) -> Vec<String> {
        let mut words = vec![self.machine.display().to_string(), HEAP.to_owned()];
        words.extend(["-XX:+UseSerialGC", "-cp"].map(str::to_owned));
        words.push(self.classes.path().display().to_string());
        words.push("Steady".to_owned());
        words.extend(arguments.split_whitespace().map(str::to_owned));
        words
    }
}

impl JvmReport {
    /// Waits for the machine's report in what it has written so far.
    #[track_caller]
    pub fn wait(mut output: impl FnMut() -> String) -> Self {
        let mut text = String::new();
        let report = poll(DEADLINE, || {
            text = output();
            Self::parse(&text)
        });
        report.unwrap_or_else(|| panic!("no report of the machine\n{text}"))
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
        };
        value("done")?;
        Some(Self {
            committed: value("committed")?.parse().ok()?,
            used: value("used")?.parse().ok()?,
            collection_ms: value("collection_ms")?.parse().ok()?,
            version: value("version")?,
        })
    }
}
