//! gzip (RFC 1952) of a page while it is written, on several cores.
//!
//! Compressing takes longer than writing a page. So threads compress each chunk of the page for itself and end it on a byte
//! boundary (a sync flush), and the pieces in their order are one deflate stream. A page of a single chunk, which is what
//! most nodes have, is compressed in place without a thread.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use flate2::{Compress, Compression, Crc, FlushCompress};
use tracing::warn;

use super::page::{Encoding, Output, Unfinished};

/// The fastest level: a page has so many repetitions that better ones gain little.
const LEVEL: u32 = 1;
/// Compressed bytes that are worth sending.
const SEND_BYTES: usize = 64 << 10;
/// Most threads a page gets; more would only wait for the one that writes it.
const MAX_WORKERS: usize = 4;
/// No flags, no time, fastest compression, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];
/// An empty block with the mark of the last one.
const LAST_BLOCK: [u8; 2] = [3, 0];

/// Compresses the chunks of a page.
pub(super) struct Gzip {
    pieces: Pieces,
    workers: Option<Workers>,
    max_workers: usize,
    failed: Option<io::Error>,
}

impl Gzip {
    /// Uses as many threads as the machine has cores, within reason.
    pub(super) fn new(output: Output) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self::with_workers(output, cores.min(MAX_WORKERS))
    }

    fn with_workers(output: Output, max_workers: usize) -> Self {
        Self {
            pieces: Pieces::new(output),
            workers: None,
            max_workers,
            failed: None,
        }
    }

    fn compress(&mut self, chunk: Vec<u8>) -> io::Result<Option<Vec<u8>>> {
        if self.max_workers < 2 {
            self.pieces.add_next(Piece::new(&chunk)?);
            return Ok(Some(chunk));
        }
        self.workers
            .get_or_insert_with(|| Workers::start(self.max_workers))
            .compress(chunk, &mut self.pieces)
    }

    fn compress_last(&mut self, last: Vec<u8>) -> io::Result<()> {
        let Some(mut workers) = self.workers.take() else {
            self.pieces.add_next(Piece::new(&last)?);
            return Ok(());
        };
        workers.compress(last, &mut self.pieces)?;
        workers.finish(&mut self.pieces)
    }
}

impl Encoding for Gzip {
    fn encode(&mut self, chunk: Vec<u8>) -> Vec<u8> {
        if self.failed.is_some() {
            return Vec::new();
        }
        match self.compress(chunk) {
            Ok(Some(mut used)) => {
                used.clear();
                used
            }
            Ok(None) => self.pieces.output.buffer(),
            Err(error) => {
                self.failed = Some(error);
                Vec::new()
            }
        }
    }

    fn finish(mut self, last: Vec<u8>) -> Result<(), Unfinished> {
        let result = match self.failed.take() {
            Some(error) => Err(error),
            None => self.compress_last(last),
        };
        if let Err(error) = result {
            warn!(%error, "Cannot compress a page.");
            return Err(Unfinished);
        }
        self.pieces.end();
        Ok(())
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

/// Sends pieces in their order, and keeps those that came too early.
struct Pieces {
    output: Output,
    unsent: Vec<u8>,
    crc: Crc,
    next: usize,
    early: BTreeMap<usize, Piece>,
}

impl Pieces {
    fn new(output: Output) -> Self {
        Self {
            output,
            unsent: HEADER.to_vec(),
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
        self.unsent.extend_from_slice(&piece.deflated);
        self.crc.combine(&piece.crc);
        self.next += 1;
        if self.unsent.len() >= SEND_BYTES {
            self.output.send(std::mem::take(&mut self.unsent));
        }
    }

    fn end(mut self) {
        self.unsent.extend_from_slice(&LAST_BLOCK);
        self.unsent.extend_from_slice(&self.crc.sum().to_le_bytes());
        self.unsent
            .extend_from_slice(&self.crc.amount().to_le_bytes());
        self.output.send(self.unsent);
        self.output.end();
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

    /// Gives a chunk to a thread. When all threads have enough to do it waits, and gives back the memory of an earlier one.
    fn compress(&mut self, chunk: Vec<u8>, pieces: &mut Pieces) -> io::Result<Option<Vec<u8>>> {
        self.jobs
            .send((self.given, chunk))
            .map_err(|_| no_thread())?;
        self.given += 1;
        self.under_way += 1;
        if self.under_way < self.max_under_way {
            return Ok(None);
        }
        self.take_one(pieces).map(Some)
    }

    fn finish(mut self, pieces: &mut Pieces) -> io::Result<()> {
        while self.under_way > 0 {
            let used = self.take_one(pieces)?;
            pieces.output.recycle(used);
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

    use super::Gzip;
    use crate::http::page::{self, Chunks};
    use crate::metrics::{BUFFER_BYTES, Sink as _};

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
        page::tests::written(|output| {
            let mut chunks = Chunks::new(Gzip::with_workers(output, workers));
            page.chunks(piece).for_each(|piece| chunks.take(piece));
            chunks.finish().unwrap();
        })
        .unwrap()
    }

    #[test]
    fn every_size_reads_back() {
        for bytes in [
            0,
            1,
            BUFFER_BYTES - 1,
            BUFFER_BYTES,
            BUFFER_BYTES + 1,
            5 * BUFFER_BYTES + 12_345,
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
        .take(3 * BUFFER_BYTES)
        .collect();
        let mut back = Vec::new();
        GzDecoder::new(&*compress(&noise, usize::MAX, 3))
            .read_to_end(&mut back)
            .unwrap();
        assert!(back == noise);
    }

    #[test]
    fn the_number_of_threads_does_not_show() {
        let page = page(9 * BUFFER_BYTES);
        assert!(compress(&page, 4096, 1) == compress(&page, usize::MAX, 4));
    }

    /// gzip(1) is in every Debian; it checks what it reads more strictly than most.
    #[test]
    fn another_implementation_reads_it() {
        let page = page(3 * BUFFER_BYTES);
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
