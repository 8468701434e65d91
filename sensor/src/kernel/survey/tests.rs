use std::collections::BTreeMap;

use tempfile::TempDir;

use super::*;

const SECOND: u64 = 1_000_000_000;

/// A made up `/proc` and v2 tree.
struct Node(TempDir);

impl Node {
    fn new() -> Self {
        let node = Self(tempfile::tempdir().expect("a directory"));
        fs::create_dir_all(node.path("proc")).expect("a directory");
        fs::create_dir_all(node.path("v2/shop")).expect("a directory");
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn survey(&self, limits: Limits) -> Survey {
        let v2 = self.path("v2");
        let processes = Processes::open(&self.path("proc"), &v2, None).expect("directories");
        Survey::new(&v2, None, processes, limits)
    }

    fn start(&self, pid: u32, cgroup: &str) {
        let directory = self.path(&format!("proc/{pid}"));
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join("cgroup"), format!("0::{cgroup}\n")).expect("a file");
    }

    fn end(&self, pid: u32) {
        fs::remove_dir_all(self.path(&format!("proc/{pid}"))).expect("it was there");
    }
}

const LIMITS: Limits = Limits {
    processes: 10,
    cgroups: 10,
};

/// Paths of cgroups, and in each the processes: live, started, ended, restarts.
fn told(survey: &Survey, since_ns: u64) -> BTreeMap<String, [u64; 4]> {
    let (mut paths, mut counts) = (HashMap::new(), HashMap::new());
    survey.emit(since_ns, &mut |record| match record {
        Record::Cgroup(cgroup) => {
            let mut path = String::from_utf8_lossy(cgroup.path).into_owned();
            if cgroup.removed_ns != 0 {
                path.push_str(" removed");
            }
            paths.insert(cgroup.key, path);
        }
        Record::Processes(p) => {
            let live = u64::from(p.live);
            counts.insert(p.cgroup, [live, p.started, p.ended, p.restarts]);
        }
        _ => {}
    });
    paths
        .into_iter()
        .map(|(key, path)| (path, counts.remove(&key).unwrap_or_default()))
        .collect()
}

fn all(survey: &Survey) -> BTreeMap<String, [u64; 4]> {
    told(survey, 0)
}

#[test]
fn processes_come_move_and_go() {
    let node = Node::new();
    node.start(10, "/shop");
    node.start(11, "/");
    let mut survey = node.survey(LIMITS);
    survey.look(100 * SECOND).expect("a look");
    let shop = |survey: &Survey| all(survey)["/shop"];
    assert_eq!(shop(&survey), [1, 1, 0, 0]);
    // Moved while it is young, and noticed.
    node.start(11, "/shop");
    survey.look(102 * SECOND).expect("a look");
    assert_eq!(shop(&survey), [2, 2, 0, 0]);
    assert_eq!(all(&survey)["/"], [0, 1, 1, 0]);
    // All are gone and another one is there: that is a restart.
    node.end(10);
    node.end(11);
    node.start(12, "/shop");
    survey.look(104 * SECOND).expect("a look");
    assert_eq!(shop(&survey), [1, 3, 2, 1]);
    // Nothing has changed since.
    survey.look(106 * SECOND).expect("a look");
    assert_eq!(told(&survey, 105 * SECOND), BTreeMap::new());
}

#[test]
fn cgroups_come_and_go() {
    let node = Node::new();
    let mut survey = node.survey(LIMITS);
    survey.look(100 * SECOND).expect("a look");
    fs::create_dir(node.path("v2/shop/new")).expect("a directory");
    survey.look(102 * SECOND).expect("a look");
    let paths = |survey: &Survey| all(survey).into_keys().collect::<Vec<_>>();
    assert_eq!(paths(&survey), ["/", "/shop", "/shop/new"]);
    fs::remove_dir(node.path("v2/shop/new")).expect("it was there");
    survey.look(104 * SECOND).expect("a look");
    assert_eq!(paths(&survey), ["/", "/shop", "/shop/new removed"]);
    survey.look(104 * SECOND + REMOVED_NS + 1).expect("a look");
    assert_eq!(paths(&survey), ["/", "/shop"]);
    assert_eq!(survey.loss().total, 0);
}

#[test]
fn removed_cgroups_make_room() {
    let node = Node::new();
    let limits = Limits {
        processes: 10,
        cgroups: 8,
    };
    let mut survey = node.survey(limits);
    for round in 0..20 {
        let path = node.path(&format!("v2/shop/{round}"));
        fs::create_dir(&path).expect("a directory");
        survey.look((100 + round * 4) * SECOND).expect("a look");
        assert!(all(&survey).contains_key(&format!("/shop/{round}")));
        fs::remove_dir(&path).expect("it was there");
        survey.look((102 + round * 4) * SECOND).expect("a look");
    }
    // The newest of those that are gone are still known.
    assert!(all(&survey).contains_key("/shop/19 removed"));
    assert!(!all(&survey).contains_key("/shop/0 removed"));
    assert_eq!(survey.loss().total, 0);
}

#[test]
fn what_finds_no_room_is_counted() {
    let node = Node::new();
    for pid in 1..=5 {
        node.start(pid, "/shop");
    }
    let limits = Limits {
        processes: 3,
        cgroups: 1,
    };
    let mut survey = node.survey(limits);
    survey.look(100 * SECOND).expect("a look");
    assert_eq!(survey.loss().total, 2 + 1);
    assert_eq!(all(&survey).len(), 1);
}
