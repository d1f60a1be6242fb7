//! Task tokens: what an agent is handed together with a task, so that whatever it does for the task is done on behalf of everybody who handed it on.
//!
//! A JWT (RFC 7519) signed with the gateway's own key. `sub` is who asked first and `act` who acts for them, the current one outermost (RFC 8693, section 4.1); `sid` is the session, and
//! `cid` what the first one came with, so that the token ends with it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_domain::admission::Admitted;
use portcullis_domain::authority::{Authority, Credential, DEPTH_LIMIT};
use portcullis_domain::ids::{CallId, PrincipalName, SessionId, TaskId};
use portcullis_domain::refusal::Refusal;
use portcullis_domain::scope::Scope;
use portcullis_domain::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::identity::signing::SigningKey;

/// What the header of such a token says that it is.
pub const TYPE: &str = "task+jwt";
/// The one way in which they are signed (RFC 8037).
const ALGORITHM: &str = "EdDSA";
/// The longest text that may be one, in bytes.
pub const TOKEN_LIMIT_BYTES: usize = 16 << 10;
/// The longest life of one, in seconds.
pub const LIFE_LIMIT_S: u64 = super::signing::OVERLAP_S;
/// How far the clocks of two gateways may be apart, in seconds.
const LEEWAY_S: u64 = 5;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskToken {
    /// Its number.
    pub number: CallId,
    /// The session that the task belongs to; its owner is who asked first.
    pub session: SessionId,
    /// On whose authority the task is done. Its last agent is who may use the token.
    pub authority: Authority,
    /// The call by which the task was handed out; none where an agent handed it on by itself.
    pub call: Option<CallId>,
    /// The agent that has asked for it, where that is another one than it is for: it holds the token and is not the one who may use it.
    pub asked_by: Option<PrincipalName>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    aud: String,
    sub: PrincipalName,
    act: Act,
    sid: SessionId,
    cid: Credential,
    jti: CallId,
    iat: u64,
    nbf: u64,
    exp: u64,
    /// When whoever has handed the task on wanted it to end, in the seconds of `exp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<CallId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<Scope>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<TaskId>,
    /// RFC 8693, section 4.3.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<PrincipalName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    under: Option<CallId>,
}

/// Who acts, and through whom.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Act {
    sub: PrincipalName,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Box<Self>>,
}

impl Act {
    fn of(through: &[PrincipalName]) -> Option<Self> {
        let nest = |inner: Option<Self>, sub: &PrincipalName| Some(Self { sub: sub.clone(), act: inner.map(Box::new) });
        through.iter().fold(None, nest)
    }

    /// The agents, from the one that was asked first.
    fn through(self) -> Vec<PrincipalName> {
        let (mut through, mut next) = (Vec::new(), Some(Box::new(self)));
        while let Some(act) = next {
            through.push(act.sub);
            next = act.act;
        }
        through.reverse();
        through
    }
}

/// Whether the text claims to be a task token, and no other kind of credential.
#[must_use]
pub fn is_task(text: &str) -> bool {
    let header = text.split('.').next().filter(|_| text.len() <= TOKEN_LIMIT_BYTES);
    let header = header.and_then(|header| URL_SAFE_NO_PAD.decode(header).ok());
    let header = header.and_then(|header| serde_json::from_slice::<serde_json::Value>(&header).ok());
    header.is_some_and(|header| header.get("typ").and_then(serde_json::Value::as_str) == Some(TYPE))
}

/// When what is handed out now ends: after so many seconds, and no later than what it comes from.
#[must_use]
pub fn expiry(authority: &Authority, now: Timestamp, life_s: u64) -> Timestamp {
    let seconds = (now.0 / 1_000_000).saturating_add(life_s.min(LIFE_LIMIT_S));
    let end = Timestamp(seconds.saturating_mul(1_000_000));
    authority.expires_at.map_or(end, |expiry| expiry.min(end))
}

impl TaskToken {
    /// The token for who is handed an admitted call: it is worth what the call's authority is, with one more on the chain.
    ///
    /// # Errors
    ///
    /// When the chain is as long as it may be.
    pub fn for_call(
        admitted: &Admitted,
        next: &PrincipalName,
        number: CallId,
        now: Timestamp,
        life_s: u64,
    ) -> Result<Self, Refusal> {
        let mut authority = admitted.authority().through(next.clone())?;
        authority.expires_at = Some(expiry(&authority, now, life_s));
        Ok(Self { number, session: admitted.session().clone(), authority, call: Some(admitted.call()), asked_by: None })
    }

