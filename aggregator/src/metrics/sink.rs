//! Where a page goes.

/// Takes a page in pieces. It cannot fail while it takes: what can go wrong, it reports at its own end.
pub trait Sink {
    /// Takes the next bytes.
    fn take(&mut self, bytes: &[u8]);

    /// Takes the next bytes with the buffer they are in, and gives back an empty one: a sink that can keep or recycle
    /// whole buffers spares copying a large page.
    fn take_buffer(&mut self, mut buffer: Vec<u8>) -> Vec<u8> {
        self.take(&buffer);
        buffer.clear();
        buffer
    }
}

impl Sink for Vec<u8> {
    fn take(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
