//! The HTTP client that all upstreams share.

use std::error::Error as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::reply::UpstreamFault;
use crate::trust;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest headers of an answer over HTTP/2, in bytes.
const HEADERS_LIMIT_BYTES: u32 = 64 << 10;
/// How much of answers over HTTP/2 may be on its way, in bytes: of one, and of all on a connection. What one caller is slow to read counts for all, so that there must be room for many.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
/// After how long a silent connection is looked after by TCP, how often then, and how many times in vain.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;
/// How many unused connections are kept to each host.
const IDLE_LIMIT: usize = 256;
/// The largest answer that is read as a whole, in bytes.
pub const ANSWER_LIMIT_BYTES: usize = 32 << 20;

/// A client with its pool of connections.
#[derive(Clone)]
pub struct HttpClient {
    client: Pool,
    /// For upstreams that speak nothing but HTTP/2. They are not asked for signs of life: servers of gRPC end connections that ask often, and every call has a time of its own.
    http2: Pool,
}

type Pool = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

impl HttpClient {
    /// A client that trusts the public certificate authorities, and those in the file.
    ///
    /// # Errors
    ///
    /// A sentence when the file has none.
    pub fn new(ca_file: Option<&Path>) -> Result<Self, String> {
        let mut roots = trust::public();
        ca_file.map(|path| trust::add(&mut roots, path)).transpose()?;
        let tls = trust::client(roots)?;
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        // A host that is gone without a word is noticed, and calls are not sent to it for as long as TCP hopes.
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
        tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(KEEPALIVE * 2));
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls.clone());
        let connector = connector.https_or_http().enable_http1().wrap_connector(tcp.clone());
        let http2 = HttpsConnectorBuilder::new().with_tls_config(tls);
        let http2 = http2.https_or_http().enable_http2().wrap_connector(tcp);
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_LIMIT)
            // Of these not one byte was written: the connection closed while it was unused.
            .retry_canceled_requests(true)
            .http2_max_header_list_size(HEADERS_LIMIT_BYTES)
            .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
            .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let client = builder.build(connector);
        Ok(Self { client, http2: builder.http2_only(true).build(http2) })
    }

    /// Sends `body` by POST and waits for the head of the answer.
    ///
    /// # Errors
    ///
    /// When no head came.
    pub async fn post(&self, uri: &Uri, headers: HeaderMap, body: Bytes) -> Result<Response<Incoming>, UpstreamFault> {
        self.send(Method::POST, uri, headers, body).await
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    ///
    /// When no head came.
    pub async fn send(
        &self,
        method: Method,
        uri: &Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, UpstreamFault> {
        send(&self.client, method, uri, headers, body).await
    }

    /// Sends `body` by POST over HTTP/2, in clear without asking whether the upstream speaks it.
    ///
    /// # Errors
    ///
    /// When no head came.
    pub async fn post_http2(
        &self,
        uri: &Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, UpstreamFault> {
        send(&self.http2, Method::POST, uri, headers, body).await
    }
}

async fn send(
    pool: &Pool,
    method: Method,
    uri: &Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Incoming>, UpstreamFault> {
    let mut request = Request::builder()
        .method(method)
        .uri(uri.clone())
        .body(Full::new(body))
        .map_err(|error| UpstreamFault::Unreachable(error.to_string()))?;
    *request.headers_mut() = headers;
    pool.request(request).await.map_err(|error| {
        let reason = chain(&error);
        if error.is_connect() { UpstreamFault::Unreachable(reason) } else { UpstreamFault::Broken(reason) }
    })
}

/// Reads the rest of an answer as a whole.
///
/// # Errors
///
/// When it breaks off or is too large.
pub async fn read_whole(body: Incoming) -> Result<Bytes, UpstreamFault> {
    let whole = Limited::new(body, ANSWER_LIMIT_BYTES).collect().await;
    whole.map(http_body_util::Collected::to_bytes).map_err(|error| UpstreamFault::Broken(error.to_string()))
}

/// An error with what it was caused by, in one line.
#[must_use]
pub fn chain(error: &hyper_util::client::legacy::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
