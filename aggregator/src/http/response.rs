//! Paths and their answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, VARY,
};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::Semaphore;

use super::gzip::Gzip;
use super::page::{self, Chunks, Encoding, PageBody, Spare, Unfinished};
use super::{Pages, accept};
use crate::metrics::Format;

pub(super) type Answer = Response<Either<Full<Bytes>, PageBody>>;

const LANDING_PAGE: &str = "<!doctype html>\n<html lang=\"en\"><head><title>nodescope</title></head><body><h1>nodescope</h1>\n<ul>\n\
    <li><a href=\"/metrics\">/metrics</a>: what Prometheus reads</li>\n\
    <li><a href=\"/healthz\">/healthz</a>: 200 while the process works</li>\n\
    <li><a href=\"/readyz\">/readyz</a>: 200 when the metrics are complete, else 503 and why not</li>\n\
    </ul></body></html>\n";

/// Answers requests; shared by all connections.
#[derive(Clone)]
pub(super) struct Router {
    pages: Arc<dyn Pages>,
    in_memory: Arc<Semaphore>,
    spare: Arc<Spare>,
    wait: Duration,
}

impl Router {
    /// At most `pages_in_memory` at once; who waits longer than `wait` for one of them is told to come again.
    pub(super) fn new(pages: Arc<dyn Pages>, pages_in_memory: usize, wait: Duration) -> Self {
        Self {
            pages,
            in_memory: Arc::new(Semaphore::new(pages_in_memory)),
            spare: Arc::default(),
            wait,
        }
    }

    /// The body of the request is never read.
    pub(super) async fn answer(self, request: Request<Incoming>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            return with(answer, ALLOW, "GET, HEAD");
        }
        match request.uri().path() {
            "/metrics" => {
                self.metrics(
                    accept::format(request.headers()),
                    accept::gzip(request.headers()),
                )
                .await
            }
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" => match self.pages.ready() {
                Ok(()) => text(StatusCode::OK, "ready\n"),
                Err(reasons) => text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    format!("not ready\n{reasons}\n"),
                ),
            },
            "/" => with(
                text(StatusCode::OK, LANDING_PAGE),
                CONTENT_TYPE,
                "text/html; charset=utf-8",
            ),
            _ => text(
                StatusCode::NOT_FOUND,
                "there is /metrics, /healthz and /readyz\n",
            ),
        }
    }

    async fn metrics(self, format: Format, gzip: bool) -> Answer {
        let permit = tokio::time::timeout(self.wait, self.in_memory.acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            let answer = text(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many slow readers of /metrics\n",
            );
            return with(answer, RETRY_AFTER, "5");
        };
        let (output, page) = page::begin(permit, &self.spare);
        let pages = self.pages;
        // A failure shows in the page, which then has no end.
        drop(tokio::task::spawn_blocking(move || {
            if gzip {
                write(&*pages, format, Gzip::new(output))
            } else {
                write(&*pages, format, output)
            }
        }));
        let Ok(page) = page.begun().await else {
            return text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the page could not be written\n",
            );
        };
        let answer = with(
            Response::new(Either::Right(page)),
            CONTENT_TYPE,
            format.content_type(),
        );
        let answer = with(answer, VARY, "Accept, Accept-Encoding");
        if gzip {
            with(answer, CONTENT_ENCODING, "gzip")
        } else {
            answer
        }
    }
}

fn write(pages: &dyn Pages, format: Format, encoding: impl Encoding) -> Result<(), Unfinished> {
    let mut chunks = Chunks::new(encoding);
    pages.metrics(format, &mut chunks);
    chunks.finish()
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = with(
        Response::new(Either::Left(Full::new(body.into()))),
        CONTENT_TYPE,
        "text/plain; charset=utf-8",
    );
    *answer.status_mut() = status;
    answer
}

fn with(mut answer: Answer, name: HeaderName, value: &'static str) -> Answer {
    answer
        .headers_mut()
        .insert(name, HeaderValue::from_static(value));
    answer
}
