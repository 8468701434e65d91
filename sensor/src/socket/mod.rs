//! The socket the sensor listens on: `SOCK_SEQPACKET`, mode 0660, the group is that of the client's user. Made here or
//! by systemd.
//!
//! Who connects is asked of the kernel (`SO_PEERCRED`): root and the client's user may, everybody else is closed. A
//! socket that an earlier sensor left behind is removed; one that answers, or a file that is no socket, never.

pub mod activation;

use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, getsockopt, listen,
    socket, sockopt,
};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstatat};
use nix::unistd::{Gid, UnlinkatFlags, fchownat, geteuid, unlinkat};

use crate::passwd;

/// Connections that wait for [`Listener::accept`]; for more, connecting blocks.
const BACKLOG: i32 = 8;
/// Mode of a directory that is made for the socket.
const DIRECTORY_MODE: u32 = 0o755;
/// Mode of the socket: connecting takes the right to write.
const SOCKET_MODE: Mode = Mode::from_bits_truncate(0o660);

/// The socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The path has no directory or file name, or is too long for a socket.
    #[error("{} cannot be the path of a socket: at most 107 bytes, with a directory", path.display())]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// The directory cannot be made or opened.
    #[error("cannot create or open directory {}: create it, owned by root with mode 0755", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others could replace what is in the directory.
    #[error("directory {} is not safe: it must belong to root and be writable only by it", path.display())]
    UnsafeDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// There is another file.
    #[error("{} exists and is not a socket: it is left alone, use another path", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Another program answers.
    #[error("{} is in use: another sensor is running, stop it or use another path", path.display())]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("cannot {what} {}", path.display())]
    Call {
        /// What was tried.
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: Errno,
    },
    /// There is no such user.
    #[error("no user {name} in /etc/passwd: create it or name another with --client-user")]
    NoUser {
        /// Its name.
        name: String,
    },
    /// The list of users cannot be read.
    #[error("cannot read /etc/passwd")]
    Passwd(#[source] io::Error),
    /// The socket that was passed is of another kind.
    #[error("the socket that was passed is not a listening SOCK_SEQPACKET Unix socket")]
    Passed,
}

/// Who may connect beside root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientUser {
    /// Its user number.
    pub uid: u32,
    /// The group the socket gets.
    pub gid: u32,
}

impl ClientUser {
    /// The user of this name in `/etc/passwd`.
    ///
    /// # Errors
    /// There is none, or the file cannot be read.
    pub fn find(name: &str) -> Result<Self, SocketError> {
        let file = std::fs::File::open("/etc/passwd").map_err(SocketError::Passwd)?;
        let mut text = Vec::new();
        file.take(passwd::MAX_PASSWD_BYTES)
            .read_to_end(&mut text)
            .map_err(SocketError::Passwd)?;
        let user = passwd::find_name(&text, name);
        let user = user.ok_or_else(|| SocketError::NoUser {
            name: name.to_owned(),
        })?;
        Ok(Self {
            uid: user.uid,
            gid: user.gid,
        })
    }
}

/// The listening socket. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    client_uid: u32,
    _file: Option<SocketFile>,
}

/// A connection attempt.
#[derive(Debug)]
pub enum Accepted {
    /// Of one who may.
    Client(OwnedFd),
    /// Of a user who may not; closed.
    Refused(u32),
}

