//! Telling clients news of their tasks, at the places that they have named: at least once, in the order in which they came, until the client accepts or says that
//! it is gone.
//!
//! What is to be told is in the journal; only when to try again is kept here.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use portcullis_domain::admission::open_session::is_held;
use portcullis_domain::admission::{ClosePush, NoteNews};
use portcullis_domain::authority::Authority;
use portcullis_domain::ids::{PrincipalName, SessionId};
use portcullis_domain::session::push::{Push, PushName};
use portcullis_domain::time::Timestamp;
use portcullis_interop::a2a::webhook::{Place, TOKEN_HEADER};
use portcullis_interop::frame::http::DELIVERY;
use tokio::sync::watch;
use tokio::task::{self, JoinSet};

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::deliveries::look_after;
use crate::identity::signing::SigningKey;
use crate::life::Gate;
use crate::stop::stopped;

/// How often it is looked what is due, if nobody says that something is.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// The most deliveries at a time.
const DELIVERIES_LIMIT: usize = 64;
/// The most of them to places of one principal, whose places may all be dead: others are told besides.
const OWNER_LIMIT: usize = 8;
/// The headers of Standard Webhooks 1.0.
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

type Name = (SessionId, PushName);

/// What is to be told.
struct Due {
    session: SessionId,
    name: PushName,
    authority: Authority,
    /// The entry that says where.
    opened: u64,
    /// The entry that says what.
    seq: u64,
}

/// Delivers news until `stop` says so.
pub async fn run(gate: Arc<Gate>, clock: Arc<dyn Clock>, mut stop: watch::Receiver<bool>) {
    let mut backoff: Backoff<Name> = Backoff::new();
    let mut under_way: JoinSet<bool> = JoinSet::new();
    let mut busy: HashMap<task::Id, Name> = HashMap::new();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => {
                // What has begun is brought to its end: a client that has accepted would be told again otherwise.
                while under_way.join_next().await.is_some() {}
                return;
            }
            Some(ended) = under_way.join_next_with_id() => {
                let (id, is_accepted) = match ended {
                    Ok(ended) => ended,
                    // A panic is a fault of ours, and no reason to forget the place.
                    Err(error) => {
                        tracing::error!(%error, "a delivery of news ended by a fault");
                        (error.id(), false)
                    }
                };
                if let Some(name) = busy.remove(&id) {
                    backoff.note(name, is_accepted, clock.now());
                }
            }
            () = gate.news.notified() => {}
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
        let now = clock.now();
        let taken: HashSet<Name> = busy.values().cloned().collect();
        let mut of_owners: HashMap<PrincipalName, usize> = HashMap::new();
        for (session, _) in &taken {
            *of_owners.entry(session.owner.clone()).or_default() += 1;
        }
        let found = mine(&gate, &under_way).await;
        backoff.keep(&found.iter().map(|due| (due.session.clone(), due.name.clone())).collect());
        for due in found {
            let name = (due.session.clone(), due.name.clone());
            if backoff.is_early(&name, now) || taken.contains(&name) || under_way.len() >= DELIVERIES_LIMIT {
                continue;
            }
            let of_owner = of_owners.entry(due.session.owner.clone()).or_default();
            if *of_owner >= OWNER_LIMIT {
                continue;
            }
            *of_owner += 1;
            let gate = gate.clone();
            let begun = under_way.spawn(async move { deliver(&gate, &due, now).await });
            busy.insert(begun.id(), name);
        }
    }
}

/// What is to be told in the sessions that this gateway looks after, as deliveries are.
async fn mine(gate: &Gate, under_way: &JoinSet<bool>) -> Vec<Due> {
    let mut found = due(gate).await;
    if look_after(gate, DELIVERIES_LIMIT.saturating_sub(under_way.len())).await {
        found = due(gate).await;
    }
    found.retain(|due| gate.leases.has(&due.session));
    found
}

async fn due(gate: &Gate) -> Vec<Due> {
    let due = gate.journal.read(|world| {
        let of = |(session, name, push, seq): (&SessionId, &PushName, &Push, u64)| Due {
            session: session.clone(),
            name: name.clone(),
            authority: push.authority.clone(),
            opened: push.seq,
            seq,
        };
        world.pushes.to_tell().map(of).collect::<Vec<_>>()
    });
    due.await.unwrap_or_default()
}

/// One attempt; whether nothing is left of these news.
async fn deliver(gate: &Gate, due: &Due, now: Timestamp) -> bool {
    match attempt(gate, due, now).await {
        Ok(()) => true,
        Err(problem) => {
            tracing::info!(session = %due.session, push = %due.name, problem, "news were not accepted and are told again");
            false
        }
    }
}

async fn attempt(gate: &Gate, due: &Due, now: Timestamp) -> Result<(), String> {
    let (session, push) = (due.session.clone(), due.name.clone());
    let (asked, authority) = (due.session.clone(), due.authority.clone());
    let is_live = gate.journal.read(move |world| is_held(world, &authority, &asked, now).is_ok());
    let is_live = is_live.await.map_err(|fault| fault.to_string())?;
    let status = if is_live {
        let (place, news) = (body(gate, due, due.opened).await?, body(gate, due, due.seq).await?);
        let place = Place::read(std::str::from_utf8(&place).map_err(|error| error.to_string())?)?;
        let headers = headers(&place, &format!("{}_{}", due.name, due.seq), now, &news, &gate.signing_key())?;
        gate.pushes.post(&place.url, headers, news).await?
    } else {
        // Nobody is told anything in the name of a key that was taken back.
        StatusCode::GONE
    };
    let noted = match status {
        status if status.is_success() => gate.journal.execute(NoteNews { session, push, seq: due.seq }).await,
        StatusCode::GONE => gate.journal.execute(ClosePush { session, push, unless_bound: false }).await,
        other => return Err(format!("it is answered with status {other}")),
    };
    noted.map_err(|fault| fault.to_string())
}

async fn body(gate: &Gate, due: &Due, seq: u64) -> Result<Bytes, String> {
    gate.body_of(&due.session, seq).await.map_err(|refusal| refusal.to_string())
}

/// What the client is told besides: which delivery it is, its own token and credential, and the gateway's signature (Standard Webhooks 1.0, asymmetric `v1a`).
fn headers(place: &Place, delivery: &str, now: Timestamp, body: &[u8], key: &SigningKey) -> Result<HeaderMap, String> {
    let timestamp = (now.0 / 1_000_000).to_string();
    let signed = [format!("{delivery}.{timestamp}.").as_bytes(), body].concat();
    let signature = format!("v1a,{}", STANDARD.encode(key.sign(&signed)));
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in [
        (DELIVERY, Some(delivery.to_owned())),
        (WEBHOOK_ID, Some(delivery.to_owned())),
        (WEBHOOK_TIMESTAMP, Some(timestamp)),
        (WEBHOOK_SIGNATURE, Some(signature)),
        (HeaderName::from_static(TOKEN_HEADER), place.token()),
        (AUTHORIZATION, place.authorization()),
    ] {
        if let Some(value) = value {
            headers.insert(name.clone(), HeaderValue::from_str(&value).map_err(|_| format!("`{name}` can't be sent"))?);
        }
    }
    Ok(headers)
}
