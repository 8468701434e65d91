//! The label `machine_id`: systemd's or D-Bus's machine id, else the firmware's.

use crate::host::HostRoot;

/// Files with a machine id, the best first.
const FILES: [&str; 3] = [
    "/etc/machine-id",
    "/var/lib/dbus/machine-id",
    "/sys/devices/virtual/dmi/id/product_uuid",
];

/// The first id that is there, without dashes; empty when there is none. `system_uuid` is the firmware's id as the sensor
/// read it: the file is readable only for root.
pub fn read(host: &HostRoot, system_uuid: &str) -> String {
    FILES
        .into_iter()
        .filter_map(|path| host.file(path).text().ok())
        .chain([system_uuid.to_owned()])
        .map(|text| text.trim().replace('-', ""))
        .find(|id| !id.is_empty())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{FILES, read};
    use crate::host::HostRoot;

    #[test]
    fn the_first_readable_file_wins() {
        let root = tempfile::tempdir().unwrap();
        let host = HostRoot::new(root.path());
        assert_eq!(read(&host, ""), "");
        assert_eq!(read(&host, "AB-12\n"), "AB12");
        for (file, id) in FILES.iter().rev().zip(["c-3\n", "b-2\n", "  a-1  \n"]) {
            let path = root.path().join(file.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, id).unwrap();
            assert_eq!(read(&host, "x"), id.trim().replace('-', ""), "{file}");
        }
        std::fs::write(root.path().join("etc/machine-id"), "\n").unwrap();
        assert_eq!(read(&host, "x"), "b2");
    }
}
