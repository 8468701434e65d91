use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{Limits, Listener, Pages, serve_with};
use crate::metrics::{Format, Sink};

mod limits;

const TEXT: &str = "# TYPE a gauge\na 1\n";

#[derive(Default)]
struct Fixed {
    ready: AtomicBool,
    page_bytes: usize,
    pause: Duration,
}

impl Pages for Fixed {
    fn metrics(&self, format: Format, sink: &mut dyn Sink) {
        std::thread::sleep(self.pause);
        match format {
            Format::Text if self.page_bytes > 0 => sink.take(&vec![b'#'; self.page_bytes]),
            Format::Text => sink.take(TEXT.as_bytes()),
            Format::OpenMetrics => sink.take(format!("{TEXT}# EOF\n").as_bytes()),
        }
    }

    fn ready(&self) -> Result<(), String> {
        self.ready
            .load(Ordering::Relaxed)
            .then_some(())
            .ok_or_else(|| "no sensor\nno snapshot".into())
    }
}

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    pages: Arc<Fixed>,
}

async fn start(pages: Fixed, limits: Limits) -> Server {
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.address();
    let pages = Arc::new(pages);
    let (stop, stopped) = oneshot::channel();
    let served = Arc::clone(&pages);
    let task = tokio::spawn(async move {
        let shutdown = async { stopped.await.unwrap_or(()) };
        serve_with(listener, served, limits, shutdown).await;
    });
    Server {
        address,
        stop,
        task,
        pages,
    }
}

/// Sends raw bytes and reads until the server closes.
async fn talk(address: SocketAddr, request: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = Vec::new();
    // A reset after a complete response is how a server drops a request body it does not want.
    let _ = stream.read_to_end(&mut response).await;
    response
}

async fn get(address: SocketAddr, path: &str, headers: &str) -> (String, Vec<u8>) {
    split(
        &talk(
            address,
            &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n"),
        )
        .await,
    )
}

fn split(response: &[u8]) -> (String, Vec<u8>) {
    let end = response
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a whole head");
    (
        String::from_utf8(response[..end].to_vec())
            .unwrap()
            .to_lowercase(),
        response[end + 4..].to_vec(),
    )
}

#[tokio::test]
async fn serves_metrics_in_the_format_and_encoding_that_is_asked_for() {
    let server = start(Fixed::default(), Limits::default()).await;
    let (head, body) = get(server.address, "/metrics?x=1", "").await;
    assert!(
        head.starts_with("http/1.1 200 ok\r\n")
            && head.contains("content-type: text/plain; version=0.0.4"),
        "{head}"
    );
    assert_eq!(body, TEXT.as_bytes());

    let accept = "accept: application/openmetrics-text;version=1.0.0\r\naccept-encoding: gzip\r\n";
    let (head, body) = get(server.address, "/metrics", accept).await;
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{head}"
    );
    assert!(
        head.contains("content-encoding: gzip") && head.contains("vary: accept, accept-encoding"),
        "{head}"
    );
    let mut plain = String::new();
    GzDecoder::new(&*body).read_to_string(&mut plain).unwrap();
    assert_eq!(plain, format!("{TEXT}# EOF\n"));
}

#[tokio::test]
async fn a_long_page_comes_in_chunks_or_until_the_connection_ends() {
    const BYTES: usize = 3_000_000;
    let server = start(
        Fixed {
            page_bytes: BYTES,
            ..Fixed::default()
        },
        Limits::default(),
    )
    .await;
    let (head, body) = get(server.address, "/metrics", "").await;
    assert!(
        head.contains("transfer-encoding: chunked") && !head.contains("content-length"),
        "{head}"
    );
    assert!(body.len() > BYTES && body.ends_with(b"#\r\n0\r\n\r\n"));
    let old = "GET /metrics HTTP/1.0\r\n";
    let (head, body) = split(&talk(server.address, &format!("{old}\r\n")).await);
    assert!(head.starts_with("http/1.0 200"), "{head}");
    assert!(body == vec![b'#'; BYTES]);
    let request = format!("{old}accept-encoding: gzip\r\n\r\n");
    let (_, body) = split(&talk(server.address, &request).await);
    let mut plain = Vec::new();
    GzDecoder::new(&*body).read_to_end(&mut plain).unwrap();
    assert!(plain == vec![b'#'; BYTES]);
}

