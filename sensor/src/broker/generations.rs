//! Which file of a rotated log a request means: 0 is the one that is being written, 1 the one before it, and so on.
//!
//! Why the sensor: the directories of container logs are closed to others, so the aggregator can neither list them nor
//! see that a log was rotated. What is given out are the container's own logs, never a compressed one.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nodescope_schema::Refusal;

/// Files of one log that can be asked for.
pub const MAX_GENERATIONS: u32 = 32;
/// Names looked at in a directory; a pod's container has a handful.
const MAX_NAMES: usize = 1024;

/// How a log's files are named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generations {
    /// There is one.
    One,
    /// `NAME`, `NAME.1`, `NAME.2` and so on, as docker and logrotate do it.
    Numbered,
    /// The place is a directory with `RESTARTS.log` and `RESTARTS.log.TIME`, as kubelet does it.
    PodLogs,
    /// Whatever its writer or logrotate makes of the name: see [`super::held_logs`].
    Held,
}

/// The name of a generation of the log `name`.
pub fn numbered(name: &str, generation: u32) -> OsString {
    match generation {
        0 => name.into(),
        older => format!("{name}.{older}").into(),
    }
}

/// The name of a generation among a pod's logs in `directory`.
///
/// # Errors
/// [`Refusal::NotFound`] when there are not so many, [`Refusal::Io`] when the directory cannot be read.
pub fn pod_log(directory: BorrowedFd<'_>, generation: u32) -> Result<OsString, Refusal> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut directory =
        Dir::openat(directory.as_fd(), ".", flags, Mode::empty()).map_err(|_| Refusal::Io)?;
    let names = directory.iter().take(MAX_NAMES).map_while(Result::ok);
    let names = names.map(|entry| entry.file_name().to_bytes().to_vec());
    let index = usize::try_from(generation).map_err(|_| Refusal::NotFound)?;
    pick(names.collect(), index).ok_or(Refusal::NotFound)
}

/// The newest log but `index`.
fn pick(names: Vec<Vec<u8>>, index: usize) -> Option<OsString> {
    let mut logs: Vec<(Age, Vec<u8>)> = names
        .into_iter()
        .filter_map(|name| Some((age(&name)?, name)))
        .collect();
    logs.sort_unstable_by(|one, other| other.cmp(one));
    let (_, name) = logs.into_iter().nth(index)?;
    Some(OsString::from_vec(name))
}

/// Greater is newer: restarts of the container, whether the log is the one being written, time of its rotation.
type Age = (u32, bool, Vec<u8>);

fn age(name: &[u8]) -> Option<Age> {
    let text = std::str::from_utf8(name).ok()?;
    let (restarts, rest) = text.split_once(".log")?;
    let is_number = !restarts.is_empty() && restarts.bytes().all(|byte| byte.is_ascii_digit());
    let restarts = restarts.parse().ok().filter(|_| is_number)?;
    if rest.is_empty() {
        return Some((restarts, true, Vec::new()));
    }
    let time = rest.strip_prefix('.')?;
    let is_time = |byte: u8| byte.is_ascii_digit() || byte == b'-';
    (!time.is_empty() && time.bytes().all(is_time))
        .then(|| (restarts, false, time.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn picked(names: &[&str]) -> Vec<String> {
        let bytes: Vec<Vec<u8>> = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        (0..)
            .map_while(|index| pick(bytes.clone(), index))
            .map(|name| name.into_string().unwrap())
            .collect()
    }

    #[test]
    fn logs_of_a_pod_from_the_newest() {
        let names = [
            "0.log",
            ".",
            "..",
            "9.log.20261122-101010",
            "10.log",
            "9.log.20261121-101010.gz",
            "9.log",
            "9.log.20261122-090000",
            "10.log.tmp",
            "x.log",
            "10.log.20261122-110000",
            "-1.log",
            "+1.log",
            "1.log.",
            ".log",
        ];
        assert_eq!(
            picked(&names),
            [
                "10.log",
                "10.log.20261122-110000",
                "9.log",
                "9.log.20261122-101010",
                "9.log.20261122-090000",
                "0.log",
            ]
        );
    }

    #[test]
    fn numbers_follow_the_name() {
        assert_eq!(numbered("a-json.log", 0), "a-json.log");
        assert_eq!(numbered("a-json.log", 3), "a-json.log.3");
    }

    proptest! {
        #[test]
        fn what_is_picked_is_one_of_the_names(names: Vec<Vec<u8>>, index in 0_usize..40) {
            if let Some(name) = pick(names.clone(), index) {
                prop_assert!(names.contains(&name.into_vec()));
            }
        }
    }
}
