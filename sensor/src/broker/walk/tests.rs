use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;

const LIMIT: u64 = 100;
const BASE: &str = "/lib/runtime";
const NAME: &str = "a/config";

/// A root directory with `/lib/runtime/a/config` in it, all our own.
fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("lib/runtime/a");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("config"), "right").unwrap();
    for part in ["lib", "lib/runtime", "lib/runtime/a"] {
        mode(&root.path().join(part), 0o755);
    }
    root
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn me() -> Owners {
    Owners {
        system: nix::unistd::geteuid().as_raw(),
        user: None,
        base_of_group: false,
    }
}

fn read(root: &Path, base: &str, name: &str, owners: Owners) -> Result<String, Refusal> {
    let root = File::open(root).unwrap();
    let fd = open(root.as_fd(), base, name, owners, LIMIT)?;
    let mut text = String::new();
    File::from(fd).read_to_string(&mut text).unwrap();
    Ok(text)
}

fn read_default(root: &tempfile::TempDir) -> Result<String, Refusal> {
    read(root.path(), BASE, NAME, me())
}

#[test]
fn opens_a_plain_file() {
    assert_eq!(read_default(&tree()), Ok("right".to_owned()));
}

#[test]
fn what_is_not_there_is_not_found() {
    let root = tree();
    for (base, name) in [
        ("/lib/nothing", NAME),
        (BASE, "b/config"),
        (BASE, "a/nothing"),
    ] {
        assert_eq!(read(root.path(), base, name, me()), Err(Refusal::NotFound));
    }
    // A file where a directory should be.
    assert_eq!(
        read(root.path(), "/lib/runtime/a/config", NAME, me()),
        Err(Refusal::NotFound)
    );
}

#[test]
fn links_in_the_base_are_followed_within_the_root() {
    let root = tree();
    fs::create_dir(root.path().join("srv")).unwrap();
    for (link, target) in [
        ("absolute", "/lib/runtime"),
        ("relative", "lib/runtime"),
        ("chain", "relative"),
        ("srv/up", "../lib/runtime"),
        ("srv/escape", "../../../../lib/runtime"),
    ] {
        symlink(target, root.path().join(link)).unwrap();
        assert_eq!(
            read(root.path(), link, NAME, me()),
            Ok("right".to_owned()),
            "{link}"
        );
    }
    let outside = tree();
    symlink(
        outside.path().join("lib/runtime"),
        root.path().join("outside"),
    )
    .unwrap();
    assert_eq!(
        read(root.path(), "outside", NAME, me()),
        Err(Refusal::NotFound)
    );
}

#[test]
fn endless_links_are_refused() {
    let root = tree();
    symlink("two", root.path().join("one")).unwrap();
    symlink("one", root.path().join("two")).unwrap();
    assert_eq!(
        read(root.path(), "/one", NAME, me()),
        Err(Refusal::Forbidden)
    );
}

#[test]
fn links_in_a_directory_others_write_are_refused() {
    let root = tree();
    let shared = root.path().join("shared");
    fs::create_dir(&shared).unwrap();
    symlink("/lib/runtime", shared.join("link")).unwrap();
    assert!(read(root.path(), "/shared/link", NAME, me()).is_ok());
    for bits in [0o777, 0o1777, 0o775] {
        mode(&shared, bits);
        assert_eq!(
            read(root.path(), "/shared/link", NAME, me()),
            Err(Refusal::Forbidden),
            "{bits:o}"
        );
    }
}

#[test]
fn links_below_the_base_are_refused() {
    let root = tree();
    let runtime = root.path().join("lib/runtime");
    symlink("a", runtime.join("b")).unwrap();
    symlink("config", runtime.join("a/link")).unwrap();
    assert_eq!(
        read(root.path(), BASE, "b/config", me()),
        Err(Refusal::Forbidden)
    );
    assert_eq!(
        read(root.path(), BASE, "a/link", me()),
        Err(Refusal::Forbidden)
    );
}

#[test]
fn only_regular_files_are_opened() {
    let root = tree();
    let directory = root.path().join("lib/runtime/a");
    nix::unistd::mkfifo(&directory.join("fifo"), Mode::from_bits_truncate(0o644)).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(directory.join("socket")).unwrap();
    fs::create_dir(directory.join("directory")).unwrap();
    for name in ["a/fifo", "a/socket", "a/directory"] {
        assert_eq!(
            read(root.path(), BASE, name, me()),
            Err(Refusal::Forbidden),
            "{name}"
        );
    }
}

