//! Requests for files that nobody should get.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nodescope_schema::{FileKind, OpenFile, Refusal};

use crate::common::{Peer, Sensor, is_root};
use crate::{ID, docker};

#[test]
fn bad_arguments_get_no_descriptor() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    // What path traversal would reach.
    sensor.put("etc/shadow", "secret");
    sensor.put("secret/config.json", "secret");
    let mut peer = Peer::greeted(&sensor);
    let long = [b'a'; 5000];
    let arguments: [&[u8]; 12] = [
        b"..",
        b"../../../../etc/shadow",
        b"/etc/shadow",
        b".",
        b"a/../..",
        b"a\0",
        b"\xff\xfe",
        b"a b",
        b"-rf",
        &long,
        b"%2e%2e",
        b"secret/config.json",
    ];
    let mut id = 0;
    for kind in FileKind::ALL {
        for argument in arguments {
            let right = OpenFile {
                kind,
                container: ID,
                namespace: b"ns",
                root: b"",
                uid: 0,
                generation: 0,
            };
            for request in [
                OpenFile {
                    container: argument,
                    ..right
                },
                OpenFile {
                    namespace: argument,
                    ..right
                },
                OpenFile {
                    root: argument,
                    ..right
                },
                OpenFile {
                    root: b"/../../etc",
                    ..right
                },
                OpenFile {
                    uid: u32::MAX,
                    ..right
                },
                OpenFile {
                    generation: u32::MAX,
                    ..right
                },
            ] {
                id += 1;
                let refusal = peer.open(id, &request).unwrap_err();
                let expected = matches!(refusal, Refusal::BadArgument | Refusal::NotFound);
                assert!(expected, "{request:?}: {refusal}");
            }
        }
    }
    sensor.serves();
}

#[test]
fn traps_in_the_file_system_get_no_descriptor() {
    if !is_root() {
        return;
    }
    let mut sensor = Sensor::start(&[]);
    let mut peer = Peer::greeted(&sensor);
    let id = std::str::from_utf8(ID).unwrap();
    let mut count = 0;
    let mut trap = |name: &str, set: &dyn Fn(&Path), wanted: Result<&str, Refusal>| {
        count += 1;
        let root = format!("/srv/{name}");
        let file = sensor.put(
            &format!("srv/{name}/containers/{id}/config.v2.json"),
            "right",
        );
        set(&file);
        let got = peer.open(count, &docker(root.as_bytes()));
        assert_eq!(got.as_deref(), wanted.as_deref(), "{name}");
    };
    let secret = sensor.put("secret/config.v2.json", "secret");
    let remove = |file: &Path| fs::remove_file(file).unwrap();
    let node = |file: &Path, kind, device| {
        remove(file);
        mknod(file, kind, Mode::from_bits_truncate(0o644), device).unwrap();
    };
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let up = |file: &Path, levels: usize| file.ancestors().nth(levels).unwrap().to_owned();

    trap("plain", &|_| {}, Ok("right"));
    trap(
        "symlink",
        &|file| {
            remove(file);
            symlink(&secret, file).unwrap();
        },
        Err(Refusal::Forbidden),
    );
    trap(
        "symlink_directory",
        &|file| {
            fs::remove_dir_all(up(file, 1)).unwrap();
            symlink(secret.parent().unwrap(), up(file, 1)).unwrap();
        },
        Err(Refusal::Forbidden),
    );
    trap(
        "proc_link",
        &|file| {
            remove(file);
            symlink("/proc/self/environ", file).unwrap();
        },
        Err(Refusal::Forbidden),
    );
    trap(
        "hard_link",
        &|file| {
            remove(file);
            fs::hard_link(&secret, file).unwrap();
        },
        Err(Refusal::Forbidden),
    );
    trap(
        "fifo",
        &|file| node(file, SFlag::S_IFIFO, 0),
        Err(Refusal::Forbidden),
    );
    trap(
        "character_device",
        &|file| node(file, SFlag::S_IFCHR, makedev(1, 3)),
        Err(Refusal::Forbidden),
    );
    trap(
        "block_device",
        &|file| node(file, SFlag::S_IFBLK, makedev(7, 200)),
        Err(Refusal::Forbidden),
    );
    trap(
        "directory",
        &|file| {
            remove(file);
            fs::create_dir(file).unwrap();
        },
        Err(Refusal::Forbidden),
    );
    trap(
        "huge",
        &|file| {
            fs::File::options()
                .write(true)
                .open(file)
                .unwrap()
                .set_len(1 << 40)
                .unwrap();
        },
        Err(Refusal::Forbidden),
    );
    trap(
        "wrong_owner",
        &|file| chown(file, Some(1234), None).unwrap(),
        Err(Refusal::Forbidden),
    );
    for levels in 1..=3 {
        let name = format!("writable_{levels}");
        trap(
            &name,
            &|file| mode(&up(file, levels), 0o777),
            Err(Refusal::Forbidden),
        );
        let name = format!("foreign_{levels}");
        trap(
            &name,
            &|file| chown(up(file, levels), Some(1234), None).unwrap(),
            Err(Refusal::Forbidden),
        );
    }
    trap("gone", &|file| remove(file), Err(Refusal::NotFound));
    assert!(peer.files.is_empty());
    sensor.serves();
}
