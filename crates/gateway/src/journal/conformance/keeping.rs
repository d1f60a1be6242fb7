//! What was acknowledged is kept.

use portcullis_domain::admission::Recover;
use portcullis_domain::identity::Presented;
use portcullis_domain::time::Timestamp;

use crate::journal::conformance::scene::{Opener, START_US, Seen, Step, TurnedClock, WORKLOAD, world};
use crate::journal::fault::StoreFault;

pub(crate) async fn what_was_acknowledged_is_there_after_reopening(open: Opener<'_>) {
    let clock = TurnedClock::new();
    let mut before = None;
    // Opened anew for every step: whatever stands between two steps survives.
    for step in WORKLOAD {
        let opened = open(clock.clone());
        if let Some(before) = before {
            assert_eq!(Seen::of(opened.journal()).await, before, "before {step:?}");
        }
        step.run(opened.journal()).await.unwrap();
        clock.advance(300_000);
        before = Some(Seen::of(opened.journal()).await);
        opened.close();
    }
    assert_eq!(Seen::of(open(clock).journal()).await, before.unwrap());
}

pub(crate) async fn opening_changes_nothing(open: Opener<'_>) {
    let clock = TurnedClock::new();
    let opened = open(clock.clone());
    for step in WORKLOAD {
        step.run(opened.journal()).await.unwrap();
    }
    let before = Seen::of(opened.journal()).await;
    opened.close();
    for _ in 0..3 {
        clock.advance(10_000_000);
        let opened = open(clock.clone());
        assert_eq!(Seen::of(opened.journal()).await, before);
        opened.close();
    }
}

pub(crate) async fn calls_in_flight_are_settled_after_reopening(open: Opener<'_>) {
    let opened = open(TurnedClock::new());
    for step in WORKLOAD {
        step.run(opened.journal()).await.unwrap();
    }
    opened.close();
    let opened = open(TurnedClock::new());
    assert_eq!(opened.journal().execute(Recover).await.unwrap(), 1);
    assert_eq!(opened.journal().execute(Recover).await.unwrap(), 0);
    let held = |world: &portcullis_domain::world::World| {
        (world.open_calls.len(), world.ledger.balances().map(|(_, balance)| balance.held.nanos()).sum::<u64>())
    };
    assert_eq!(opened.journal().read(held).await.unwrap(), (0, 0));
    opened.close();
}

pub(crate) async fn keys_are_those_of_the_last_durable_entry(open: Opener<'_>) {
    let text = Presented::issue([7; 6], [8; 32]);
    let presented = Presented::read(&text).unwrap();
    let create = portcullis_domain::admission::CreateKey {
        by: portcullis_domain::ids::Actor::Gateway,
        key: portcullis_domain::identity::event::KeyCreated {
            key: presented.id.clone(),
            principal: "ann".parse().unwrap(),
            secret: presented.secret,
            expires_at: None,
            scope: portcullis_domain::identity::Scope::default(),
        },
    };
    let opened = open(TurnedClock::new());
    let opens =
        |journal: &crate::journal::Journal| journal.keys().authenticate(&presented, Timestamp(START_US)).is_some();
    assert!(!opens(opened.journal()));
    opened.journal().execute(create).await.unwrap().unwrap();
    assert!(opens(opened.journal()));
    opened.close();
    let opened = open(TurnedClock::new());
    assert!(opens(opened.journal()));
    let revoke = portcullis_domain::admission::RevokeKey {
        by: portcullis_domain::ids::Actor::Gateway,
        key: presented.id.clone(),
    };
    opened.journal().execute(revoke).await.unwrap().unwrap();
    assert!(!opens(opened.journal()));
    opened.close();
}

pub(crate) async fn nothing_is_taken_after_the_end(open: Opener<'_>) {
    let opened = open(TurnedClock::new());
    Step::Issue(1).run(opened.journal()).await.unwrap();
    let (journal, before) = (opened.journal().clone(), world(opened.journal()).await);
    opened.close();
    assert!(matches!(Step::Open("claim-2").run(&journal).await, Err(StoreFault::Closed)));
    let opened = open(TurnedClock::new());
    assert_eq!(world(opened.journal()).await, before);
    opened.close();
}
