//! Calls of what clients name, of where issuers say that their keys are, and of token endpoints: each over a connection of its own, whose address the [`Guard`] has seen.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;

use crate::upstreams::client::chain;
use crate::upstreams::guard::Guard;

/// How long a client may take to accept news.
const PUSH_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a document may take to come.
const GET_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The way to what clients name.
pub struct PushClient {
    guard: Arc<ArcSwap<Guard>>,
    plain: Client<HttpConnector<Lookout>, Full<Bytes>>,
    encrypted: Client<HttpsConnector<HttpConnector<Lookout>>, Full<Bytes>>,
}

impl PushClient {
    /// A way that is closed to all but public addresses.
    #[must_use]
    pub fn new() -> Self {
        let guard = Arc::new(ArcSwap::from_pointee(Guard::default()));
        let tcp = |is_plain| {
            let mut tcp = HttpConnector::new_with_resolver(Lookout { guard: guard.clone(), is_plain });
            tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
            tcp.enforce_http(is_plain);
            tcp
        };
        let tls =
            HttpsConnectorBuilder::new().with_webpki_roots().https_only().enable_http1().wrap_connector(tcp(false));
        // No connection is used twice: what was allowed for one need not be allowed for the next.
        let builder = || {
            let mut builder = Client::builder(TokioExecutor::new());
            builder.pool_max_idle_per_host(0);
            builder
        };
        Self { plain: builder().build(tcp(true)), encrypted: builder().build(tls), guard }
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
        let sent = async {
            if checked.is_plain { self.plain.request(request).await } else { self.encrypted.request(request).await }
        };
        let answer = tokio::time::timeout(PUSH_TIMEOUT, sent).await;
        let answer = answer.map_err(|_| format!("it takes longer than {} s", PUSH_TIMEOUT.as_secs()))?;
        answer.map(|answer| answer.status()).map_err(|error| chain(&error))
    }
}

impl PushClient {
    /// Gets what is there, if it is no larger than that. No redirect is followed.
    ///
    /// # Errors
    ///
    /// Why there is nothing, for the operator.
    pub async fn get(&self, url: &str, limit_bytes: usize) -> Result<Bytes, String> {
        let of = |problem: String| format!("`{url}`: {problem}");
        let checked = self.guard().check(url).map_err(of)?;
        let request = Request::get(checked.uri).header(ACCEPT, "application/json").body(Full::default());
        let request = request.map_err(|error| of(error.to_string()))?;
        let got = async {
            let sent = if checked.is_plain { self.plain.request(request) } else { self.encrypted.request(request) };
            let answer = sent.await.map_err(|error| chain(&error))?;
            if answer.status() != StatusCode::OK {
                return Err(format!("is answered with status {}", answer.status()));
            }
            let body = Limited::new(answer.into_body(), limit_bytes).collect().await;
            body.map(Collected::to_bytes).map_err(|error| format!("can't be read: {error}"))
        };
        let got = tokio::time::timeout(GET_TIMEOUT, got).await;
        got.unwrap_or_else(|_| Err(format!("it takes longer than {} s", GET_TIMEOUT.as_secs()))).map_err(of)
    }

    /// Posts a form there, and gives the status and what is answered, if it is no larger than that. No redirect is followed.
    ///
    /// # Errors
    ///
    /// Why there is no answer, for the operator; what was posted is not in it.
    pub async fn ask(
        &self,
        url: &str,
        headers: HeaderMap,
        form: Bytes,
        limit_bytes: usize,
    ) -> Result<(StatusCode, Bytes), String> {
        let of = |problem: String| format!("`{url}`: {problem}");
        let checked = self.guard().check(url).map_err(of)?;
        let mut request = Request::post(checked.uri).body(Full::new(form)).map_err(|error| of(error.to_string()))?;
        *request.headers_mut() = headers;
        let asked = async {
            let sent = if checked.is_plain { self.plain.request(request) } else { self.encrypted.request(request) };
            let answer = sent.await.map_err(|error| chain(&error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), limit_bytes).collect().await;
            body.map(|body| (status, body.to_bytes())).map_err(|error| format!("can't be read: {error}"))
        };
        let asked = tokio::time::timeout(GET_TIMEOUT, asked).await;
        asked.unwrap_or_else(|_| Err(format!("it takes longer than {} s", GET_TIMEOUT.as_secs()))).map_err(of)
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
        let sent = if checked.is_plain { self.plain.request(request) } else { self.encrypted.request(request) };
        let answer = sent.await.map_err(|error| chain(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(format!("is answered with status {}", answer.status()));
        }
        let body = Limited::new(answer.into_body(), limit_bytes).collect().await;
        body.map(Collected::to_bytes).map_err(|error| format!("can't be read: {error}"))
    }
}

impl Default for PushClient {
    fn default() -> Self {
        Self::new()
    }
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