impl Listener {
    /// Listens at `path`.
    ///
    /// # Errors
    /// See [`SocketError`].
    pub fn bind(path: &Path, client: ClientUser) -> Result<Self, SocketError> {
        let (file, address) = SocketFile::prepare(path)?;
        let call = |what| {
            move |source| SocketError::Call {
                what,
                path: path.to_owned(),
                source,
            }
        };
        file.remove_stale(&address)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)
            .map_err(call("make a socket for"))?;
        match bind(socket.as_raw_fd(), &address) {
            Err(Errno::EADDRINUSE) => {
                return Err(SocketError::InUse {
                    path: path.to_owned(),
                });
            }
            other => other.map_err(call("bind"))?,
        }
        let file = file.made();
        let (directory, name) = (&file.directory, file.name.as_path());
        let group = Some(Gid::from_raw(client.gid));
        fchownat(directory, name, None, group, AtFlags::AT_SYMLINK_NOFOLLOW)
            .map_err(call("set the group of"))?;
        // Nobody else can put a link here: the directory was checked.
        fchmodat(directory, name, SOCKET_MODE, FchmodatFlags::FollowSymlink)
            .map_err(call("set the mode of"))?;
        let backlog = Backlog::new(BACKLOG).map_err(call("listen at"))?;
        listen(&socket, backlog).map_err(call("listen at"))?;
        Ok(Self {
            socket: socket.into(),
            client_uid: client.uid,
            _file: Some(file),
        })
    }

    /// Listens on a socket that systemd made and will remove.
    ///
    /// # Errors
    /// [`SocketError::Passed`].
    pub fn passed(socket: OwnedFd, client: ClientUser) -> Result<Self, SocketError> {
        let kind = getsockopt(&socket, sockopt::SockType);
        let listens = getsockopt(&socket, sockopt::AcceptConn);
        let socket = UnixListener::from(socket);
        // Fails for another address family.
        let unix = socket.local_addr().is_ok();
        if kind != Ok(SockType::SeqPacket) || listens != Ok(true) || !unix {
            return Err(SocketError::Passed);
        }
        socket
            .set_nonblocking(true)
            .map_err(|_| SocketError::Passed)?;
        Ok(Self {
            socket,
            client_uid: client.uid,
            _file: None,
        })
    }

    /// Takes one connection, none when nobody waits.
    ///
    /// # Errors
    /// Out of descriptors or memory; the connection went away.
    pub fn accept(&self) -> io::Result<Option<Accepted>> {
        let connection = match self.socket.accept() {
            Ok((connection, _)) => OwnedFd::from(connection),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let uid = getsockopt(&connection, sockopt::PeerCredentials)?.uid();
        let allowed = uid == 0 || uid == self.client_uid;
        Ok(Some(if allowed {
            Accepted::Client(connection)
        } else {
            Accepted::Refused(uid)
        }))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The socket's place in the file system.
#[derive(Debug)]
struct SocketFile {
    directory: OwnedFd,
    name: PathBuf,
    path: PathBuf,
    /// Device and inode of the file that was made here.
    made: Option<(u64, u64)>,
}

impl SocketFile {
    /// Opens the directory, which is made if its parent is there.
    fn prepare(path: &Path) -> Result<(Self, UnixAddr), SocketError> {
        let bad_path = || SocketError::Path {
            path: path.to_owned(),
        };
        let name = path.file_name().ok_or_else(bad_path)?;
        let parent = path
            .parent()
            .filter(|parent| parent.is_absolute())
            .ok_or_else(bad_path)?;
        let address = UnixAddr::new(path).map_err(|_| bad_path())?;
        let directory = open_directory(parent).map_err(|source| SocketError::Directory {
            path: parent.to_owned(),
            source,
        })?;
        let stat = directory
            .metadata()
            .map_err(|source| SocketError::Directory {
                path: parent.to_owned(),
                source,
            })?;
        let ours = stat.uid() == 0 || stat.uid() == geteuid().as_raw();
        let sticky = stat.mode() & 0o1000 != 0;
        if !ours || (stat.mode() & 0o022 != 0 && !sticky) {
            return Err(SocketError::UnsafeDirectory {
                path: parent.to_owned(),
            });
        }
        let file = Self {
            directory: directory.into(),
            name: name.into(),
            path: path.to_owned(),
            made: None,
        };
        Ok((file, address))
    }

    fn remove_stale(&self, address: &UnixAddr) -> Result<(), SocketError> {
        let Some((kind, _)) = self.look() else {
            return Ok(());
        };
        if kind != SFlag::S_IFSOCK {
            return Err(SocketError::NotASocket {
                path: self.path.clone(),
            });
        }
        let call = |what| {
            move |source| SocketError::Call {
                what,
                path: self.path.clone(),
                source,
            }
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let probe = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)
            .map_err(call("make a socket for"))?;
        match connect(probe.as_raw_fd(), address) {
            Err(Errno::ECONNREFUSED) => self.remove().map_err(call("remove the old socket")),
            Err(Errno::ENOENT) => Ok(()),
            // It took the connection, has no room for it, or is a socket of another type.
            Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Err(SocketError::InUse {
                path: self.path.clone(),
            }),
            Err(errno) => Err(call("connect to the old socket")(errno)),
        }
    }

    /// Remembers what was just made here.
    fn made(mut self) -> Self {
        self.made = self.look().map(|(_, identity)| identity);
        self
    }

    /// Type and identity of what is there.
    fn look(&self) -> Option<(SFlag, (u64, u64))> {
        let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
        let stat = fstatat(&self.directory, self.name.as_path(), flags).ok()?;
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        Some((kind, (stat.st_dev, stat.st_ino)))
    }

    fn remove(&self) -> Result<(), Errno> {
        unlinkat(
            &self.directory,
            self.name.as_path(),
            UnlinkatFlags::NoRemoveDir,
        )
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let still_ours = self
            .look()
            .is_some_and(|(_, identity)| Some(identity) == self.made);
        if still_ours {
            // Nothing is left to do about a failure; the next start removes it.
            let _ = self.remove();
        }
    }
}

fn open_directory(path: &Path) -> io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_CLOEXEC);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir(path)?;
            let directory = options.open(path)?;
            // The process's mask may have taken bits away.
            directory.set_permissions(std::fs::Permissions::from_mode(DIRECTORY_MODE))?;
            Ok(directory)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
