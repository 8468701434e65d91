//! The file broker: opens the files of a closed table for the client, the logs that processes hold open, see [`held_logs`],
//! and the performance data of Java virtual machines, see [`jvm`]; tells how full file systems are, see [`filesystems`],
//! and what kind of program a process executes, see [`executables`]. Each in a thread of its own, so that a slow file
//! system never holds up the stream.
//!
//! [`arguments`] checks a request's form, [`kinds`] says which paths it means, [`walk`] opens one of them safely. Each
//! thread has a queue of [`QUEUE_LENGTH`] requests; when it is full, or more come than [`OPENS_PER_SECOND`] in all, the
//! request is refused and the client asks later. A file system that hangs takes the requests of that thread with it
//! until it answers, and nothing else: the image of a container, where performance data is, may be fetched as it is
//! read.

pub mod arguments;
mod executables;
pub mod filesystems;
pub mod generations;
mod held_logs;
pub mod jvm;
pub mod kinds;
mod mount_table;
pub mod mounts;
mod process_root;
pub mod process_status;
pub mod walk;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use nix::sys::eventfd::{EfdFlags, EventFd};
use nodescope_schema::{
    DescribeExecutable, FilesystemSpace, Language, OpenFile, OpenJvmData, Refusal, StatFilesystem,
};

use crate::examiner::Examiner;
use crate::held_logs::HeldLogs;
use crate::kernel::executables::Executables;
use crate::passwd;
use crate::rate::TokenBucket;
use arguments::Query;
use executables::Programs;
use generations::Generations;
use held_logs::HeldLogFiles;
use jvm::JvmData;
use kinds::Place;
use walk::Owners;

/// Files opened a second; requests above it are refused.
pub const OPENS_PER_SECOND: u32 = 500;
/// Files opened at once after a quiet time: a client that starts on a node with a thousand containers.
pub const OPENS_BURST: u32 = 2000;
/// Requests that wait for one thread; with more the request is refused.
pub const QUEUE_LENGTH: usize = 256;

/// The stream's side of the broker.
#[derive(Debug)]
pub struct Broker {
    files: SyncSender<Job<Query>>,
    held_logs: SyncSender<Job<Query>>,
    /// Of processes.
    jvm_data: SyncSender<Job<u32>>,
    filesystems: SyncSender<Job<StatFilesystem>>,
    /// Of processes, with the time of the request.
    programs: SyncSender<Job<(u32, Instant)>>,
    answers: Receiver<Answer>,
    wake: Arc<EventFd>,
    bucket: TokenBucket,
}

/// What became of a request.
#[derive(Debug)]
pub struct Answer {
    /// Which connection asked.
    pub connection: u64,
    /// The request's number.
    pub id: u64,
    /// What was asked for.
    pub result: Result<Given, Refusal>,
}

/// What a request is answered with.
#[derive(Debug)]
pub enum Given {
    /// A file, open for reading.
    File(OwnedFd),
    /// The space of a file system.
    Space(FilesystemSpace),
    /// What a process executes.
    Program(Program),
}

/// A program.
#[derive(Debug)]
pub struct Program {
    /// Name of its file.
    pub name: Vec<u8>,
    /// What its compiler left in it.
    pub language: Language,
}

/// Who knows what the broker cannot find out by itself.
#[derive(Debug, Default)]
pub struct Sources {
    /// The logs that processes hold open.
    pub held_logs: HeldLogs,
    /// The files that processes execute.
    pub executables: Executables,
    /// What these are; without it their languages are not known.
    pub examiner: Option<Examiner>,
}

/// The threads' side of the queue of answers.
#[derive(Debug, Clone)]
struct Answers {
    queue: SyncSender<Answer>,
    wake: Arc<EventFd>,
}

impl Answers {
    /// Returns whether anybody takes answers.
    fn give(&self, connection: u64, id: u64, result: Result<Given, Refusal>) -> bool {
        let answer = Answer {
            connection,
            id,
            result,
        };
        let taken = self.queue.send(answer).is_ok();
        // It fails only when the counter is full, and then it is readable.
        let _ = self.wake.write(1);
        taken
    }
}

/// A request for a thread.
#[derive(Debug)]
struct Job<T> {
    connection: u64,
    id: u64,
    wanted: T,
}

