//! Slow and hostile clients, and the end of the server.

use super::*;

#[tokio::test]
async fn a_request_body_is_not_waited_for() {
    let server = start(Fixed::default(), Limits::default()).await;
    let request = "POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\nbegin";
    let (head, _) = split(&talk(server.address, request).await);
    assert!(head.starts_with("http/1.1 405"), "{head}");
}

#[tokio::test]
async fn a_slow_request_is_closed() {
    let limits = Limits {
        header_read: Duration::from_millis(200),
        ..Limits::default()
    };
    let server = start(Fixed::default(), limits).await;
    let started = Instant::now();
    assert_eq!(
        talk(server.address, "GET /metrics HTTP/1.1\r\nhost: x\r\n").await,
        b""
    );
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn readers_that_take_nothing_are_cut_off_and_others_served() {
    let limits = Limits {
        write: Duration::from_millis(500),
        connections: 3,
        pages: 2,
        ..Limits::default()
    };
    let server = start(
        Fixed {
            page_bytes: 64 << 20,
            ..Fixed::default()
        },
        limits,
    )
    .await;
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
            .await
            .unwrap();
        slow.push(stream);
    }
    // All connections and all pages are held by readers that do not read.
    let openmetrics = "accept: application/openmetrics-text\r\n";
    let served = async {
        // As long as the pages of those who are cut off are still being written, there is no room for another.
        while !get(server.address, "/metrics", openmetrics)
            .await
            .0
            .starts_with("http/1.1 200")
        {}
    };
    tokio::time::timeout(Duration::from_secs(60), served)
        .await
        .unwrap();
    // There was room only once one of them was cut off; another may have got its page late and is still served.
    for mut stream in slow {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        if rest.starts_with(b"HTTP/1.1 200") && rest.len() < 64 << 20 {
            return;
        }
    }
    panic!("no reader was cut off");
}

#[tokio::test]
async fn who_waits_too_long_for_a_page_is_told_so() {
    let limits = Limits {
        write: Duration::from_millis(100),
        pages: 1,
        ..Limits::default()
    };
    let server = start(
        Fixed {
            pause: Duration::from_millis(600),
            ..Fixed::default()
        },
        limits,
    )
    .await;
    let first = tokio::spawn(get(server.address, "/metrics", ""));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (head, _) = get(server.address, "/metrics", "").await;
    assert!(
        head.starts_with("http/1.1 503") && head.contains("retry-after"),
        "{head}"
    );
    assert!(first.await.unwrap().0.starts_with("http/1.1 200"));
}

#[tokio::test]
async fn a_shutdown_finishes_what_was_begun() {
    let server = start(
        Fixed {
            pause: Duration::from_millis(300),
            ..Fixed::default()
        },
        Limits::default(),
    )
    .await;
    let idle = TcpStream::connect(server.address).await.unwrap();
    let begun = tokio::spawn(get(server.address, "/metrics", ""));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let started = Instant::now();
    server.stop.send(()).unwrap();
    assert_eq!(begun.await.unwrap().1, TEXT.as_bytes());
    server.task.await.unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "an idle connection held the shutdown"
    );
    assert!(TcpStream::connect(server.address).await.is_err());
    drop(idle);
}
