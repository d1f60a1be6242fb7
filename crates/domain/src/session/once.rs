//! Calls that take effect at most once.
//!
//! A call that may have effects carries a [`Mark`]: what tells it apart from other calls of its session. Whoever gives it an idempotency key
//! (draft-ietf-httpapi-idempotency-key-header) says by the key which call it is. Without a key it is known by its content, and only as long as
//! nobody can have read its answer: who has read it and asks for the same again wants it done again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::call::Capability;
use crate::digest::Digest;
use crate::ids::CallId;
use crate::json;
use crate::refusal::{Code, Refusal};
use crate::time::Timestamp;

/// How many marked calls a session remembers. When there are more, the oldest that has ended is forgotten.
pub const MARKS_LIMIT: usize = 256;
/// How long the answer of a call without a key counts as undelivered when nothing was heard of its delivery, in microseconds: after a crash
/// nobody knows, and a repetition much later is meant as one.
pub const UNHEARD_LIMIT_US: u64 = 15 * 60 * 1_000_000;
/// The longest idempotency key, in bytes.
pub const KEY_LIMIT_BYTES: usize = 255;

/// What tells a call apart from others of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The digest of its idempotency key, or of its content where it has none.
    pub id: Digest,
    /// The digest of what is called with which arguments.
    pub content: Digest,
}

impl Mark {
    /// The mark of a call of `capability` with these arguments, a JSON object of which neither order nor spaces count.
    #[must_use]
    pub fn of(capability: &Capability, arguments: &str, key: Option<&str>) -> Self {
        let plain = json::canonical(arguments).unwrap_or_else(|_| arguments.to_owned());
        let content = Digest::of_parts(&[capability.to_string().as_bytes(), b"\n", plain.as_bytes()]);
        key.map_or(Self { id: content, content }, |key| Self::keyed(content, key))
    }

    /// The mark of a call of that content which has an idempotency key.
    #[must_use]
    pub fn keyed(content: Digest, key: &str) -> Self {
        Self { id: Digest::of_parts(&[b"key\n", key.as_bytes()]), content }
    }

    /// Whether it is known by a key.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.id != self.content
    }
}

/// What is known of a call that may have been made before.
#[derive(Debug, Clone, Default)]
pub struct Repetition {
    /// What tells it apart, if it is to take effect at most once.
    pub mark: Option<Mark>,
    /// Whether it may be made again when nobody knows what became of it: it only reads, or is idempotent.
    pub is_harmless: bool,
    /// Earlier calls of the session whose answers have been handed to their callers.
    pub delivered: Vec<CallId>,
}

/// An earlier call that is the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Earlier {
    /// It is under way.
    Open(CallId),
    /// It was done.
    Done(Done),
}

/// A call that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The call.
    pub call: CallId,
    /// The entry of the session's stream that has the answer as its body.
    pub seq: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Open,
    Done { seq: u64 },
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Marked {
    call: CallId,
    content: Digest,
    /// When it was admitted, and later when it ended.
    at: Timestamp,
    state: State,
}

/// The marked calls of one session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Once {
    marks: BTreeMap<Digest, Marked>,
}

impl Once {
    /// The earlier call that this one is; none when it is new or may be made again. What is read-only or idempotent may be repeated when nobody knows
    /// what became of it.
    ///
    /// # Errors
    ///
    /// [`Code::IdempotencyKeyReused`] when the key was given to another call; [`Code::OutcomeUnknown`].
    pub fn find(&self, mark: Mark, is_harmless: bool, at: Timestamp) -> Result<Option<Earlier>, Refusal> {
        let Some(marked) = self.marks.get(&mark.id) else { return Ok(None) };
        if marked.content != mark.content {
            let message = "this idempotency key was given to a call with another content";
            return Err(Refusal::new(Code::IdempotencyKeyReused, message).about("Idempotency-Key"));
        }
        match marked.state {
            State::Open => Ok(Some(Earlier::Open(marked.call))),
            State::Done { .. } if !mark.has_key() && at.0.saturating_sub(marked.at.0) > UNHEARD_LIMIT_US => Ok(None),
            State::Done { seq } => Ok(Some(Earlier::Done(Done { call: marked.call, seq }))),
            State::Unknown if is_harmless => Ok(None),
            State::Unknown => Err(outcome_unknown(marked.call)),
        }
    }