impl Broker {
    /// Starts the threads and waits until they run, so that a seccomp filter set afterwards need not allow their start.
    ///
    /// # Errors
    /// A thread or the event descriptor cannot be made.
    pub fn start(files: Files, sources: Sources) -> io::Result<Self> {
        let wake = Arc::new(EventFd::from_flags(
            EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK,
        )?);
        let (queue, answers) = sync_channel(QUEUE_LENGTH);
        let threads = Answers {
            queue,
            wake: Arc::clone(&wake),
        };
        let mut held_logs = HeldLogFiles::new(sources.held_logs);
        let mut programs = Programs::new(sources.executables, sources.examiner);
        let mut jvm_data = JvmData::default();
        Ok(Self {
            files: start_opening("broker", &threads, move |query| files.open(query))?,
            held_logs: start_opening("held_logs", &threads, move |query| held_logs.open(query))?,
            jvm_data: start_opening("jvm_data", &threads, move |pid| jvm_data.open(*pid))?,
            filesystems: filesystems::start(&threads)?,
            programs: start_answering("programs", &threads, move |(pid, asked)| {
                programs.describe(*pid, *asked).map(Given::Program)
            })?,
            answers,
            wake,
            bucket: TokenBucket::new(OPENS_PER_SECOND, OPENS_BURST, Instant::now()),
        })
    }

    /// Hands a request to the thread.
    ///
    /// # Errors
    /// Refused at once: an argument of the wrong form, or too many requests.
    pub fn submit(
        &mut self,
        connection: u64,
        id: u64,
        request: &OpenFile<'_>,
        now: Instant,
    ) -> Result<(), Refusal> {
        if !self.bucket.take(now) {
            return Err(Refusal::RateLimited);
        }
        let query = Query::check(request)?;
        match query.kind.generations {
            Generations::Held => enqueue(&self.held_logs, connection, id, query),
            _ => enqueue(&self.files, connection, id, query),
        }
    }

    /// Asks for the performance data of a Java virtual machine.
    ///
    /// # Errors
    /// Refused at once: no number of a process, or too many requests.
    pub fn open_jvm_data(
        &mut self,
        connection: u64,
        id: u64,
        request: OpenJvmData,
        now: Instant,
    ) -> Result<(), Refusal> {
        let pid = self.process(request.pid, now)?;
        enqueue(&self.jvm_data, connection, id, pid)
    }

    /// Asks what a process executes.
    ///
    /// # Errors
    /// Refused at once: no number of a process, or too many requests.
    pub fn describe(
        &mut self,
        connection: u64,
        id: u64,
        request: DescribeExecutable,
        now: Instant,
    ) -> Result<(), Refusal> {
        let pid = self.process(request.pid, now)?;
        enqueue(&self.programs, connection, id, (pid, now))
    }

    fn process(&mut self, pid: u32, now: Instant) -> Result<u32, Refusal> {
        if !self.bucket.take(now) {
            return Err(Refusal::RateLimited);
        }
        if pid == 0 {
            return Err(Refusal::BadArgument);
        }
        Ok(pid)
    }

    /// Asks for the space of a file system.
    ///
    /// # Errors
    /// Refused at once: too many requests.
    pub fn stat(
        &mut self,
        connection: u64,
        id: u64,
        filesystem: StatFilesystem,
        now: Instant,
    ) -> Result<(), Refusal> {
        if !self.bucket.take(now) {
            return Err(Refusal::RateLimited);
        }
        enqueue(&self.filesystems, connection, id, filesystem)
    }

    /// Readable when there are answers.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// An answer, if there is one. To be called until there is none: only then does [`Self::wake_fd`] rest.
    pub fn answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok().or_else(|| {
            // Between the last look and this reset one may have come.
            let _ = self.wake.read();
            self.answers.try_recv().ok()
        })
    }
}

fn enqueue<T>(
    queue: &SyncSender<Job<T>>,
    connection: u64,
    id: u64,
    wanted: T,
) -> Result<(), Refusal> {
    let job = Job {
        connection,
        id,
        wanted,
    };
    queue.try_send(job).map_err(|_| Refusal::RateLimited)
}

/// A thread needs little; musl's and glibc's defaults differ.
const STACK_BYTES: usize = 256 << 10;

/// Starts a thread and waits until it runs.
fn start_thread(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let (ready, started) = sync_channel(1);
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let _ = ready.send(());
            body();
        })?;
    started.recv().map_err(io::Error::other)
}

/// Starts a thread that opens what comes through the queue that is returned.
fn start_opening<T: Send + 'static>(
    name: &str,
    answers: &Answers,
    mut open: impl FnMut(&T) -> Result<OwnedFd, Refusal> + Send + 'static,
) -> io::Result<SyncSender<Job<T>>> {
    start_answering(name, answers, move |wanted| open(wanted).map(Given::File))
}

