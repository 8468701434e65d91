//! Connection tracking through netlink: the bytes, and a real kernel in network namespaces of the test's own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod events;
mod parsing;
mod support;
