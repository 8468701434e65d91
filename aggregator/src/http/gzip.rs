//! gzip (RFC 1952) of a page while it is written, on several cores.
//!
//! Compressing takes five times as long as writing a page. So the page is cut into chunks; threads compress each for itself
//! and end it on a byte boundary (a sync flush), and the pieces in their order are one deflate stream. A page of a single
//! chunk, which is what most nodes have, is compressed in place without a thread.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use flate2::{Compress, Compression, Crc, FlushCompress};

use crate::metrics::Sink;

/// The fastest level: a page has so many repetitions that better ones gain little.
const LEVEL: u32 = 1;
/// Bytes of a page that are compressed at once. The loss at each border is a few dozen bytes.
const CHUNK_BYTES: usize = 512 << 10;
/// Most threads a page gets; more would only wait for the one that writes it.
const MAX_WORKERS: usize = 4;
/// No flags, no time, fastest compression, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];
/// An empty block with the mark of the last one.
const LAST_BLOCK: [u8; 2] = [3, 0];

/// Compresses what it takes.
pub(super) struct Gzip {
    chunk: Vec<u8>,
    pieces: Pieces,
    workers: Option<Workers>,
    max_workers: usize,
    failed: Option<io::Error>,
}

impl Gzip {
    /// Uses as many threads as the machine has cores, within reason.
    pub(super) fn new() -> Self {
        Self::with_workers(
            thread::available_parallelism()
                .map_or(1, usize::from)
                .min(MAX_WORKERS),
        )
    }

    fn with_workers(max_workers: usize) -> Self {
        Self {
            chunk: Vec::new(),
            pieces: Pieces::new(),
            workers: None,
            max_workers,
            failed: None,
        }
    }

    /// The whole file.
    pub(super) fn finish(mut self) -> io::Result<Vec<u8>> {
        let last = std::mem::take(&mut self.chunk);
        if let Some(mut workers) = self.workers.take() {
            workers.compress(last, &mut self.pieces)?;
            workers.finish(&mut self.pieces)?;
        } else {
            self.pieces.add_next(Piece::new(&last)?);
        }
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.pieces.end()),
        }
    }

    fn compress_chunk(&mut self) -> io::Result<()> {
        let full = std::mem::take(&mut self.chunk);
        if self.max_workers < 2 {
            self.pieces.add_next(Piece::new(&full)?);
            self.chunk = full;
        } else {
            let workers = self
                .workers
                .get_or_insert_with(|| Workers::start(self.max_workers));
            self.chunk = workers.compress(full, &mut self.pieces)?;
        }
        self.chunk.clear();
        Ok(())
    }
}

impl Sink for Gzip {
    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.failed.is_none() {
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            bytes = later;
            if self.chunk.len() == CHUNK_BYTES {
                self.failed = self.compress_chunk().err();
            }
        }
    }
}

/// A compressed chunk.
struct Piece {
    deflated: Vec<u8>,
    crc: Crc,
}

impl Piece {
    fn new(chunk: &[u8]) -> io::Result<Self> {
        let mut deflate = Compress::new(Compression::new(LEVEL), false);
        let mut deflated = Vec::with_capacity(chunk.len() / 8 + 64);
        let mut rest = chunk;
        // A call that leaves room in the output has written all there is.
        loop {
            let before = deflate.total_in();
            deflate.compress_vec(rest, &mut deflated, FlushCompress::Sync)?;
            rest = &rest[(deflate.total_in() - before) as usize..];
            if rest.is_empty() && deflated.len() < deflated.capacity() {
                break;
            }
            deflated.reserve(deflated.capacity().max(64));
        }
        let mut crc = Crc::new();
        crc.update(chunk);
        Ok(Self { deflated, crc })
    }
}

/// The file as far as its pieces came in their order, and those that came too early.
struct Pieces {
    file: Vec<u8>,
    crc: Crc,
    next: usize,
    early: BTreeMap<usize, Piece>,
}

impl Pieces {
    fn new() -> Self {
        Self {
            file: HEADER.to_vec(),
            crc: Crc::new(),
            next: 0,
            early: BTreeMap::new(),
        }
    }

    fn add(&mut self, number: usize, piece: Piece) {
        self.early.insert(number, piece);
        while let Some(piece) = self.early.remove(&self.next) {
            self.add_next(piece);
        }
    }

    fn add_next(&mut self, piece: Piece) {
        self.file.extend_from_slice(&piece.deflated);
        self.crc.combine(&piece.crc);
        self.next += 1;
    }

    fn end(mut self) -> Vec<u8> {
        self.file.extend_from_slice(&LAST_BLOCK);
        self.file.extend_from_slice(&self.crc.sum().to_le_bytes());
        self.file
            .extend_from_slice(&self.crc.amount().to_le_bytes());
        self.file
    }
}

type Done = (usize, Vec<u8>, io::Result<Piece>);

