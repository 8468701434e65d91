//! Reads fixed-size structs field by field from bytes whose length was checked.

/// A struct the kernel side wrote.
pub trait Decode: Sized {
    /// Its size in C.
    const BYTES: usize;

    /// Reads it from the reader, which has at least [`Decode::BYTES`].
    fn read(reader: &mut Reader<'_>) -> Self;

    /// None when `bytes` are not exactly one of it.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == Self::BYTES).then(|| Self::read(&mut Reader { rest: bytes }))
    }
}

/// What is left to read. Behind the end there are zeros, so that a mistake in a `read` cannot panic; the layout test
/// finds it.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    /// The next `N` bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let Some((bytes, rest)) = self.rest.split_first_chunk() else {
            self.rest = &[];
            return [0; N];
        };
        self.rest = rest;
        *bytes
    }

    /// Passes over padding.
    pub fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    /// The next integer of this type.
    pub fn u8(&mut self) -> u8 {
        u8::from_ne_bytes(self.bytes())
    }

    /// The next integer of this type.
    pub fn u16(&mut self) -> u16 {
        u16::from_ne_bytes(self.bytes())
    }

    /// The next integer of this type.
    pub fn u32(&mut self) -> u32 {
        u32::from_ne_bytes(self.bytes())
    }

    /// The next integer of this type.
    pub fn u64(&mut self) -> u64 {
        u64::from_ne_bytes(self.bytes())
    }

    /// The next integer of this type.
    pub fn i64(&mut self) -> i64 {
        i64::from_ne_bytes(self.bytes())
    }
}
