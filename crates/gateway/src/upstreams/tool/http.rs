//! An MCP server over Streamable HTTP, of either era.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use portcullis_domain::refusal::Refusal;
use portcullis_interop::mcp::Version;
use portcullis_interop::mcp::egress::{self, AnswerReader, Inbound, Outcome, Outgoing, Peer};
use tokio::sync::Mutex;

use crate::reply::{ToolAnswer, UpstreamFault};
use crate::upstreams::client::{ANSWER_LIMIT_BYTES, HttpClient, read_whole};
use crate::upstreams::egress::{ToolCall, ToolServer, Waiting};
use crate::upstreams::tool::wire::{self, Askable, CLIENT, garbled};

/// How long a call may take where the configuration does not say.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a server may take to end a session.
const END_TIMEOUT: Duration = Duration::from_secs(5);
/// The number of the error that means so in the SDKs.
const NO_SESSION: i64 = -32_000;

/// What is sent as `Authorization` where the call says nothing of it: the gateway's own.
pub type OwnCredential = Arc<dyn Fn() -> Shown + Send + Sync>;
/// A credential that is on its way.
pub type Shown = Pin<Box<dyn Future<Output = Result<Option<HeaderValue>, UpstreamFault>> + Send>>;

/// A server behind a URL.
pub struct HttpToolServer {
    uri: Uri,
    own: OwnCredential,
    timeout: Duration,
    /// Whether it is to keep a session, if it can.
    wants_session: bool,
    http: HttpClient,
    next_id: AtomicU64,
    /// How the server was greeted; none before that and after it forgot. Held only to look and to replace.
    peer: Mutex<Option<Arc<Peer<'static>>>>,
}

/// What came of one message.
struct Exchange {
    status: StatusCode,
    session: Option<HeaderValue>,
    outcome: Option<Outcome>,
}

impl Exchange {
    /// Whether the server does not know the session: 404 by the specification (MCP 2025-11-25, "Session Management"), and 400 from servers that were made after
    /// the examples of older SDKs.
    fn has_no_session(&self) -> bool {
        let is_refused = matches!(self.outcome, Some(Outcome::Error { code: NO_SESSION, .. }));
        self.status == StatusCode::NOT_FOUND || (self.status == StatusCode::BAD_REQUEST && is_refused)
    }
}

impl HttpToolServer {
    /// The server at that URL; nothing is connected yet. Without a timeout, a call may take a minute.
    ///
    /// # Errors
    ///
    /// A sentence when the URL can't be used.
    pub fn new(url: &str, own: OwnCredential, timeout: Option<Duration>, http: HttpClient) -> Result<Self, String> {
        let uri = url
            .parse::<Uri>()
            .ok()
            .filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
        Ok(Self {
            uri: uri.ok_or_else(|| format!("`{url}` is no URL of http or https"))?,
            own,
            timeout: timeout.unwrap_or(TIMEOUT),
            wants_session: false,
            http,
            next_id: AtomicU64::new(1),
            peer: Mutex::new(None),
        })
    }

