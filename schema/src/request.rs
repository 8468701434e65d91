//! What the aggregator may ask: a closed table. The sensor checks every argument again.

/// Name of a runtime's file that the sensor can open. The sensor makes the path; the aggregator only fills in an
/// identifier, and never says a directory except where a row says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// `ROOT/containers/ID/config.v2.json`; `root` is docker's data-root (default `/var/lib/docker`) and must be owned
    /// by root, or by `uid` when that is not 0 (rootless docker).
    DockerConfig,
    /// `/etc/docker/daemon.json`.
    DockerDaemon,
    /// `config.json` of an OCI bundle of containerd: `STATE/io.containerd.runtime.v2.task/NAMESPACE/ID/config.json`
    /// below each state directory that containerd, k3s, k0s and microk8s use.
    ContainerdBundle,
    /// `userdata/config.json` of a container of CRI-O or Podman, below the run root and the graph root of
    /// containers-storage; of the user `uid` when that is not 0.
    StorageBundle,
    /// `containers.json` of containers-storage (names and images of all its containers); of `uid` when not 0.
    StorageContainers,
    /// `/var/lib/lxc/NAME/config`.
    LxcConfig,
    /// `/sys/class/dmi/id/product_uuid`.
    SystemUuid,
    /// `ROOT/containers/ID/ID-json.log`, the log of docker's `json-file` driver; `root` as with [`Self::DockerConfig`].
    /// Generation N is `ID-json.log.N`.
    DockerJsonLog,
    /// `ROOT/containers/ID/local-logs/container.log`, the log of docker's `local` driver; as above.
    DockerLocalLog,
    /// A log below `/var/log/pods/POD/CONTAINER`, as containerd and CRI-O write it; `namespace` is the name of the pod's
    /// directory, `NAMESPACE_POD_UID`. Generation N is the N-th newest that is not compressed.
    PodLog,
    /// `userdata/ctr.log` of a container of Podman (driver `k8s-file`), below the graph root of containers-storage; of
    /// the user `uid` when that is not 0. It has one generation.
    PodmanLog,
    /// A log of a [`HeldLog`](crate::HeldLog) record; `container` is its number in decimal. Generation 0 is the file that
    /// was opened last; older ones are the files beside it that are named as rotated ones of it are, the newest first. How
    /// many there were cannot be told: those beyond are refused as a bad argument.
    HeldLog,
}

impl FileKind {
    /// All of them, in the order of their numbers on the wire.
    pub const ALL: [Self; 12] = [
        Self::DockerConfig,
        Self::DockerDaemon,
        Self::ContainerdBundle,
        Self::StorageBundle,
        Self::StorageContainers,
        Self::LxcConfig,
        Self::SystemUuid,
        Self::DockerJsonLog,
        Self::DockerLocalLog,
        Self::PodLog,
        Self::PodmanLog,
        Self::HeldLog,
    ];
}

/// Asks for a read-only descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFile<'a> {
    /// Which file.
    pub kind: FileKind,
    /// Container id, name for LXC and in a pod, number of a held log; empty for kinds without one.
    pub container: &'a [u8],
    /// containerd namespace, or a pod's directory; empty for other kinds.
    pub namespace: &'a [u8],
    /// Docker's data-root; empty for the default and for other kinds.
    pub root: &'a [u8],
    /// Whose: 0 for the system's runtime, else the user that runs a rootless one.
    pub uid: u32,
    /// Of a log: 0 is the file that is being written, 1 the one before it, and so on. 0 for other kinds.
    pub generation: u32,
}

/// Asks for the space of a file system that is mounted where the sensor sees it. There is no path in it: the sensor
/// looks for one in its own mount table, so nothing can be probed that is not a mounted file system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatFilesystem {
    /// Device number as in the third field of `/proc/PID/mountinfo`: before the colon.
    pub major: u32,
    /// After the colon.
    pub minor: u32,
}

/// Most addresses of a [`SetPingTargets`]: half a packet.
pub const MAX_PING_TARGETS: usize = 2048;

