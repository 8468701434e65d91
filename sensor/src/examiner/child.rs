//! The process that has files looked at, each by a child of its own, and that child.
//!
//! Neither has a capability. The one has the system calls of [`seccomp::EXAMINER_CALLS`] and [`seccomp::HELPER_CALLS`], the
//! other those of [`seccomp::READER_CALLS`]. The first never reads a file; the second has one descriptor that it can read, and says what it found by its status.
#![expect(unsafe_code, reason = "clone and signal")]

use std::collections::HashSet;
use std::ffi::CStr;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::cmsg_space;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, socketpair,
};
use nix::sys::uio::pread;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, alarm, write};
use nodescope_schema::Language;
use seccompiler::BpfProgram;

use super::elf::{self, ReadAt};
use super::{ANSWER_BYTES, QUESTION_BYTES};
use crate::{helper, privilege, seccomp};

const NAME: &CStr = c"nodescope-exam";
/// Longest time for one file.
pub(super) const SECONDS: u32 = 2;
/// More than the sensor has mapped when it starts, of which this is a copy.
const ADDRESS_SPACE_BYTES: u64 = 512 << 20;
/// Status of a child that has not come to an end by itself.
const FAILED: u8 = 255;

/// Every language and the status that stands for it.
const STATUSES: [(Language, u8); 4] = [
    (Language::Unknown, 0),
    (Language::Go, 1),
    (Language::Rust, 2),
    (Language::DotNet, 3),
];

fn encode(language: Language) -> u8 {
    let row = STATUSES.iter().find(|(known, _)| *known == language);
    row.map_or(FAILED, |(_, status)| *status)
}

/// None for what is no status of a child that came to its end.
pub(super) fn decode(status: u8) -> Option<Language> {
    let row = STATUSES.iter().find(|(_, known)| *known == status);
    row.map(|(language, _)| *language)
}

/// Forks the process and returns the sensor's end of the socket.
pub(super) fn start() -> io::Result<OwnedFd> {
    let kind = SockType::SeqPacket;
    let (ours, theirs) = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC)?;
    helper::start(NAME, vec![theirs.as_raw_fd()], || {
        if let Ok(reader) = confine() {
            serve(&theirs, &reader);
        }
    })?;
    Ok(ours)
}

/// Gives up all rights and returns the filter for the children.
fn confine() -> Result<BpfProgram, Box<dyn std::error::Error>> {
    privilege::drop_all_but(&HashSet::new())?;
    setrlimit(
        Resource::RLIMIT_AS,
        ADDRESS_SPACE_BYTES,
        ADDRESS_SPACE_BYTES,
    )?;
    setrlimit(Resource::RLIMIT_FSIZE, 0, 0)?;
    // The sensor waits for no child, this process does.
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
    let reader = seccomp::reader_filter()?;
    seccomp::restrict_examiner()?;
    Ok(reader)
}

/// Until the sensor is gone.
fn serve(socket: &OwnedFd, reader: &BpfProgram) {
    while let Ok((question, file)) = receive(socket) {
        let status = file.map_or(FAILED, |file| look_at(&file, reader));
        let mut answer = [status; ANSWER_BYTES];
        answer[..QUESTION_BYTES].copy_from_slice(&question);
        if write(socket, &answer) != Ok(ANSWER_BYTES) {
            return;
        }
    }
}

/// The next question and the file that came with it.
fn receive(socket: &OwnedFd) -> io::Result<([u8; QUESTION_BYTES], Option<OwnedFd>)> {
    let mut question = [0; QUESTION_BYTES];
    let mut space = cmsg_space!(i32);
    let mut parts = [IoSliceMut::new(&mut question)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    if message.bytes != QUESTION_BYTES {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut files = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = control {
            // SAFETY: the kernel has just made them for this process, and nothing else owns them.
            files.extend(
                descriptors
                    .iter()
                    .map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) }),
            );
        }
    }
    Ok((question, files.pop()))
}

/// Has a child look at the file.
fn look_at(file: &OwnedFd, reader: &BpfProgram) -> u8 {
    // SAFETY: this process has one thread. The child, a copy of it as with fork(2), calls nothing of libc that would have
    // to know of it, and ends by `_exit`.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    match pid {
        0 => {
            let status = read_confined(file, reader);
            // SAFETY: it does not return.
            unsafe { libc::_exit(status.into()) }
        }
        1.. => wait_for(i32::try_from(pid).unwrap_or(-1)),
        _ => FAILED,
    }
}

fn wait_for(child: i32) -> u8 {
    loop {
        match waitpid(Pid::from_raw(child), None) {
            Ok(WaitStatus::Exited(_, status)) => return u8::try_from(status).unwrap_or(FAILED),
            Err(nix::errno::Errno::EINTR) => {}
            _ => return FAILED,
        }
    }
}

/// In the child: nothing is left to it but to read, for a moment.
fn read_confined(file: &OwnedFd, filter: &BpfProgram) -> u8 {
    alarm::set(SECONDS);
    if seccompiler::apply_filter(filter).is_err() {
        return FAILED;
    }
    encode(elf::language(&Program(file)))
}

struct Program<'a>(&'a OwnedFd);

impl ReadAt for Program<'_> {
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> usize {
        let Ok(offset) = i64::try_from(offset) else {
            return 0;
        };
        pread(self.0, bytes, offset).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_a_status_of_its_own() {
        for (language, status) in STATUSES {
            assert_eq!(encode(language), status);
            assert_eq!(decode(status), Some(language));
        }
        assert_eq!(decode(FAILED), None);
        assert_eq!(decode(1 + STATUSES.len() as u8), None);
    }
}
