//! Netlink, as far as ctnetlink and generic netlink have it in common: sockets, messages and attributes.
//!
//! Parsing is pure: [`message`] and [`attribute`]. Sources: `include/uapi/linux/netlink.h`, RFC 3549.

pub mod attribute;
pub mod message;
pub mod socket;

/// Messages and attributes begin at a multiple of so many bytes.
const ALIGNMENT: usize = 4;