/// Threads that compress. They end when this is dropped.
struct Workers {
    jobs: Sender<(usize, Vec<u8>)>,
    done: Receiver<Done>,
    given: usize,
    under_way: usize,
    max_under_way: usize,
}

impl Workers {
    /// Starts threads. Should the system refuse one, the others do the work; with none, [`Workers::compress`] fails.
    fn start(count: usize) -> Self {
        let (jobs, take_jobs) = channel::<(usize, Vec<u8>)>();
        let (give_done, done) = channel();
        let take_jobs = Arc::new(Mutex::new(take_jobs));
        for _ in 0..count {
            let (take_jobs, give_done) = (Arc::clone(&take_jobs), give_done.clone());
            let work = move || while work_once(&take_jobs, &give_done).is_some() {};
            // A thread that could not be started has dropped its ends of the channels.
            let _ = thread::Builder::new().name("gzip".to_owned()).spawn(work);
        }
        Self {
            jobs,
            done,
            given: 0,
            under_way: 0,
            max_under_way: 2 * count,
        }
    }

    /// Gives a chunk to a thread, and back the memory of an earlier one. Waits when all threads have enough to do.
    fn compress(&mut self, chunk: Vec<u8>, pieces: &mut Pieces) -> io::Result<Vec<u8>> {
        self.jobs
            .send((self.given, chunk))
            .map_err(|_| no_thread())?;
        self.given += 1;
        self.under_way += 1;
        if self.under_way < self.max_under_way {
            Ok(Vec::new())
        } else {
            self.take_one(pieces)
        }
    }

    fn finish(mut self, pieces: &mut Pieces) -> io::Result<()> {
        while self.under_way > 0 {
            self.take_one(pieces)?;
        }
        Ok(())
    }

    fn take_one(&mut self, pieces: &mut Pieces) -> io::Result<Vec<u8>> {
        let (number, chunk, piece) = self.done.recv().map_err(|_| no_thread())?;
        self.under_way -= 1;
        pieces.add(number, piece?);
        Ok(chunk)
    }
}

/// Does one job; none when there will be no more.
fn work_once(jobs: &Mutex<Receiver<(usize, Vec<u8>)>>, done: &Sender<Done>) -> Option<()> {
    let (number, chunk) = jobs
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .recv()
        .ok()?;
    let piece = Piece::new(&chunk);
    done.send((number, chunk, piece)).ok()
}

fn no_thread() -> io::Error {
    io::Error::other("no thread to compress with")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::process::{Command, Stdio};

    use flate2::read::GzDecoder;

    use super::{CHUNK_BYTES, Gzip};
    use crate::metrics::Sink as _;

    /// Bytes that neither compress away nor are noise.
    fn page(bytes: usize) -> Vec<u8> {
        (0u64..)
            .flat_map(|number| {
                format!("a{{b=\"{}\"}} {number}\n", number * number % 9973).into_bytes()
            })
            .take(bytes)
            .collect()
    }

    fn compress(page: &[u8], piece: usize, workers: usize) -> Vec<u8> {
        let mut gzip = Gzip::with_workers(workers);
        page.chunks(piece).for_each(|piece| gzip.take(piece));
        gzip.finish().unwrap()
    }

    #[test]
    fn every_size_reads_back() {
        for bytes in [
            0,
            1,
            CHUNK_BYTES - 1,
            CHUNK_BYTES,
            CHUNK_BYTES + 1,
            5 * CHUNK_BYTES + 12_345,
        ] {
            let page = page(bytes);
            for workers in [1, 2, 4] {
                let file = compress(&page, 60_000, workers);
                let mut back = Vec::new();
                GzDecoder::new(&*file).read_to_end(&mut back).unwrap();
                assert!(back == page, "{bytes} bytes, {workers} workers");
                assert!(
                    file.len() < 100 + bytes / 2,
                    "{} of {bytes} bytes",
                    file.len()
                );
            }
        }
    }

    #[test]
    fn what_does_not_compress_reads_back() {
        let mut state = 1u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .take(3 * CHUNK_BYTES)
        .collect();
        let mut back = Vec::new();
        GzDecoder::new(&*compress(&noise, usize::MAX, 3))
            .read_to_end(&mut back)
            .unwrap();
        assert!(back == noise);
    }

    #[test]
    fn the_number_of_threads_does_not_show() {
        let page = page(9 * CHUNK_BYTES);
        assert!(compress(&page, 4096, 1) == compress(&page, usize::MAX, 4));
    }

    /// gzip(1) is in every Debian; it checks what it reads more strictly than most.
    #[test]
    fn another_implementation_reads_it() {
        let page = page(3 * CHUNK_BYTES);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("page.gz");
        std::fs::write(&path, compress(&page, 4096, 2)).unwrap();
        let output = Command::new("gzip")
            .arg("-dc")
            .arg(&path)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success() && output.stdout == page);
    }
}
