//! The kernel side of the sensor: loads the BPF programs and turns what their maps hold into records.
//!
//! [`Kernel::load`] needs rights; what it returns only reads maps and runs iterators through open descriptors, for which
//! Linux 5.19 and later ask no capability and earlier ones `CAP_BPF`. The maps are the truth: a lost hint in the ring
//! buffer only delays a record to the next poll.
//!
//! Where a kernel takes no program, [`Plain`] is the source instead.
//!
//! Bounds: the maps' sizes ([`MapSizes`]). [`Source::poll`] makes room in a nearly full one; call it and
//! [`Source::urgent`] also while nobody listens.

mod asked;
mod bpf;
mod cilium;
mod convert;
mod delays;
pub mod executables;
mod existing;
mod flows;
mod held_logs;
mod hierarchy;
mod listens;
mod load;
mod losses;
mod older;
mod options;
mod plain;
mod populations;
mod probes;
mod seed;
mod settlements;
mod skipped;
mod source;
mod survey;
mod switch;
mod table;
mod translations;
mod verdict;

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use aya::maps::{MapData, RingBuf};
use aya::programs::links::FdLink;
use nodescope_ebpf::abi::{self, Decode};
use nodescope_ebpf::maps;
use nodescope_schema::{Hook, Loss, MapFill, Record};

use bpf::{MapHandle, monotonic_ns};
use cilium::Cilium;
use delays::DelayTables;
use executables::Executables;
use existing::Existing;
use flows::Flows;
use held_logs::Logs;
use hierarchy::Hierarchy;
use listens::Listens;
pub use load::LoadError;
use load::{Globals, Loaded};
use losses::KernelLosses;
use older::Older;
pub use options::{LoadOptions, MapSizes, Rungs};
pub use plain::Plain;
use populations::{Populations, ThreadGroup};
use probes::SCAN_EXECUTABLES;
pub use source::{Source, SourceError};
use table::{Batch, Table};
use translations::Translations;
use verdict::{HookState, blindness};

use crate::held_logs::HeldLogs;

/// A program may take this long from reading the clock to having written an entry; what changed in that time is told
/// twice rather than not at all.
const SLACK_NS: u64 = 50_000_000;
/// Hints taken in one call of [`Source::urgent`], so that it ends.
const HINTS_MAX: usize = 4096;

/// The loaded programs and their maps. The programs run until this is dropped.
pub struct Kernel {
    hierarchy: Option<Hierarchy>,
    hooks: Vec<HookState>,
    hooks_told: bool,
    _links: Vec<FdLink>,
    events: RingBuf<MapData>,
    existing: Existing,
    cgroups: Table<abi::CgroupKey, abi::Cgroup>,
    flows: Flows,
    listens: Listens,
    translations: Translations,
    cilium: Cilium,
    older: Older,
    populations: Populations,
    processes: Table<ThreadGroup, abi::Process>,
    delays: DelayTables,
    logs: Logs,
    executables: Executables,
    losses: KernelLosses,
    /// Cgroups that were there at the start and found no room.
    unseeded: u64,
    processes_alive: u32,
    polled_ns: u64,
    batch: Batch,
}

impl std::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kernel")
            .field("hierarchy", &self.hierarchy)
            .field("hooks", &self.hooks)
            .finish_non_exhaustive()
    }
}

