//! The follower's side of the map `settlements`: whether an event came before its connection was established.
//!
//! The event and the establishment may come in the same moment on two CPUs, and each connection must be counted either for
//! its actual destination or as late, never as neither. So whichever is first makes the connection's entry: the kernel
//! makes an entry that is not there yet for one of them only. The other one finds it and deletes it, and nobody changes
//! one. The programs' side is in `ebpf/programs/translations.bpf.h`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{Ordering, fence};

use nodescope_ebpf::abi::{self, Decode};

use super::bpf::{MapHandle, monotonic_ns};
use crate::conntrack::entry::Translated;
use crate::conntrack::follow::{Sink, Taken};

/// Both maps.
#[derive(Debug)]
pub(super) struct Settlements {
    waiting: MapHandle,
    settled: MapHandle,
    value: Vec<u8>,
}

impl Settlements {
    pub(super) fn new(waiting: MapHandle, settled: MapHandle) -> Self {
        let value = vec![0; waiting.value_bytes().max(settled.value_bytes())];
        Self {
            waiting,
            settled,
            value,
        }
    }

    fn is_waiting(&mut self, key: &[u8]) -> io::Result<bool> {
        // The programs make the entry of `settled` before they delete that of `waiting`: who misses this one sees that one.
        let waits = self.waiting.lookup(key, &mut self.value)?;
        fence(Ordering::SeqCst);
        Ok(waits)
    }

    /// An entry was there before, or the connection waits no more.
    fn take_settled(&mut self, key: &[u8]) -> io::Result<Taken> {
        if !self.settled.lookup(key, &mut self.value)? {
            return Ok(Taken::Unknown);
        }
        let told = abi::Translation::from_bytes(&self.value);
        if told.is_some_and(|told| told.actual.port() != 0) {
            return Ok(Taken::Waiting);
        }
        self.settled.delete(key)?;
        Ok(Taken::Late)
    }
}

impl Sink for Settlements {
    fn take(&mut self, found: &Translated) -> io::Result<Taken> {
        let key = found.tuple.to_bytes();
        if !self.is_waiting(&key)? {
            return self.take_settled(&key);
        }
        let told = abi::Translation {
            created_ns: monotonic_ns(),
            actual: found.actual,
        };
        if !self.settled.insert(&key, &told.to_bytes())? {
            return self.take_settled(&key);
        }
        if !self.is_waiting(&key)? && self.settled.delete(&key)? {
            // It failed before it could be told.
            return Ok(Taken::Unknown);
        }
        Ok(Taken::Waiting)
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.waiting.as_fd(), self.settled.as_fd()]
    }
}
