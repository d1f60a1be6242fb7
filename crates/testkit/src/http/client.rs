//! Sending a request and reading its answer.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::events::{Event, EventReader};

/// How long one wait for the other side may take: the head of an answer, the rest of it, or the next part of a stream.
const WAIT_LIMIT: Duration = Duration::from_secs(120);
/// How large a whole answer may be.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Why there is no usable answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The connection was refused, lost or silent for too long; the request may or may not have had its effect.
    Lost(String),
    /// The other side said no.
    Refused {
        /// The status of the answer.
        status: u16,
        /// The body of the answer, or the sentence in it.
        message: String,
    },
    /// The request could not be built or the answer not be understood: trying again would not help.
    Invalid(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(reason) | Self::Invalid(reason) => out.write_str(reason),
            Self::Refused { status, message } => write!(out, "{status}: {message}"),
        }
    }
}

impl Error for Failure {}

/// A client for one base URL. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    base_url: String,
    headers: Vec<(String, String)>,
    pool: Pool<HttpConnector, Full<Bytes>>,
}

impl Client {
    /// A client for `base_url`, such as `http://127.0.0.1:4040`; paths are appended to it. Plain HTTP only.
    #[must_use]
    pub fn new(base_url: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let pool = Pool::builder(TokioExecutor::new()).build(connector);
        Self { base_url: base_url.trim_end_matches('/').to_owned(), headers: Vec::new(), pool }
    }

    /// The base URL, without a slash at its end.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Sends `Authorization: Bearer <key>` with every request.
    #[must_use]
    pub fn with_key(self, key: &str) -> Self {
        self.with_header("authorization", &format!("Bearer {key}"))
    }

    /// Sends this header with every request.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// `GET path`.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub async fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.send("GET", path, &[], None).await
    }

    /// `POST path` with a JSON body.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        self.send("POST", path, &[], Some(body.to_string())).await
    }

    /// `PUT path` with a JSON body.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub async fn put(&self, path: &str, body: &Value) -> Result<Answer, Failure> {
        self.send("PUT", path, &[], Some(body.to_string())).await
    }

    /// `DELETE path`.
    ///
    /// # Errors
    ///
    /// As [`Client::send`].
    pub async fn delete(&self, path: &str) -> Result<Answer, Failure> {
        self.send("DELETE", path, &[], None).await
    }

    /// Any request; the whole answer, whatever its status. A body is sent as JSON unless `headers` say otherwise; they replace
    /// the client's own of the same name.
    ///
    /// # Errors
    ///
    /// [`Failure::Lost`] or [`Failure::Invalid`].
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<Answer, Failure> {
        self.stream(method, path, headers, body).await?.whole().await
    }

    /// Any request; returns when the head of the answer is there.
    ///
    /// # Errors
    ///
    /// [`Failure::Lost`] or [`Failure::Invalid`].
    pub async fn stream(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<EventStream, Failure> {
        let url = format!("{}{path}", self.base_url);
        let mut request = Request::builder().method(method).uri(&url);
        let own = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let own = own.chain(body.is_some().then_some(("content-type", "application/json")));
        let is_replaced = |name: &str| headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        for (name, value) in own.filter(|(name, _)| !is_replaced(name)).chain(headers.iter().copied()) {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default())));
        let request = request.map_err(|error| Failure::Invalid(format!("build a request to {url}: {error}")))?;
        let answer = within(&url, self.pool.request(request)).await?;
        let (head, body) = answer.into_parts();
        Ok(EventStream {
            status: head.status.as_u16(),
            headers: head.headers,
            url,
            body,
            reader: EventReader::default(),
            events: Vec::new().into_iter(),
        })
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The value of a header that is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null when it is something else.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The answer itself when its status is 2xx.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`] with the sentence of an OpenAI error, a JSON-RPC error or a problem body (RFC 9457), else the body.
    pub fn accepted(self) -> Result<Self, Failure> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let body = self.json();
        let sentence = ["/error/message", "/detail", "/title"].iter().find_map(|place| body.pointer(place)?.as_str());
        let message = sentence.map_or_else(|| self.text(), str::to_owned);
        Err(Failure::Refused { status: self.status, message })
    }
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub struct EventStream {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    url: String,
    body: Incoming,
    reader: EventReader,
    events: std::vec::IntoIter<Event>,
}

impl EventStream {
    /// Whether the body is an event stream.
    #[must_use]
    pub fn is_events(&self) -> bool {
        let kind = self.headers.get("content-type").and_then(|value| value.to_str().ok());
        kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
    }

    /// The next server-sent event; none at the proper end of the stream.
    ///
    /// # Errors
    ///
    /// [`Failure::Lost`] when the stream breaks off.
    pub async fn next_event(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            if let Some(event) = self.events.next() {
                return Ok(Some(event));
            }
            let Some(bytes) = self.next_bytes().await? else { return Ok(None) };
            self.events = self.reader.push(&bytes).map_err(Failure::Invalid)?.into_iter();
        }
    }

    /// The next bytes of the body as they come; none at its proper end.
    ///
    /// # Errors
    ///
    /// [`Failure::Lost`] when the body breaks off.
    pub async fn next_bytes(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let frame = within(&self.url, async { self.body.frame().await.transpose() }).await?;
            match frame.map(hyper::body::Frame::into_data) {
                Some(Ok(bytes)) => return Ok(Some(bytes)),
                Some(Err(_trailers)) => {}
                None => return Ok(None),
            }
        }
    }

    /// Waits for the rest of the body.
    ///
    /// # Errors
    ///
    /// [`Failure::Lost`] when the body breaks off or is larger than an answer may be.
    pub async fn whole(self) -> Result<Answer, Failure> {
        let body = within(&self.url, Limited::new(self.body, MAX_ANSWER_BYTES).collect()).await?;
        Ok(Answer { status: self.status, headers: self.headers, body: body.to_bytes() })
    }
}

async fn within<T, E>(url: &str, wait: impl Future<Output = Result<T, E>>) -> Result<T, Failure>
where
    E: Into<Box<dyn Error + Send + Sync>>,
{
    match tokio::time::timeout(WAIT_LIMIT, wait).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Failure::Lost(format!("talk to {url}: {}", causes(error.into().as_ref())))),
        Err(_) => Err(Failure::Lost(format!("talk to {url}: nothing came for {} s", WAIT_LIMIT.as_secs()))),
    }
}

/// The error and what is behind it, since the libraries' first sentence is `client error (Connect)`.
fn causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
