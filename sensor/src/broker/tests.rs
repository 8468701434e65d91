use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use nodescope_schema::{FileKind, StatFilesystem};

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn files(root: &Path) -> Files {
    let root = OwnedFd::from(fs::File::open(root).unwrap());
    Files::new(root, nix::unistd::geteuid().as_raw())
}

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn read(files: &Files, request: &OpenFile<'_>) -> Result<String, Refusal> {
    let fd = files.open(&Query::check(request)?)?;
    let mut text = String::new();
    fs::File::from(fd).read_to_string(&mut text).unwrap();
    Ok(text)
}

/// A good request of a kind for the system's runtime.
fn request(kind: FileKind) -> OpenFile<'static> {
    let row = kinds::find(kind).unwrap();
    let container: &[u8] = match row.container {
        kinds::Form::Empty => b"",
        kinds::Form::Id => ID.as_bytes(),
        kinds::Form::Name | kinds::Form::Pod => b"name",
        kinds::Form::Number => b"17",
    };
    let namespace: &[u8] = match row.namespace {
        kinds::Form::Empty => b"",
        kinds::Form::Pod => b"default_web-1_0a1b",
        kinds::Form::Id | kinds::Form::Name | kinds::Form::Number => b"k8s.io",
    };
    OpenFile {
        kind,
        container,
        namespace,
        root: b"",
        uid: 0,
        generation: 0,
    }
}

#[test]
fn every_place_of_every_row_is_found_and_the_first_wins() {
    for kind in &kinds::KINDS {
        let request = request(kind.file_kind);
        let query = Query::check(&request).unwrap();
        let root = tempfile::tempdir().unwrap();
        assert_eq!(read(&files(root.path()), &request), Err(Refusal::NotFound));
        for place in kind.system.iter().rev() {
            let path = path_of(place, &query);
            put(root.path(), &path, &path);
            assert_eq!(read(&files(root.path()), &request), Ok(path));
        }
    }
}

fn path_of(place: &Place, query: &Query) -> String {
    let path = format!("{}/{}", base_of(place, query, ""), file_of(place, query));
    match query.kind.generations {
        Generations::PodLogs => path + "/0.log",
        Generations::One | Generations::Numbered | Generations::Held => path,
    }
}

#[test]
fn older_generations_of_logs_are_found() {
    for (kind, names) in [
        (FileKind::DockerJsonLog, ["", ".1", ".2"]),
        (FileKind::DockerLocalLog, ["", ".1", ".2"]),
        (
            FileKind::PodLog,
            ["", ".20261122-101010", ".20261121-101010"],
        ),
    ] {
        let newest = request(kind);
        let query = Query::check(&newest).unwrap();
        let root = tempfile::tempdir().unwrap();
        let path = path_of(&query.kind.system[0], &query);
        put(root.path(), &format!("{path}.3.gz"), "compressed");
        for (generation, name) in (0..).zip(names) {
            put(root.path(), &format!("{path}{name}"), name);
            let request = OpenFile {
                generation,
                ..newest
            };
            assert_eq!(read(&files(root.path()), &request), Ok(name.to_owned()));
        }
        let none = OpenFile {
            generation: 3,
            ..newest
        };
        assert_eq!(read(&files(root.path()), &none), Err(Refusal::NotFound));
    }
}

#[test]
fn only_logs_may_lie_below_a_directory_of_a_group() {
    for (kind, expected) in [
        (FileKind::PodLog, Ok("text".to_owned())),
        (FileKind::LxcConfig, Err(Refusal::Forbidden)),
    ] {
        let request = request(kind);
        let query = Query::check(&request).unwrap();
        let root = tempfile::tempdir().unwrap();
        let path = path_of(&query.kind.system[0], &query);
        put(root.path(), &path, "text");
        let (above, _) = query.kind.system[0].base.rsplit_once('/').unwrap();
        let above = root.path().join(above.trim_start_matches('/'));
        fs::set_permissions(&above, fs::Permissions::from_mode(0o775)).unwrap();
        assert_eq!(read(&files(root.path()), &request), expected, "{kind:?}");
        // Below the base it is never allowed.
        fs::set_permissions(&above, fs::Permissions::from_mode(0o755)).unwrap();
        let inside = root.path().join(path.trim_start_matches('/'));
        let inside = inside.parent().unwrap();
        fs::set_permissions(inside, fs::Permissions::from_mode(0o775)).unwrap();
        assert_eq!(read(&files(root.path()), &request), Err(Refusal::Forbidden));
    }
}

