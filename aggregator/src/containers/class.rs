//! What a cgroup path means: the result of [`classify`](super::classify), still without a name.

/// Whose cgroup it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Class {
    /// A container; its name is in its runtime's files.
    Container(ContainerRef),
    /// A cgroup of a pod that belongs to none of its containers: the pod's own directory, or all of the pod when it runs
    /// in gVisor. [`Class::with_cmdline`] tells which.
    Pod,
    /// A unit of systemd or a service of Talos: its `container_id`, complete.
    Unit(String),
    /// Nothing that is reported.
    Ignored(Ignored),
}

/// A container as its cgroup path names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ContainerRef {
    /// Name of its runtime, as in [`Runtime::name`](super::Runtime::name), or `None` when the layout does not tell.
    pub runtime: Option<&'static str>,
    /// The runtime's id: 64 hexadecimal digits, or a name for LXC and for containerd's own containers. Need not be UTF-8.
    pub id: Vec<u8>,
    /// containerd namespace, where the path tells it.
    pub namespace: Option<String>,
    /// User of a rootless runtime; 0 for the system's.
    pub uid: u32,
    /// Below a pod's cgroup.
    pub in_pod: bool,
    /// The sandbox of a pod in gVisor: all of the pod's containers run inside it.
    pub sandbox: bool,
    /// False when the path only looks like one of a container, so that a runtime must confirm it.
    pub certain: bool,
}

/// Why a cgroup is not reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ignored {
    /// The root of a hierarchy, or a directory right below it that holds no service.
    Root,
    /// The path ends in `(deleted)`.
    Removed,
    /// No layout is known for the path.
    UnknownLayout,
    /// The path looks like one of a container, but no runtime knows it.
    UnknownContainer,
    /// `init.scope`: systemd itself.
    Init,
    /// A login session or the service manager of a user.
    UserSession,
    /// A transient scope of systemd.
    Scope,
    /// A process that only watches a container, such as conmon.
    Monitor,
    /// A cgroup that only holds those of a pod's containers.
    PodDirectory,
    /// A pause container, which only holds a pod's namespaces.
    Pause,
    /// The runtime has no name for it.
    Unnamed,
}

impl Ignored {
    /// A word for logs and label values.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Removed => "removed",
            Self::UnknownLayout => "unknown_layout",
            Self::UnknownContainer => "unknown_container",
            Self::Init => "init",
            Self::UserSession => "user_session",
            Self::Scope => "scope",
            Self::Monitor => "monitor",
            Self::PodDirectory => "pod_directory",
            Self::Pause => "pause",
            Self::Unnamed => "unnamed",
        }
    }
}

impl Class {
    /// The class of a pod's cgroup once the command line (`/proc/PID/cmdline`) of a process in it is known: gVisor's
    /// sandbox names its pod's sandbox container in its last argument. Other classes stay as they are.
    pub fn with_cmdline(self, cmdline: &[u8]) -> Self {
        match (&self, super::gvisor::sandbox_id(cmdline)) {
            (Self::Pod, Some(id)) => Self::Container(ContainerRef {
                id: id.to_vec(),
                in_pod: true,
                sandbox: true,
                certain: true,
                ..ContainerRef::default()
            }),
            _ => self,
        }
    }

    /// How much the class tells, for choosing between two hierarchies.
    fn rank(&self) -> u8 {
        match self {
            Self::Container(container) if container.in_pod => 6,
            Self::Container(container) if container.certain => 5,
            Self::Pod => 4,
            Self::Unit(_) => 3,
            Self::Container(_) => 2,
            Self::Ignored(Ignored::Root | Ignored::UnknownLayout) => 0,
            Self::Ignored(_) => 1,
        }
    }

    /// The one of two classes that tells more; the first when both tell as much.
    #[must_use]
    pub fn or_better(self, other: Self) -> Self {
        if other.rank() > self.rank() {
            other
        } else {
            self
        }
    }
}
