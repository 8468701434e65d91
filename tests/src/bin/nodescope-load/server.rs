//! The passive side. Each exchange on a connection begins with 16 bytes: how many bytes the client will send after them
//! and how many it wants back (both big-endian `u64`). The server reads the ones and then writes the others.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::args::Args;
use crate::report::say;

pub(crate) const HEADER_BYTES: usize = 16;
pub(crate) const CHUNK_BYTES: usize = 16 * 1024;

pub(crate) fn serve(args: &Args) -> Result<(), String> {
    let listeners = if args.has("stdin-listener") {
        vec![inherited()?]
    } else {
        bind(args)?
    };
    let counter = Arc::new(Counter::open(args)?);
    announce(&listeners)?;
    let accept_only = args.has("accept-only");
    let threads: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            let counter = Arc::clone(&counter);
            thread::spawn(move || accept_loop(&listener, accept_only, &counter))
        })
        .collect();
    for thread in threads {
        thread
            .join()
            .map_err(|_| "a listener's thread panicked".to_owned())?;
    }
    Ok(())
}

/// What socket activation does: this process makes the socket, a child in another cgroup uses it.
pub(crate) fn activate(args: &Args) -> Result<(), String> {
    let listener = bind(args)?.pop().ok_or("--listen is needed")?;
    announce(std::slice::from_ref(&listener))?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut join = String::new();
    for directory in args.all("join") {
        join.push_str(&format!("echo $$ > '{directory}/cgroup.procs' || exit 1; "));
    }
    let mut child = Command::new("/bin/sh")
        .args([
            "-c",
            &format!("{join}exec \"$0\" serve --stdin-listener yes"),
        ])
        .arg(program)
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .spawn()
        .map_err(|error| format!("child: {error}"))?;
    child.wait().map_err(|error| error.to_string())?;
    Ok(())
}

pub(crate) fn listen_only(args: &Args) -> Result<(), String> {
    let listeners = bind(args)?;
    announce(&listeners)?;
    loop {
        thread::park();
    }
}

/// Accepts one connection, closes the listener and keeps the connection: a passive side without a listening socket.
pub(crate) fn serve_once(args: &Args) -> Result<(), String> {
    let listener = bind(args)?.pop().ok_or("--listen is needed")?;
    announce(std::slice::from_ref(&listener))?;
    let (stream, _) = listener.accept().map_err(|error| error.to_string())?;
    drop(listener);
    say("{\"accepted\":1}")?;
    // It ends with its peer.
    let _ = exchange_until_end(stream);
    Ok(())
}

fn bind(args: &Args) -> Result<Vec<TcpListener>, String> {
    let addresses = args.addresses("listen")?;
    addresses
        .iter()
        .map(|address| TcpListener::bind(address).map_err(|error| format!("{address}: {error}")))
        .collect()
}

fn inherited() -> Result<TcpListener, String> {
    let owned = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| error.to_string())?;
    Ok(TcpListener::from(owned))
}

fn announce(listeners: &[TcpListener]) -> Result<(), String> {
    let mut addresses = Vec::new();
    for listener in listeners {
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        addresses.push(format!("\"{address}\""));
    }
    say(format_args!(
        "{{\"pid\":{},\"listening\":[{}]}}",
        std::process::id(),
        addresses.join(",")
    ))
}

/// How many connections were accepted, in a file. The kernel's `PassiveOpens` counts a connection twice when its first two
/// packets are handled at the same time.
struct Counter(Option<Mutex<(u64, File)>>);

impl Counter {
    fn open(args: &Args) -> Result<Self, String> {
        let Some(path) = args.get::<PathBuf>("count-file")? else {
            return Ok(Self(None));
        };
        let error = |error| format!("{}: {error}", path.display());
        let counter = Self(Some(Mutex::new((0, File::create(&path).map_err(error)?))));
        counter.add(0).map_err(error)?;
        Ok(counter)
    }

    fn add(&self, count: u64) -> io::Result<()> {
        let Some(counter) = &self.0 else {
            return Ok(());
        };
        let (total, file) = &mut *counter.lock().unwrap_or_else(PoisonError::into_inner);
        *total += count;
        file.write_all_at(format!("{total}\n").as_bytes(), 0)
    }
}

fn accept_loop(listener: &TcpListener, accept_only: bool, counter: &Counter) {
    for stream in listener.incoming() {
        // A peer that is gone already is no reason to stop.
        let Ok(stream) = stream else { continue };
        if let Err(error) = counter.add(1) {
            eprintln!("the count file is wrong: {error}");
        }
        if accept_only {
            continue;
        }
        let _ = thread::Builder::new()
            .stack_size(64 * 1024)
            .spawn(move || exchange_until_end(stream));
    }
}

fn exchange_until_end(mut stream: TcpStream) -> io::Result<()> {
    let mut chunk = vec![0_u8; CHUNK_BYTES];
    loop {
        let mut header = [0_u8; HEADER_BYTES];
        stream.read_exact(&mut header)?;
        let (upload, download) = header.split_at(HEADER_BYTES / 2);
        read_bytes(&mut stream, number(upload), &mut chunk)?;
        write_bytes(&mut stream, number(download), &chunk)?;
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Reads exactly `count` bytes and forgets them.
pub(crate) fn read_bytes(
    stream: &mut TcpStream,
    mut count: u64,
    chunk: &mut [u8],
) -> io::Result<()> {
    while count > 0 {
        let want = chunk
            .len()
            .min(usize::try_from(count).unwrap_or(usize::MAX));
        let got = stream.read(&mut chunk[..want])?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        count -= got as u64;
    }
    Ok(())
}

/// Writes exactly `count` bytes.
pub(crate) fn write_bytes(stream: &mut TcpStream, mut count: u64, chunk: &[u8]) -> io::Result<()> {
    while count > 0 {
        let want = chunk
            .len()
            .min(usize::try_from(count).unwrap_or(usize::MAX));
        stream.write_all(&chunk[..want])?;
        count -= want as u64;
    }
    Ok(())
}
