//! Answers how full file systems are, without waiting for any that hangs.
//!
//! A request names a file system by its device number, as a container's `/proc/PID/mountinfo` does; it is looked up in
//! the sensor's own mount table and asked there, by `fstatfs(2)` on a descriptor that only stands for the place
//! (`O_PATH`). A container's volume almost always is a bind of something mounted on the node, with the same device
//! number and the same numbers in `statfs`. So nothing of a container is entered, and no capability is needed but the
//! search permission the broker has anyway; going through `/proc/PID/root` would take `CAP_SYS_PTRACE`, with which a
//! process can read any other's memory.
//!
//! File systems that answer from this machine are asked by one thread. Those that need a server or a process (NFS,
//! FUSE, ...) are asked by [`REMOTE_THREADS`] others: one that hangs keeps its thread until it answers, and a second
//! request for it is refused at once. The client gives up by its own deadline.
//!
//! Known limits: what is mounted in a container's mount namespace alone is not found; a project quota that makes a
//! directory look smaller than its file system is not seen.

use std::collections::HashSet;
use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statvfs::fstatvfs;
use nodescope_schema::{FilesystemSpace, Refusal, StatFilesystem};

use super::mount_table::{Table, check_mount};
use super::mounts::Mount;
use super::{Answers, Given, Job, QUEUE_LENGTH, start_thread};

/// Threads for file systems that may hang: as many dead servers at once cost nothing but their own numbers.
pub const REMOTE_THREADS: usize = 8;
/// Requests that wait for those threads.
const REMOTE_QUEUE_LENGTH: usize = 64;

/// A request with the ways to its file system.
#[derive(Debug)]
struct RemoteJob {
    job: Job<StatFilesystem>,
    mounts: Vec<Mount>,
}

/// File systems that are being asked and may hang.
type UnderWay = Arc<Mutex<HashSet<StatFilesystem>>>;

/// Starts the threads, which answer what comes through the queue that is returned.
pub(super) fn start(answers: &Answers) -> io::Result<SyncSender<Job<StatFilesystem>>> {
    let (jobs, job_queue) = sync_channel(QUEUE_LENGTH);
    let (remote, remote_queue) = sync_channel(REMOTE_QUEUE_LENGTH);
    let remote_queue = Arc::new(Mutex::new(remote_queue));
    let under_way = UnderWay::default();
    for _ in 0..REMOTE_THREADS {
        let (queue, under_way, answers) = (
            Arc::clone(&remote_queue),
            Arc::clone(&under_way),
            answers.clone(),
        );
        start_thread("statfs", move || serve_remote(&queue, &under_way, &answers))?;
    }
    let mut desk = Desk {
        table: Table::default(),
        remote,
        under_way,
        answers: answers.clone(),
    };
    start_thread("filesystems", move || desk.serve(&job_queue))?;
    Ok(jobs)
}

/// The thread that knows the mount table.
struct Desk {
    table: Table,
    remote: SyncSender<RemoteJob>,
    under_way: UnderWay,
    answers: Answers,
}

impl Desk {
    fn serve(&mut self, jobs: &Receiver<Job<StatFilesystem>>) {
        for job in jobs {
            let (connection, id) = (job.connection, job.id);
            if let Some(result) = self.handle(job)
                && !self.answers.give(connection, id, result)
            {
                return;
            }
        }
    }

    /// The answer, unless another thread will give it.
    fn handle(&mut self, job: Job<StatFilesystem>) -> Option<Result<Given, Refusal>> {
        let mounts = match self.table.fresh() {
            Ok(table) => table.of(job.wanted),
            Err(_) => return Some(Err(Refusal::Io)),
        };
        // The best way comes first.
        if mounts.first().is_none_or(|best| best.is_local) {
            return Some(space(&mounts));
        }
        if !lock(&self.under_way).insert(job.wanted) {
            return Some(Err(Refusal::Busy));
        }
        let filesystem = job.wanted;
        let taken = self.remote.try_send(RemoteJob { job, mounts });
        taken.is_err().then(|| {
            lock(&self.under_way).remove(&filesystem);
            Err(Refusal::Busy)
        })
    }
}

fn serve_remote(queue: &Mutex<Receiver<RemoteJob>>, under_way: &UnderWay, answers: &Answers) {
    loop {
        // The others wait for the lock while this one waits for a job.
        let next = lock(queue).recv();
        let Ok(RemoteJob { job, mounts }) = next else {
            return;
        };
        let result = space(&mounts);
        lock(under_way).remove(&job.wanted);
        if !answers.give(job.connection, job.id, result) {
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks through the first way that leads to the mount it should.
fn space(mounts: &[Mount]) -> Result<Given, Refusal> {
    let mut refused = Refusal::NotFound;
    for mount in mounts {
        match space_of(mount) {
            Ok(space) => return Ok(Given::Space(space)),
            Err(Refusal::NotFound) => {}
            Err(refusal) => refused = refusal,
        }
    }
    Err(refused)
}

fn space_of(mount: &Mount) -> Result<FilesystemSpace, Refusal> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let place = open(&mount.point, flags, Mode::empty()).map_err(refusal)?;
    check_mount(&place, mount)?;
    let found = fstatvfs(&place).map_err(refusal)?;
    let unit = found.fragment_size();
    let bytes = |blocks: u64| blocks.saturating_mul(unit);
    Ok(FilesystemSpace {
        size_bytes: bytes(found.blocks()),
        free_bytes: bytes(found.blocks_free()),
        available_bytes: bytes(found.blocks_available()),
    })
}

fn refusal(error: Errno) -> Refusal {
    match error {
        Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP => Refusal::NotFound,
        Errno::EACCES | Errno::EPERM => Refusal::Forbidden,
        _ => Refusal::Io,
    }
}
