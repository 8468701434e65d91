//! Asks the sensor for descriptors, and how full file systems are.
//!
//! Requests go out on the same socket that brings the records; the ingest task hands each reply to the caller that
//! waits for it. Every request has a deadline, and the number under way is bounded, so that a sensor that does not
//! answer costs a label and nothing else.

use std::collections::HashMap;
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nodescope_schema::{
    DescribeExecutable, ExecutableReply, FilesystemReply, FilesystemSpace, Language, OpenFile,
    OpenJvmData, Refusal, Reply, Request, RequestKind, SetPingTargets, StatFilesystem,
    encode_request,
};
use rustix::net::{SendFlags, send};
use tokio::sync::oneshot;

use crate::containers::{FileOpener, OpenError, OpenFuture, OwnedOpenFile};

/// How long a reply may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);
/// Most requests under way.
const MAX_PENDING: usize = 64;

/// Hands requests to the sensor. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Broker {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    next_id: AtomicU64,
    link: Mutex<Option<Link>>,
}

#[derive(Debug)]
struct Link {
    /// Which connection it is.
    number: u64,
    socket: Arc<OwnedFd>,
    pending: HashMap<u64, oneshot::Sender<Answer>>,
}

type Answer = Result<Granted, Refusal>;

/// What came with a grant.
#[derive(Debug)]
enum Granted {
    Descriptor(Option<OwnedFd>),
    Space(FilesystemSpace),
    Program(Program),
}

/// What a process executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Name of the file.
    pub name: Vec<u8>,
    /// What its compiler left in it.
    pub language: Language,
}

impl Broker {
    /// A connection to the sensor exists.
    pub fn connected(&self, socket: Arc<OwnedFd>) {
        *self.link() = Some(Link {
            number: self.shared.next_id.fetch_add(1, Ordering::Relaxed),
            socket,
            pending: HashMap::new(),
        });
    }

    /// The connection is gone; who waits is told so.
    pub fn disconnected(&self) {
        *self.link() = None;
    }

    /// A reply came, with its descriptor if it has one.
    pub fn answer(&self, reply: Reply, descriptor: Option<OwnedFd>) {
        let granted = reply.result.map(|()| Granted::Descriptor(descriptor));
        self.deliver(reply.id, granted);
    }

    /// The space of a file system came.
    pub fn answer_space(&self, reply: FilesystemReply) {
        self.deliver(reply.id, Ok(Granted::Space(reply.space)));
    }

    /// What a process executes came.
    pub fn answer_program(&self, reply: ExecutableReply<'_>) {
        let program = Program {
            name: reply.name.to_vec(),
            language: reply.language,
        };
        self.deliver(reply.id, Ok(Granted::Program(program)));
    }

    fn deliver(&self, id: u64, answer: Answer) {
        let waiting = self
            .link()
            .as_mut()
            .and_then(|link| link.pending.remove(&id));
        if let Some(waiting) = waiting {
            // The caller may have given up in the meantime: then the descriptor is closed here.
            drop(waiting.send(answer));
        }
    }

    /// A number for the connection that exists, if one does; the next one has another.
    pub fn connection(&self) -> Option<u64> {
        self.link().as_ref().map(|link| link.number)
    }

    /// Requests without an answer.
    pub fn pending(&self) -> usize {
        self.link().as_ref().map_or(0, |link| link.pending.len())
    }

    /// Opens a file through the sensor.
    pub async fn open_file(&self, file: &OpenFile<'_>) -> Result<File, OpenError> {
        self.descriptor(RequestKind::OpenFile(*file)).await
    }

    /// Opens the performance data of a Java virtual machine.
    pub async fn open_jvm_data(&self, of: OpenJvmData) -> Result<File, OpenError> {
        self.descriptor(RequestKind::OpenJvmData(of)).await
    }

    async fn descriptor(&self, kind: RequestKind<'_>) -> Result<File, OpenError> {
        match self.ask(kind).await? {
            Granted::Descriptor(Some(descriptor)) => Ok(File::from(descriptor)),
            _ => Err(OpenError::Refused(Refusal::Io)),
        }
    }

    /// Asks how full a file system is. One that hangs costs the time limit once; then the sensor refuses at once.
    pub async fn stat_filesystem(
        &self,
        filesystem: StatFilesystem,
    ) -> Result<FilesystemSpace, OpenError> {
        match self.ask(RequestKind::StatFilesystem(filesystem)).await? {
            Granted::Space(space) => Ok(space),
            _ => Err(OpenError::Refused(Refusal::Io)),
        }
    }

    /// Asks what a process executes.
    pub async fn describe_executable(&self, of: DescribeExecutable) -> Result<Program, OpenError> {
        match self.ask(RequestKind::DescribeExecutable(of)).await? {
            Granted::Program(program) => Ok(program),
            _ => Err(OpenError::Refused(Refusal::Io)),
        }
    }

    /// Sets whose round trip the sensor measures. The set ends with the connection.
    pub async fn set_ping_targets(&self, targets: &[IpAddr]) -> Result<(), OpenError> {
        let octets = |ip: &IpAddr| match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        let addresses: Vec<[u8; 16]> = targets.iter().map(octets).collect();
        let targets = SetPingTargets {
            addresses: &addresses,
        };
        self.ask(RequestKind::SetPingTargets(targets))
            .await
            .map(drop)
    }

    async fn ask(&self, kind: RequestKind<'_>) -> Result<Granted, OpenError> {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let packet = encode_request(&Request { id, kind });
        let answer = self.send(id, &packet)?;
        match tokio::time::timeout(REPLY_TIMEOUT, answer).await {
            Err(_elapsed) => {
                self.forget(id);
                Err(OpenError::TimedOut)
            }
            Ok(Err(_closed)) => Err(OpenError::Disconnected),
            Ok(Ok(answer)) => answer.map_err(OpenError::Refused),
        }
    }

    fn send(&self, id: u64, packet: &[u8]) -> Result<oneshot::Receiver<Answer>, OpenError> {
        let mut link = self.link();
        let link = link.as_mut().ok_or(OpenError::Disconnected)?;
        if link.pending.len() >= MAX_PENDING {
            return Err(OpenError::Refused(Refusal::RateLimited));
        }
        match send(
            &link.socket,
            packet,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        ) {
            Ok(_) => {}
            Err(rustix::io::Errno::AGAIN) => return Err(OpenError::Refused(Refusal::RateLimited)),
            Err(_) => return Err(OpenError::Disconnected),
        }
        let (sender, receiver) = oneshot::channel();
        link.pending.insert(id, sender);
        Ok(receiver)
    }

    fn forget(&self, id: u64) {
        if let Some(link) = self.link().as_mut() {
            link.pending.remove(&id);
        }
    }

    fn link(&self) -> MutexGuard<'_, Option<Link>> {
        self.shared
            .link
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl FileOpener for Broker {
    fn open(&self, file: OwnedOpenFile) -> OpenFuture<'_> {
        Box::pin(async move { self.open_file(&file.as_request()).await })
    }
}
