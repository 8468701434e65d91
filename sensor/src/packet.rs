//! Packets and descriptors over a `SOCK_SEQPACKET` Unix socket, without waiting.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, recv, sendmsg};
use nodescope_schema::MAX_MESSAGE_BYTES;

/// What [`receive`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// A packet of this length, now in the buffer.
    Packet(usize),
    /// A packet longer than the buffer, which is lost.
    TooLong,
    /// The other side closed. An empty packet looks the same and is no message either.
    Closed,
    /// Nothing yet.
    Nothing,
}

/// A buffer for [`receive`].
pub fn buffer() -> Box<[u8]> {
    vec![0; MAX_MESSAGE_BYTES].into_boxed_slice()
}

/// Sends one packet and, with it, at most one descriptor.
///
/// # Errors
/// `EAGAIN` when the other side has not read enough; anything else means that it is gone.
pub fn send(
    socket: BorrowedFd<'_>,
    packet: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let descriptors = [descriptor.map_or(-1, |fd| fd.as_raw_fd())];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let control = if descriptor.is_some() {
        &rights[..]
    } else {
        &[]
    };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let sent = sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(packet)],
        control,
        flags,
        None,
    )?;
    // A packet is sent whole or not at all.
    if sent == packet.len() {
        Ok(())
    } else {
        Err(Errno::EMSGSIZE)
    }
}

/// Takes one packet. There is no room for descriptors, so the kernel closes any that come with it.
///
/// # Errors
/// The connection is broken.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Received, Errno> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
    match recv(socket.as_raw_fd(), buffer, flags) {
        Ok(0) => Ok(Received::Closed),
        Ok(length) if length > buffer.len() => Ok(Received::TooLong),
        Ok(length) => Ok(Received::Packet(length)),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(Received::Nothing),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::{AsFd, FromRawFd, OwnedFd};

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .unwrap()
    }

    #[test]
    fn packets_keep_their_borders() {
        let (left, right) = pair();
        let mut buffer = buffer();
        assert_eq!(receive(right.as_fd(), &mut buffer), Ok(Received::Nothing));
        send(left.as_fd(), b"one", None).unwrap();
        send(left.as_fd(), b"three", None).unwrap();
        assert_eq!(receive(right.as_fd(), &mut buffer), Ok(Received::Packet(3)));
        assert_eq!(receive(right.as_fd(), &mut buffer), Ok(Received::Packet(5)));
        assert_eq!(&buffer[..5], b"three");
        drop(left);
        assert_eq!(receive(right.as_fd(), &mut buffer), Ok(Received::Closed));
    }

    #[test]
    fn the_longest_packet_fits_and_a_longer_one_is_told() {
        let (left, right) = pair();
        let mut buffer = buffer();
        send(left.as_fd(), &vec![1; MAX_MESSAGE_BYTES], None).unwrap();
        send(left.as_fd(), &vec![1; MAX_MESSAGE_BYTES + 1], None).unwrap();
        let longest = Received::Packet(MAX_MESSAGE_BYTES);
        assert_eq!(receive(right.as_fd(), &mut buffer), Ok(longest));
        assert_eq!(receive(right.as_fd(), &mut buffer), Ok(Received::TooLong));
    }

    #[test]
    fn a_full_socket_says_so() {
        let (left, _right) = pair();
        let packet = vec![0; MAX_MESSAGE_BYTES];
        let error = (0..1000).find_map(|_| send(left.as_fd(), &packet, None).err());
        assert_eq!(error, Some(Errno::EAGAIN));
    }

    #[test]
    #[expect(unsafe_code, reason = "takes the descriptor that came with a packet")]
    fn a_descriptor_arrives_and_one_sent_to_us_does_not() {
        let (left, right) = pair();
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, b"text").unwrap();
        std::io::Seek::rewind(&mut file).unwrap();

        send(left.as_fd(), b"with", Some(file.as_fd())).unwrap();
        let mut space = nix::cmsg_space!([i32; 1]);
        let mut bytes = [0; 10];
        let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message =
            nix::sys::socket::recvmsg::<()>(right.as_raw_fd(), &mut parts, Some(&mut space), flags);
        let message = message.unwrap();
        let control = message.cmsgs().unwrap().next();
        let Some(nix::sys::socket::ControlMessageOwned::ScmRights(descriptors)) = control else {
            panic!("no descriptor");
        };
        // SAFETY: the kernel just made this descriptor for us and nothing else owns it.
        let mut received = unsafe { File::from_raw_fd(descriptors[0]) };
        let mut text = String::new();
        received.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");

        let (reader, writer) = nix::unistd::pipe().unwrap();
        send(left.as_fd(), b"with", Some(writer.as_fd())).unwrap();
        drop(writer);
        assert_eq!(
            receive(right.as_fd(), &mut buffer()),
            Ok(Received::Packet(4))
        );
        // The writing end was in the packet alone: closed, it lets the reader see the end.
        assert_eq!(File::from(reader).read(&mut [0]).unwrap(), 0);
    }
}