#[tokio::test]
async fn a_page_that_breaks_off_does_not_look_complete() {
    struct Breaks;
    impl Pages for Breaks {
        fn metrics(&self, format: Format, sink: &mut dyn Sink) {
            if format == Format::Text {
                sink.take(&[b'#'; 3_000_000]);
            }
            panic!("as a bug would");
        }

        fn ready(&self) -> Result<(), String> {
            Ok(())
        }
    }
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.address();
    let served = serve_with(
        listener,
        Arc::new(Breaks),
        Limits::default(),
        std::future::pending(),
    );
    let server = tokio::spawn(served);
    let (head, body) = get(address, "/metrics", "").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(!body.ends_with(b"0\r\n\r\n"));
    let openmetrics = "accept: application/openmetrics-text\r\n";
    let (head, _) = get(address, "/metrics", openmetrics).await;
    assert!(head.starts_with("http/1.1 500"), "{head}");
    server.abort();
}

#[tokio::test]
async fn serves_health_readiness_and_a_landing_page() {
    let server = start(Fixed::default(), Limits::default()).await;
    assert!(
        get(server.address, "/healthz", "")
            .await
            .0
            .starts_with("http/1.1 200")
    );
    let (head, body) = get(server.address, "/readyz", "").await;
    assert!(head.starts_with("http/1.1 503"), "{head}");
    assert_eq!(body, b"not ready\nno sensor\nno snapshot\n");
    server.pages.ready.store(true, Ordering::Relaxed);
    assert!(
        get(server.address, "/readyz", "")
            .await
            .0
            .starts_with("http/1.1 200")
    );
    let (head, body) = get(server.address, "/", "").await;
    assert!(
        head.contains("content-type: text/html")
            && String::from_utf8(body).unwrap().contains("/metrics"),
        "{head}"
    );
}

#[tokio::test]
async fn refuses_what_it_does_not_serve() {
    let server = start(Fixed::default(), Limits::default()).await;
    assert!(
        get(server.address, "/debug/pprof/", "")
            .await
            .0
            .starts_with("http/1.1 404")
    );
    let (head, _) = split(
        &talk(
            server.address,
            "DELETE / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        )
        .await,
    );
    assert!(
        head.starts_with("http/1.1 405") && head.contains("allow: get, head"),
        "{head}"
    );
    let (head, body) = split(
        &talk(
            server.address,
            "HEAD /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        )
        .await,
    );
    assert!(
        head.starts_with("http/1.1 200")
            && head.contains(&format!("content-length: {}", TEXT.len())),
        "{head}"
    );
    assert!(body.is_empty());
    assert!(
        talk(server.address, "\x16\x03\x01 garbage\r\n\r\n")
            .await
            .starts_with(b"HTTP/1.1 400")
    );
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(64 << 10));
    assert!(
        talk(server.address, &long)
            .await
            .starts_with(b"HTTP/1.1 431")
    );
}

/// A page of real families through the real server into `promtool check metrics`.
#[tokio::test]
async fn promtool_accepts_the_text_page() {
    struct Real(
        crate::metrics::own::Metrics,
        std::sync::Mutex<crate::node::Collectors>,
    );
    impl Pages for Real {
        fn metrics(&self, format: Format, sink: &mut dyn Sink) {
            let (readings, _) = self
                .1
                .lock()
                .unwrap()
                .collect(&crate::node::NodeFacts::default());
            let machine = crate::metrics::SeriesLabels::new(&[
                ("machine_id", "m\\\"\n"),
                ("system_uuid", ""),
            ]);
            self.0
                .write_page(format, sink, |page| readings.render(&machine, page));
        }

        fn ready(&self) -> Result<(), String> {
            Ok(())
        }
    }
    let listener = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.address();
    let collectors = crate::node::Collectors::new(crate::host::HostRoot::default());
    let pages = Arc::new(Real(
        crate::metrics::own::Metrics::new("test"),
        collectors.into(),
    ));
    let server = tokio::spawn(serve_with(
        listener,
        pages,
        Limits::default(),
        std::future::pending(),
    ));
    let (_, page) = get(address, "/metrics", "").await;
    server.abort();
    check_with_promtool(&page);
}

fn check_with_promtool(page: &[u8]) {
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = spawned else {
        assert!(
            std::env::var_os("CI").is_none(),
            "promtool (Debian's package prometheus) is missing"
        );
        eprintln!("skipped: promtool (Debian's package prometheus) is missing");
        return;
    };
    promtool
        .stdin
        .take()
        .expect("a pipe")
        .write_all(page)
        .expect("promtool reads");
    let output = promtool.wait_with_output().expect("promtool ends");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
