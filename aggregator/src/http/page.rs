//! A page on its way from the thread that writes it to the connection that sends it.
//!
//! The page travels in chunks, so that the first ones are sent while later ones are still written. The writer never waits for
//! the client: what is not sent yet is kept, at most a whole page. A page of one chunk has a `Content-Length`; a longer one
//! does not say its length, and one that breaks off ends its connection, so that nobody takes it for complete.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::metrics::{BUFFER_BYTES, Sink};

/// Empty buffers kept for the next chunks, of this page or another; the rest goes back to the system.
const SPARE_BUFFERS: usize = 8;

/// Buffers whose bytes were sent.
#[derive(Debug, Default)]
pub(super) struct Spare(Mutex<Vec<Vec<u8>>>);

impl Spare {
    fn buffers(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, mut buffer: Vec<u8>) {
        let mut buffers = self.buffers();
        if buffers.len() < SPARE_BUFFERS && buffer.capacity() >= BUFFER_BYTES {
            buffer.clear();
            buffers.push(buffer);
        }
    }
}

/// The page could not be written to its end.
#[derive(Debug, thiserror::Error)]
#[error("the page could not be written")]
pub(super) struct Unfinished;

#[derive(Debug)]
enum Part {
    Chunk(Bytes),
    End,
}

/// Begins a page. `permit` is the right to have it in memory; it ends when the last byte was sent.
pub(super) fn begin(permit: OwnedSemaphorePermit, spare: &Arc<Spare>) -> (Output, PageBody) {
    let (parts, coming) = unbounded_channel();
    let output = Output {
        parts,
        permit: Arc::new(permit),
        spare: Arc::clone(spare),
    };
    let body = PageBody {
        begun: VecDeque::new(),
        ended: false,
        coming,
    };
    (output, body)
}

/// Where the writer puts what is to be sent.
pub(super) struct Output {
    parts: UnboundedSender<Part>,
    permit: Arc<OwnedSemaphorePermit>,
    spare: Arc<Spare>,
}

/// A chunk being sent.
struct Held {
    bytes: Vec<u8>,
    spare: Arc<Spare>,
    _permit: Arc<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.spare.put(std::mem::take(&mut self.bytes));
    }
}

impl Output {
    /// Hands on a chunk. When the client is gone, it is dropped.
    pub(super) fn send(&self, bytes: Vec<u8>) {
        let held = Held {
            bytes,
            spare: Arc::clone(&self.spare),
            _permit: Arc::clone(&self.permit),
        };
        if !held.bytes.is_empty() {
            let _ = self.parts.send(Part::Chunk(Bytes::from_owner(held)));
        }
    }

    /// Takes back a buffer that is not needed any more.
    pub(super) fn recycle(&self, buffer: Vec<u8>) {
        self.spare.put(buffer);
    }

    /// An empty buffer, used before if possible.
    pub(super) fn buffer(&self) -> Vec<u8> {
        self.spare.buffers().pop().unwrap_or_default()
    }

    /// The page is complete.
    pub(super) fn end(self) {
        let _ = self.parts.send(Part::End);
    }
}

/// What becomes of the chunks of a page.
pub(super) trait Encoding {
    /// Takes a chunk of any size and gives back an empty buffer.
    fn encode(&mut self, chunk: Vec<u8>) -> Vec<u8>;

    /// Takes the last chunk, which may be empty.
    fn finish(self, last: Vec<u8>) -> Result<(), Unfinished>;
}

/// Sends chunks as they are.
impl Encoding for Output {
    fn encode(&mut self, chunk: Vec<u8>) -> Vec<u8> {
        self.send(chunk);
        self.buffer()
    }

    fn finish(self, last: Vec<u8>) -> Result<(), Unfinished> {
        self.send(last);
        self.end();
        Ok(())
    }
}

/// Gathers a page into chunks.
pub(super) struct Chunks<E> {
    chunk: Vec<u8>,
    encoding: E,
}

impl<E: Encoding> Chunks<E> {
    pub(super) fn new(encoding: E) -> Self {
        Self {
            chunk: Vec::new(),
            encoding,
        }
    }

    pub(super) fn finish(self) -> Result<(), Unfinished> {
        self.encoding.finish(self.chunk)
    }

    fn hand_on_if_full(&mut self) {
        if self.chunk.len() >= BUFFER_BYTES {
            self.chunk = self.encoding.encode(std::mem::take(&mut self.chunk));
        }
    }
}

impl<E: Encoding> Sink for Chunks<E> {
    fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = BUFFER_BYTES - self.chunk.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.chunk.extend_from_slice(now);
            bytes = later;
            self.hand_on_if_full();
        }
    }

    fn take_buffer(&mut self, mut buffer: Vec<u8>) -> Vec<u8> {
        if !self.chunk.is_empty() {
            self.take(&buffer);
            buffer.clear();
            return buffer;
        }
        if buffer.len() >= BUFFER_BYTES {
            return self.encoding.encode(buffer);
        }
        std::mem::replace(&mut self.chunk, buffer)
    }
}