    /// The text of the token; none where nobody acts for anybody, or it never ends: then it is no task.
    #[must_use]
    pub fn write(&self, key: &SigningKey, issuer: &str, now: Timestamp) -> Option<String> {
        let now_s = now.0 / 1_000_000;
        let claims = Claims {
            iss: issuer.to_owned(),
            aud: issuer.to_owned(),
            sub: self.session.owner.clone(),
            act: Act::of(&self.authority.through)?,
            sid: self.session.clone(),
            cid: self.authority.credential.clone(),
            jti: self.number,
            iat: now_s,
            nbf: now_s,
            exp: self.authority.expires_at?.0 / 1_000_000,
            until: self.authority.until.map(|until| until.0 / 1_000_000),
            call: self.call,
            scope: self.authority.scope.clone(),
            task: self.authority.task.clone(),
            client_id: self.asked_by.clone(),
            under: self.authority.under,
        };
        let header = Header { alg: ALGORITHM.to_owned(), typ: TYPE.to_owned(), kid: key.id().to_owned() };
        let part = |json: serde_json::Result<Vec<u8>>| json.ok().map(|json| URL_SAFE_NO_PAD.encode(json));
        let input = format!("{}.{}", part(serde_json::to_vec(&header))?, part(serde_json::to_vec(&claims))?);
        let signature = URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes()));
        Some(format!("{input}.{signature}"))
    }

    /// Reads a token that one of these keys has signed for this gateway, and that is valid now. Whether what it names is still there, others know.
    ///
    /// # Errors
    ///
    /// Why it is not taken, for the operator alone.
    pub fn read(
        text: &str,
        issuer: &str,
        key: impl Fn(&str) -> Option<Arc<SigningKey>>,
        now: Timestamp,
    ) -> Result<Self, &'static str> {
        if text.len() > TOKEN_LIMIT_BYTES {
            return Err("it is too long");
        }
        let (input, signature) = text.rsplit_once('.').ok_or("it has no signature")?;
        let (header, claims) = input.split_once('.').ok_or("it has no claims")?;
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "a part of it is no base64url");
        let header: Header = serde_json::from_slice(&decoded(header)?).map_err(|_| "its header can't be read")?;
        if header.alg != ALGORITHM || header.typ != TYPE {
            return Err("it is of another type or algorithm");
        }
        let key = key(&header.kid).ok_or("it names a key that is not, or no more, the gateway's")?;
        if !key.has_signed(input.as_bytes(), &decoded(signature)?) {
            return Err("its signature is not the gateway's");
        }
        let claims: Claims = serde_json::from_slice(&decoded(claims)?).map_err(|_| "its claims can't be read")?;
        claims.taken(issuer, now)
    }
}

impl Claims {
    fn taken(self, issuer: &str, now: Timestamp) -> Result<TaskToken, &'static str> {
        if self.iss != issuer || self.aud != issuer {
            return Err("it was made by or for another gateway");
        }
        let expires_at = Timestamp(self.exp.saturating_mul(1_000_000));
        if now >= expires_at {
            return Err("it has expired");
        }
        if self.nbf > (now.0 / 1_000_000).saturating_add(LEEWAY_S) {
            return Err("it is not valid yet");
        }
        if self.sid.owner != self.sub {
            return Err("its session is another one's");
        }
        let through = self.act.through();
        if through.len() > DEPTH_LIMIT {
            return Err("its chain is too long");
        }
        let (credential, scope, task, under) = (self.cid, self.scope, self.task, self.under);
        let until = self.until.map(|until| Timestamp(until.saturating_mul(1_000_000)));
        let authority = Authority { credential, through, expires_at: Some(expires_at), until, scope, task, under };
        Ok(TaskToken { number: self.jti, session: self.sid, authority, call: self.call, asked_by: self.client_id })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://gate.example.org";
    const NOW: Timestamp = Timestamp(1_000_000_000_000);

    fn key() -> Arc<SigningKey> {
        Arc::new(SigningKey::new(&[7; 32], 0).unwrap())
    }

    fn token() -> TaskToken {
        let mut authority = Authority::of_key("0123456789ab".parse().unwrap());
        authority.through = vec!["planner".parse().unwrap(), "payer".parse().unwrap()];
        authority.expires_at = Some(Timestamp(NOW.0 + 600_000_000));
        TaskToken {
            number: CallId([1; 16]),
            session: "ann:claim-99".parse().unwrap(),
            authority,
            call: Some(CallId([2; 16])),
            asked_by: None,
        }
    }

