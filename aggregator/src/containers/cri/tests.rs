use bytes::{BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{HeaderMap, Request, Response, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tempfile::TempDir;
use tokio::net::UnixListener;

use super::super::metadata::Fact;
use super::*;

/// An answer of containerd's CRI plugin.
const STATUS: &[u8] = include_bytes!("../fixtures/cri_container_status.bin");

type Body = http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>;

/// A gRPC answer: a length-prefixed message and the status as trailers.
fn answer(message: &[u8], status: &str) -> Response<Body> {
    let mut data = BytesMut::new();
    data.put_u8(0);
    data.put_u32(u32::try_from(message.len()).unwrap());
    data.put_slice(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    let frames = [
        Ok(Frame::data(data.freeze())),
        Ok(Frame::trailers(trailers)),
    ];
    let body = StreamBody::new(Frames(frames.into_iter()));
    Response::builder()
        .header("content-type", "application/grpc")
        .body(body.boxed())
        .unwrap()
}

/// Frames that are all there.
struct Frames<I>(I);

impl<I: Iterator + Unpin> tonic::codegen::tokio_stream::Stream for Frames<I> {
    type Item = I::Item;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<I::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}

/// A socket of a runtime with one container, `wanted`, whose status is always the same, and one pod, `pod`.
fn serve(message: &'static [u8], status: &'static str) -> (TempDir, Cri) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("cri.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let respond = move |request: Request<Incoming>| async move {
        let method = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let asked = StatusRequest::decode(&body[5..]).unwrap();
        let answer = match (method.as_str(), asked.id.as_str()) {
            (CONTAINER_STATUS, "wanted") => answer(message, status),
            (SANDBOX_STATUS, "pod") => answer(b"\x0a\x05\x0a\x03pod", "0"),
            (CONTAINER_STATUS | SANDBOX_STATUS, _) => answer(b"", "5"),
            other => panic!("{other:?}"),
        };
        Ok::<_, std::convert::Infallible>(answer)
    };
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service_fn(respond));
            tokio::spawn(connection);
        }
    });
    (directory, Cri::new(socket, Duration::from_secs(5)))
}

#[tokio::test]
async fn describes_a_container() {
    let (_directory, cri) = serve(STATUS, "0");
    let metadata = cri.status(b"wanted").await.unwrap();
    assert_eq!(metadata.image.as_deref(), Some("localhost/bb:1"));
    assert_eq!(metadata.fact(Fact::PodName), Some("cart-7d4b9c6f5-x2vlq"));
    assert_eq!(metadata.fact(Fact::PodNamespace), Some("shop"));
    assert_eq!(metadata.fact(Fact::PodContainer), Some("cart"));
    assert!(!metadata.is_pause);
    let unknown = cri.status(b"unknown").await.unwrap_err();
    assert!(matches!(unknown, CriError::Status(_)) && unknown.is_about_container());
    let bad = cri.status(b"\xff").await.unwrap_err();
    assert!(matches!(bad, CriError::BadId) && bad.is_about_container());
}

#[tokio::test]
async fn knows_the_pause_container_of_a_pod() {
    let (_directory, cri) = serve(STATUS, "0");
    let expected = Metadata {
        is_pause: true,
        ..Metadata::default()
    };
    assert_eq!(cri.status(b"pod").await.unwrap(), expected);
}

#[tokio::test]
async fn a_runtime_that_does_not_work_is_told_from_one_that_knows_no_such_container() {
    // Unimplemented, as a runtime with an older API answers; unavailable; permission denied.
    for status in ["12", "14", "7"] {
        let (_directory, cri) = serve(b"", status);
        let error = cri.status(b"wanted").await.unwrap_err();
        assert!(!error.is_about_container(), "{status}: {error:?}");
    }
    // Unknown, which runtimes answer when something is wrong with a container.
    let (_directory, cri) = serve(b"", "2");
    let error = cri.status(b"wanted").await.unwrap_err();
    assert!(error.is_about_container(), "{error:?}");
}

#[tokio::test]
async fn garbage_is_no_answer() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("cri.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, &[0x5a; 4096])
                .await
                .unwrap();
        }
    });
    let error = Cri::new(socket, Duration::from_secs(5))
        .status(b"wanted")
        .await
        .unwrap_err();
    assert!(!error.is_about_container(), "{error:?}");
}

#[tokio::test]
async fn refuses_what_is_no_answer() {
    let (_directory, cri) = serve(b"", "0");
    assert!(matches!(cri.status(b"wanted").await, Err(CriError::Empty)));
    let (_directory, cri) = serve(&STATUS[..100], "0");
    assert!(matches!(
        cri.status(b"wanted").await,
        Err(CriError::Status(_))
    ));
    let (_directory, cri) = serve(&[0; MAX_ANSWER_BYTES + 1], "0");
    assert!(matches!(
        cri.status(b"wanted").await,
        Err(CriError::Status(_))
    ));
}

#[tokio::test]
async fn waits_no_longer_than_it_may() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("cri.sock");
    let _silent = UnixListener::bind(&socket).unwrap();
    let cri = Cri::new(socket, Duration::from_millis(100));
    assert!(matches!(
        cri.status(b"wanted").await,
        Err(CriError::TimedOut)
    ));
    let nobody = Cri::new(directory.path().join("none.sock"), Duration::from_secs(1));
    assert!(matches!(
        nobody.status(b"wanted").await,
        Err(CriError::Connect(_))
    ));
}

#[test]
fn cut_answers_tell_less_or_nothing() {
    for length in 0..STATUS.len() {
        let _ = StatusResponse::decode(&STATUS[..length]).map(|answer| answer.status.map(metadata));
    }
}
