//! What the main loop waits for, and how long.
//!
//! A thing whose rate is used up is not waited for until it has room again; that time is one of the deadlines.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Stream;
use crate::kernel::Source;

/// What [`Stream::wait`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Stop,
    Kernel,
    Answer,
    Connection,
    Client,
    Guest,
}

/// For which of them there is still room in their rates.
#[derive(Debug, Clone, Copy)]
struct Open {
    hints: bool,
    connections: bool,
    messages: bool,
}

impl<S: Source> Stream<S> {
    /// Waits until something happens or is due, and says what happened.
    pub(super) fn wait(&mut self, now: Instant) -> Result<Vec<(Event, PollFlags)>, Errno> {
        let timeout = self.next_deadline(now).saturating_duration_since(now);
        // Rounded up, so that what it waits for is then due.
        let timeout = PollTimeout::try_from(timeout + Duration::from_millis(1));
        let open = Open {
            hints: now >= self.urgent_allowed,
            connections: self.door.wait(now).is_zero(),
            messages: self.messages.wait(now).is_zero(),
        };
        let (events, mut fds): (Vec<_>, Vec<_>) = self.sources(open).into_iter().unzip();
        match poll(&mut fds, timeout.unwrap_or(PollTimeout::MAX)) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Vec::new()),
            Err(errno) => return Err(errno),
        }
        let flags = fds
            .iter()
            .map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        Ok(events
            .into_iter()
            .zip(flags)
            .filter(|(_, flags)| !flags.is_empty())
            .collect())
    }

    /// What to wait for. A client of which nothing is wanted is still watched for its end.
    fn sources(&self, open: Open) -> Vec<(Event, PollFd<'_>)> {
        fn readable(event: Event, fd: BorrowedFd<'_>) -> (Event, PollFd<'_>) {
            (event, PollFd::new(fd, PollFlags::POLLIN))
        }
        let mut sources = vec![readable(Event::Stop, self.stop.as_fd())];
        let hints = self.source.wake_fd().filter(|_| open.hints);
        sources.extend(hints.map(|fd| readable(Event::Kernel, fd)));
        let blocked = self.requests.is_blocked();
        if !blocked {
            sources.push(readable(Event::Answer, self.requests.broker().wake_fd()));
        }
        if open.connections {
            sources.push(readable(Event::Connection, self.door.listener_fd()));
        }
        if let Some(client) = &self.outlet.client {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, open.messages && !blocked);
            let wants_room = blocked || (client.is_lagging() && !self.snapshot_wanted);
            flags.set(PollFlags::POLLOUT, wants_room);
            sources.push((Event::Client, PollFd::new(client.as_fd(), flags)));
        }
        sources.extend(self.door.guest_fd().map(|fd| readable(Event::Guest, fd)));
        sources
    }

    fn next_deadline(&mut self, now: Instant) -> Instant {
        let mut next = self
            .polls
            .next()
            .min(self.rescans.next())
            .min(self.statuses.next());
        if self.snapshot_wanted {
            next = next.min(self.snapshot_allowed);
        }
        if self.report_wanted {
            next = next.min(self.report_allowed);
        }
        let waits = [self.door.wait(now), self.messages.wait(now)];
        let waits = waits
            .into_iter()
            .filter(|wait| !wait.is_zero())
            .map(|wait| now + wait);
        let hints = Some(self.urgent_allowed).filter(|allowed| now < *allowed);
        waits
            .chain(self.door.deadline())
            .chain(self.pinger.next_tick())
            .chain(hints)
            .fold(next, Instant::min)
    }
}
