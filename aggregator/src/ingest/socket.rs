//! The aggregator's end of the sensor's socket.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nodescope_schema::MAX_MESSAGE_BYTES;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SocketAddrUnix, SocketFlags, SocketType, connect, recvmsg, socket_with,
};
use tokio::io::unix::AsyncFd;

/// Why the socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SocketError {
    /// Nobody listens there.
    #[error("no sensor listens on {path}: is nodescope-sensor running?")]
    NoSensor {
        /// The socket's path.
        path: PathBuf,
    },
    /// Its permissions keep this user out.
    #[error(
        "{path} may not be opened by this user: the sensor's --client-user must be the aggregator's user"
    )]
    Forbidden {
        /// The socket's path.
        path: PathBuf,
    },
    /// Another failure.
    #[error("{path}: {source}")]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
}

/// What one read gave.
#[derive(Debug)]
pub(super) enum Received {
    /// So many bytes of a message, with the descriptor that came beside it.
    Message(usize, Option<OwnedFd>),
    /// A packet longer than a message may be, or with control data that did not fit.
    Oversized,
    /// Nothing yet.
    Empty,
    /// The sensor closed.
    Closed,
}

/// A connected socket.
#[derive(Debug)]
pub(super) struct SensorSocket {
    async_fd: AsyncFd<Arc<OwnedFd>>,
}

impl SensorSocket {
    /// Connects.
    pub(super) fn connect(path: &Path) -> Result<Self, SocketError> {
        let fail = |errno: Errno| describe(path, errno);
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(fail)?;
        let address = SocketAddrUnix::new(path).map_err(fail)?;
        connect(&socket, &address).map_err(fail)?;
        #[expect(
            deprecated,
            reason = "its replacement is unsafe for types whose descriptor may change; an OwnedFd's cannot"
        )]
        let async_fd = AsyncFd::new(Arc::new(socket)).map_err(|source| SocketError::Io {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self { async_fd })
    }

    /// For sending.
    pub(super) fn descriptor(&self) -> Arc<OwnedFd> {
        Arc::clone(self.async_fd.get_ref())
    }

    /// Waits until there is something to read, then lets `read` take it until it finds nothing more.
    pub(super) async fn readable(
        &self,
    ) -> std::io::Result<tokio::io::unix::AsyncFdReadyGuard<'_, Arc<OwnedFd>>> {
        self.async_fd.readable().await
    }

    /// Reads one packet into `buffer`, which should hold [`MAX_MESSAGE_BYTES`].
    pub(super) fn receive(&self, buffer: &mut [u8]) -> Result<Received, Errno> {
        debug_assert!(buffer.len() >= MAX_MESSAGE_BYTES, "a whole message fits");
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let message = match recvmsg(
            self.async_fd.get_ref(),
            &mut [IoSliceMut::new(buffer)],
            &mut control,
            flags,
        ) {
            Ok(message) => message,
            Err(Errno::AGAIN) => return Ok(Received::Empty),
            Err(errno) => return Err(errno),
        };
        let descriptor = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        if message
            .flags
            .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
        {
            return Ok(Received::Oversized);
        }
        Ok(if message.bytes == 0 {
            Received::Closed
        } else {
            Received::Message(message.bytes, descriptor)
        })
    }
}

fn describe(path: &Path, errno: Errno) -> SocketError {
    let path = path.to_owned();
    match errno {
        Errno::NOENT | Errno::CONNREFUSED => SocketError::NoSensor { path },
        Errno::ACCESS | Errno::PERM => SocketError::Forbidden { path },
        other => SocketError::Io {
            path,
            source: other.into(),
        },
    }
}
