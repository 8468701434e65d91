//! From a file system's device number to the disk that cgroups count I/O of, by `/sys/dev/block` and `/sys/class/block`.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nodescope_schema::StatFilesystem as Device;

use crate::host::HostRoot;
use crate::mountinfo::parse_device;

use super::VolumeMount;

/// A disk, or what device mapper, md or loop make of disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its number, as in the files of the I/O controller.
    pub device: Device,
    /// Its name, `sda` for example.
    pub name: String,
}

/// Looks disks up, each once.
#[derive(Debug)]
pub struct Disks<'a> {
    host: &'a HostRoot,
    by_device: HashMap<Device, Option<Disk>>,
    /// Read when one is first wanted.
    by_mapped_name: Option<HashMap<String, Device>>,
}

impl<'a> Disks<'a> {
    /// Reads sysfs below `host`.
    pub fn new(host: &'a HostRoot) -> Self {
        Self {
            host,
            by_device: HashMap::new(),
            by_mapped_name: None,
        }
    }

    /// The disk below a mount; none for what is on no disk of this machine.
    pub fn of(&mut self, mount: &VolumeMount) -> Option<Disk> {
        let device = self.block_device(mount)?;
        let host = self.host;
        let disk = self
            .by_device
            .entry(device)
            .or_insert_with(|| find(host, device));
        disk.clone()
    }

    /// btrfs has a device number of its own, which is no block device's; its source is the path of one.
    fn block_device(&mut self, mount: &VolumeMount) -> Option<Device> {
        if mount.device.major != 0 {
            return Some(mount.device);
        }
        let name = mount.block_source.as_deref()?;
        match name.strip_prefix("mapper/") {
            Some(mapped) => self.mapped_device(mapped),
            None => number(self.host, name),
        }
    }

    /// The device mapper's devices, by the names that `/dev/mapper` has them under.
    fn mapped_device(&mut self, name: &str) -> Option<Device> {
        let host = self.host;
        let by_name = self
            .by_mapped_name
            .get_or_insert_with(|| mapped_devices(host));
        by_name.get(name).copied()
    }
}

fn mapped_devices(host: &HostRoot) -> HashMap<String, Device> {
    let Ok(entries) = std::fs::read_dir(host.sys("class/block").path()) else {
        return HashMap::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter(|name| name.starts_with("dm-"))
        .filter_map(|name| {
            let mapped = host
                .sys(&format!("class/block/{name}/dm/name"))
                .text()
                .ok()?;
            Some((mapped.trim_end().to_owned(), number(host, &name)?))
        })
        .collect()
}

fn number(host: &HostRoot, name: &str) -> Option<Device> {
    let text = host.sys(&format!("class/block/{name}/dev")).text().ok()?;
    parse_device(text.trim_end())
}

/// `/sys/dev/block/8:1` is a link to `../../devices/.../block/sda/sda1`, and a partition has a file of that name.
fn find(host: &HostRoot, device: Device) -> Option<Disk> {
    let entry = host.sys(&format!("dev/block/{}:{}", device.major, device.minor));
    let target = std::fs::read_link(entry.path()).ok()?;
    let name = |path: &Path| Some(text(path.file_name()?));
    if !entry.path().join("partition").exists() {
        let name = name(&target)?;
        return Some(Disk { device, name });
    }
    let name = name(target.parent()?)?;
    let device = number(host, &name)?;
    Some(Disk { device, name })
}

fn text(name: &OsStr) -> String {
    String::from_utf8_lossy(name.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn mount(major: u32, minor: u32, source: Option<&str>) -> VolumeMount {
        VolumeMount {
            device: Device { major, minor },
            block_source: source.map(str::to_owned),
            ..VolumeMount::default()
        }
    }

    #[test]
    fn partitions_are_part_of_their_disk() {
        let root = tempfile::tempdir().unwrap();
        let sys = root.path().join("sys");
        for (name, below, number) in [
            ("sda", "sda", "8:0"),
            ("sda1", "sda/sda1", "8:1"),
            ("dm-0", "dm-0", "254:0"),
        ] {
            let directory = sys.join("devices/block").join(below);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("dev"), format!("{number}\n")).unwrap();
            fs::create_dir_all(sys.join("dev/block")).unwrap();
            fs::create_dir_all(sys.join("class/block")).unwrap();
            symlink(
                format!("../../devices/block/{below}"),
                sys.join("dev/block").join(number),
            )
            .unwrap();
            symlink(
                format!("../../devices/block/{below}"),
                sys.join("class/block").join(name),
            )
            .unwrap();
        }
        fs::write(sys.join("devices/block/sda/sda1/partition"), "1\n").unwrap();
        fs::create_dir(root.path().join("sys/devices/block/dm-0/dm")).unwrap();
        fs::write(
            root.path().join("sys/devices/block/dm-0/dm/name"),
            "luks-1\n",
        )
        .unwrap();
        let host = HostRoot::new(root.path());
        let mut disks = Disks::new(&host);
        let mut name = |mount| disks.of(&mount).map(|disk| (disk.name, disk.device.minor));
        assert_eq!(name(mount(8, 1, None)), Some(("sda".to_owned(), 0)));
        assert_eq!(name(mount(8, 0, None)), Some(("sda".to_owned(), 0)));
        assert_eq!(name(mount(254, 0, None)), Some(("dm-0".to_owned(), 0)));
        assert_eq!(
            name(mount(0, 40, Some("sda1"))),
            Some(("sda".to_owned(), 0))
        );
        let mapped = name(mount(0, 40, Some("mapper/luks-1")));
        assert_eq!(mapped, Some(("dm-0".to_owned(), 0)));
        assert_eq!(name(mount(0, 40, Some("mapper/luks-2"))), None);
        assert_eq!(name(mount(0, 40, None)), None);
        assert_eq!(name(mount(0, 40, Some("nothing"))), None);
        assert_eq!(name(mount(9, 9, None)), None);
    }
}