#[test]
fn a_data_root_replaces_the_base() {
    let root = tempfile::tempdir().unwrap();
    put(
        root.path(),
        &format!("/data/docker/containers/{ID}/config.v2.json"),
        "moved",
    );
    let docker = request(FileKind::DockerConfig);
    assert_eq!(read(&files(root.path()), &docker), Err(Refusal::NotFound));
    let moved = OpenFile {
        root: b"/data/docker",
        ..docker
    };
    assert_eq!(read(&files(root.path()), &moved), Ok("moved".to_owned()));
}

#[test]
fn a_user_must_be_in_passwd_and_have_a_plain_home() {
    let root = tempfile::tempdir().unwrap();
    let me = nix::unistd::geteuid().as_raw();
    let (other, uid) = (me + 1, me + 2);
    let text = format!("up:x:{other}:1::/home/../etc:\n");
    put(root.path(), "/etc/passwd", &text);
    let store = OpenFile {
        uid,
        ..request(FileKind::StorageContainers)
    };
    assert_eq!(read(&files(root.path()), &store), Err(Refusal::NotFound));
    assert_eq!(
        read(
            &files(root.path()),
            &OpenFile {
                uid: other,
                generation: 0,
                ..store
            }
        ),
        Err(Refusal::NotFound)
    );

    // The file is there but ours, not the user's.
    put(
        root.path(),
        "/etc/passwd",
        &format!("anna:x:{uid}:1::/home/anna:\n"),
    );
    let path = "/home/anna/.local/share/containers/storage/overlay-containers/containers.json";
    put(root.path(), path, "[]");
    assert_eq!(read(&files(root.path()), &store), Err(Refusal::Forbidden));
    if me == 0 {
        std::os::unix::fs::chown(root.path().join(&path[1..]), Some(uid), None).unwrap();
        assert_eq!(read(&files(root.path()), &store), Ok("[]".to_owned()));
    }
}

#[test]
fn the_thread_answers_and_limits() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "/etc/docker/daemon.json", "{}");
    let mut broker = Broker::start(files(root.path()), Sources::default()).unwrap();
    let request = request(FileKind::DockerDaemon);
    let now = Instant::now();
    assert_eq!(broker.submit(7, 1, &request, now), Ok(()));
    let bad = OpenFile {
        container: b"x",
        ..request
    };
    assert_eq!(broker.submit(7, 2, &bad, now), Err(Refusal::BadArgument));

    let answer = wait_for_answer(&broker);
    assert_eq!((answer.connection, answer.id), (7, 1));
    assert!(answer.result.is_ok());

    let results: Vec<_> = (0..10_000)
        .map(|id| broker.submit(7, id, &request, now))
        .collect();
    let taken = results.iter().filter(|result| result.is_ok()).count();
    assert!(
        taken >= QUEUE_LENGTH.min(OPENS_BURST as usize - 2),
        "{taken}"
    );
    assert!(taken <= OPENS_BURST as usize, "{taken}");
    assert!(
        results
            .iter()
            .flat_map(|result| result.err())
            .all(|why| why == Refusal::RateLimited)
    );
}

fn wait_for_answer(broker: &Broker) -> Answer {
    for _ in 0..500 {
        if let Some(answer) = broker.answer() {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("no answer");
}

fn device_of_root() -> StatFilesystem {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let root = table
        .lines()
        .rfind(|line| line.split(' ').nth(4) == Some("/"))
        .unwrap();
    let (major, minor) = root.split(' ').nth(2).unwrap().split_once(':').unwrap();
    StatFilesystem {
        major: major.parse().unwrap(),
        minor: minor.parse().unwrap(),
    }
}

#[test]
fn tells_how_full_a_file_system_is() {
    let mut broker = Broker::start(files(Path::new("/")), Sources::default()).unwrap();
    let now = Instant::now();
    assert_eq!(broker.stat(7, 1, device_of_root(), now), Ok(()));
    let answer = wait_for_answer(&broker);
    assert_eq!((answer.connection, answer.id), (7, 1));
    let Ok(Given::Space(space)) = answer.result else {
        panic!("{:?}", answer.result);
    };
    let real = nix::sys::statvfs::statvfs("/").unwrap();
    let unit = real.fragment_size();
    assert_eq!(space.size_bytes, real.blocks() * unit);
    // Somebody may write meanwhile.
    let free = real.blocks_free() * unit;
    assert!(
        space.free_bytes.abs_diff(free) < 1 << 30,
        "{space:?} {free}"
    );
    assert!(space.available_bytes <= space.free_bytes && space.free_bytes <= space.size_bytes);

    let nothing = StatFilesystem {
        major: u32::MAX,
        minor: 0,
    };
    assert_eq!(broker.stat(7, 2, nothing, now), Ok(()));
    assert_eq!(
        wait_for_answer(&broker).result.err(),
        Some(Refusal::NotFound)
    );
}