    fn id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// The server as it was greeted; greets it first where that was not done yet. One greets, the others wait.
    async fn peer(&self, shown: Option<&HeaderValue>) -> Result<Arc<Peer<'static>>, UpstreamFault> {
        let mut peer = self.peer.lock().await;
        if let Some(peer) = &*peer {
            return Ok(peer.clone());
        }
        let greeted = Arc::new(self.greet(shown).await.map_err(not_greeted)?);
        *peer = Some(greeted.clone());
        Ok(greeted)
    }

    /// The same server, asked for a session of its own: only the versions before 2026-07-28 have one, so it is greeted in their way if it knows it.
    #[must_use]
    pub fn with_session(self) -> Self {
        Self { wants_session: true, ..self }
    }

    async fn greet(&self, shown: Option<&HeaderValue>) -> Result<Peer<'static>, UpstreamFault> {
        if !self.wants_session {
            return match self.discover(shown).await? {
                Some(peer) => Ok(peer),
                None => self.initialize(shown).await,
            };
        }
        match self.initialize(shown).await {
            Ok(peer) => Ok(peer),
            // One that knows no sessions can be called all the same.
            Err(fault) => self.discover(shown).await?.ok_or(fault),
        }
    }

    /// Greets a server of the stateless era; none when it is of another.
    async fn discover(&self, shown: Option<&HeaderValue>) -> Result<Option<Peer<'static>>, UpstreamFault> {
        let id = self.id();
        let found = self.exchange(id, egress::discover(id, CLIENT), None, shown).await?;
        let greeting = egress::read_discovery(found.status.as_u16(), found.outcome.as_ref());
        let greeting = greeting.map_err(|refusal| refused(found.status, &refusal))?;
        Ok(greeting.map(|greeting| Peer { client: CLIENT, version: greeting.version, session: None }))
    }

    /// Greets a server of the era of sessions.
    async fn initialize(&self, shown: Option<&HeaderValue>) -> Result<Peer<'static>, UpstreamFault> {
        let id = self.id();
        let found = self.exchange(id, egress::initialize(id, CLIENT), None, shown).await?;
        let outcome = found.outcome.ok_or_else(|| unexpected(found.status))?;
        let greeting = egress::read_initialized(&outcome).map_err(|refusal| refused(found.status, &refusal))?;
        let peer = Peer { client: CLIENT, version: greeting.version, session: found.session };
        let welcomed = self.send(peer.initialized(), shown).await?;
        let _ = read_whole(welcomed.into_body()).await;
        Ok(peer)
    }

    /// Says good-bye in a session that the server has given (MCP 2025-11-25, "Session Management"). Whether it listens does not matter: it forgets sessions by itself too.
    pub async fn end_session(&self) {
        let Some(peer) = self.peer.lock().await.take().filter(|peer| peer.session.is_some()) else { return };
        let mut headers = peer.headers();
        let ended = async {
            headers.extend((self.own)().await.ok().flatten().map(|own| (AUTHORIZATION, own)));
            self.http.send(Method::DELETE, &self.uri, headers, Bytes::new()).await
        };
        let _ = tokio::time::timeout(END_TIMEOUT, ended).await;
    }

    async fn forget(&self, forgotten: &Arc<Peer<'static>>) {
        let mut peer = self.peer.lock().await;
        if peer.as_ref().is_some_and(|peer| Arc::ptr_eq(peer, forgotten)) {
            *peer = None;
        }
    }

    async fn send(
        &self,
        outgoing: Outgoing,
        shown: Option<&HeaderValue>,
    ) -> Result<http::Response<Incoming>, UpstreamFault> {
        let mut headers = outgoing.headers;
        headers.extend(shown.map(|shown| (AUTHORIZATION, shown.clone())));
        self.http.post(&self.uri, headers, outgoing.body.into()).await
    }

    /// Sends one request and reads until its answer is there.
    async fn exchange(
        &self,
        id: u64,
        outgoing: Outgoing,
        peer: Option<&Peer<'_>>,
        shown: Option<&HeaderValue>,
    ) -> Result<Exchange, UpstreamFault> {
        let (head, body) = self.send(outgoing, shown).await?.into_parts();
        let session = head.headers.get("mcp-session-id").cloned();
        let outcome = if head.status.is_success() {
            self.read_answer(id, &head.headers, body, peer.map(|peer| (peer, shown))).await?
        } else {
            egress::read_failure(&read_whole(body).await?)
        };
        Ok(Exchange { status: head.status, session, outcome })
    }

    async fn read_answer(
        &self,
        id: u64,
        headers: &HeaderMap,
        mut body: Incoming,
        peer: Option<(&Peer<'_>, Option<&HeaderValue>)>,
    ) -> Result<Option<Outcome>, UpstreamFault> {
        let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let mut reader = AnswerReader::new(id, media, ANSWER_LIMIT_BYTES);
        let mut is_over = false;
        loop {
            while let Some(inbound) = reader.next_inbound() {
                match inbound {
                    Inbound::Answer { outcome, .. } => return Ok(Some(outcome)),
                    Inbound::Notification { .. } => {}
                    Inbound::Request { id, method, .. } => {
                        if let Some((peer, shown)) = peer.filter(|(peer, _)| peer.version != Version::MODERN) {
                            let answered = self.send(peer.reply(&id, &method), shown).await?;
                            let _ = read_whole(answered.into_body()).await;
                        }
                    }
                }
            }
            if is_over {
                return Ok(None);
            }
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref() {
                        reader.feed(bytes).map_err(|refusal| garbled(&refusal))?;
                    }
                }
                Some(Err(error)) => return Err(UpstreamFault::Broken(error.to_string())),
                None => {
                    reader.feed_end().map_err(|refusal| garbled(&refusal))?;
                    is_over = true;
                }
            }
        }
    }
}

