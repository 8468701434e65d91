use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use super::*;

fn client() -> ClientUser {
    ClientUser {
        uid: geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
    }
}

fn connected(path: &Path, kind: SockType) -> Result<OwnedFd, Errno> {
    let socket = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}

/// A directory that does not exist yet, so that it is made.
fn path(root: &tempfile::TempDir) -> PathBuf {
    root.path().join("nodescope/sensor.sock")
}

#[test]
fn makes_directory_and_socket_and_removes_the_socket() {
    let root = tempfile::tempdir().unwrap();
    let path = path(&root);
    let listener = Listener::bind(&path, client()).unwrap();
    let directory = fs::metadata(path.parent().unwrap()).unwrap();
    assert_eq!(directory.mode() & 0o7777, 0o755);
    let socket = fs::metadata(&path).unwrap();
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.mode() & 0o7777, 0o660);

    assert!(listener.accept().unwrap().is_none());
    let _connection = connected(&path, SockType::SeqPacket).unwrap();
    assert!(matches!(
        listener.accept().unwrap(),
        Some(Accepted::Client(_))
    ));
    drop(listener);
    assert!(!path.exists());
}

#[test]
fn a_second_sensor_is_told_and_the_first_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let path = path(&root);
    let first = Listener::bind(&path, client()).unwrap();
    let second = Listener::bind(&path, client());
    assert!(
        matches!(second, Err(SocketError::InUse { .. })),
        "{second:?}"
    );
    connected(&path, SockType::SeqPacket).unwrap();
    assert!(first.accept().unwrap().is_some());
}

#[test]
fn a_stale_socket_is_replaced_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let path = path(&root);
    fs::create_dir(path.parent().unwrap()).unwrap();
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(Listener::bind(&path, client()).unwrap());

    fs::write(&path, "text").unwrap();
    let refused = Listener::bind(&path, client());
    assert!(
        matches!(refused, Err(SocketError::NotASocket { .. })),
        "{refused:?}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"text");

    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    let refused = Listener::bind(&path, client());
    assert!(
        matches!(refused, Err(SocketError::InUse { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_socket_of_a_later_sensor_is_not_removed() {
    let root = tempfile::tempdir().unwrap();
    let path = path(&root);
    let first = Listener::bind(&path, client()).unwrap();
    // Kept, so that its inode is not used again.
    fs::rename(&path, root.path().join("old")).unwrap();
    let _second = Listener::bind(&path, client()).unwrap();
    drop(first);
    assert!(path.exists());
}

#[test]
fn unsafe_directories_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("open");
    fs::create_dir(&directory).unwrap();
    for mode in [0o777, 0o775] {
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        let refused = Listener::bind(&directory.join("sock"), client());
        assert!(
            matches!(refused, Err(SocketError::UnsafeDirectory { .. })),
            "{refused:?}"
        );
    }
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(Listener::bind(&directory.join("sock"), client()).is_ok());
}

#[test]
fn paths_that_cannot_be() {
    let root = tempfile::tempdir().unwrap();
    let long = root.path().join("x".repeat(120));
    for path in [Path::new("relative"), Path::new("/"), Path::new(""), &long] {
        let refused = Listener::bind(path, client());
        assert!(
            matches!(refused, Err(SocketError::Path { .. })),
            "{refused:?}"
        );
    }
    let refused = Listener::bind(&root.path().join("a/b/sock"), client());
    assert!(
        matches!(refused, Err(SocketError::Directory { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_passed_socket_must_be_the_right_kind() {
    let root = tempfile::tempdir().unwrap();
    let stream = UnixListener::bind(root.path().join("stream")).unwrap();
    assert!(Listener::passed(stream.into(), client()).is_err());
    let internet = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(Listener::passed(internet.into(), client()).is_err());

    let flags = SockFlag::SOCK_CLOEXEC;
    let path = root.path().join("packets");
    let packets = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).unwrap();
    bind(packets.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
    assert!(Listener::passed(packets.try_clone().unwrap(), client()).is_err());
    listen(&packets, Backlog::new(1).unwrap()).unwrap();
    let listener = Listener::passed(packets, client()).unwrap();
    connected(&path, SockType::SeqPacket).unwrap();
    assert!(listener.accept().unwrap().is_some());
    drop(listener);
    assert!(path.exists(), "it is systemd's to remove");
}
