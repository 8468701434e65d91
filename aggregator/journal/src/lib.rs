//! Reads the systemd journal through libsystemd.
//!
//! The journal's file format has compression, hash tables and incompatible flags that change with systemd; the library
//! of the machine knows the files of the machine. It is loaded at run time, so that the aggregator starts where there is
//! no systemd: [`Library::load`] then says which file is missing. This crate is apart from the aggregator because it
//! calls C, and the aggregator forbids unsafe code.
//!
//! No right is needed but membership of the group `systemd-journal`. Sources: `sd-journal(3)`, `sd_journal_open(3)`,
//! `sd_journal_next(3)`, `sd_journal_get_data(3)`, `sd_journal_wait(3)`.
#![deny(unsafe_code)]

mod journal;
mod library;

pub use journal::{Field, Journal, JournalError, MAX_FIELD_BYTES};
pub use library::{Library, LoadError};
