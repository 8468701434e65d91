//! Who may connect.

use nix::errno::Errno;

use crate::common::{CLIENT_ID, Peer, Sensor, is_root};

/// Does `action` in a thread with the rights of this user and group.
fn as_user<T: Send>(uid: u32, gid: u32, action: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: takes numbers only, and as a plain system call changes this thread alone.
            let changed = unsafe {
                libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<u32>())
                    | libc::syscall(libc::SYS_setresgid, gid, gid, gid)
                    | libc::syscall(libc::SYS_setresuid, uid, uid, uid)
            };
            assert_eq!(changed, 0);
            action()
        });
        thread.join().unwrap()
    })
}

#[test]
fn another_user_is_refused() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    // The mode of the socket keeps out most, the check of the peer also one of the right group.
    let error = as_user(12345, 12345, || Peer::connect(&sensor).err());
    assert_eq!(error, Some(Errno::EACCES));
    as_user(12345, CLIENT_ID, || {
        let mut peer = Peer::connect(&sensor).unwrap();
        peer.say_hello();
        assert!(peer.is_closed());
        assert!(!peer.seen.hello, "not even a hello");
    });
    as_user(CLIENT_ID, CLIENT_ID, || {
        Peer::greeted(&sensor).wait_for_snapshot()
    });
    let mut peer = Peer::greeted(&sensor);
    peer.wait_for_snapshot();
    assert_eq!(peer.seen.loss("connections/peer_refused"), 1);
    assert!(
        sensor.log().contains("refused a connection of user 12345"),
        "{}",
        sensor.log()
    );
    sensor.serves();
}
