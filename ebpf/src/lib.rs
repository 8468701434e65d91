//! The Rust mirror of the BPF object.
