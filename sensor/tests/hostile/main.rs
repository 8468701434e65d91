//! A client that means harm, against the real sensor: it stays up, within its memory and processor time, gives no
//! descriptor it should not, and serves the next client. Each test is one kind of attack. Needs root.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;
mod files;
mod floods;
mod messages;
mod users;

use nodescope_schema::{FileKind, OpenFile};

/// The sensor may grow by this much under attack: buffers it fills once.
const GROWTH_KIB: u64 = 3 * 1024;
const ID: &[u8; 64] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn docker(root: &[u8]) -> OpenFile<'_> {
    OpenFile {
        kind: FileKind::DockerConfig,
        container: ID,
        namespace: b"",
        root,
        uid: 0,
        generation: 0,
    }
}
