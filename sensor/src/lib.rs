//! The privileged half of nodescope: loads the BPF programs, streams what they count to one unprivileged client and
//! does for that client what only root may: opens the few files of a closed table, sends echo requests to addresses that
//! processes have a connection to.
//!
//! It is small and blocking on purpose: one thread for the stream, a few for opening files. It parses the kernel's
//! structures, echo replies, a few lines of `/proc` and `/etc/passwd`, and the client's requests; never logs, JSON or
//! HTTP, and ELF files only in a process without any right ([`examiner`]). It has no configuration file, so that root
//! parses nothing more: everything is a flag (see [`args`]).
//!
//! `main.rs` shows the order of things: what needs rights comes first, then the rights are dropped ([`privilege`]), then
//! the system calls ([`seccomp`]), and only then is the first byte of a client read ([`stream`]).
//!
//! Test it with `cargo test -p nodescope-sensor`, as root for all of it; `nodescope-sensor --check` tests the kernel.
#![deny(unsafe_code)]

pub mod args;
pub mod broker;
pub mod check;
pub mod conntrack;
pub mod examiner;
pub mod exit;
pub mod held_logs;
mod helper;
pub mod host;
pub mod kernel;
pub mod losses;
pub mod netlink;
pub mod packet;
pub mod passwd;
pub mod ping;
pub mod privilege;
pub mod processes;
pub mod rate;
pub mod rotated;
pub mod seccomp;
pub mod setup;
pub mod socket;
pub mod stream;
pub mod taskstats;
mod walks;