impl Askable for HttpToolServer {
    /// Sends a request to the server as it was greeted. A server that has forgotten the session is greeted again, once: it certainly did nothing.
    async fn ask(
        &self,
        shown: Option<&HeaderValue>,
        request: impl Fn(&Peer<'_>, u64) -> Outgoing + Send + Sync,
    ) -> Result<Outcome, UpstreamFault> {
        let own = if shown.is_none() { (self.own)().await? } else { None };
        let shown = shown.or(own.as_ref());
        let mut is_again = false;
        loop {
            let (peer, id) = (self.peer(shown).await?, self.id());
            let found = self.exchange(id, request(&peer, id), Some(&peer), shown).await?;
            if found.has_no_session() && peer.session.is_some() && !is_again {
                is_again = true;
                self.forget(&peer).await;
                continue;
            }
            return match (found.status, found.outcome) {
                // What it says then is about the gateway's own credential, and not for the caller.
                (status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN), _) => {
                    Err(UpstreamFault::Credential(status))
                }
                (_, Some(outcome)) => Ok(outcome),
                (status, None) => Err(unexpected(status)),
            };
        }
    }
}

impl ToolServer for HttpToolServer {
    fn list(&self) -> Waiting<'_, Bytes> {
        Box::pin(within(self.timeout, wire::list(self)))
    }

    fn call<'a>(&'a self, call: ToolCall<'a>) -> Waiting<'a, ToolAnswer> {
        Box::pin(within(self.timeout, wire::call(self, call)))
    }

    fn has_changed(&self) -> bool {
        false
    }

    fn stop(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async { *self.peer.lock().await = None })
    }
}

async fn within<T>(
    timeout: Duration,
    work: impl Future<Output = Result<T, UpstreamFault>>,
) -> Result<T, UpstreamFault> {
    tokio::time::timeout(timeout, work).await.unwrap_or(Err(UpstreamFault::TimedOut(timeout.as_secs())))
}

/// The call itself was not sent yet: whatever went wrong before, it had no effect.
fn not_greeted(fault: UpstreamFault) -> UpstreamFault {
    match fault {
        UpstreamFault::Broken(problem) | UpstreamFault::Garbled(problem) => {
            UpstreamFault::Unreachable(format!("it could not be greeted: {problem}"))
        }
        UpstreamFault::Unreachable(_)
        | UpstreamFault::TimedOut(_)
        | UpstreamFault::Busy(_)
        | UpstreamFault::Unspoken(_)
        | UpstreamFault::Credential(_)
        | UpstreamFault::NoCredential(_)
        | UpstreamFault::Halted(_) => fault,
    }
}

fn refused(status: StatusCode, refusal: &Refusal) -> UpstreamFault {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => UpstreamFault::Credential(status),
        _ => UpstreamFault::Unreachable(format!("{}: {}", refusal.message, refusal.reasons.join("; "))),
    }
}

fn unexpected(status: StatusCode) -> UpstreamFault {
    UpstreamFault::Garbled(format!("HTTP status {status} and no message"))
}
