//! Ends of requests that the store did not take are written when it does again.

use bytes::Bytes;
use portcullis_domain::admission::{AnswerRequest, RequestEnd, TakeRequest};
use portcullis_domain::authority::Authority;
use portcullis_domain::digest::Digest;
use portcullis_domain::ids::CallId;
use portcullis_domain::journal::Body;
use portcullis_domain::refusal::Code;
use portcullis_domain::session::{Earlier, Origin, requests};

use crate::journal::conformance::scene::{Step, TurnedClock, session};
use crate::journal::sqlite::tests::embedded::Embedded;
use crate::life::Owed;

fn take(number: u8) -> TakeRequest {
    let session = session("claim-1");
    let mark = requests::mark(&session.owner, "k", Digest::of(b"content"));
    TakeRequest {
        request: CallId([number; 16]),
        authority: Authority::of_key("key-1".parse().unwrap()),
        session,
        origin: Origin::Named,
        session_budget: None,
        mark,
        is_harmless: false,
    }
}

/// What a repetition is told once the store has taken that end: whether it was done before, or why it is refused.
async fn check(end: RequestEnd, expected: Result<Option<bool>, Code>) {
    let (store, clock) = (Embedded::new(), TurnedClock::new());
    let open = |clock| store.open(clock);
    let opened = open(clock.clone());
    for step in [Step::Configure(1_000), Step::Issue(1)] {
        step.run(opened.journal()).await.unwrap();
    }
    assert_eq!(opened.journal().execute(take(1)).await.unwrap(), Ok(None));
    let closed = opened.journal().clone();
    opened.close();
    let owed = Owed::default();
    owed.add_request(AnswerRequest { request: CallId([1; 16]), end: end.clone() });
    owed.pay(&closed).await;
    let opened = open(clock);
    let again = opened.journal().execute(take(2)).await.unwrap();
    assert_eq!(again, Ok(Some(Earlier::Open(CallId([1; 16])))), "{end:?} is not written yet");
    owed.pay(opened.journal()).await;
    let again = opened.journal().execute(take(3)).await.unwrap();
    let is_done = again.map(|earlier| earlier.map(|earlier| matches!(earlier, Earlier::Done(_))));
    assert_eq!(is_done.map_err(|refusal| refusal.code), expected, "{end:?}");
    opened.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_request_is_owed_until_the_store_takes_it() {
    check(RequestEnd::Answered(Body::new(Bytes::from_static(b"answer"))), Ok(Some(true))).await;
    check(RequestEnd::Undone, Ok(None)).await;
    check(RequestEnd::Unknown, Err(Code::OutcomeUnknown)).await;
}