/// Asks to send echo requests to these addresses, and to no others any more. When and how often, the sensor decides.
///
/// The sensor leaves out, and counts, what is no address of one machine and what no process has had a connection to;
/// of what it keeps it tells as [`Ping`](crate::Ping). The set ends with the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetPingTargets<'a> {
    /// At most [`MAX_PING_TARGETS`], as [`Ipv6Addr::octets`](std::net::Ipv6Addr::octets); IPv4 as v4-mapped.
    pub addresses: &'a [[u8; 16]],
}

/// Asks for a read-only descriptor of the performance data that a Java virtual machine keeps in
/// `/tmp/hsperfdata_USER/PID` of its own root. There is no path in it: the sensor finds the file by the process, and only
/// one that belongs to the process's user is given out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpenJvmData {
    /// The process, as the node numbers it.
    pub pid: u32,
}

/// Asks what kind of program a process executes. The program's file is not given out: it may be one that only its user
/// can read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DescribeExecutable {
    /// The process, as the node numbers it.
    pub pid: u32,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind<'a> {
    /// A descriptor of a file.
    OpenFile(OpenFile<'a>),
    /// A fresh [`SensorStatus`](crate::SensorStatus), hooks and losses.
    Status,
    /// The space of a file system. Granted with a [`FilesystemReply`].
    StatFilesystem(StatFilesystem),
    /// The addresses whose round trip is measured.
    SetPingTargets(SetPingTargets<'a>),
    /// A descriptor of a Java virtual machine's performance data.
    OpenJvmData(OpenJvmData),
    /// What kind of program a process executes. Granted with an [`ExecutableReply`].
    DescribeExecutable(DescribeExecutable),
}

/// A request with the number its reply will carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// Chosen by the aggregator.
    pub id: u64,
    /// What is asked.
    pub kind: RequestKind<'a>,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// An argument is not of the form its kind takes.
    #[error("an argument is not valid")]
    BadArgument,
    /// There is no such file.
    #[error("no such file")]
    NotFound,
    /// It is there and may not be given out: a symbolic link, not a regular file, the wrong owner, too large.
    #[error("not a file that may be given out")]
    Forbidden,
    /// Too many requests; ask later.
    #[error("too many requests")]
    RateLimited,
    /// The system call failed.
    #[error("input/output error")]
    Io,
    /// The sensor does not know this kind of request.
    #[error("unknown request")]
    Unknown,
    /// An earlier request for the same thing, or too many others, wait for a file system that does not answer.
    #[error("a file system does not answer")]
    Busy,
}

impl Refusal {
    /// All of them, in the order of their numbers on the wire.
    pub const ALL: [Self; 7] = [
        Self::BadArgument,
        Self::NotFound,
        Self::Forbidden,
        Self::RateLimited,
        Self::Io,
        Self::Unknown,
        Self::Busy,
    ];
}

/// The answer to a request. A granted [`RequestKind::OpenFile`] or [`RequestKind::OpenJvmData`] comes with one
/// descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// The request's number.
    pub id: u64,
    /// Granted or refused.
    pub result: Result<(), Refusal>,
}

/// The granting answer to a [`StatFilesystem`]; a refusal comes as a [`Reply`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilesystemReply {
    /// The request's number.
    pub id: u64,
    /// What `statfs(2)` said.
    pub space: FilesystemSpace,
}

/// Space of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FilesystemSpace {
    /// All of it.
    pub size_bytes: u64,
    /// What is free, for root or for all.
    pub free_bytes: u64,
    /// What ordinary users may fill.
    pub available_bytes: u64,
}

/// The granting answer to a [`DescribeExecutable`]; a refusal comes as a [`Reply`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutableReply<'a> {
    /// The request's number.
    pub id: u64,
    /// Name of the file, without its directory.
    pub name: &'a [u8],
    /// What its compiler left in it.
    pub language: Language,
}

/// What a program was written in, as far as its file tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// It has no mark that is known, or cannot be read.
    Unknown,
    /// Go: it has build information.
    Go,
    /// Rust: rustc has written its version.
    Rust,
    /// .NET: it brings the runtime along.
    DotNet,
}

impl Language {
    /// All of them, in the order of their numbers on the wire.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Go, Self::Rust, Self::DotNet];
}
