//! The cards of agents that speak Agent2Agent: every replica says for itself what it speaks and where.
//!
//! Of the address that a card names only the path is taken: what is called are the replicas that the operator has named. A card can
//! so neither send the gateway and its credential to another host, nor a session to another replica.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use http::{Method, StatusCode, Uri};
use http_body_util::{BodyExt as _, Limited};
use portcullis_domain::digest::Digest;
use portcullis_domain::registry::Replica;
use portcullis_domain::time::Timestamp;
use portcullis_interop::a2a::card::signature::{encoded, essential, payload, signatures};
use portcullis_interop::a2a::card::{FORMER_WELL_KNOWN, WELL_KNOWN};
use portcullis_interop::a2a::{Card, Interface};

use crate::clock::Clock;
use crate::jwk::KeySet;
use crate::reply::UpstreamFault;
use crate::upstreams::client::HttpClient;

/// How long a replica may take to show its card.
const CARD_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest card, in bytes.
const CARD_LIMIT_BYTES: usize = 1 << 20;
/// After how many seconds a card is looked at again.
pub const CARD_AGE_S: u64 = 60;
/// After how many seconds one that could not be read is looked at again.
const RETRY_AGE_S: u64 = 3;

/// What is known of all cards.
pub struct Cards {
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<Replica, Known>>,
}

/// A replica's card, and what is used of it.
#[derive(Debug)]
pub struct ShownCard {
    /// The card.
    pub card: Card,
    /// When it was first seen so.
    pub changed_at: Timestamp,
    /// What the replica is called by.
    pub interface: Interface,
}

/// What a replica is asked for its card with, and what the card must prove.
#[derive(Debug, Clone, Copy)]
pub struct CardTerms<'a> {
    /// The gateway's credential.
    pub authorization: Option<&'a HeaderValue>,
    /// The keys of which one must have signed it.
    pub keys: Option<&'a KeySet>,
}

#[derive(Debug, Default)]
struct Known {
    card: Option<Arc<ShownCard>>,
    /// The keys that it was believed by.
    keys: Option<Digest>,
    /// What was wrong when it was looked at last: said once.
    problems: Vec<String>,
    looked_at: Timestamp,
}

