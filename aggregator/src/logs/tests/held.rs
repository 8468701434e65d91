//! Logs that a process holds open: it goes on in a renamed file for as long as it likes.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use super::*;
use crate::logs::kinds;
use crate::logs::positions::Positions;

impl Node {
    fn held() -> Self {
        let mut node = Self::new();
        let held = Vec::new();
        let place = LogPlace::held("/docker/shop", "/var/log/shop.log", 1, &held);
        node.tail = Tail::new("/docker/shop".into(), vec![place], 1 << 20, 0);
        node
    }

    /// The sensor says that these generations are held open, as number `number`.
    fn hold(&mut self, number: u64, generations: &[u32]) {
        let inode = |generation: &u32| fs::metadata(self.path(*generation)).unwrap().ino();
        let inodes: Vec<u64> = generations.iter().map(inode).collect();
        let place = LogPlace::held("/docker/shop", "/var/log/shop.log", number, &inodes);
        self.tail.set_places(&[place], self.now_ms);
    }

    /// A line into an older file.
    fn log_into(&mut self, generation: u32) {
        self.written += 1;
        let mut file = File::options()
            .append(true)
            .open(self.path(generation))
            .unwrap();
        file.write_all(line(self.written).as_bytes()).unwrap();
    }
}

#[tokio::test]
async fn a_renamed_file_is_read_as_long_as_it_is_held() {
    let mut node = Node::held();
    node.log(10);
    node.hold(1, &[0]);
    node.turns(3).await;
    node.rotate();
    node.log(5);
    for _ in 0..50 {
        node.log_into(1);
        node.hold(1, &[1, 0]);
        node.turn().await;
    }
    node.turn().await;
    assert_eq!(node.counted, 60, "what follows waits");
    node.log_into(1);
    node.hold(1, &[0]);
    node.is_exact().await;
    assert_eq!(node.gaps(), 0);
}

#[tokio::test]
async fn another_run_of_the_sensor_calls_it_otherwise() {
    let mut node = Node::held();
    node.log(10);
    node.hold(1, &[0]);
    node.turns(3).await;
    node.hold(17, &[0]);
    node.log(5);
    node.is_exact().await;
    assert_eq!(node.tail.places()[0].file.container, b"17");
    assert_eq!(node.gaps(), 0);
}

#[tokio::test]
async fn files_that_were_rotated_just_now_are_news_and_older_ones_are_not() {
    for (age_seconds, news) in [(5, 5), (600, 2)] {
        let mut node = Node::held();
        node.log(3);
        node.rotate();
        let time = SystemTime::now() - Duration::from_secs(age_seconds);
        let rotated = File::options().write(true).open(node.path(1)).unwrap();
        rotated.set_modified(time).unwrap();
        node.log(2);
        node.hold(1, &[0]);
        node.turns(40).await;
        assert_eq!(node.counted, news, "{age_seconds}");
    }
}

#[test]
fn one_that_was_renamed_is_known_by_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let (mut positions, _) = Positions::load(directory.path(), 0);
    let place = |path: &str, inode: u64| LogPlace::held("/docker/a", path, 1, &[inode]);
    let mark = |inode, at_ms| Mark {
        position: crate::logs::position::Position {
            file: crate::logs::position::FileId { device: 1, inode },
            offset: inode,
            pass_by: [0; 2],
            before: Default::default(),
        },
        at_ms,
    };
    positions.set(&place("/var/log/a", 5).name, mark(5, 10));
    positions.set(&place("/var/log/b", 6).name, mark(6, 10));
    let saved = |path, inode| kinds::saved(&positions, &place(path, inode));
    assert_eq!(saved("/var/log/a", 5), Some(mark(5, 10)));
    assert_eq!(saved("/var/log/a.1", 5), Some(mark(5, 10)), "renamed");
    assert_eq!(saved("/var/log/a", 7), Some(mark(5, 10)), "begun anew");
    assert_eq!(saved("/var/log/c", 7), None);
    let other = LogPlace::held("/docker/ab", "/var/log/c", 1, &[5]);
    assert_eq!(
        kinds::saved(&positions, &other),
        None,
        "another container's"
    );
}
