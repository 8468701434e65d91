//! Counters of whole disks, from `/proc/diskstats` (sectors there are 512 bytes, times milliseconds).
//!
//! A disk is taken by its name. Partitions are left out: their disk counts their I/O already. Loop devices, RAM disks,
//! zram, CD and floppy drives are left out too.

use procfs::DiskStat;

use super::{Collector, NodeFacts, Readings};
use crate::host::{HostError, HostRoot, ParseError};
use crate::metrics::catalogue::node::{
    DISK_IO_TIME, DISK_READ_BYTES, DISK_READ_TIME, DISK_READS, DISK_WRITE_TIME, DISK_WRITES,
    DISK_WRITTEN_BYTES,
};

const SECTOR_BYTES: u64 = 512;
/// Fields of a line since Linux 2.6; a shorter line is of a device without statistics.
const MIN_FIELDS: usize = 14;

#[derive(Debug)]
pub(super) struct Disk;

impl Collector for Disk {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn collect(
        &mut self,
        host: &HostRoot,
        _: &NodeFacts,
        readings: &mut Readings,
    ) -> Result<(), HostError> {
        for disk in host.proc("diskstats").parse(parse)? {
            let labels = [("device", disk.name.as_str())];
            readings.push(&DISK_READS, &labels, disk.reads);
            readings.push(&DISK_WRITES, &labels, disk.writes);
            readings.push(
                &DISK_READ_BYTES,
                &labels,
                disk.sectors_read.saturating_mul(SECTOR_BYTES),
            );
            readings.push(
                &DISK_WRITTEN_BYTES,
                &labels,
                disk.sectors_written.saturating_mul(SECTOR_BYTES),
            );
            readings.push(&DISK_READ_TIME, &labels, seconds(disk.time_reading));
            readings.push(&DISK_WRITE_TIME, &labels, seconds(disk.time_writing));
            readings.push(&DISK_IO_TIME, &labels, seconds(disk.time_in_progress));
        }
        Ok(())
    }
}

fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1e3
}

fn parse(text: &str) -> Result<Vec<DiskStat>, ParseError> {
    let mut disks = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if !line.split_ascii_whitespace().nth(2).is_some_and(is_disk)
            || line.split_ascii_whitespace().count() < MIN_FIELDS
        {
            continue;
        }
        let disk = DiskStat::from_line(line).map_err(|_| ParseError {
            line: at + 1,
            what: "a counter is no number",
        })?;
        disks.push(disk);
    }
    Ok(disks)
}

/// Whether a device is a whole disk of a kind that is reported.
fn is_disk(name: &str) -> bool {
    let after = |prefix| name.strip_prefix(prefix);
    ["sd", "hd", "xvd", "vd"]
        .into_iter()
        .filter_map(after)
        .any(is_letters)
        || ["dm-", "md", "rbd", "mmcblk"]
            .into_iter()
            .filter_map(after)
            .any(is_number)
        || after("nvme")
            .and_then(|rest| rest.split_once('n'))
            .is_some_and(|(a, b)| is_number(a) && is_number(b))
}

fn is_letters(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::{is_disk, parse};

    #[test]
    fn takes_whole_disks_only() {
        for name in [
            "sda", "sdaa", "hdb", "xvda", "vdz", "dm-0", "dm-12", "md127", "rbd0", "nvme0n1",
            "nvme12n3", "mmcblk0",
        ] {
            assert!(is_disk(name), "{name}");
        }
        for name in [
            "sda1",
            "sdaa12",
            "vda15",
            "nvme0n1p4",
            "nvme0",
            "nvme0c0n1",
            "mmcblk0p1",
            "mmcblk0boot0",
            "md0p1",
            "rbd0p1",
            "ram0",
            "loop0",
            "sr0",
            "fd0",
            "zram0",
            "nbd0",
            "sd",
            "dm-",
            "",
            "sdA",
            "drbd0",
        ] {
            assert!(!is_disk(name), "{name}");
        }
    }

    #[test]
    fn parses_columns() {
        let text = " 254 0 vda 51977 8864 3807714 16532 12709 12542 3027512 8173 0 10240 25435 5860 53 567520 643 1645 86\n \
                    254 1 vda1 1 1 1 1 1 1 1 1 1 1 1\n 8 0 sda 1 2 3\n 259 0 nvme0n1 1 2 3 4 5 6 7 8 9 10 11\n";
        let disks = parse(text).unwrap();
        assert_eq!(disks.len(), 2);
        let disk = &disks[0];
        assert_eq!(
            (disk.reads, disk.sectors_read, disk.time_reading),
            (51977, 3_807_714, 16532)
        );
        assert_eq!(
            (disk.writes, disk.sectors_written, disk.time_writing),
            (12709, 3_027_512, 8173)
        );
        assert_eq!(disk.time_in_progress, 10240);
        assert_eq!(disks[1].time_in_progress, 10);
    }

    #[test]
    fn names_the_bad_line() {
        let text = "8 0 ram0 x x x x x x x x x x x\n8 0 sda 1 1 1 1 1 x 1 1 1 1 1\n";
        assert_eq!(parse(text).unwrap_err().line, 2);
        assert!(parse("\0\n\n  \n").unwrap().is_empty());
    }
}
