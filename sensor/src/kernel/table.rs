//! A BPF hash whose keys and values are known types, read whole or by entry.

use std::io;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;

use nodescope_ebpf::abi::{Decode, Reader};
use nodescope_schema::MapFill;

use super::SourceError;
use super::bpf::MapHandle;

/// Entries copied by one system call at first; more when a bucket of the hash holds more.
const BATCH_ENTRIES: usize = 256;

/// How full something is that stands for a map where there is none.
pub(super) fn fill_of(name: &'static str, entries: usize, capacity: usize) -> MapFill<'static> {
    let [entries, capacity] =
        [entries, capacity].map(|number| u32::try_from(number).unwrap_or(u32::MAX));
    MapFill {
        name,
        entries,
        capacity,
    }
}

/// Buffers for reading tables, shared by all of them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    keys: Vec<u8>,
    values: Vec<u8>,
}

impl Batch {
    fn resize(&mut self, map: &MapHandle, entries: usize) {
        self.keys.resize(map.key_bytes() * entries, 0);
        self.values.resize(map.value_bytes() * entries, 0);
    }
}

/// A key or a value of so many bytes, of which only these are used.
#[derive(Debug)]
pub(super) struct Opaque<const BYTES: usize>;

impl<const BYTES: usize> Decode for Opaque<BYTES> {
    const BYTES: usize = BYTES;

    fn read(_: &mut Reader<'_>) -> Self {
        Self
    }
}

/// A hash map from `K` to `V`.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    name: &'static str,
    capacity: u32,
    map: MapHandle,
    types: PhantomData<(K, V)>,
}

impl<K: Decode, V: Decode> Table<K, V> {
    pub(super) fn new(name: &'static str, fd: BorrowedFd<'_>, capacity: u32) -> io::Result<Self> {
        Ok(Self {
            name,
            capacity,
            map: MapHandle::new(fd, K::BYTES, V::BYTES)?,
            types: PhantomData,
        })
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Its name and capacity; the caller knows how many entries there are.
    pub(super) fn fill(&self) -> MapFill<'static> {
        MapFill {
            name: self.name,
            entries: 0,
            capacity: self.capacity,
        }
    }

    pub(super) fn map(&self) -> &MapHandle {
        &self.map
    }

    /// Calls `visit` for every entry and returns how many there are. An entry that is there all the time is visited
    /// once.
    pub(super) fn for_each(
        &self,
        batch: &mut Batch,
        mut visit: impl FnMut(&[u8], K, V),
    ) -> Result<u32, SourceError> {
        let mut entries = BATCH_ENTRIES;
        let mut cursor = None;
        let mut visited = 0_u32;
        loop {
            batch.resize(&self.map, entries);
            let copied =
                match self
                    .map
                    .lookup_batch(&mut cursor, &mut batch.keys, &mut batch.values)
                {
                    Ok(copied) => copied,
                    Err(e)
                        if e.raw_os_error() == Some(libc::ENOSPC)
                            && entries < self.capacity as usize =>
                    {
                        entries *= 2;
                        continue;
                    }
                    Err(source) => {
                        return Err(SourceError::Map {
                            map: self.name,
                            source,
                        });
                    }
                };
            let keys = batch.keys.chunks_exact(K::BYTES);
            let values = batch.values.chunks_exact(V::BYTES);
            for (key, value) in keys.zip(values).take(copied) {
                if let (Some(decoded), Some(value)) = (K::from_bytes(key), V::from_bytes(value)) {
                    visit(key, decoded, value);
                    visited += 1;
                }
            }
            if cursor.is_none() {
                return Ok(visited);
            }
        }
    }

    /// The value of one key, given as bytes.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<V>, SourceError> {
        let mut value = vec![0; V::BYTES];
        match self.map.lookup(key, &mut value) {
            Ok(found) => Ok(if found { V::from_bytes(&value) } else { None }),
            Err(source) => Err(SourceError::Map {
                map: self.name,
                source,
            }),
        }
    }

    /// Deletes entries, as far as they are there.
    pub(super) fn delete(&self, keys: &[Vec<u8>]) -> Result<(), SourceError> {
        for key in keys {
            self.map.delete(key).map_err(|source| SourceError::Map {
                map: self.name,
                source,
            })?;
        }
        Ok(())
    }

    /// Deletes all entries.
    pub(super) fn clear(&self, batch: &mut Batch) -> Result<(), SourceError> {
        let mut keys = Vec::new();
        self.for_each(batch, |key, _, _| keys.push(key.to_vec()))?;
        self.delete(&keys)
    }

    /// Deletes an entry and returns what it was.
    pub(super) fn take(&self, key: &[u8]) -> Result<Option<V>, SourceError> {
        let mut value = vec![0; V::BYTES];
        let taken = match self.map.take(key, &mut value) {
            // Before Linux 5.14: in two steps, between which an update can be lost. Callers take idle entries only.
            Err(e) if e.raw_os_error() != Some(libc::EPERM) => self
                .map
                .lookup(key, &mut value)
                .and_then(|found| Ok(found && self.map.delete(key)?)),
            result => result,
        };
        match taken {
            Ok(true) => Ok(V::from_bytes(&value)),
            Ok(false) => Ok(None),
            Err(source) => Err(SourceError::Map {
                map: self.name,
                source,
            }),
        }
    }
}
