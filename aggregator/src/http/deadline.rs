//! A stream whose reader has a fixed time to take what is written.
//!
//! hyper bounds the time to read a request, not to write a response. The clock starts when a write has to wait for the other
//! side and stops when all that was written is with the kernel, so a client that takes one byte now and then is cut off as
//! surely as one that takes none.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

#[derive(Debug)]
pub(super) struct WriteDeadline<T> {
    io: T,
    limit: Duration,
    running: Option<Pin<Box<Sleep>>>,
}

impl<T: AsyncWrite + Unpin> WriteDeadline<T> {
    pub(super) fn new(io: T, limit: Duration) -> Self {
        Self {
            io,
            limit,
            running: None,
        }
    }

    fn write_with(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match write(Pin::new(&mut self.io), context) {
            Poll::Pending => self.check(context),
            done => done,
        }
    }

    /// To be called when the other side has to be waited for.
    fn check<R>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<R>> {
        let limit = self.limit;
        let running = self
            .running
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        running
            .as_mut()
            .poll(context)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WriteDeadline<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WriteDeadline<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write_with(context, |io, context| io.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write_with(context, |io, context| {
            io.poll_write_vectored(context, slices)
        })
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_flush(context) {
            Poll::Pending => self.check(context),
            Poll::Ready(result) => {
                self.running = None;
                Poll::Ready(result)
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.io).poll_shutdown(context) {
            Poll::Pending => self.check(context),
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::{Instant, sleep};

    use super::WriteDeadline;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_cut_off() {
        let (near, _far) = duplex(8);
        let started = Instant::now();
        let error = WriteDeadline::new(near, LIMIT)
            .write_all(&[0; 9])
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), started.elapsed()),
            (ErrorKind::TimedOut, LIMIT)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_little_now_and_then_is_cut_off_too() {
        let (near, mut far) = duplex(8);
        let reader = tokio::spawn(async move {
            while far.read_u8().await.is_ok() {
                sleep(Duration::from_secs(3)).await;
            }
        });
        let error = WriteDeadline::new(near, LIMIT)
            .write_all(&[0; 100])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        reader.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn a_flushed_response_does_not_count_for_the_next() {
        let (near, mut far) = duplex(8);
        let reader = tokio::spawn(async move {
            let mut taken = [0; 16];
            while far.read_exact(&mut taken).await.is_ok() {
                sleep(LIMIT / 2).await;
            }
        });
        let mut stream = WriteDeadline::new(near, LIMIT);
        for _ in 0..10 {
            stream.write_all(&[0; 16]).await.unwrap();
            stream.flush().await.unwrap();
        }
        reader.abort();
    }
}
