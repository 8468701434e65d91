//! Connection tracking entries through netlink (ctnetlink): where translated connections go.
//!
//! The BPF programs see new connections by themselves (`ebpf/programs/translations.bpf.h`). Netlink is for what they cannot
//! see: connections older than the sensor, by a dump while it starts, and, where the kernel does not show them its entries
//! or a setting asks for it, new ones by events ([`follow`]). An event is read some time after the SYN has gone. A
//! connection that is established by then was counted as if it were not translated, and is counted as a loss.
//!
//! Why the aggregator cannot do it: each request needs `CAP_NET_ADMIN` in the network namespace it is about. The sensor
//! gives that up when it has started; only a process of its own that follows events keeps it ([`child`]).
//!
//! Parsing is pure: [`message`] and [`entry`], with what [`crate::netlink`] has of netlink.

pub mod child;
pub mod dump;
pub mod entry;
pub mod follow;
pub mod message;
pub mod namespaces;
pub mod socket;

use std::io;

/// ctnetlink does not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum ConntrackError {
    /// A call or a request failed.
    #[error("ctnetlink: {0}")]
    Refused(#[from] io::Error),
    /// The answer did not end in time.
    #[error("ctnetlink: the answer takes too long")]
    Slow,
    /// The answer is no netlink message.
    #[error("ctnetlink: the answer is broken")]
    Broken,
}

impl ConntrackError {
    /// The kernel was built without it, or its module is not to be had.
    pub fn is_unsupported(&self) -> bool {
        let Self::Refused(error) = self else {
            return false;
        };
        matches!(
            error.raw_os_error(),
            Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT | libc::EINVAL | libc::EOPNOTSUPP)
        )
    }
}
