//! Which door a request goes to. Everything but health needs a caller.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderName, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use portcullis_domain::authority::Credential;
use portcullis_domain::identity::Entrance;
use portcullis_domain::refusal::{Code, Fault, Refusal};
use portcullis_domain::session::push::NEWS_LIMIT_BYTES;
use portcullis_domain::session::wait::EVENT_LIMIT_BYTES;
use portcullis_interop::refuse;

use crate::doors::answer::{self, Answer};
use crate::doors::arrived::{Arrived, Doors};
use crate::doors::caller::Caller;
use crate::doors::place::UnderWay;
use crate::doors::{a2a, admin, agents, approvals, caller, events, links, mcp, metadata, oauth, openai, path};
use crate::identity::certificates::Peer;
use crate::identity::signing::KEY_SET_PATH;
use crate::snapshot::Snapshot;

/// What OpenAI's clients look at before they try again.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// How a refusal is written at each door.
#[derive(Clone, Copy)]
enum Language {
    Openai,
    Mcp,
    Agents,
    A2a,
    A2aByGrpc,
    Api,
}

/// The same for an exchange of tokens, which is small.
const EXCHANGE_BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the body of a request may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(120);

/// Answers one request, which came on a connection of this client.
pub async fn route(doors: &Arc<Doors>, peer: Option<&Peer>, request: Request<Incoming>) -> Answer {
    let (mut head, body) = request.into_parts();
    // By HTTP/2 the host stands elsewhere (RFC 9113, section 8.3.1), and what is said there counts.
    if let Some(host) = head.uri.authority().filter(|_| head.version == Version::HTTP_2)
        && let Ok(host) = HeaderValue::from_str(host.as_str())
    {
        head.headers.insert(HOST, host);
    }
    let snapshot = doors.gate.snapshot.load_full();
    let (session, path) = split_session(head.uri.path());
    let (session, path) = (session.map(str::to_owned), path.to_owned());
    let language = language(&path);
    if matches!(language, Language::A2aByGrpc) && head.version != Version::HTTP_2 {
        return answer::whole(505, "text/plain", "gRPC is spoken over HTTP/2\n");
    }
    if let Err(refusal) = caller::check_addressee(&head.headers, &head.uri, &snapshot.config.server) {
        return refuse_as(language, &path, &refusal);
    }
    match (&head.method, path.as_str()) {
        (&Method::GET, "/healthz") => return answer::whole(200, "text/plain", "ok\n"),
        (&Method::GET, KEY_SET_PATH) => return answer::json(200, doors.key_set().to_string()),
        (&Method::GET, oauth::METADATA_PATH) => return oauth::metadata::show(doors, &head.headers),
        (&Method::POST, oauth::TOKEN_PATH) => return exchange(doors, &head.headers, peer, body).await,
        (&Method::GET, "/readyz") => return admin::health::ready(doors).await,
        (&Method::GET, path) if path.starts_with(links::PATH) => {
            return approvals::show(doors, path, &head.headers).await;
        }
        _ => {}
    }
    if head.method == Method::GET
        && let Some(answer) = metadata::serve(&snapshot, &head.headers, head.uri.path())
    {
        return answer;
    }
    let is_ticket =
        |path: &str| [events::PATH, a2a::push::PATH, links::PATH].iter().any(|place| path.starts_with(place));
    if head.method == Method::POST && is_ticket(&path) {
        let taken = take_with_ticket(doors, &path, &head.headers, body).await;
        return taken.unwrap_or_else(|refusal| refuse_as(Language::Api, &path, &refusal));
    }
    let known = recognise(doors, &snapshot, &head.headers, peer).await;
    let known = known.and_then(|caller| is_shown_here(doors, &caller, language).map(|()| caller));
    let caller = match known {
        Ok(caller) => caller,
        Err(refusal) => {
            let answer = refuse_as(language, &path, &refusal);
            let is_unknown = refusal.code == Code::Unauthenticated;
            let challenge = is_unknown.then(|| metadata::challenge(&snapshot, &head.headers, head.uri.path()));
            return challenge.iter().fold(answer, |answer, text| answer::with_header(answer, WWW_AUTHENTICATE, text));
        }
    };
    match arrive(doors, &snapshot, caller, head, session, path.clone(), body).await {
        Ok(arrived) => enter(doors, language, arrived).await,
        Err(refusal) => refuse_as(language, &path, &refusal),
    }
}

