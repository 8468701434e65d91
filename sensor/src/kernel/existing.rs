//! Runs the iterators: at the start for what is older than the sensor, later for the holders of listening sockets and
//! for what the hooks missed.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nodescope_ebpf::maps;

use super::SourceError;
use super::bpf::{MapHandle, start_iterator};
use super::probes::{ADOPT_CONNECTIONS, FIND_PROCESSES, PROBES, SCAN_DELAYS, SCAN_LISTENS};
use super::table::{Batch, Opaque, Table};
use super::verdict::{HookState, broke};

/// Reads of one run. The kernel ends a read after a million objects; this is far above any node.
const READS_MAX: usize = 1024;
/// Bytes of one read.
const OUTPUT_BYTES: usize = 8192;

/// Key of `listen_ports`.
pub(super) type ListenPort = Opaque<8>;

/// Value of `listen_ports`.
pub(super) type Present = Opaque<4>;

/// The iterators this kernel took.
#[derive(Debug)]
pub(super) struct Existing {
    iterators: Vec<(&'static str, OwnedFd)>,
    number: MapHandle,
    ports: Table<ListenPort, Present>,
    scan: u32,
}

impl Existing {
    pub(super) fn new(
        iterators: Vec<(&'static str, OwnedFd)>,
        number: MapHandle,
        ports: Table<ListenPort, Present>,
    ) -> Self {
        Self {
            iterators,
            number,
            ports,
            scan: 0,
        }
    }

    /// Number of the last whole scan of the holders of listening sockets; 0 before the first.
    pub(super) fn scan(&self) -> u32 {
        self.scan
    }

    /// Takes in processes, listening sockets and connections; a failure becomes the verdict of its hook. Listening
    /// sockets come before connections, whose direction depends on them.
    pub(super) fn find(&mut self, hooks: &mut [HookState], batch: &mut Batch) {
        let found = [
            (FIND_PROCESSES, self.run(FIND_PROCESSES)),
            (SCAN_LISTENS, self.scan_listens()),
            (ADOPT_CONNECTIONS, self.run(ADOPT_CONNECTIONS)),
            (SCAN_DELAYS, self.run(SCAN_DELAYS)),
            (ADOPT_CONNECTIONS, self.ports.clear(batch)),
        ];
        for (iterator, result) in found {
            let Err(error) = result else { continue };
            let uses = |probe: &super::probes::Probe| {
                probe
                    .rungs
                    .iter()
                    .any(|rung| rung.programs.iter().any(|program| program.name == iterator))
            };
            for (hook, _) in hooks
                .iter_mut()
                .zip(PROBES)
                .filter(|(_, probe)| uses(probe))
            {
                let reason = std::error::Error::source(&error)
                    .map(ToString::to_string)
                    .unwrap_or_default();
                broke(hook, &format!("{error}: {reason}"));
            }
        }
    }

    /// Puts right what hooks missed of processes and connections, and looks for the holders of all listening sockets.
    pub(super) fn rescan(&mut self) -> Result<(), SourceError> {
        self.run(FIND_PROCESSES)?;
        self.scan_listens()
    }

    fn scan_listens(&mut self) -> Result<(), SourceError> {
        let next = self.scan.wrapping_add(1).max(1);
        self.number
            .set(&0_u32.to_ne_bytes(), &next.to_ne_bytes())
            .map_err(|source| SourceError::Map {
                map: maps::SCAN,
                source,
            })?;
        self.run(SCAN_LISTENS)?;
        self.scan = next;
        Ok(())
    }

    /// Runs an iterator to its end; nothing when the kernel did not take it.
    pub(super) fn run(&self, iterator: &'static str) -> Result<(), SourceError> {
        self.read(iterator, |_| {})
    }

    /// The same, and hands on what it prints, in pieces of any length.
    pub(super) fn read(
        &self,
        iterator: &'static str,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), SourceError> {
        let Some((_, link)) = self.iterators.iter().find(|(name, _)| *name == iterator) else {
            return Ok(());
        };
        read_iterator(iterator, link.as_fd(), &mut take)
    }
}

/// Runs an iterator to its end and hands on what it prints, in pieces of any length.
pub(super) fn read_iterator(
    iterator: &'static str,
    link: BorrowedFd<'_>,
    take: &mut dyn FnMut(&[u8]),
) -> Result<(), SourceError> {
    let mut drain = || -> io::Result<()> {
        let run = start_iterator(link)?;
        let mut output = [0; OUTPUT_BYTES];
        for _ in 0..READS_MAX {
            match nix::unistd::read(&run, &mut output).map_err(io::Error::from) {
                Ok(0) => return Ok(()),
                Ok(bytes) => take(&output[..bytes]),
                // So many objects without output that the kernel wants to be asked again.
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(e) => return Err(e),
            }
        }
        Err(ErrorKind::TimedOut.into())
    };
    drain().map_err(|source| SourceError::Iterator { iterator, source })
}
