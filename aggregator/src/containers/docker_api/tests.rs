use std::path::Path;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;

use super::*;

const INSPECT: &[u8] = include_bytes!("../fixtures/docker_inspect.json");
const ID: &[u8] = b"575e91a0695d8cf4f2022848748c76a4a7a45991e63ba5dd3f6bf3cfa8c584c7";

/// A socket that answers each connection with `answer` and then keeps silent, and the requests it got.
fn serve(
    answer: Vec<u8>,
) -> (
    TempDir,
    DockerApi,
    tokio::sync::mpsc::UnboundedReceiver<String>,
) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let (sender, requests) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            sender
                .send(String::from_utf8_lossy(&request[..length]).into_owned())
                .unwrap();
            let _ = stream.write_all(&answer).await;
            tokio::spawn(async move {
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
            });
        }
    });
    (
        directory,
        DockerApi::new(socket, Duration::from_millis(500)),
        requests,
    )
}

fn http(status: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn asks_for_the_container() {
    let (_directory, api, mut requests) = serve(http("200 OK", INSPECT));
    let metadata = api.inspect(ID).await.unwrap();
    assert_eq!(metadata.name.as_deref(), Some("web"));
    let request = requests.recv().await.unwrap();
    let expected = format!(
        "GET /containers/{}/json HTTP/1.1\r\n",
        String::from_utf8_lossy(ID)
    );
    assert!(request.starts_with(&expected), "{request}");
}

#[tokio::test]
async fn refuses_what_is_no_answer() {
    let endless = [
        &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n"[..],
        &vec![b' '; 2 << 20],
    ]
    .concat();
    type Row = (Vec<u8>, fn(&DockerApiError) -> bool);
    let answers: [Row; 5] = [
        (
            http("404 Not Found", br#"{"message":"No such container"}"#),
            |error| matches!(error, DockerApiError::Status(StatusCode::NOT_FOUND)),
        ),
        (http("200 OK", b"{"), |error| {
            matches!(error, DockerApiError::Parse(_))
        }),
        (b"220 mail ready\r\n".to_vec(), |error| {
            matches!(error, DockerApiError::Http(_))
        }),
        (endless, |error| matches!(error, DockerApiError::Body(_))),
        (Vec::new(), |error| {
            matches!(error, DockerApiError::TimedOut)
        }),
    ];
    for (answer, is_expected) in answers {
        let (_directory, api, _requests) = serve(answer);
        let error = api.inspect(ID).await.unwrap_err();
        assert!(is_expected(&error), "{error:?}");
    }
}

#[tokio::test]
async fn asks_only_for_ids() {
    let (_directory, api, mut requests) = serve(http("200 OK", INSPECT));
    for id in ["", "a/../b", "a?x=1", "a b", "a\r\nHost: x"] {
        assert!(
            matches!(api.inspect(id.as_bytes()).await, Err(DockerApiError::BadId)),
            "{id:?}"
        );
    }
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn says_that_nobody_listens() {
    let api = DockerApi::new(
        Path::new("/nonexistent/docker.sock").into(),
        Duration::from_secs(1),
    );
    assert!(matches!(
        api.inspect(ID).await,
        Err(DockerApiError::Connect(_))
    ));
}