/// The page as the connection takes it.
#[derive(Debug)]
pub(super) struct PageBody {
    /// Chunks that [`PageBody::begun`] has already taken.
    begun: VecDeque<Bytes>,
    ended: bool,
    coming: UnboundedReceiver<Part>,
}

impl PageBody {
    /// Waits until it is known whether the page is a single chunk.
    pub(super) async fn begun(mut self) -> Result<Self, Unfinished> {
        while !self.ended && self.begun.len() < 2 {
            match self.coming.recv().await.ok_or(Unfinished)? {
                Part::Chunk(chunk) => self.begun.push_back(chunk),
                Part::End => self.ended = true,
            }
        }
        Ok(self)
    }
}

impl Body for PageBody {
    type Data = Bytes;
    type Error = Unfinished;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Unfinished>>> {
        if let Some(chunk) = self.begun.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.coming.poll_recv(context)) {
            Some(Part::Chunk(chunk)) => Some(Ok(Frame::data(chunk))),
            Some(Part::End) => {
                self.ended = true;
                None
            }
            None => Some(Err(Unfinished)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.begun.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let begun: usize = self.begun.iter().map(Bytes::len).sum();
        if self.ended {
            return SizeHint::with_exact(begun as u64);
        }
        let mut hint = SizeHint::new();
        hint.set_lower(begun as u64);
        hint
    }
}

#[cfg(test)]
pub(super) mod tests {
    use http_body_util::BodyExt as _;
    use tokio::sync::Semaphore;

    use super::*;

    fn output(pages: &Arc<Semaphore>, spare: &Arc<Spare>) -> (Output, PageBody) {
        begin(Arc::clone(pages).try_acquire_owned().unwrap(), spare)
    }

    /// All bytes of a page.
    pub(in crate::http) fn written(write: impl FnOnce(Output)) -> Result<Vec<u8>, Unfinished> {
        let (output, body) = output(&Arc::new(Semaphore::new(1)), &Arc::default());
        write(output);
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let page = runtime.unwrap().block_on(body.collect())?;
        Ok(page.to_bytes().to_vec())
    }

    #[test]
    fn pieces_and_buffers_come_in_their_order() {
        let wanted: Vec<u8> = (0..3 * BUFFER_BYTES).map(|at| (at % 251) as u8).collect();
        for (first, second) in [
            (0, 5),
            (5, BUFFER_BYTES + 9),
            (BUFFER_BYTES + 1, 2 * BUFFER_BYTES),
        ] {
            let page = written(|output| {
                let mut chunks = Chunks::new(output);
                assert!(chunks.take_buffer(wanted[..first].to_vec()).is_empty());
                chunks.take(&wanted[first..second]);
                assert!(chunks.take_buffer(wanted[second..].to_vec()).is_empty());
                chunks.finish().unwrap();
            });
            assert!(page.unwrap() == wanted, "{first} {second}");
        }
    }

    #[tokio::test]
    async fn only_a_page_of_one_chunk_tells_its_length() {
        for (chunks, exact) in [(0, Some(0)), (1, Some(3)), (2, None)] {
            let (output, body) = output(&Arc::new(Semaphore::new(1)), &Arc::default());
            (0..chunks).for_each(|_| output.send(b"abc".to_vec()));
            output.end();
            let body = body.begun().await.unwrap();
            assert_eq!(body.size_hint().exact(), exact);
            assert_eq!(body.is_end_stream(), chunks == 0);
        }
    }

    #[tokio::test]
    async fn a_page_that_breaks_off_is_an_error() {
        for chunks in 0..4 {
            let (output, body) = output(&Arc::new(Semaphore::new(1)), &Arc::default());
            (0..chunks).for_each(|_| output.send(vec![1]));
            drop(output);
            let whole = async { body.begun().await?.collect().await };
            assert!(whole.await.is_err(), "{chunks} chunks");
        }
    }

    #[tokio::test]
    async fn the_last_byte_ends_the_permit_and_leaves_its_buffer() {
        let (pages, spare) = (Arc::new(Semaphore::new(1)), Arc::default());
        let (output, mut body) = output(&pages, &spare);
        output.send(Vec::with_capacity(BUFFER_BYTES));
        output.send(vec![0; BUFFER_BYTES]);
        output.end();
        let chunk = body.frame().await.unwrap().unwrap();
        drop(body);
        assert_eq!((pages.available_permits(), spare.buffers().len()), (0, 1));
        drop(chunk);
        assert_eq!((pages.available_permits(), spare.buffers().len()), (1, 2));
    }

    #[tokio::test]
    async fn a_writer_without_a_reader_keeps_nothing() {
        let (pages, spare) = (Arc::new(Semaphore::new(1)), Arc::default());
        let (output, body) = output(&pages, &spare);
        drop(body);
        for _ in 0..3 * SPARE_BUFFERS {
            output.send(vec![0; BUFFER_BYTES]);
        }
        output.end();
        assert_eq!(
            (pages.available_permits(), spare.buffers().len()),
            (1, SPARE_BUFFERS)
        );
    }
}
