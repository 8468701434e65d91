//! Where a page goes.

/// Takes a page in pieces. It cannot fail while it takes: what can go wrong, it reports at its own end.
pub trait Sink {
    /// Takes the next bytes.
    fn take(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn take(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
