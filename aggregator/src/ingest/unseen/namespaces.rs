//! How many connects the kernel counted in all network namespaces together, from `/proc/PID/net/snmp`.
//!
//! That file has the same inode for all processes of a namespace and another one in each namespace, which tells them
//! apart where `/proc/PID/ns/net` may not be read. The kernel uses the number again after a namespace is gone.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use crate::host::{HostError, HostRoot, ParseError};

/// Longest `snmp` file; it is less than 2 KiB.
const MAX_FILE_BYTES: u64 = 64 << 10;
/// Processes looked at in one reading. A namespace whose processes all come later is not counted.
const MAX_PROCESSES: usize = 1 << 15;
/// Namespaces kept when some of them have no process at present; beyond it, those without one seen longest ago are
/// forgotten. One with a process never is: the next reading would take it for new.
const MAX_NAMESPACES: usize = 4096;

/// All namespaces, and the sum of what happened in them since the first reading.
#[derive(Debug, Default)]
pub(super) struct Namespaces {
    known: HashMap<u64, Namespace>,
    readings: u64,
    opened: u64,
}

#[derive(Debug)]
struct Namespace {
    /// Its count when it was last read.
    opened: u64,
    /// The reading it was last seen in.
    reading: u64,
}

impl Namespaces {
    /// Connects since the first reading. Process 1 must be visible: without it only this user's own are.
    pub(super) fn read(&mut self, host: &HostRoot) -> Result<u64, HostError> {
        read(host.proc("1/net/snmp").path().to_owned())?;
        let mut seen = HashSet::new();
        for path in processes(host)?.take(MAX_PROCESSES) {
            let path = path.join("net/snmp");
            let is_new = fs::metadata(&path).is_ok_and(|file| !seen.contains(&file.ino()));
            // A process that has ended meanwhile; another one of its namespace will do.
            if is_new
                && let Ok((inode, opened)) = read(path)
                && seen.insert(inode)
            {
                self.note(inode, opened);
            }
        }
        self.forget_oldest();
        self.readings += 1;
        Ok(self.opened)
    }

    fn forget_oldest(&mut self) {
        let surplus = self.known.len().saturating_sub(MAX_NAMESPACES);
        if surplus == 0 {
            return;
        }
        let absent = self.known.iter();
        let mut absent: Vec<(u64, u64)> = absent
            .filter(|(_, known)| known.reading < self.readings)
            .map(|(inode, known)| (known.reading, *inode))
            .collect();
        absent.sort_unstable();
        for (_, inode) in absent.into_iter().take(surplus) {
            self.known.remove(&inode);
        }
    }

    fn note(&mut self, inode: u64, opened: u64) {
        let now = Namespace {
            opened,
            reading: self.readings,
        };
        let is_first = self.readings == 0;
        self.opened += match self.known.insert(inode, now) {
            Some(before) if before.opened <= opened => opened - before.opened,
            // Another namespace with the number of one that is gone.
            Some(_) => opened,
            None if is_first => 0,
            // Made since the last reading.
            None => opened,
        };
    }
}

fn processes(host: &HostRoot) -> Result<impl Iterator<Item = PathBuf> + use<>, HostError> {
    let directory = host.proc("").path().to_owned();
    let entries = fs::read_dir(&directory).map_err(|source| HostError::Read {
        path: directory,
        source,
    })?;
    let is_process = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
    };
    Ok(entries
        .flatten()
        .filter(is_process)
        .map(|entry| entry.path()))
}

/// The namespace's number and its count, of one open file so that they belong together.
fn read(path: PathBuf) -> Result<(u64, u64), HostError> {
    let read = || {
        let file = File::open(&path)?;
        let inode = file.metadata()?.ino();
        let mut text = String::new();
        file.take(MAX_FILE_BYTES).read_to_string(&mut text)?;
        Ok((inode, text))
    };
    match read() {
        Err(source) => Err(HostError::Read { path, source }),
        Ok((inode, text)) => match parse(&text) {
            Ok(opened) => Ok((inode, opened)),
            Err(error) => Err(HostError::Parse { path, error }),
        },
    }
}