    /// The mark of a call of which nobody knows whether it took effect.
    #[must_use]
    pub fn unknown(&self, call: CallId) -> Option<Digest> {
        let is_it = |marked: &Marked| marked.call == call && marked.state == State::Unknown;
        self.marks.iter().find(|(_, marked)| is_it(marked)).map(|(id, _)| *id)
    }

    /// The calls of which nobody knows whether they took effect.
    pub fn all_unknown(&self) -> impl Iterator<Item = CallId> {
        self.marks.values().filter(|marked| marked.state == State::Unknown).map(|marked| marked.call)
    }

    /// Takes in that a marked call was admitted.
    pub fn admitted(&mut self, mark: Mark, call: CallId, at: Timestamp) {
        self.marks.insert(mark.id, Marked { call, content: mark.content, at, state: State::Open });
        if self.marks.len() > MARKS_LIMIT {
            let ended = self.marks.iter().filter(|(_, marked)| matches!(marked.state, State::Done { .. }));
            let oldest = ended.min_by_key(|(_, marked)| (marked.at, marked.call)).map(|(id, _)| *id);
            oldest.map(|id| self.marks.remove(&id));
        }
    }

    /// Takes in that the call of that mark was done; the entry of that number has the answer.
    pub fn done(&mut self, mark: Digest, seq: u64, at: Timestamp) {
        self.ended(mark, State::Done { seq }, at);
    }

    /// Takes in that nobody knows what became of the call of that mark.
    pub fn lost(&mut self, mark: Digest, at: Timestamp) {
        self.ended(mark, State::Unknown, at);
    }

    /// Takes in that the call of that mark had no effect: it may be made again.
    pub fn undone(&mut self, mark: Digest) {
        self.marks.remove(&mark);
    }

    /// Takes in that the answer of that call was handed to its caller: without a key, the same content is another call from now on.
    pub fn delivered(&mut self, call: CallId) {
        self.marks.retain(|id, marked| {
            let is_over = marked.call == call && *id == marked.content && matches!(marked.state, State::Done { .. });
            !is_over
        });
    }

    fn ended(&mut self, mark: Digest, state: State, at: Timestamp) {
        if let Some(marked) = self.marks.get_mut(&mark) {
            marked.state = state;
            marked.at = at;
        }
    }
}

