//! Loads the object with aya, each program by itself down its ladder. The only file that knows aya.
//!
//! Needs `CAP_BPF`, `CAP_PERFMON` and `CAP_NET_ADMIN`. Parsing the kernel's BTF takes several times the memory of all the rest; it
//! is dropped before `load` returns.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use aya::maps::{Map, MapData, MapError, RingBuf};
use aya::programs::links::{FdLink, LinkError};
use aya::programs::{
    BtfTracePoint, CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSock, Iter,
    ProgramError, SockOps,
};
use aya::{Btf, BtfError, Ebpf, EbpfError, EbpfLoader};
use nodescope_ebpf::{OBJECT, globals, maps};

use super::bpf;
use super::probes::{Attach, DELAYS, PROBES, Probe, Program, TCP_STATE, TRANSLATIONS};
use super::verdict::{HookState, Refusal, is_unsupported, judge, verifier_reason};
use super::{LoadOptions, Rungs};

/// The kernel side could not be loaded, or is of no use. What fails alone is a hook's verdict instead.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Rights are missing.
    #[error("not permitted to load BPF: needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN")]
    Permission(#[source] io::Error),
    /// The kernel was built without BPF.
    #[error("this kernel has no BPF (CONFIG_BPF_SYSCALL)")]
    NoBpf(#[source] io::Error),
    /// The kernel does not say what its structs look like.
    #[error("this kernel has no BTF at /sys/kernel/btf/vmlinux (CONFIG_DEBUG_INFO_BTF)")]
    NoBtf(#[source] BtfError),
    /// Programs load, but may not read what says which processes and cgroups there are.
    #[error("this kernel does not let programs read tasks and cgroups: {0}")]
    Blind(String),
    /// The root of the cgroup v2 tree cannot be opened.
    #[error("cannot open the cgroup v2 tree {}", path.display())]
    CgroupRoot {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The object or a map was refused.
    #[error("the kernel refused the BPF object")]
    Object(#[source] Box<EbpfError>),
    /// A map is not in the object or of another kind.
    #[error("the BPF object has no usable map {0}")]
    Map(&'static str),
    /// A descriptor could not be had.
    #[error("cannot keep a BPF descriptor")]
    Descriptor(#[from] io::Error),
}

/// Constants of the programs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Globals {
    pub host_netns: u32,
    pub every_netns: u32,
    pub v1_hierarchy: u32,
    pub v1_controller: u32,
    pub started_ns: u64,
}

/// What stays after loading.
pub(super) struct Loaded {
    pub hooks: Vec<HookState>,
    /// Programs run as long as these are open.
    pub links: Vec<FdLink>,
    pub iterators: Vec<(&'static str, OwnedFd)>,
    /// Programs the kernel may skip, by the name of their hook.
    pub skippable: Vec<(&'static str, OwnedFd)>,
    pub events: RingBuf<MapData>,
    running: Vec<&'static str>,
    ebpf: Ebpf,
}

impl Loaded {
    /// The map of this name, as long as this lives; keep a copy of its descriptor.
    pub(super) fn map(&self, name: &'static str) -> Result<&MapData, LoadError> {
        match self.ebpf.map(name) {
            Some(
                Map::HashMap(data)
                | Map::Array(data)
                | Map::PerCpuArray(data)
                | Map::ArrayOfMaps(data),
            ) => Ok(data),
            _ => Err(LoadError::Map(name)),
        }
    }
}

/// Loads and attaches everything this kernel takes.
pub(super) fn load(options: &LoadOptions, constants: Globals) -> Result<Loaded, LoadError> {
    let cgroup_root =
        File::open(&options.cgroup_v2_root).map_err(|source| LoadError::CgroupRoot {
            path: options.cgroup_v2_root.clone(),
            source,
        })?;
    let mut loader = EbpfLoader::new();
    // The loader has read the kernel's BTF for itself and cannot share it: let that go before it is read again.
    loader.btf(None);
    let btf = Btf::from_sys_fs().map_err(LoadError::NoBtf)?;
    let sizes = &options.sizes;
    let mut ebpf = loader
        .btf(Some(&btf))
        .override_global(globals::HOST_NETNS, &constants.host_netns, true)
        .override_global(globals::EVERY_NETNS, &constants.every_netns, true)
        .override_global(globals::V1_HIERARCHY, &constants.v1_hierarchy, true)
        .override_global(globals::V1_CONTROLLER, &constants.v1_controller, true)
        .override_global(globals::STARTED_NS, &constants.started_ns, true)
        .map_max_entries(maps::FLOWS, sizes.flows)
        .map_max_entries(maps::OTHER_FLOWS, sizes.other_flows)
        .map_max_entries(maps::LISTENS, sizes.listens)
        .map_max_entries(maps::LISTEN_PORTS, sizes.listens)
        .map_max_entries(maps::TRANSLATIONS, sizes.translations)
        .map_max_entries(maps::SETTLEMENTS, sizes.settlements)
        .map_max_entries(maps::OLDER_TRANSLATIONS, sizes.older_translations)
        .map_max_entries(maps::PROCESSES, sizes.processes)
        .map_max_entries(maps::POPULATIONS, sizes.populations)
        .map_max_entries(maps::DELAYS, sizes.populations)
        .map_max_entries(maps::THREADS, sizes.processes)
        .map_max_entries(maps::CGROUPS, sizes.cgroups)
        .load(OBJECT)
        .map_err(object_error)?;
    let events = ebpf
        .take_map(maps::EVENTS)
        .ok_or(LoadError::Map(maps::EVENTS))?;
    let events = RingBuf::try_from(events).map_err(|e| object_error(EbpfError::MapError(e)))?;
    let mut loaded = Loaded {
        hooks: Vec::new(),
        links: Vec::new(),
        iterators: Vec::new(),
        skippable: Vec::new(),
        running: Vec::new(),
        events,
        ebpf,
    };
    for probe in PROBES {
        let hook = loaded.climb_down(probe, options, &btf, &cgroup_root);
        loaded.hooks.push(hook);
    }
    Ok(loaded)
}

fn object_error(error: EbpfError) -> LoadError {
    match error {
        EbpfError::MapError(MapError::CreateError { io_error, .. }) => {
            match io_error.raw_os_error() {
                Some(libc::EPERM) => LoadError::Permission(io_error),
                Some(libc::ENOSYS) => LoadError::NoBpf(io_error),
                _ => LoadError::Descriptor(io_error),
            }
        }
        other => LoadError::Object(Box::new(other)),
    }
}

/// What a program that runs leaves behind.
enum Running {
    Link(FdLink),
    /// With a descriptor of the program itself.
    Tracepoint(FdLink, OwnedFd),
    Iterator(OwnedFd),
}

impl Loaded {
    fn climb_down(
        &mut self,
        probe: &Probe,
        options: &LoadOptions,
        btf: &Btf,
        cgroup_root: &File,
    ) -> HookState {
        let mut refusals = Vec::new();
        if !probe.needs.is_empty() && !self.running.contains(&probe.needs) {
            refusals.push(Refusal::without(probe.needs));
            return judge(probe, &refusals, None);
        }
        let is_lowest = |index| index + 1 == probe.rungs.len();
        let lowest = match probe.name {
            TCP_STATE => options.rungs == Rungs::LowerTcp,
            TRANSLATIONS => options.conntrack_events,
            DELAYS => options.taskstats,
            _ => false,
        };
        for (index, rung) in probe.rungs.iter().enumerate() {
            if lowest && !is_lowest(index) {
                continue;
            }
            match self.start_all(probe.name, rung.programs, btf, cgroup_root) {
                Ok(()) => return judge(probe, &refusals, Some(index)),
                Err(refusal) => refusals.push(refusal),
            }
        }
        judge(probe, &refusals, None)
    }

    /// All programs of a rung, or none.
    fn start_all(
        &mut self,
        hook: &'static str,
        programs: &[Program],
        btf: &Btf,
        cgroup_root: &File,
    ) -> Result<(), Refusal> {
        let mut started = Vec::new();
        for program in programs {
            let running = start(&mut self.ebpf, program, btf, cgroup_root)
                .map_err(|error| refusal(program.name, error))?;
            started.push((program.name, running));
        }
        for (name, running) in started {
            self.running.push(name);
            match running {
                Running::Link(link) => self.links.push(link),
                Running::Tracepoint(link, program) => {
                    self.links.push(link);
                    self.skippable.push((hook, program));
                }
                Running::Iterator(link) => self.iterators.push((name, link)),
            }
        }
        Ok(())
    }
}

fn start(
    ebpf: &mut Ebpf,
    program: &Program,
    btf: &Btf,
    cgroup_root: &File,
) -> Result<Running, ProgramError> {
    let loaded = ebpf
        .program_mut(program.name)
        .ok_or(ProgramError::NotLoaded)?;
    let single = CgroupAttachMode::Single;
    let link = match program.attach {
        Attach::Tracepoint(tracepoint) => {
            let program: &mut BtfTracePoint = loaded.try_into()?;
            loaded_already(program.load(tracepoint, btf))?;
            let id = program.attach()?;
            let link = program.take_link(id)?.into();
            let program = program.fd()?.as_fd().try_clone_to_owned();
            return program
                .map(|program| Running::Tracepoint(link, program))
                .map_err(ProgramError::IOError);
        }
        Attach::Egress | Attach::Ingress => {
            let direction = match program.attach {
                Attach::Egress => CgroupSkbAttachType::Egress,
                _ => CgroupSkbAttachType::Ingress,
            };
            let program: &mut CgroupSkb = loaded.try_into()?;
            program.load()?;
            let id = program.attach(cgroup_root, direction, single)?;
            program.take_link(id)?.try_into().map_err(link_error)?
        }
        Attach::Release => {
            let program: &mut CgroupSock = loaded.try_into()?;
            loaded_already(program.load())?;
            let id = program.attach(cgroup_root, single)?;
            program.take_link(id)?.try_into().map_err(link_error)?
        }
        Attach::SockOps => {
            let program: &mut SockOps = loaded.try_into()?;
            loaded_already(program.load())?;
            let id = program.attach(cgroup_root, single)?;
            program.take_link(id)?.try_into().map_err(link_error)?
        }
        Attach::Iterator(kind) => {
            let program: &mut Iter = loaded.try_into()?;
            program.load(kind, btf)?;
            return bpf::link_iterator(program.fd()?.as_fd())
                .map(Running::Iterator)
                .map_err(ProgramError::IOError);
        }
    };
    Ok(Running::Link(link))
}

/// A program may be loaded from a rung that failed later.
fn loaded_already(result: Result<(), ProgramError>) -> Result<(), ProgramError> {
    match result {
        Err(ProgramError::AlreadyLoaded) => Ok(()),
        result => result,
    }
}

/// The kernel gave no link (before 5.7, which is below the floor).
fn link_error(error: LinkError) -> ProgramError {
    ProgramError::IOError(io::Error::new(io::ErrorKind::Unsupported, error))
}

fn refusal(program: &'static str, error: ProgramError) -> Refusal {
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => {
            let log = verifier_log.to_string();
            let reason = verifier_reason(&log);
            let reason = if reason.is_empty() {
                io_error.to_string()
            } else {
                format!("{io_error}: {reason}")
            };
            Refusal {
                program,
                unsupported: is_unsupported(&log),
                reason,
            }
        }
        ProgramError::Btf(error @ BtfError::UnknownBtfTypeName { .. }) => Refusal {
            program,
            unsupported: true,
            reason: error.to_string(),
        },
        other => Refusal {
            program,
            unsupported: false,
            reason: other.to_string(),
        },
    }
}