/// Starts a thread that answers what comes through the queue that is returned.
fn start_answering<T: Send + 'static>(
    name: &str,
    answers: &Answers,
    mut answer: impl FnMut(&T) -> Result<Given, Refusal> + Send + 'static,
) -> io::Result<SyncSender<Job<T>>> {
    let (jobs, queue) = sync_channel::<Job<T>>(QUEUE_LENGTH);
    let answers = answers.clone();
    start_thread(name, move || {
        for job in queue {
            let result = answer(&job.wanted);
            if !answers.give(job.connection, job.id, result) {
                return;
            }
        }
    })?;
    Ok(jobs)
}

/// The node's files, seen from a root directory.
#[derive(Debug)]
pub struct Files {
    root: OwnedFd,
    system: u32,
}

impl Files {
    /// Files below `root`; those of the system belong to `system`.
    pub fn new(root: OwnedFd, system: u32) -> Self {
        Self { root, system }
    }

    /// Opens the first file there is of those that `query` can mean.
    ///
    /// # Errors
    /// See [`walk::open`]. With several places the gravest: a file that is there and may not be given out.
    pub fn open(&self, query: &Query) -> Result<OwnedFd, Refusal> {
        let home = if query.uid == 0 {
            String::new()
        } else {
            self.home(query.uid)?
        };
        let user = (query.uid != 0).then_some(query.uid);
        let owners = Owners {
            system: self.system,
            user,
            base_of_group: query.kind.base_of_group,
        };
        let places = if query.uid == 0 {
            query.kind.system
        } else {
            query.kind.user
        };
        let mut refused = Refusal::NotFound;
        for place in places {
            match self.open_at(place, query, &home, owners) {
                Ok(fd) => return Ok(fd),
                Err(Refusal::NotFound) => {}
                Err(refusal) => refused = refusal,
            }
        }
        Err(refused)
    }

    fn open_at(
        &self,
        place: &Place,
        query: &Query,
        home: &str,
        owners: Owners,
    ) -> Result<OwnedFd, Refusal> {
        let base = base_of(place, query, home);
        let file = file_of(place, query);
        let (directories, name) = match query.kind.generations {
            Generations::PodLogs => (file.as_str(), ""),
            _ => file.rsplit_once('/').unwrap_or(("", &file)),
        };
        let directory = walk::directory(self.root.as_fd(), &base, directories, owners)?;
        let name = match query.kind.generations {
            Generations::One => name.into(),
            Generations::Numbered => generations::numbered(name, query.generation),
            Generations::PodLogs => generations::pod_log(directory.as_fd(), query.generation)?,
            Generations::Held => return Err(Refusal::NotFound),
        };
        walk::open_file(directory.as_fd(), &name, owners, query.kind.max_bytes)
    }

    /// Home directory of a user of `/etc/passwd`.
    fn home(&self, uid: u32) -> Result<String, Refusal> {
        let owners = Owners {
            system: self.system,
            user: None,
            base_of_group: false,
        };
        let max_bytes = passwd::MAX_PASSWD_BYTES;
        let file = walk::open(self.root.as_fd(), "/etc", "passwd", owners, max_bytes)?;
        let text = read_to_end(file, max_bytes).map_err(|_| Refusal::Io)?;
        let user = passwd::find_uid(&text, uid).ok_or(Refusal::NotFound)?;
        let home = std::str::from_utf8(user.home).map_err(|_| Refusal::NotFound)?;
        let plain = home.starts_with('/') && !home.split('/').any(|part| part == "..");
        if plain {
            Ok(home.to_owned())
        } else {
            Err(Refusal::NotFound)
        }
    }
}

fn read_to_end(file: OwnedFd, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    io::Read::read_to_end(
        &mut io::Read::take(std::fs::File::from(file), max_bytes),
        &mut text,
    )?;
    Ok(text)
}

fn base_of(place: &Place, query: &Query, home: &str) -> String {
    if !query.root.is_empty() {
        return query.root.clone();
    }
    place
        .base
        .replace("{home}", home)
        .replace("{uid}", &query.uid.to_string())
}

fn file_of(place: &Place, query: &Query) -> String {
    place
        .file
        .replace("{namespace}", &query.namespace)
        .replace("{container}", &query.container)
}

#[cfg(test)]
mod tests;
