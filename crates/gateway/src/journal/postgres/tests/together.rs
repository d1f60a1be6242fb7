//! Two and three gateways at once on one database: as far as anybody can tell it is one journal.

use std::sync::Arc;

use portcullis_domain::identity::Presented;
use portcullis_domain::refusal::Code;
use portcullis_domain::session::Expected;
use portcullis_domain::time::Timestamp;
use tokio::task::JoinSet;

use crate::journal::conformance::scene::{
    Opened as _, START_US, Step, TurnedClock, admit, put, stream, until, whole, world,
};
use crate::journal::postgres::tests::clustered::{Clustered, OpenEngine, PATIENT};
use crate::journal::postgres::tests::load;

const NAMES: [&str; 3] = ["a", "b", "c"];

fn several(store: &Clustered, count: usize) -> Vec<OpenEngine> {
    NAMES[..count].iter().map(|name| store.engine(name, PATIENT, TurnedClock::new()).unwrap()).collect()
}

fn close(engines: Vec<OpenEngine>) {
    // The one that is closed last seals what the others may have left.
    engines.iter().for_each(|opened| opened.engine.close());
    for opened in engines {
        Box::new(opened).close();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_at_several_gateways_never_hold_more_than_is_granted() {
    for count in [2, 3] {
        let Some(store) = Clustered::new() else { return };
        let engines = several(&store, count);
        let first = &engines[0].journal;
        for step in [Step::Configure(1_005), Step::Issue(1)] {
            step.run(first).await.unwrap();
        }
        let mut tasks = JoinSet::new();
        for call in 1..=150_u8 {
            let journal = engines[usize::from(call) % count].journal.clone();
            let name = if call % 3 == 0 { "one" } else { "two" };
            tasks.spawn(async move { journal.execute(admit(call, name, 10)).await.unwrap() });
        }
        let answers = tasks.join_all().await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 100);
        let refused = answers.iter().flat_map(|answer| answer.as_ref().err());
        assert!(refused.into_iter().all(|refusal| refusal.code == Code::BudgetExhausted));
        close(engines);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_several_gateways_do_at_once_is_one_journal() {
    for (count, seed) in [(2, 1_u64), (3, 2), (3, 3)] {
        let Some(store) = Clustered::new() else { return };
        let engines = several(&store, count);
        for step in [Step::Configure(100_000), Step::Issue(1)] {
            step.run(&engines[0].journal).await.unwrap();
        }
        let mut tasks = JoinSet::new();
        for task in 0..6_u64 {
            let journals: Vec<_> = engines.iter().map(|opened| opened.journal.clone()).collect();
            tasks.spawn(async move {
                let mut chance = Chance(seed * 1_000 + task + 1);
                for number in 0..40 {
                    let new_call = u8::try_from(task * 40 + number + 1).unwrap();
                    step(&mut chance, new_call).run(&journals[chance.below(journals.len())]).await.unwrap();
                }
            });
        }
        tasks.join_all().await;
        let mut worlds = Vec::new();
        for opened in &engines {
            worlds.push(world(&opened.journal).await);
        }
        assert!(worlds.windows(2).all(|pair| pair[0] == pair[1]), "seed {seed}");
        close(engines);
    }
}

/// A little generator (xorshift), so that a failure can be repeated.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }
}

fn step(chance: &mut Chance, new_call: u8) -> Step {
    const SESSIONS: [&str; 4] = ["w", "x", "y", "z"];
    let session = SESSIONS[chance.below(SESSIONS.len())];
    let call = u8::try_from(chance.below(240) + 1).unwrap();
    match chance.below(10) {
        0..4 => Step::Admit(new_call, session, 10 + u64::from(new_call)),
        4..7 => Step::Settle(call, 2 * u64::from(call)),
        7 => Step::Put(session, "step", Expected::Anything, "value"),
        8 => Step::Put(session, "notes", Expected::Absent, "value"),
        _ => Step::Issue(2 + call % 4),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_one_gateway_has_acknowledged_all_others_know_at_once() {
    let Some(store) = Clustered::new() else { return };
    let engines = several(&store, 3);
    for version in 1..=30_u64 {
        let at = usize::try_from(version).unwrap();
        let (writer, reader) = (&engines[at % 3].journal, &engines[(at + 1) % 3].journal);
        let expected = if version == 1 { Expected::Absent } else { Expected::Version(version - 1) };
        let value = version.to_string();
        let answer = writer.execute(put("claim-1", "step", expected, &value)).await.unwrap();
        assert_eq!(answer.map(|put| put.version), Ok(version));
        let entries = whole(reader, &stream("claim-1")).await;
        let last = entries.last().unwrap();
        let body = reader.body(&stream("claim-1"), last.position, 0).await.unwrap();
        assert_eq!(body.as_deref(), Some(value.as_bytes()));
        let seen = reader.read(|world| world.session.all().map(|(_, s)| s.scratchpad.clone()).next()).await.unwrap();
        assert_eq!(seen.unwrap().find(&"step".parse().unwrap(), Timestamp::default()).unwrap().version, version);
    }
    close(engines);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gateway_without_work_learns_of_keys_that_another_issues_and_revokes() {
    let Some(store) = Clustered::new() else { return };
    let engines = several(&store, 2);
    let presented = Presented::read(&Presented::issue([7; 6], [8; 32])).unwrap();
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
    let opens = || engines[1].journal.keys().authenticate(&presented, Timestamp(START_US)).is_some();
    assert!(!opens());
    engines[0].journal.execute(create).await.unwrap().unwrap();
    until("the other gateway knows the key", opens).await;
    let revoke = portcullis_domain::admission::RevokeKey {
        by: portcullis_domain::ids::Actor::Gateway,
        key: presented.id.clone(),
    };
    engines[0].journal.execute(revoke).await.unwrap().unwrap();
    until("the other gateway knows that it was revoked", || !opens()).await;
    close(engines);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_nobody_has_signed_yet_is_signed_by_whoever_is_there() {
    let Some(store) = Clustered::new() else { return };
    let engines = several(&store, 2);
    let journals: Vec<_> = engines.iter().map(|opened| opened.journal.clone()).collect();
    let (told, tasks) = load::start(&journals, 4, 10);
    tasks.join_all().await;
    assert_eq!(told.done(), 40);
    let client = Arc::new(store.client().await);
    let mut unsealed = 1_i64;
    let asking = async {
        while unsealed > 0 {
            let row = client.query_one("SELECT position - sealed FROM portcullis.head", &[]).await.unwrap();
            unsealed = row.get(0);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), asking).await.unwrap();
    load::holds(&store, &told).await;
    close(engines);
}