/// What comes without a key, to a place that was given to its sender alone. The ticket in the path is read before the body.
async fn take_with_ticket(
    doors: &Arc<Doors>,
    path: &str,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Answer, Refusal> {
    if let Some(token) = path.strip_prefix(events::PATH) {
        let ticket = events::open(doors, token)?;
        let body = read_body(body, EVENT_LIMIT_BYTES).await?;
        return events::take(doors, ticket, headers, body).await;
    }
    if let Some(token) = path.strip_prefix(links::PATH) {
        let ticket = links::open(&doors.transport, token)?;
        let body = read_body(body, approvals::ANSWER_LIMIT_BYTES).await?;
        return approvals::take(doors, ticket, headers, &body).await;
    }
    let expected = a2a::news::open(doors, path.strip_prefix(a2a::push::PATH).unwrap_or_default(), headers).await?;
    let body = read_body(body, NEWS_LIMIT_BYTES).await?;
    a2a::news::take(doors, expected, headers, &body).await
}

/// Who asks.
async fn recognise(
    doors: &Doors,
    snapshot: &Snapshot,
    headers: &HeaderMap,
    peer: Option<&Peer>,
) -> Result<Caller, Refusal> {
    let caller = doors.listen_to(headers, peer, snapshot).await?;
    if !snapshot.has_caller(caller.chain()) {
        return Err(caller::invalid_key_because("its principal is not configured any more"));
    }
    doors.gate.journal.doorway().borrow().disabled.check(caller.chain())?;
    Ok(caller)
}

/// A key may be for some doors alone. An agent that acts on it has been given its task by one of them, but what it shows of its own is shown here.
fn is_shown_here(doors: &Doors, caller: &Caller, language: Language) -> Result<(), Refusal> {
    let direct = match &caller.authority.credential {
        Credential::Key(key) if caller.authority.through.is_empty() => Some(key),
        Credential::Key(_) | Credential::Vouched { .. } => None,
    };
    let entrance = match language {
        Language::Openai => Entrance::Openai,
        Language::Mcp => Entrance::Mcp,
        Language::A2a | Language::A2aByGrpc => Entrance::A2a,
        Language::Agents => Entrance::Http,
        Language::Api => Entrance::Api,
    };
    let keys = doors.gate.journal.keys();
    let is_for_others = |key| keys.find(key).is_some_and(|key| !key.scope.has_door(entrance));
    if direct.into_iter().chain(&caller.own).any(is_for_others) {
        return Err(Refusal::new(Code::Forbidden, "this key is not for this door"));
    }
    Ok(())
}

/// An exchange of task tokens: what is exchanged is in the body.
async fn exchange(doors: &Arc<Doors>, headers: &HeaderMap, peer: Option<&Peer>, body: Incoming) -> Answer {
    // Places of their own, and not for long: who asks is not known before the body is read.
    let Ok(_place) = doors.exchanges.clone().try_acquire_owned() else {
        let refusal = Refusal::new(Code::TooMany, "too many exchanges are under way");
        return refuse_as(Language::Api, oauth::TOKEN_PATH, &refusal);
    };
    let read = read_body(body, oauth::exchange::REQUEST_LIMIT_BYTES);
    match tokio::time::timeout(EXCHANGE_BODY_TIMEOUT, read).await {
        Ok(Ok(body)) => oauth::exchange::exchange(doors, headers, peer, &body).await,
        Ok(Err(refusal)) => refuse_as(Language::Api, oauth::TOKEN_PATH, &refusal),
        Err(_) => {
            let refusal = Refusal::new(Code::InvalidRequest, "the body did not come in time");
            refuse_as(Language::Api, oauth::TOKEN_PATH, &refusal)
        }
    }
}

/// What they ask, in which session.
async fn arrive(
    doors: &Arc<Doors>,
    snapshot: &Snapshot,
    caller: Caller,
    head: Parts,
    session: Option<String>,
    path: String,
    body: Incoming,
) -> Result<Arrived, Refusal> {
    let session = session.as_deref().map(path::decoded).transpose()?;
    let session = caller::named_session(&caller, session.as_deref(), &head.headers)?;
    // Before the body: what is read lies in memory.
    let place = doors.calls.clone().try_acquire_owned();
    let place = place.map_err(|_| Refusal::new(Code::TooMany, "too many calls are under way"))?;
    let body = read_body(body, snapshot.config.server.body_limit_bytes).await?;
    let query = head.uri.query().map(str::to_owned);
    let on_behalf = (caller.principal.clone(), caller.authority.clone(), caller.own.clone());
    let place = Arc::new(UnderWay::new(place, on_behalf, caller.token.clone(), doors.gate.journal.doorway()));
    session.iter().for_each(|session| place.in_session(session));
    let (method, headers) = (head.method, head.headers);
    Ok(Arrived { caller, session, method, path, query, headers, body, place })
}

async fn enter(doors: &Arc<Doors>, language: Language, arrived: Arrived) -> Answer {
    let (path, place) = (arrived.path.clone(), arrived.place.clone());
    let entered = async {
        match language {
            Language::Openai => openai::enter(doors, arrived).await,
            Language::Mcp => Ok(mcp::enter(doors, arrived).await),
            Language::Agents => agents::enter(doors, arrived).await,
            Language::A2a => a2a::enter(doors, arrived).await,
            Language::A2aByGrpc => Ok(a2a::grpc::enter(doors, arrived).await),
            Language::Api => admin::enter(doors, arrived).await,
        }
    };
    let answer = tokio::select! {
        biased;
        answer = entered => answer,
        // To drop the call is to leave: it is cancelled and settled as when its caller goes. The gateway's own API waits for nothing outside.
        refusal = place.halted(), if !matches!(language, Language::Api) => Err(refusal),
    };
    answer::keeping(answer.unwrap_or_else(|refusal| refuse_as(language, &path, &refusal)), place)
}

fn language(path: &str) -> Language {
    if path == "/mcp" || path.starts_with("/mcp/") {
        Language::Mcp
    } else if path.starts_with("/v1/") {
        Language::Openai
    } else if path.starts_with("/agents/") {
        Language::Agents
    } else if path.starts_with("/a2a/") {
        Language::A2a
    } else if a2a::grpc::is_called(path) {
        Language::A2aByGrpc
    } else {
        Language::Api
    }
}

/// The one place where a refusal outside of a call becomes an answer.
fn refuse_as(language: Language, path: &str, refusal: &Refusal) -> Answer {
    if !refusal.reasons.is_empty() {
        tracing::info!(code = %refusal.code, reasons = ?refusal.reasons, "refused");
    }
    let written = match language {
        Language::Openai => refuse::openai(refusal),
        Language::Mcp => {
            let written = refuse::jsonrpc(refusal, None);
            refuse::Answer { status: refusal.code.status(), ..written }
        }
        Language::A2a => a2a::refuse::refused_at_the_door(path, refusal),
        Language::A2aByGrpc => return a2a::grpc::refused(path, refusal),
        Language::Agents | Language::Api => refuse::problem(refusal),
    };
    let answer = answer::whole(written.status, written.content_type, written.body);
    // OpenAI's clients try again by themselves after some statuses; what can't pass is not worth it.
    let answer = if matches!(language, Language::Openai) && !refusal.code.is_retryable() {
        answer::with_header(answer, SHOULD_RETRY, "false")
    } else {
        answer
    };
    let answer = match refusal.approval {
        Some(approval) => answer::with_header(answer, LOCATION, &refuse::approval_path(approval)),
        None => answer,
    };
    if refusal.code == Code::Unauthenticated {
        answer::with_header(answer, WWW_AUTHENTICATE, "Bearer realm=\"portcullis\"")
    } else if refusal.code.is_retryable() && refusal.code.fault() != Fault::Upstream {
        answer::with_header(answer, RETRY_AFTER, &refusal.retry_after_s.unwrap_or(1).to_string())
    } else {
        answer
    }
}

/// `/s/<session>/v1/…` is `/v1/…` in that session: a base URL is the one thing that every client can be given.
fn split_session(path: &str) -> (Option<&str>, &str) {
    let rest = path.strip_prefix("/s/").and_then(|rest| rest.find('/').map(|slash| rest.split_at(slash)));
    rest.map_or((None, path), |(session, rest)| (Some(session), rest))
}

async fn read_body(body: Incoming, limit_bytes: usize) -> Result<Bytes, Refusal> {
    let too_large = || Refusal::new(Code::TooLarge, format!("the body is larger than {limit_bytes} bytes"));
    if hyper::body::Body::size_hint(&body).lower() > u64::try_from(limit_bytes).unwrap_or(u64::MAX) {
        return Err(too_large());
    }
    let read = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit_bytes).collect());
    let Ok(read) = read.await else {
        let message = format!("the body was not there after {} s", BODY_TIMEOUT.as_secs());
        return Err(Refusal::new(Code::InvalidRequest, message));
    };
    match read {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(Refusal::new(Code::InvalidRequest, "the body broke off")),
    }
}
