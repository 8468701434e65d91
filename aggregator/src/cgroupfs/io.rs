//! Block I/O of a cgroup by disk: `io.stat` of cgroup v2, `blkio.throttle.*` of v1. Both count whole disks and what
//! device mapper, md and loop make, never partitions. v1 does not count writes that the page cache puts off, and from Linux
//! 6.10 on nothing at all on a disk for which no cgroup has a limit.

use std::collections::BTreeMap;
use std::path::Path;

use nodescope_schema::StatFilesystem as Device;

use super::{CgroupMounts, directory, text};
use crate::mountinfo::parse_device;

/// I/O of a cgroup on one disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IoTotals {
    /// Reads done.
    pub reads: u64,
    /// Bytes they read.
    pub read_bytes: u64,
    /// Writes done.
    pub writes: u64,
    /// Bytes they wrote.
    pub written_bytes: u64,
}

/// I/O by the number of the disk.
pub(crate) type IoByDisk = BTreeMap<Device, IoTotals>;

impl CgroupMounts {
    /// Reads the I/O of the cgroup with this path in the v2 tree and this one in the watched v1 hierarchy. It blocks.
    pub fn read_io(&self, v2_path: Option<&[u8]>, v1_path: Option<&[u8]>) -> IoByDisk {
        if let Some(directory) = directory(self.blkio.as_deref(), v1_path) {
            return read_v1(&directory);
        }
        let stat = directory(self.v2.as_deref(), v2_path)
            .and_then(|directory| text(&directory, "io.stat"));
        parse_v2(&stat.unwrap_or_default())
    }
}

fn read_v1(directory: &Path) -> IoByDisk {
    // Those with cgroups inside; older kernels count the cgroup's own processes only.
    let file = |name: &str| {
        text(directory, &format!("{name}_recursive"))
            .or_else(|| text(directory, name))
            .unwrap_or_default()
    };
    parse_v1(
        &file("blkio.throttle.io_serviced"),
        &file("blkio.throttle.io_service_bytes"),
    )
}

/// Lines `MAJOR:MINOR KEY=VALUE...`.
fn parse_v2(text: &str) -> IoByDisk {
    let mut by_disk = IoByDisk::new();
    for line in text.lines() {
        let mut fields = line.split_ascii_whitespace();
        let Some(device) = fields.next().and_then(parse_device) else {
            continue;
        };
        let totals = by_disk.entry(device).or_default();
        for (key, value) in fields.filter_map(|field| field.split_once('=')) {
            let Ok(value) = value.parse() else { continue };
            match key {
                "rios" => totals.reads = value,
                "rbytes" => totals.read_bytes = value,
                "wios" => totals.writes = value,
                "wbytes" => totals.written_bytes = value,
                _ => {}
            }
        }
    }
    by_disk
}

/// Two files of lines `MAJOR:MINOR OPERATION VALUE`.
fn parse_v1(operations: &str, bytes: &str) -> IoByDisk {
    let mut by_disk = IoByDisk::new();
    for (device, operation, value) in v1_lines(operations) {
        let totals = by_disk.entry(device).or_default();
        match operation {
            "Read" => totals.reads = value,
            "Write" => totals.writes = value,
            _ => {}
        }
    }
    for (device, operation, value) in v1_lines(bytes) {
        let totals = by_disk.entry(device).or_default();
        match operation {
            "Read" => totals.read_bytes = value,
            "Write" => totals.written_bytes = value,
            _ => {}
        }
    }
    by_disk
}

fn v1_lines(text: &str) -> impl Iterator<Item = (Device, &str, u64)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let device = parse_device(fields.next()?)?;
        Some((device, fields.next()?, fields.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SDA: Device = Device { major: 8, minor: 0 };
    const TOTALS: IoTotals = IoTotals {
        reads: 3,
        read_bytes: 4096,
        writes: 5,
        written_bytes: 8192,
    };

    #[test]
    fn reads_both_versions() {
        let v2 =
            "8:0 rbytes=4096 wbytes=8192 rios=3 wios=5 dbytes=0 dios=0\n7:0 \nx\n8:16 rios=y\n";
        let found = parse_v2(v2);
        assert_eq!(found[&SDA], TOTALS);
        assert_eq!(found.len(), 3);
        let operations = "8:0 Read 3\n8:0 Write 5\n8:0 Sync 8\n8:0 Total 8\nTotal 8\n";
        let bytes = "8:0 Read 4096\n8:0 Write 8192\n8:0 Total 12288\nTotal 12288\n";
        assert_eq!(parse_v1(operations, bytes), [(SDA, TOTALS)].into());
    }

    #[test]
    fn v1_counts_where_it_has_the_controller() {
        let root = tempfile::tempdir().unwrap();
        let host = crate::host::HostRoot::default().with_cgroup_root(root.path().to_owned());
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("unified/a/io.stat", "8:0 rios=1\n");
        let read = || {
            let mounts = CgroupMounts::discover(&host).unwrap();
            mounts
                .read_io(Some(b"/a"), Some(b"/a"))
                .get(&SDA)
                .map(|io| io.reads)
        };
        assert_eq!(read(), Some(1));
        write("blkio/a/blkio.throttle.io_serviced", "8:0 Read 2\n");
        assert_eq!(read(), Some(2));
        write(
            "blkio/a/blkio.throttle.io_serviced_recursive",
            "8:0 Read 3\n",
        );
        assert_eq!(read(), Some(3));
        write("blkio/b/x", "");
        assert_eq!(read(), Some(3));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "([0-9]{1,12}|:|Read|rios=|\\PC|[ \n]){0,40}") {
            let _ = (parse_v2(&text), parse_v1(&text, &text));
        }
    }
}
