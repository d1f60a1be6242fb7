//! Calls of what clients name, of services that guardrails ask, and of issuers ([`Way`](super::issuer::Way)): each over a connection of its own, whose address the [`Guard`] has seen.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::TokioExecutor;

use crate::trust;
use crate::upstreams::client::chain;
use crate::upstreams::guard::Guard;

/// How long a client may take to accept news.
const PUSH_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Of how many files with authorities what stood in them last is kept.
const TRUSTED_LIMIT: usize = 1_000;

/// A client that speaks TLS and nothing else.
type Encrypted = Client<HttpsConnector<HttpConnector<Lookout>>, Full<Bytes>>;

/// The way to what clients name.
pub struct PushClient {
    guard: Arc<ArcSwap<Guard>>,
    plain: Client<HttpConnector<Lookout>, Full<Bytes>>,
    /// For those with a certificate of the web.
    encrypted: Encrypted,
    /// For those that may have one of an authority in a file, as it was read last. Locked to look up and to insert, never across a wait.
    trusting: Mutex<HashMap<PathBuf, Encrypted>>,
}

impl PushClient {
    /// A way that is closed to all but public addresses.
    #[must_use]
    pub fn new() -> Self {
        let guard = Arc::new(ArcSwap::from_pointee(Guard::default()));
        let tls = HttpsConnectorBuilder::new().with_webpki_roots().https_only().enable_http1();
        let encrypted = builder().build(tls.wrap_connector(tcp(&guard, false)));
        Self { plain: builder().build(tcp(&guard, true)), encrypted, trusting: Mutex::default(), guard }
    }

    /// What the operator allows from now on.
    pub fn allow(&self, guard: Guard) {
        self.guard.store(Arc::new(guard));
    }

    /// What the operator allows now.
    #[must_use]
    pub fn guard(&self) -> Arc<Guard> {
        self.guard.load_full()
    }

    /// Posts there, and gives the status. Nothing that is answered besides is read, and no redirect is followed.
    ///
    /// # Errors
    ///
    /// Why there is no status, for the operator.
    pub async fn post(&self, url: &str, headers: HeaderMap, body: Bytes) -> Result<StatusCode, String> {
        // Addresses that are written out are never looked up, so they are looked at here once more.
        let checked = self.guard().check(url)?;
        let mut request = Request::post(checked.uri).body(Full::new(body)).map_err(|error| error.to_string())?;
        *request.headers_mut() = headers;
        let answer = tokio::time::timeout(PUSH_TIMEOUT, self.send(checked.is_plain, None, request)).await;
        let answer = answer.map_err(|_| format!("it takes longer than {} s", PUSH_TIMEOUT.as_secs()))?;
        answer.map(|answer| answer.status())
    }
}

impl PushClient {
    /// Posts JSON there, and gives what is answered with status 200, if it is no larger than that. No redirect is followed.
    ///
    /// # Errors
    ///
    /// Why there is no answer, for the operator.
    pub async fn consult(
        &self,
        url: &str,
        authorization: Option<&HeaderValue>,
        body: Bytes,
        limit_bytes: usize,
    ) -> Result<Bytes, String> {
        let checked = self.guard().check(url)?;
        let mut request = Request::post(checked.uri).body(Full::new(body)).map_err(|error| error.to_string())?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        authorization.into_iter().for_each(|value| drop(headers.insert(AUTHORIZATION, value.clone())));
        let answer = self.send(checked.is_plain, None, request).await?;
        if answer.status() != StatusCode::OK {
            return Err(format!("is answered with status {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), limit_bytes).collect().await;
        body.map(Collected::to_bytes).map_err(|error| format!("can't be read: {error}"))
    }
}

impl PushClient {
    /// Sends a request to an address that the guard has looked at. With a file of authorities, the certificate may also be of one of these.
    pub(super) async fn send(
        &self,
        is_plain: bool,
        ca_file: Option<&Path>,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, String> {
        let sent = match (is_plain, ca_file) {
            (true, _) => self.plain.request(request),
            (false, None) => self.encrypted.request(request),
            (false, Some(file)) => self.trusting(file).await?.request(request),
        };
        sent.await.map_err(|error| chain(&error))
    }

    /// The client that trusts the authorities in the file, as it is now; while it can't be read, as it was when it could.
    async fn trusting(&self, file: &Path) -> Result<Encrypted, String> {
        let path = file.to_owned();
        let read = tokio::task::spawn_blocking(move || {
            let mut roots = trust::public();
            trust::add(&mut roots, &path)?;
            trust::client(roots)
        });
        let read = read.await.map_err(|error| error.to_string()).flatten();
        let made = read.map(|tls| {
            let tls = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1();
            builder().build(tls.wrap_connector(tcp(&self.guard, false)))
        });
        let mut trusting = self.trusting.lock().unwrap_or_else(PoisonError::into_inner);
        match made {
            Ok(client) => {
                if trusting.len() >= TRUSTED_LIMIT {
                    trusting.clear();
                }
                let client: Encrypted = client;
                trusting.insert(file.to_owned(), client.clone());
                Ok(client)
            }
            Err(problem) => {
                tracing::warn!(problem, "a file of authorities can't be used");
                trusting.get(file).cloned().ok_or_else(|| format!("`ca_file`: {problem}"))
            }
        }
    }
}

impl Default for PushClient {
    fn default() -> Self {
        Self::new()
    }
}

/// No connection is used twice: what was allowed for one need not be allowed for the next.
fn builder() -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_max_idle_per_host(0);
    builder
}

fn tcp(guard: &Arc<ArcSwap<Guard>>, is_plain: bool) -> HttpConnector<Lookout> {
    let mut tcp = HttpConnector::new_with_resolver(Lookout { guard: guard.clone(), is_plain });
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.enforce_http(is_plain);
    tcp
}

/// Looks names up for a connection that is about to be made.
#[derive(Clone)]
struct Lookout {
    guard: Arc<ArcSwap<Guard>>,
    is_plain: bool,
}

impl tower::Service<Name> for Lookout {
    type Response = std::vec::IntoIter<std::net::SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (guard, is_plain) = (self.guard.load_full(), self.is_plain);
        Box::pin(async move {
            // The port is the connector's affair.
            let found = guard.resolve(name.as_str(), 0, is_plain).await;
            found.map(Vec::into_iter).map_err(|problem| io::Error::new(io::ErrorKind::PermissionDenied, problem))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_looked_at_when_it_is_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = PushClient::new();
        // Past the first look, as a name that has changed what it stands for would be.
        let uri: http::Uri = format!("http://localhost:{port}/").parse().unwrap();
        let request = || Request::post(uri.clone()).body(Full::new(Bytes::new())).unwrap();
        let refused = client.plain.request(request()).await.unwrap_err();
        assert!(chain(&refused).contains("only `https`"), "{}", chain(&refused));
        client.allow(Guard::new(&["localhost".to_owned()]).unwrap());
        let asked = tokio::spawn(client.plain.request(request()));
        listener.accept().await.unwrap();
        asked.abort();
        let literal = format!("http://127.0.0.1:{port}/");
        assert!(client.post(&literal, HeaderMap::new(), Bytes::new()).await.is_err());
    }
}
