//! The seam between the kernel side and the stream: what the stream needs to know of where its records come from.
//!
//! `Kernel` implements it from the BPF maps; tests of the stream implement it from a list. Records borrow from the
//! source and are valid only during the call of `emit`.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use nodescope_schema::Record;

/// What the stream needs of the kernel side.
pub trait Source {
    /// Readable when [`Source::urgent`] has something to say; none when there is no ring buffer.
    fn wake_fd(&self) -> Option<BorrowedFd<'_>>;

    /// What cannot wait for the next poll: new and removed cgroups, listens.
    fn urgent(&mut self, emit: &mut dyn FnMut(&Record<'_>));

    /// What changed since the last poll.
    ///
    /// # Errors
    /// A map could not be read. What was emitted before is right; the next poll makes up for the rest.
    fn poll(&mut self, emit: &mut dyn FnMut(&Record<'_>)) -> Result<(), SourceError>;

    /// Everything, without [`Record::SnapshotBegin`] and [`Record::SnapshotEnd`].
    ///
    /// # Errors
    /// A map could not be read: the snapshot is not whole.
    fn snapshot(&mut self, emit: &mut dyn FnMut(&Record<'_>)) -> Result<(), SourceError>;

    /// Every address that a process has had a connection to, as often as there are programs and ports. An attempt that
    /// failed does not count: who can make one could else have addresses asked that it cannot reach itself.
    ///
    /// # Errors
    /// A map could not be read: not all were given.
    fn destinations(&mut self, visit: &mut dyn FnMut(IpAddr)) -> Result<(), SourceError>;

    /// How the source does: hooks and losses.
    ///
    /// # Errors
    /// A loss could not be read.
    fn report(&mut self, emit: &mut dyn FnMut(&Record<'_>)) -> Result<(), SourceError>;

    /// Walks all tasks and open files: for the holders of listening sockets, and for what no hook told. Called every
    /// ten seconds.
    ///
    /// # Errors
    /// A walk could not begin or broke off; holders stay as they were.
    fn rescan(&mut self) -> Result<(), SourceError>;
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        (**self).wake_fd()
    }

    fn urgent(&mut self, emit: &mut dyn FnMut(&Record<'_>)) {
        (**self).urgent(emit);
    }

    fn poll(&mut self, emit: &mut dyn FnMut(&Record<'_>)) -> Result<(), SourceError> {
        (**self).poll(emit)
    }

    fn snapshot(&mut self, emit: &mut dyn FnMut(&Record<'_>)) -> Result<(), SourceError> {
        (**self).snapshot(emit)
    }

    fn destinations(&mut self, visit: &mut dyn FnMut(IpAddr)) -> Result<(), SourceError> {
        (**self).destinations(visit)
    }

    fn report(&mut self, emit: &mut dyn FnMut(&Record<'_>)) -> Result<(), SourceError> {
        (**self).report(emit)
    }

    fn rescan(&mut self) -> Result<(), SourceError> {
        (**self).rescan()
    }
}

/// Reading the kernel side failed.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A map could not be read.
    #[error("cannot read map {map}")]
    Map {
        /// Name of the map.
        map: &'static str,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// The state of a program could not be read.
    #[error("cannot read the state of a program of {hook}")]
    Program {
        /// Name of the hook.
        hook: &'static str,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// `/proc` could not be read.
    #[error("cannot read /proc")]
    Processes {
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// An iterator could not be run.
    #[error("cannot run iterator {iterator}")]
    Iterator {
        /// Name of the program.
        iterator: &'static str,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
}