impl Cards {
    /// No card is known yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, known: Mutex::default() }
    }

    /// The replica's card, as it was seen last, if it was believed by the same keys.
    #[must_use]
    pub fn known(&self, replica: &Replica, keys: Option<&KeySet>) -> Option<Arc<ShownCard>> {
        let keys = keys.map(|keys| keys.digest);
        self.lock().get(replica).filter(|known| known.keys == keys).and_then(|known| known.card.clone())
    }

    /// Whether it is time to look at the replica's card again.
    #[must_use]
    pub fn is_due(&self, replica: &Replica) -> bool {
        let now = self.clock.now();
        self.lock().get(replica).is_none_or(|known| {
            let age_s = if known.problems.is_empty() { CARD_AGE_S } else { RETRY_AGE_S };
            now.0.saturating_sub(known.looked_at.0) >= age_s * 1_000_000
        })
    }

    /// The replica could not be asked for its card, for want of a credential: it is asked again after a while.
    pub fn not_asked(&self, replica: &Replica, fault: &UpstreamFault) {
        let now = self.clock.now();
        let mut all = self.lock();
        let known = all.entry(replica.clone()).or_default();
        (known.looked_at, known.problems) = (now, vec![fault.to_string()]);
    }

    /// Looks at the replica's card. One that was good stays in use when the replica has none to show now, but not when it shows one that is not signed as it must be.
    ///
    /// # Errors
    ///
    /// When the replica shows none, or none that can be used.
    pub async fn look(
        &self,
        http: &HttpClient,
        replica: &Replica,
        terms: CardTerms<'_>,
    ) -> Result<Arc<ShownCard>, UpstreamFault> {
        let fetched = tokio::time::timeout(CARD_TIMEOUT, fetch(http, replica, terms.authorization)).await;
        let fetched = fetched.unwrap_or_else(|_| Err(format!("it takes longer than {} s", CARD_TIMEOUT.as_secs())));
        let believed = fetched.map(|bytes| believed(&bytes, terms.keys));
        let is_forged = matches!(believed, Ok(Err(_)));
        let read = believed.flatten().map_err(|problem| vec![problem]).and_then(|card| read(replica, &card));
        let now = self.clock.now();
        let mut all = self.lock();
        let known = all.entry(replica.clone()).or_default();
        known.looked_at = now;
        let keys = terms.keys.map(|keys| keys.digest);
        if is_forged || known.keys != keys {
            known.card = None;
        }
        known.keys = keys;
        let (result, problems) = match read {
            Ok((card, interface)) => {
                let problems = card.problems().to_vec();
                let same = known.card.take().filter(|shown| shown.card == card && shown.interface == interface);
                let shown = same.unwrap_or_else(|| Arc::new(ShownCard { card, changed_at: now, interface }));
                known.card = Some(shown.clone());
                (Ok(shown), problems)
            }
            Err(problems) => {
                let fault =
                    UpstreamFault::Unreachable(format!("it has no card to be called by: {}", problems.join("; ")));
                (known.card.clone().ok_or(fault), problems)
            }
        };
        if known.problems != problems {
            for problem in &problems {
                tracing::warn!(%replica, problem, "an agent's card");
            }
        }
        known.problems = problems;
        result
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Replica, Known>> {
        // Nobody panics while holding it; if so, what is in it is still whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn fetch(http: &HttpClient, replica: &Replica, authorization: Option<&HeaderValue>) -> Result<Bytes, String> {
    let mut status = StatusCode::NOT_FOUND;
    for path in [WELL_KNOWN, FORMER_WELL_KNOWN] {
        let address = format!("{}{path}", replica.address());
        let uri: Uri = address.parse().map_err(|_| format!("`{address}` is no address"))?;
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let answer = http.send(Method::GET, &uri, headers, Bytes::new()).await.map_err(|fault| fault.to_string())?;
        status = answer.status();
        let body = Limited::new(answer.into_body(), CARD_LIMIT_BYTES).collect().await;
        let body = body.map_err(|error| format!("it can't be read: {error}"))?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        if status != StatusCode::NOT_FOUND {
            break;
        }
    }
    Err(format!("it is answered with status {status}"))
}

/// As much of a card as is signed by one of the keys, if it must be: all of it, or what a reader of 1.0 knows, which the official libraries sign.
///
/// # Errors
///
/// A sentence when none of it is, or when it is larger than any card may be.
pub fn believed(card: &[u8], keys: Option<&KeySet>) -> Result<Bytes, String> {
    if card.len() > CARD_LIMIT_BYTES {
        return Err(format!("it is larger than {CARD_LIMIT_BYTES} bytes"));
    }
    let Some(keys) = keys else { return Ok(Bytes::copy_from_slice(card)) };
    let unsigned = || "it is not signed by one of the `card_keys`, and is not used".to_owned();
    let text = std::str::from_utf8(card).map_err(|_| unsigned())?;
    let signatures = signatures(text);
    let is_signed = |card: &str| {
        let Ok(payload) = payload(card).map(|payload| encoded(&payload)) else { return false };
        signatures.iter().any(|signature| {
            let Ok(bytes) = URL_SAFE_NO_PAD.decode(&signature.signature) else { return false };
            let input = format!("{}.{payload}", signature.protected);
            keys.has_signed(signature.key_id.as_deref(), signature.algorithm.as_deref(), input.as_bytes(), &bytes)
        })
    };
    let essential = || essential(text).ok().filter(|card| is_signed(card));
    let believed = if is_signed(text) { Some(text.to_owned()) } else { essential() };
    believed.map(Bytes::from).ok_or_else(unsigned)
}

fn read(replica: &Replica, bytes: &[u8]) -> Result<(Card, Interface), Vec<String>> {
    let card = Card::read(bytes)?;
    let Some(best) = card.interfaces().first() else { return Err(vec!["it names no interface".to_owned()]) };
    let interface = at(replica, best).map_err(|problem| vec![problem])?;
    Ok((card, interface))
}

/// The interface at the replica's own host.
fn at(replica: &Replica, interface: &Interface) -> Result<Interface, String> {
    let no_address = |text: &str| format!("`{text}` is no address");
    let own: Uri = replica.address().parse().map_err(|_| no_address(replica.address()))?;
    let named: Uri = interface.url.parse().map_err(|_| no_address(&interface.url))?;
    let (Some(scheme), Some(authority)) = (own.scheme_str(), own.authority()) else {
        return Err(no_address(replica.address()));
    };
    Ok(Interface { url: format!("{scheme}://{authority}{}", named.path()), ..interface.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_that_is_too_large_is_not_looked_at() {
        assert!(believed(&vec![b' '; CARD_LIMIT_BYTES], None).is_ok());
        assert!(believed(&vec![b' '; CARD_LIMIT_BYTES + 1], None).is_err());
    }

    #[test]
    fn a_card_can_send_nobody_to_another_host() {
        for (replica, url, expected) in [
            ("http://10.0.0.1:9000", "https://agents.example/a2a/v1", "http://10.0.0.1:9000/a2a/v1"),
            ("https://10.0.0.1/x", "http://169.254.169.254", "https://10.0.0.1/"),
        ] {
            let card = format!(
                r#"{{"name":"a","supportedInterfaces":[{{"url":"{url}","protocolBinding":"JSONRPC","protocolVersion":"1.0"}}]}}"#
            );
            let (_, interface) = read(&Replica::at(replica), card.as_bytes()).unwrap();
            assert_eq!(interface.url, expected);
        }
    }
}