impl Kernel {
    /// Loads and attaches all programs, then takes in what exists already.
    ///
    /// # Errors
    /// See [`LoadError`]. A program that does not load is no error but a verdict, see [`Kernel::hooks`].
    pub fn load(options: &LoadOptions) -> Result<Self, LoadError> {
        let hierarchy = Hierarchy::watched(&options.proc_root);
        let constants = Globals {
            host_netns: options.host_netns,
            every_netns: u32::from(options.every_netns),
            v1_hierarchy: hierarchy.as_ref().map_or(0, |h| h.number),
            v1_controller: hierarchy.as_ref().map_or(0, |h| h.controller as u32),
            started_ns: monotonic_ns(),
        };
        let loaded = load::load(options, constants)?;
        if let Some(why) = blindness(&loaded.hooks) {
            return Err(LoadError::Blind(why));
        }
        let mut kernel = Self::new(loaded, hierarchy, options)?;
        kernel.seed_cgroups(options);
        // Processes that are forked keep what the sensor has then.
        bpf::release_memory();
        kernel.translations.follow(&mut kernel.hooks);
        kernel.older.find(
            &mut kernel.hooks,
            &options.proc_root,
            options.host_netns,
            options.every_netns,
        );
        kernel.cilium.look(&mut kernel.hooks);
        kernel.existing.find(&mut kernel.hooks, &mut kernel.batch);
        kernel
            .logs
            .find(&kernel.existing, &mut kernel.hooks, &mut kernel.batch);
        // What cannot be deleted only takes room.
        let _ = kernel.older.forget(&mut kernel.batch);
        let v1_root = kernel.v1_root(options);
        kernel.delays.follow(&mut kernel.hooks, options, v1_root);
        kernel.delays.judge(&mut kernel.hooks);
        Ok(kernel)
    }

    fn new(
        mut loaded: Loaded,
        hierarchy: Option<Hierarchy>,
        options: &LoadOptions,
    ) -> Result<Self, LoadError> {
        let sizes = options.sizes;
        let skippable = std::mem::take(&mut loaded.skippable);
        let mut iterators = std::mem::take(&mut loaded.iterators);
        let fd = |name| loaded.map(name).map(|map| map.fd().as_fd());
        let listens = Table::new(maps::LISTENS, fd(maps::LISTENS)?, sizes.listens)?;
        let flows = Table::new(maps::FLOWS, fd(maps::FLOWS)?, sizes.flows)?;
        let others = Table::new(maps::OTHER_FLOWS, fd(maps::OTHER_FLOWS)?, sizes.other_flows)?;
        let populations = Table::new(maps::POPULATIONS, fd(maps::POPULATIONS)?, sizes.populations)?;
        let cgroups = Table::new(maps::CGROUPS, fd(maps::CGROUPS)?, sizes.cgroups)?;
        let processes = Table::new(maps::PROCESSES, fd(maps::PROCESSES)?, sizes.processes)?;
        let delays = Table::new(maps::DELAYS, fd(maps::DELAYS)?, sizes.populations)?;
        let threads = Table::new(maps::THREADS, fd(maps::THREADS)?, sizes.processes)?;
        let tuples =
            |name, entries| -> Result<_, LoadError> { Ok(Table::new(name, fd(name)?, entries)?) };
        let translations = tuples(maps::TRANSLATIONS, sizes.translations)?;
        let older = tuples(maps::OLDER_TRANSLATIONS, sizes.older_translations)?;
        let settlements = tuples(maps::SETTLEMENTS, sizes.settlements)?;
        let follows = fd(maps::FOLLOWS_EVENTS)?;
        let follows = MapHandle::new(follows, size_of::<u32>(), size_of::<u32>())?;
        let cilium = Cilium::new(options.cilium_directories.clone(), fd)?;
        let log_candidates = Logs::table(fd(maps::LOG_CANDIDATES)?)?;
        let is_executables = |(name, _): &(&str, OwnedFd)| *name == SCAN_EXECUTABLES;
        let executables = match iterators.extract_if(.., |it| is_executables(it)).next() {
            Some((_, iterator)) => Executables::new(iterator, fd(maps::EXECUTABLES)?)?,
            None => Executables::default(),
        };
        let losses = KernelLosses::new(fd(maps::LOSSES)?, skippable)?;
        let scan = MapHandle::new(fd(maps::SCAN)?, size_of::<u32>(), size_of::<u32>())?;
        let ports = Table::new(maps::LISTEN_PORTS, fd(maps::LISTEN_PORTS)?, sizes.listens)?;
        Ok(Self {
            hierarchy,
            hooks: loaded.hooks,
            hooks_told: false,
            _links: loaded.links,
            events: loaded.events,
            existing: Existing::new(iterators, scan, ports),
            cgroups,
            flows: Flows::new(flows, others, options.evict_idle),
            listens: Listens::new(listens),
            translations: Translations::new(translations, settlements, follows),
            cilium,
            older: Older::new(older),
            populations: Populations::new(populations),
            processes,
            delays: DelayTables::new(delays, threads, &options.proc_root),
            logs: Logs::new(log_candidates, monotonic_ns()),
            executables,
            losses,
            unseeded: 0,
            processes_alive: 0,
            polled_ns: 0,
            batch: Batch::default(),
        })
    }