/// What the caller reads of a call that must not be made again blindly.
fn outcome_unknown(call: CallId) -> Refusal {
    let message = format!(
        "this call was made before as {call}, and whether it took effect is not known, so it is not made again. Find out \
         by a tool that only reads, or ask a person to resolve it. To run it once more on purpose, give it a new idempotency key"
    );
    Refusal::new(Code::OutcomeUnknown, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Kind;

    const CALL: CallId = CallId([1; 16]);
    const LATER: Timestamp = Timestamp(UNHEARD_LIMIT_US + 11);

    fn mark(arguments: &str, key: Option<&str>) -> Mark {
        Mark::of(&Capability::new(Kind::Tool, "bank__pay"), arguments, key)
    }

    /// What is said of a call after another one was admitted and something happened to it.
    fn check(first: Mark, then: impl Fn(&mut Once), second: Mark, expected: Result<Option<Earlier>, Code>) {
        let mut once = Once::default();
        once.admitted(first, CALL, Timestamp(1));
        then(&mut once);
        assert_eq!(once.find(second, false, Timestamp(20)).map_err(|refusal| refusal.code), expected);
    }

    #[test]
    fn the_order_and_spaces_of_arguments_do_not_count_and_their_values_do() {
        assert_eq!(mark(r#"{"a":1,"b":[ {"d":2, "c":3} ]}"#, None), mark(r#" {"b":[{"c":3,"d":2}],"a":1}"#, None));
        for other in [r#"{"a":1.0}"#, r#"{"a":"1"}"#, r#"{"a":[1]}"#, r#"{"b":1}"#, "{}"] {
            assert_ne!(mark(r#"{"a":1}"#, None).content, mark(other, None).content, "{other}");
        }
        let elsewhere = Mark::of(&Capability::new(Kind::Tool, "bank__refund"), r#"{"a":1}"#, None);
        assert_ne!(mark(r#"{"a":1}"#, None), elsewhere);
    }

    #[test]
    fn a_call_with_a_key_is_made_once_whatever_became_of_it() {
        let keyed = mark("{}", Some("k"));
        let done = Earlier::Done(Done { call: CALL, seq: 7 });
        check(keyed, |_| {}, keyed, Ok(Some(Earlier::Open(CALL))));
        check(keyed, |once| once.done(keyed.id, 7, Timestamp(9)), keyed, Ok(Some(done)));
        check(keyed, |once| once.lost(keyed.id, Timestamp(9)), keyed, Err(Code::OutcomeUnknown));
        check(keyed, |once| once.undone(keyed.id), keyed, Ok(None));
        let delivered = |once: &mut Once| {
            once.done(keyed.id, 7, Timestamp(9));
            once.delivered(CALL);
        };
        check(keyed, delivered, keyed, Ok(Some(done)));
        check(keyed, |_| {}, mark("{}", Some("other")), Ok(None));
        check(keyed, |_| {}, mark("{}", None), Ok(None));
        check(keyed, |_| {}, mark(r#"{"a":1}"#, Some("k")), Err(Code::IdempotencyKeyReused));
    }

    #[test]
    fn a_call_without_a_key_is_the_same_until_its_answer_was_delivered() {
        let plain = mark("{}", None);
        let done = Earlier::Done(Done { call: CALL, seq: 7 });
        check(plain, |once| once.done(plain.id, 7, Timestamp(9)), plain, Ok(Some(done)));
        let delivered = |once: &mut Once| {
            once.done(plain.id, 7, Timestamp(9));
            once.delivered(CALL);
        };
        check(plain, delivered, plain, Ok(None));
        let lost = |once: &mut Once| {
            once.lost(plain.id, Timestamp(9));
            once.delivered(CALL);
        };
        check(plain, lost, plain, Err(Code::OutcomeUnknown));
        let mut once = Once::default();
        once.admitted(plain, CALL, Timestamp(1));
        once.done(plain.id, 7, Timestamp(9));
        assert_eq!(once.find(plain, false, LATER), Ok(None));
        once.lost(plain.id, Timestamp(9));
        assert_eq!(once.find(plain, true, LATER), Ok(None));
        assert_eq!(once.find(plain, false, LATER).unwrap_err().code, Code::OutcomeUnknown);
    }

    #[test]
    fn the_oldest_call_that_has_ended_is_forgotten_first() {
        let mut once = Once::default();
        let of = |number: usize| mark("{}", Some(&number.to_string()));
        let id = |number: usize| CallId(u128::try_from(number).unwrap().to_be_bytes());
        for number in 0..=MARKS_LIMIT {
            once.admitted(of(number), id(number), Timestamp(u64::try_from(number).unwrap()));
            if number == 1 || number == 2 {
                once.done(of(number).id, 1, Timestamp(u64::try_from(number).unwrap()));
            }
        }
        assert_eq!(once.marks.len(), MARKS_LIMIT);
        assert_eq!(once.find(of(0), false, Timestamp(9)), Ok(Some(Earlier::Open(id(0)))));
        assert_eq!(once.find(of(1), false, Timestamp(9)), Ok(None));
        assert!(matches!(once.find(of(2), false, Timestamp(9)), Ok(Some(Earlier::Done(_)))));
    }
}
