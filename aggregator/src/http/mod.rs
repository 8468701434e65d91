//! The HTTP server: `/metrics`, `/healthz`, `/readyz` and a landing page, over HTTP/1.1 without TLS.
//!
//! It serves what [`Pages`] gives. A client may be slow or hostile: the time to send a request's head and to take a response,
//! the number of connections and of pages in memory are bounded by [`Limits`]; bodies of requests are not read.
//! A page is written and compressed on a blocking thread and sent while it is written.

mod accept;
mod deadline;
mod gzip;
mod listener;
mod page;
mod response;
mod server;

pub use self::listener::{ListenError, Listener};
pub use self::server::{Limits, serve, serve_with};

use crate::metrics::{Format, Sink};

/// What the server shows.
pub trait Pages: Send + Sync + 'static {
    /// Writes the page of all metrics. It is called on a blocking thread.
    fn metrics(&self, format: Format, sink: &mut dyn Sink);

    /// Whether the metrics are complete; if not, the reasons, one a line.
    fn ready(&self) -> Result<(), String>;
}

#[cfg(test)]
mod tests;
