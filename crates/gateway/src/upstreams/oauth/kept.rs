//! Tokens that were given, as long as they may be used: in memory only, and asked for once however many calls need one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;
use portcullis_domain::authority::Authority;
use portcullis_domain::digest::Digest;
use portcullis_domain::ids::PrincipalName;
use portcullis_domain::time::Timestamp;

/// How many tokens are kept.
const TOKENS_LIMIT: usize = 4 << 10;
/// How long before its end a token is not used any more, in seconds: it must not end on its way.
const MARGIN_S: u64 = 5;
/// The longest that a token is kept, in seconds, whatever its issuer says.
const KEPT_LIMIT_S: u64 = 3_600;

/// A token for an upstream.
#[derive(Clone)]
pub struct Kept {
    /// What is sent as `Authorization`; marked as sensitive, so that nothing prints it.
    pub authorization: HeaderValue,
    /// Until when it is used.
    pub ends_at: Timestamp,
}

/// On whose behalf a token was given; none for the gateway's own.
pub type OnBehalf = Option<(PrincipalName, Authority)>;

/// All that are kept.
#[derive(Default)]
pub struct Tokens {
    /// By what they were asked for. Locked to look up and to change, never across a wait.
    slots: Mutex<HashMap<Digest, Arc<Slot>>>,
}

struct Slot {
    on_behalf: OnBehalf,
    /// Held while the token is asked for, so that others wait for it.
    held: tokio::sync::Mutex<Held>,
}

#[derive(Default)]
struct Held {
    token: Option<Kept>,
    /// When it was last asked for in vain, and why.
    failed: Option<(Timestamp, String)>,
}

/// Until when a token is used that lives so long: a little less, and no longer than the authority that it was given on.
#[must_use]
pub fn end(now: Timestamp, life_s: u64, authority: Option<&Authority>) -> Timestamp {
    // Of one that lives for moments only, all but the last second.
    let used_s = if life_s > 2 * MARGIN_S { life_s - MARGIN_S } else { life_s.saturating_sub(1).max(1) };
    let end = Timestamp(now.0.saturating_add(used_s.min(KEPT_LIMIT_S).saturating_mul(1_000_000)));
    authority.and_then(|authority| authority.expires_at).map_or(end, |expiry| expiry.min(end))
}

impl Tokens {
    /// The token that was kept under this, or that is made now. Whoever waits while it is made in vain gets the same reason.
    ///
    /// # Errors
    ///
    /// Why it can't be made.
    pub async fn find(
        &self,
        key: Digest,
        on_behalf: OnBehalf,
        now: impl Fn() -> Timestamp,
        make: impl Future<Output = Result<Kept, String>>,
    ) -> Result<Kept, String> {
        let asked_at = now();
        let slot = self.slot(key, on_behalf, asked_at);
        let mut held = slot.held.lock().await;
        if let Some(token) = held.token.as_ref().filter(|token| now() < token.ends_at) {
            return Ok(token.clone());
        }
        if let Some((_, problem)) = held.failed.as_ref().filter(|(at, _)| *at > asked_at) {
            return Err(problem.clone());
        }
        let made = make.await;
        held.token = made.as_ref().ok().cloned();
        held.failed = made.as_ref().err().map(|problem| (now(), problem.clone()));
        made
    }

    /// The upstream does not take this one: it is not used again.
    pub async fn forget(&self, key: &Digest, refused: &HeaderValue) {
        let slot = self.lock().get(key).cloned();
        let Some(slot) = slot else { return };
        let mut held = slot.held.lock().await;
        if held.token.as_ref().is_some_and(|token| token.authorization == *refused) {
            held.token = None;
        }
    }

    /// Drops those that were given on behalf of somebody for whom this does not hold any more.
    pub fn keep_only(&self, goes_on: impl Fn(&PrincipalName, &Authority) -> bool) {
        let holds = |slot: &Slot| slot.on_behalf.as_ref().is_none_or(|(owner, authority)| goes_on(owner, authority));
        self.lock().retain(|_, slot| holds(slot));
    }

