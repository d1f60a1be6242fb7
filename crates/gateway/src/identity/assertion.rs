//! What the gateway says in its own name to authorization servers: who it is, for whom it asks, and who acts for them. JWTs (RFC 7519, RFC 7523) that live for a minute, are meant
//! for one server, and count for nothing at the gateway itself: it takes back only what says that it is a task token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_domain::ids::{CallId, PrincipalName};
use portcullis_domain::time::Timestamp;
use serde_json::{Value, json};

use crate::identity::signing::SigningKey;

/// How long they live, in seconds.
const LIFE_S: u64 = 60;

/// What all of them are made of.
pub struct Assertions<'a> {
    /// What they are signed with.
    pub key: &'a SigningKey,
    /// What the gateway is called by those who check them.
    pub issuer: &'a str,
    /// The authorization server that they are for.
    pub audience: &'a str,
    /// What time it is.
    pub now: Timestamp,
    /// When the authority ends that they rest on.
    pub ends_at: Option<Timestamp>,
}

impl Assertions<'_> {
    /// Who the gateway is for that server (RFC 7523, section 3).
    #[must_use]
    pub fn client(&self, id: &str, number: CallId) -> String {
        self.written(json!({"iss": id, "sub": id}), number)
    }

    /// For whom it asks: the user, and in `act` the agents who have handed on what they were asked, without the one who asks now.
    #[must_use]
    pub fn subject(&self, owner: &PrincipalName, through: &[PrincipalName], number: CallId) -> String {
        let before = through.split_last().map_or(&[][..], |(_, before)| before);
        let nest = |inner: Option<Value>, agent: &PrincipalName| {
            let mut act = json!({"sub": agent.as_str()});
            if let (Some(inner), Some(members)) = (inner, act.as_object_mut()) {
                members.insert("act".to_owned(), inner);
            }
            Some(act)
        };
        let mut claims = json!({"iss": self.issuer, "sub": owner.as_str()});
        if let (Some(act), Some(members)) = (before.iter().fold(None, nest), claims.as_object_mut()) {
            members.insert("act".to_owned(), act);
        }
        self.written(claims, number)
    }

    /// Who acts now; none where nobody acts for anybody. `chain` has all agents, from the one that was asked first: the user's own token can't say who has handed it on.
    #[must_use]
    pub fn actor(&self, through: &[PrincipalName], number: CallId) -> Option<String> {
        let agent = through.last()?;
        let chain: Vec<&str> = through.iter().map(PrincipalName::as_str).collect();
        Some(self.written(json!({"iss": self.issuer, "sub": agent.as_str(), "chain": chain}), number))
    }

    fn written(&self, mut claims: Value, number: CallId) -> String {
        let now_s = self.now.0 / 1_000_000;
        let end_s = self.ends_at.map_or(u64::MAX, |end| end.0 / 1_000_000).min(now_s.saturating_add(LIFE_S));
        if let Some(members) = claims.as_object_mut() {
            members.insert("aud".to_owned(), json!(self.audience));
            members.insert("jti".to_owned(), json!(number.to_string()));
            members
                .extend([("iat", now_s), ("nbf", now_s), ("exp", end_s)].map(|(name, s)| (name.to_owned(), json!(s))));
        }
        let header = json!({"alg": "EdDSA", "typ": "JWT", "kid": self.key.id()});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", part(&header), part(&claims));
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(self.key.sign(input.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::task::is_task;

    #[test]
    fn the_user_is_the_subject_and_who_acts_now_is_the_actor() {
        let key = SigningKey::new(&[7; 32], 0).unwrap();
        let made = Assertions {
            key: &key,
            issuer: "https://gate",
            audience: "https://login",
            now: Timestamp(1_000_000_000),
            ends_at: Some(Timestamp(1_030_000_000)),
        };
        let claims = |text: &str| {
            assert!(!is_task(text));
            let part = text.split('.').nth(1).unwrap();
            serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        let through: Vec<PrincipalName> = ["planner", "payer"].map(|name| name.parse().unwrap()).to_vec();
        let owner = "ann".parse().unwrap();
        let subject = claims(&made.subject(&owner, &through, CallId([1; 16])));
        assert_eq!((&subject["sub"], &subject["act"]), (&json!("ann"), &json!({"sub": "planner"})));
        assert_eq!((&subject["exp"], &subject["aud"]), (&json!(1_030), &json!("https://login")));
        let actor = claims(&made.actor(&through, CallId([2; 16])).unwrap());
        assert_eq!((&actor["sub"], &actor["chain"]), (&json!("payer"), &json!(["planner", "payer"])));
        assert!(made.actor(&[], CallId([3; 16])).is_none());
        assert_eq!(claims(&made.subject(&owner, &[], CallId([3; 16]))).get("act"), None);
        assert_eq!(claims(&made.client("g", CallId([4; 16])))["iss"], "g");
        let unending = Assertions { ends_at: None, ..made };
        assert_eq!(claims(&unending.client("g", CallId([4; 16])))["exp"], 1_060);
    }
}