/// `ActiveOpens` of the two lines `Tcp:`, one of names and one of values.
fn parse(text: &str) -> Result<u64, ParseError> {
    let fail = |line: usize, what| ParseError {
        line: line + 1,
        what,
    };
    let mut lines = text.lines().enumerate().filter_map(|(number, line)| {
        Some((number, line.strip_prefix("Tcp:")?.split_ascii_whitespace()))
    });
    let (first, mut names) = lines.next().ok_or(fail(0, "no line of TCP"))?;
    let column = names.position(|name| name == "ActiveOpens");
    let column = column.ok_or(fail(first, "no ActiveOpens"))?;
    let (second, mut values) = lines.next().ok_or(fail(first, "no values of TCP"))?;
    let value = values.nth(column).and_then(|value| value.parse().ok());
    value.ok_or(fail(second, "ActiveOpens is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snmp(opened: u64) -> String {
        format!(
            "Ip: Forwarding DefaultTTL\nIp: 1 64\n\
             Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens\nTcp: 1 200 120000 -1 {opened} 3\n"
        )
    }

    struct Proc {
        root: tempfile::TempDir,
    }

    impl Proc {
        fn new() -> Self {
            Self {
                root: tempfile::tempdir().unwrap(),
            }
        }

        fn host(&self) -> HostRoot {
            HostRoot::new(self.root.path())
        }

        fn path(&self, pid: u32) -> PathBuf {
            self.root.path().join(format!("proc/{pid}/net/snmp"))
        }

        /// A process; its namespace is that of `like` or a new one.
        fn process(&self, pid: u32, like: Option<u32>, opened: u64) {
            let path = self.path(pid);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            match like {
                None => self.set(pid, opened),
                Some(like) => fs::hard_link(self.path(like), &path).unwrap(),
            }
        }

        /// Keeps the inode.
        fn set(&self, pid: u32, opened: u64) {
            fs::write(self.path(pid), snmp(opened)).unwrap();
        }

        fn end(&self, pid: u32) {
            fs::remove_file(self.path(pid)).unwrap();
        }
    }

    #[test]
    fn namespaces_count_once_and_from_the_first_reading() {
        let (proc, mut namespaces) = (Proc::new(), Namespaces::default());
        proc.process(1, None, 1000);
        proc.process(20, Some(1), 0);
        proc.process(30, None, 500);
        assert_eq!(namespaces.read(&proc.host()).unwrap(), 0);
        proc.set(1, 1007);
        proc.set(30, 501);
        assert_eq!(namespaces.read(&proc.host()).unwrap(), 8);
        assert_eq!(namespaces.read(&proc.host()).unwrap(), 8);
    }

    #[test]
    fn namespaces_come_and_go() {
        let (proc, mut namespaces) = (Proc::new(), Namespaces::default());
        proc.process(1, None, 10);
        namespaces.read(&proc.host()).unwrap();
        proc.process(40, None, 5);
        assert_eq!(namespaces.read(&proc.host()).unwrap(), 5);
        // What it did is not forgotten with it.
        proc.process(41, Some(40), 0);
        proc.end(40);
        proc.set(41, 6);
        assert_eq!(namespaces.read(&proc.host()).unwrap(), 6);
        proc.set(41, 2);
        // The same number, and less than before: another namespace.
        assert_eq!(namespaces.read(&proc.host()).unwrap(), 8);
    }

    #[test]
    fn only_so_many_without_a_process_are_kept() {
        let mut namespaces = Namespaces::default();
        for inode in 0..MAX_NAMESPACES as u64 + 10 {
            namespaces.readings = inode;
            namespaces.note(inode, 1);
            namespaces.forget_oldest();
        }
        assert_eq!(namespaces.known.len(), MAX_NAMESPACES);
        assert!(!namespaces.known.contains_key(&9) && namespaces.known.contains_key(&10));
    }

    #[test]
    fn however_many_have_processes_none_of_them_is_new_again() {
        let mut namespaces = Namespaces::default();
        for _ in 0..3 {
            for inode in 0..2 * MAX_NAMESPACES as u64 {
                namespaces.note(inode, 7);
            }
            namespaces.forget_oldest();
            namespaces.readings += 1;
        }
        assert_eq!(namespaces.known.len(), 2 * MAX_NAMESPACES);
        assert_eq!(namespaces.opened, 0);
    }

    #[test]
    fn a_node_that_hides_its_processes_is_an_error() {
        let (proc, mut namespaces) = (Proc::new(), Namespaces::default());
        proc.process(99, None, 10);
        let error = namespaces.read(&proc.host()).unwrap_err().to_string();
        assert!(error.contains("1/net/snmp"), "{error}");
    }

    #[test]
    fn text_that_is_cut_or_odd_is_an_error() {
        let whole = snmp(42);
        assert_eq!(parse(&whole), Ok(42));
        let value_ends = whole.find(" 3\n").unwrap();
        for length in 0..value_ends - 1 {
            assert!(parse(&whole[..length]).is_err(), "{length}");
        }
        assert!(parse(&whole.replace("42", "x")).is_err());
        assert!(parse(&whole.replace("ActiveOpens", "Other")).is_err());
    }

    #[test]
    fn this_machine_can_be_read() {
        let mut namespaces = Namespaces::default();
        let host = HostRoot::default();
        let before = namespaces.read(&host).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        for _ in 0..7 {
            std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        }
        assert!(namespaces.read(&host).unwrap() >= before + 7);
    }
}