    fn slot(&self, key: Digest, on_behalf: OnBehalf, now: Timestamp) -> Arc<Slot> {
        let mut slots = self.lock();
        if slots.len() >= TOKENS_LIMIT && !slots.contains_key(&key) {
            // Those that are being made are kept by who makes them.
            let is_good = |slot: &Slot| {
                let held = slot.held.try_lock();
                held.map_or(true, |held| held.token.as_ref().is_some_and(|token| now < token.ends_at))
            };
            slots.retain(|_, slot| is_good(slot));
            if slots.len() >= TOKENS_LIMIT {
                slots.clear();
            }
        }
        let new = || Arc::new(Slot { on_behalf, held: tokio::sync::Mutex::default() });
        slots.entry(key).or_insert_with(new).clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use super::*;

    fn authority(expires_at: Option<u64>) -> Authority {
        let expires_at = expires_at.map(|seconds| Timestamp(seconds * 1_000_000));
        Authority { expires_at, ..Authority::of_key("0123456789ab".parse().unwrap()) }
    }

    fn kept(ends_at: u64) -> Kept {
        Kept { authorization: HeaderValue::from_static("Bearer t"), ends_at: Timestamp(ends_at) }
    }

    #[test]
    fn a_token_is_used_for_no_longer_than_the_authority_that_it_was_given_on() {
        let check = |life_s, expires_at, expected_s: u64| {
            let authority = authority(expires_at);
            assert_eq!(
                end(Timestamp(0), life_s, Some(&authority)).0,
                expected_s * 1_000_000,
                "{life_s} {expires_at:?}"
            );
        };
        check(300, None, 295);
        check(300, Some(60), 60);
        check(300, Some(600), 295);
        check(u64::MAX, None, KEPT_LIMIT_S);
        check(2, None, 1);
        check(1, None, 1);
    }

    #[tokio::test]
    async fn however_many_calls_need_a_token_it_is_asked_for_once() {
        let (tokens, made, clock) = (Tokens::default(), AtomicUsize::new(0), AtomicU64::new(0));
        let now = || Timestamp(clock.fetch_add(1, Ordering::SeqCst));
        let made_by = &made;
        let find = |ends_at: Option<u64>| {
            tokens.find(Digest::of(b"k"), Some(("ann".parse().unwrap(), authority(None))), now, async move {
                made_by.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                ends_at.map(kept).ok_or_else(|| "away".to_owned())
            })
        };
        let all = tokio::join!(find(None), find(None), find(None));
        assert!(all.0.is_err() && all.1.is_err() && all.2.is_err());
        assert_eq!(made.swap(0, Ordering::SeqCst), 1, "whoever waited hears the same");
        let all = tokio::join!(find(Some(1_000)), find(Some(1_000)), find(Some(1_000)));
        assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok() && find(None).await.is_ok());
        assert_eq!(made.swap(0, Ordering::SeqCst), 1);
        clock.store(1_000, Ordering::SeqCst);
        assert!(find(Some(2_000)).await.is_ok());
        assert_eq!(made.swap(0, Ordering::SeqCst), 1, "what has ended is not used");
        tokens.forget(&Digest::of(b"k"), &HeaderValue::from_static("Bearer other")).await;
        assert!(find(None).await.is_ok());
        tokens.forget(&Digest::of(b"k"), &HeaderValue::from_static("Bearer t")).await;
        assert!(find(None).await.is_err());
        assert!(find(Some(9_000)).await.is_ok());
        tokens.keep_only(|owner, _| owner.as_str() != "ann");
        assert!(find(None).await.is_err(), "what was given for somebody who may not act is dropped");
    }

    #[tokio::test]
    async fn there_are_never_more_than_so_many() {
        let tokens = Tokens::default();
        for number in 0..=TOKENS_LIMIT {
            let key = Digest::of(&number.to_be_bytes());
            let found = tokens.find(key, None, || Timestamp(0), async { Ok(kept(1_000)) }).await;
            assert!(found.is_ok());
        }
        assert!(tokens.lock().len() <= TOKENS_LIMIT);
    }
}