    fn read(text: &str, issuer: &str, now: Timestamp) -> Result<TaskToken, &'static str> {
        let key = key();
        TaskToken::read(text, issuer, |id| (id == key.id()).then(|| key.clone()), now)
    }

    /// A token of this header and these claims, with a true signature.
    fn signed(header: &serde_json::Value, claims: &serde_json::Value) -> String {
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", part(header), part(claims));
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(key().sign(input.as_bytes())))
    }

    fn parts(text: &str) -> Vec<serde_json::Value> {
        let parts = text.split('.').take(2);
        parts.map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()).collect()
    }

    #[test]
    fn the_current_agent_stands_outermost() {
        let text = token().write(&key(), ISSUER, NOW).unwrap();
        assert!(is_task(&text) && !is_task("pcs_0123456789ab_secret"));
        assert_eq!(read(&text, ISSUER, NOW), Ok(token()));
        let claims = parts(&text).pop().unwrap();
        assert_eq!(claims["act"], json!({"sub": "payer", "act": {"sub": "planner"}}));
        assert_eq!(
            (&claims["sub"], &claims["sid"], &claims["cid"]),
            (&json!("ann"), &json!("ann:claim-99"), &json!("0123456789ab"))
        );
        let narrow = Authority {
            scope: Some("tool/a__*".parse().unwrap()),
            task: Some("t1".parse().unwrap()),
            under: Some(CallId([7; 16])),
            until: Some(Timestamp(NOW.0 + 700_000_000)),
            ..token().authority
        };
        let narrow = TaskToken { authority: narrow, call: None, ..token() };
        assert_eq!(read(&narrow.write(&key(), ISSUER, NOW).unwrap(), ISSUER, NOW), Ok(narrow));
        let nobody = Authority { through: Vec::new(), ..token().authority };
        assert_eq!(TaskToken { authority: nobody, ..token() }.write(&key(), ISSUER, NOW), None);
    }

    #[test]
    fn what_is_not_exactly_what_was_handed_out_is_refused() {
        let text = token().write(&key(), ISSUER, NOW).unwrap();
        // Every character counts.
        for place in 0..text.len() {
            let mut altered = text.clone().into_bytes();
            altered[place] = if altered[place] == b'A' { b'B' } else { b'A' };
            assert!(read(std::str::from_utf8(&altered).unwrap(), ISSUER, NOW).is_err(), "{place}");
        }
        for altered in [
            String::new(),
            format!("{text}="),
            format!("{text}."),
            format!(" {text}"),
            text[..text.len() - 1].to_owned(),
        ] {
            assert!(read(&altered, ISSUER, NOW).is_err(), "{altered}");
        }
        let other = SigningKey::new(&[7; 32], 1).unwrap();
        assert!(read(&token().write(&other, ISSUER, NOW).unwrap(), ISSUER, NOW).is_err());
        assert!(read(&text, "https://other.example.org", NOW).is_err());
        assert!(read(&text, ISSUER, Timestamp(NOW.0 + 600_000_000)).is_err());
        assert!(read(&text, ISSUER, Timestamp(NOW.0 + 599_999_999)).is_ok());
        assert!(read(&text, ISSUER, Timestamp(NOW.0 - 10_000_000)).is_err());
    }

    #[test]
    fn a_signature_alone_does_not_make_a_task_token() {
        let parts = parts(&token().write(&key(), ISSUER, NOW).unwrap());
        let (header, claims) = (&parts[0], &parts[1]);
        assert!(read(&signed(header, claims), ISSUER, NOW).is_ok());
        let with = |object: &serde_json::Value, name: &str, value: serde_json::Value| {
            let mut object = object.clone();
            object[name] = value;
            object
        };
        for (name, value) in [
            ("alg", json!("none")),
            ("alg", json!("HS256")),
            ("typ", json!("JWT")),
            ("kid", json!("x")),
            ("crit", json!(["b64"])),
        ] {
            assert!(read(&signed(&with(header, name, value), claims), ISSUER, NOW).is_err(), "{name}");
        }
        let deep = (0..=DEPTH_LIMIT).fold(json!({"sub": "a"}), |inner, _| json!({"sub": "a", "act": inner}));
        for (name, value) in [
            ("aud", json!("https://other.example.org")),
            ("aud", json!([ISSUER])),
            ("iss", json!("")),
            ("sub", json!("bob")),
            ("act", json!(null)),
            ("act", deep),
            ("sid", json!("bob:claim-99")),
            ("admin", json!(true)),
            ("exp", json!(-1)),
        ] {
            assert!(read(&signed(header, &with(claims, name, value)), ISSUER, NOW).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_handed_on_ends_no_later_than_what_it_comes_from() {
        let authority = token().authority;
        assert_eq!(expiry(&authority, NOW, 60).0, NOW.0 + 60_000_000);
        assert_eq!(expiry(&authority, NOW, 6_000).0, NOW.0 + 600_000_000);
        assert_eq!(expiry(&authority.lasting(), NOW, u64::MAX).0, NOW.0 + LIFE_LIMIT_S * 1_000_000);
    }
}