#[test]
fn long_and_twice_named_files_are_refused() {
    let root = tree();
    let file = root.path().join("lib/runtime/a/config");
    let length = |bytes: u64| {
        File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_len(bytes)
            .unwrap()
    };
    length(LIMIT);
    assert!(read_default(&root).is_ok());
    length(LIMIT + 1);
    assert_eq!(read_default(&root), Err(Refusal::Forbidden));
    length(1);
    fs::hard_link(&file, root.path().join("second")).unwrap();
    assert_eq!(read_default(&root), Err(Refusal::Forbidden));
}

#[test]
fn directories_others_write_are_refused() {
    for part in ["lib", "lib/runtime", "lib/runtime/a"] {
        let root = tree();
        for bits in [0o777, 0o1777, 0o775, 0o757] {
            mode(&root.path().join(part), bits);
            assert_eq!(
                read_default(&root),
                Err(Refusal::Forbidden),
                "{part} {bits:o}"
            );
        }
    }
}

#[test]
fn the_wrong_owner_is_refused() {
    let root = tree();
    let stranger = Owners {
        system: me().system + 1,
        user: None,
        base_of_group: false,
    };
    assert_eq!(
        read(root.path(), BASE, NAME, stranger),
        Err(Refusal::Forbidden)
    );
}

/// Needs root: the directories of two users.
#[test]
fn a_user_part_belongs_to_root_or_the_user() {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "needs root");
        return;
    }
    let root = tree();
    let anna = Owners {
        system: 0,
        user: Some(1000),
        base_of_group: false,
    };
    let path = |part: &str| root.path().join(part);
    let own = |part: &str, uid| std::os::unix::fs::lchown(path(part), Some(uid), None).unwrap();

    // A file of root in the user's part could be one that the user must not read.
    assert_eq!(read(root.path(), BASE, NAME, anna), Err(Refusal::Forbidden));
    own("lib/runtime/a/config", 1000);
    assert!(read(root.path(), BASE, NAME, anna).is_ok());
    own("lib/runtime/a", 1000);
    mode(&path("lib/runtime/a"), 0o775);
    assert!(read(root.path(), BASE, NAME, anna).is_ok());
    mode(&path("lib/runtime/a"), 0o757);
    assert_eq!(read(root.path(), BASE, NAME, anna), Err(Refusal::Forbidden));
    mode(&path("lib/runtime/a"), 0o755);
    for stranger in [1001, 1002] {
        own("lib/runtime/a", stranger);
        assert_eq!(read(root.path(), BASE, NAME, anna), Err(Refusal::Forbidden));
        own("lib/runtime/a", 1000);
    }
    own("lib/runtime/a/config", 1001);
    assert_eq!(read(root.path(), BASE, NAME, anna), Err(Refusal::Forbidden));
    own("lib/runtime/a/config", 1000);

    // A link of the user's, or in a directory of the user's, is not followed.
    own("lib/runtime", 1000);
    symlink("a", path("lib/runtime/link")).unwrap();
    assert_eq!(
        read(root.path(), "/lib/runtime/link", "config", anna),
        Err(Refusal::Forbidden)
    );
    own("lib/runtime/link", 1000);
    assert_eq!(
        read(root.path(), "/lib/runtime/link", "config", anna),
        Err(Refusal::Forbidden)
    );
    own("lib/runtime", 0);
    assert_eq!(
        read(root.path(), "/lib/runtime/link", "config", anna),
        Err(Refusal::Forbidden)
    );
    own("lib/runtime/link", 0);
    assert!(read(root.path(), "/lib/runtime/link", "config", anna).is_ok());
}

#[test]
fn what_is_opened_is_what_was_looked_at() {
    let root = tree();
    let file = root.path().join("lib/runtime/a/config");
    let directory = File::open(file.parent().unwrap()).unwrap();
    let found = place(directory.as_fd(), OsStr::new("config")).unwrap();
    fs::rename(&file, file.with_file_name("old")).unwrap();
    nix::unistd::mkfifo(&file, Mode::from_bits_truncate(0o644)).unwrap();
    let mut text = String::new();
    let opened = open_place(&found, me(), LIMIT).unwrap();
    File::from(opened).read_to_string(&mut text).unwrap();
    assert_eq!(text, "right");
    let found = place(directory.as_fd(), OsStr::new("config")).unwrap();
    let opened = open_place(&found, me(), LIMIT);
    assert_eq!(opened.err(), Some(Refusal::Forbidden));
}