    /// The verdict of every hook.
    pub fn hooks(&self) -> impl Iterator<Item = Hook<'_>> {
        self.hooks.iter().map(HookState::record)
    }

    /// The logs that processes hold open, for who opens them.
    pub fn held_logs(&self) -> &HeldLogs {
        self.logs.shared()
    }

    /// What asks for the files that processes execute, for who opens them: once.
    pub fn take_executables(&mut self) -> Executables {
        std::mem::take(&mut self.executables)
    }

    /// Number of the watched cgroup v1 hierarchy; 0 when there is none.
    pub fn v1_hierarchy(&self) -> u32 {
        self.hierarchy
            .as_ref()
            .map_or(0, |hierarchy| hierarchy.number)
    }

    /// Its controllers as in `/proc/PID/cgroup`; empty when there is none.
    pub fn v1_controllers(&self) -> &str {
        self.hierarchy
            .as_ref()
            .map_or("", |hierarchy| &hierarchy.controllers)
    }

    /// Number of the watched v1 hierarchy and where it is mounted.
    fn v1_root(&self, options: &LoadOptions) -> Option<(u32, PathBuf)> {
        let hierarchy = self.hierarchy.as_ref()?;
        Some((hierarchy.number, hierarchy.root(&options.proc_root)?))
    }

    fn seed_cgroups(&mut self, options: &LoadOptions) {
        let v1_root = self.v1_root(options);
        for (number, root) in [(0, options.cgroup_v2_root.clone())]
            .into_iter()
            .chain(v1_root)
        {
            let seeded = seed::seed(self.cgroups.map(), &root, number);
            self.unseeded += u64::from(seeded.lost);
        }
    }

    /// Everything that changed since `since_ns`; with 0 everything.
    fn emit(
        &mut self,
        since_ns: u64,
        emit: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(), SourceError> {
        let all = since_ns == 0;
        let now_ns = monotonic_ns();
        let cgroups = self.cgroups.for_each(&mut self.batch, |_, key, cgroup| {
            if cgroup.updated_ns >= since_ns {
                emit(&Record::Cgroup(convert::cgroup(key, &cgroup)));
            }
        })?;
        let populations = self.populations.poll(&mut self.batch, since_ns, emit)?;
        self.delays.poll(&mut self.batch, since_ns, emit)?;
        let flows = self.flows.poll(&mut self.batch, since_ns, emit)?;
        let listens = self
            .listens
            .poll(&mut self.batch, self.existing.scan(), all, emit)?;
        self.logs.poll(all, emit);
        self.flows.evict(&mut self.batch, flows, now_ns, emit)?;
        self.populations
            .make_room(&mut self.batch, populations, &self.cgroups, cgroups)?;
        if all {
            self.processes_alive = self.processes.for_each(&mut self.batch, |_, _, _| {})?;
        }
        let [waiting, settled] = self.translations.fills();
        for (table, entries) in [
            (self.flows.table().fill(), flows),
            (self.flows.others_fill(), self.flows.others_fill().entries),
            (self.listens.table().fill(), listens),
            (waiting, waiting.entries),
            (settled, settled.entries),
            (self.populations.table().fill(), populations),
            (self.cgroups.fill(), cgroups),
            (self.processes.fill(), self.processes_alive),
        ] {
            emit(&Record::MapFill(MapFill { entries, ..table }));
        }
        self.emit_losses(all, emit)
    }

    fn emit_losses(
        &mut self,
        all: bool,
        emit: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(), SourceError> {
        let unseeded = Loss {
            stage: "existing_cgroups",
            reason: "refused",
            total: self.unseeded,
        };
        let mut lost_here = vec![unseeded, self.flows.loss(), self.older.loss()];
        lost_here.push(self.logs.loss());
        lost_here.extend(self.translations.losses());
        lost_here.extend(self.delays.losses());
        self.losses.poll(&lost_here, all, emit)
    }

    fn emit_hooks(&mut self, emit: &mut dyn FnMut(&Record<'_>)) {
        for hook in &self.hooks {
            emit(&Record::Hook(hook.record()));
        }
        self.hooks_told = true;
    }

    fn hint(
        &mut self,
        event: abi::Event,
        emit: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(), SourceError> {
        match event.kind {
            abi::EVENT_LISTEN => self.listens.hint(event.id, self.existing.scan(), emit),
            abi::EVENT_CGROUP => {
                let key = abi::CgroupKey {
                    hierarchy: event.hierarchy,
                    id: event.id,
                };
                if let Some(cgroup) = self.cgroups.get(&key.to_bytes())? {
                    emit(&Record::Cgroup(convert::cgroup(key, &cgroup)));
                }
                Ok(())
            }
            // The object is part of this binary: there are no others.
            _ => Ok(()),
        }
    }
}

impl Source for Kernel {
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.events.as_fd())
    }

    fn urgent(&mut self, emit: &mut dyn FnMut(&Record<'_>)) {
        for _ in 0..HINTS_MAX {
            let Some(event) = self.events.next().map(|item| abi::Event::from_bytes(&item)) else {
                return;
            };
            // What cannot be read now is read, or reported as unreadable, by the next poll.
            if let Some(event) = event {
                let _ = self.hint(event, emit);
            }
        }
    }

    fn poll(&mut self, emit: &mut dyn FnMut(&Record<'_>)) -> Result<(), SourceError> {
        let now_ns = monotonic_ns();
        if !self.hooks_told {
            self.emit_hooks(emit);
        }
        self.delays.scan(&self.existing)?;
        if self.delays.hear(&mut self.hooks, now_ns) {
            self.hooks_told = false;
        }
        if self.translations.hear(&mut self.hooks) {
            self.hooks_told = false;
        }
        if self.translations.is_following() {
            self.translations.sweep(&mut self.batch, now_ns)?;
        }
        self.emit(self.polled_ns.saturating_sub(SLACK_NS).max(1), emit)?;
        self.polled_ns = now_ns;
        Ok(())
    }

    fn snapshot(&mut self, emit: &mut dyn FnMut(&Record<'_>)) -> Result<(), SourceError> {
        self.emit_hooks(emit);
        self.emit(0, emit)
    }

    fn destinations(&mut self, visit: &mut dyn FnMut(IpAddr)) -> Result<(), SourceError> {
        self.flows.destinations(&mut self.batch, visit)
    }

    fn report(&mut self, emit: &mut dyn FnMut(&Record<'_>)) -> Result<(), SourceError> {
        self.emit_hooks(emit);
        self.emit_losses(true, emit)
    }

    fn rescan(&mut self) -> Result<(), SourceError> {
        self.processes_alive = self.processes.for_each(&mut self.batch, |_, _, _| {})?;
        self.delays.count_threads(&mut self.batch)?;
        self.translations.sweep(&mut self.batch, monotonic_ns())?;
        if self.delays.look_at_switch() {
            self.delays.judge(&mut self.hooks);
            self.hooks_told = false;
        }
        if self.cilium.look(&mut self.hooks) {
            self.hooks_told = false;
        }
        self.existing.rescan()?;
        self.logs.scan(&self.existing, &mut self.batch)
    }
}
