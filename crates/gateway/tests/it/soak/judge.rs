//! What must be so, whatever was killed.

use std::collections::{BTreeMap, HashMap};

use portcullis_domain::event::{Event, Outcome};
use portcullis_domain::journal::Entry;
use portcullis_testkit::oracle::Oracle;
use tokio_postgres::NoTls;

use super::Site;
use super::agent::held;

/// Fails with all that is wrong; says what was found.
pub(super) async fn judge(site: &Site, acknowledged: &BTreeMap<String, u64>) -> String {
    let mut faults = Vec::new();
    lost(site, acknowledged, &mut faults).await;
    let (moves, begun) = stale(site, &mut faults);
    effects(site, acknowledged, &mut faults);
    let unknown = histories(site, acknowledged, &mut faults).await;
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    format!(
        "0 lost acknowledged turns, 0 stale turns of {begun} begun, 0 duplicated effects, all histories as expected; {moves} moves, {unknown} calls whose end nobody saw"
    )
}

/// Every turn that a client was told of is in the session.
async fn lost(site: &Site, acknowledged: &BTreeMap<String, u64>, faults: &mut Vec<String>) {
    for (session, turns) in acknowledged {
        let answer = site.client.get(&format!("/api/v1/sessions/{session}/state/turns")).await.unwrap();
        if answer.text() != turns.to_string() {
            faults.push(format!("{session}: {turns} turns were acknowledged, the session says {}", answer.text()));
        }
    }
}

/// No turn began on a replica after a later placement had begun one, none with a memory of less than was done, and no placement is of two replicas.
fn stale(site: &Site, faults: &mut Vec<String>) -> (u64, usize) {
    let begun = held(&site.notes.turns).clone();
    let mut placements: HashMap<(String, u64), String> = HashMap::new();
    let mut last: HashMap<String, u64> = HashMap::new();
    for turn in &begun {
        let newest = last.entry(turn.session.clone()).or_insert(turn.fence);
        let replica = placements.entry((turn.session.clone(), turn.fence)).or_insert_with(|| turn.replica.clone());
        if turn.fence < *newest || *replica != turn.replica || turn.done + 1 < turn.turn {
            faults.push(format!("stale: {turn:?}, where {newest} is the newest placement and {replica} has this one"));
        }
        *newest = turn.fence.max(*newest);
    }
    let moves = last.values().map(|fence| fence - 1).sum();
    (moves, begun.len())
}

/// The tool has done everything once, and the effects of a session in their order.
fn effects(site: &Site, acknowledged: &BTreeMap<String, u64>, faults: &mut Vec<String>) {
    let mut done: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for id in super::person::done(&site.effects) {
        let (session, turn) = id.split_once('/').unwrap();
        done.entry(session.to_owned()).or_default().push(turn.parse().unwrap());
    }
    for (session, turns) in acknowledged {
        let expected: Vec<u64> = (1..=*turns).collect();
        let found = done.remove(session).unwrap_or_default();
        if found != expected {
            faults.push(format!("{session}: the effects are {found:?}"));
        }
    }
}

/// The journal obeys all laws, and the values that it has of every session are the turns, each once and in order. How many calls ended unseen.
async fn histories(site: &Site, acknowledged: &BTreeMap<String, u64>, faults: &mut Vec<String>) -> usize {
    let (client, connection) = tokio_postgres::connect(&site.fleet.server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let rows = client.query("SELECT position, bytes FROM portcullis.entries ORDER BY position", &[]).await.unwrap();
    let entries: Vec<(u64, Vec<u8>)> =
        rows.iter().map(|row| (u64::try_from(row.get::<_, i64>(0)).unwrap(), row.get(1))).collect();
    let notes = client.query("SELECT note FROM portcullis.checkpoints ORDER BY size", &[]).await.unwrap();
    let notes: Vec<String> = notes.iter().map(|row| row.get(0)).collect();
    if let Err(broken) = Oracle::check(entries.clone(), &notes, &site.fleet.verifier()) {
        faults.extend(broken);
    }
    let mut puts: BTreeMap<String, u64> = BTreeMap::new();
    let mut unknown = 0;
    for (_, bytes) in &entries {
        let entry = Entry::<Event>::decode(bytes).unwrap();
        if let Event::StatePut(put) = &entry.event {
            let count = puts.entry(entry.stream.to_string()).or_default();
            *count += 1;
            if put.version != *count {
                faults.push(format!("{}: value {count} has version {}", entry.stream, put.version));
            }
        }
        if let Event::CallSettled(settled) = &entry.event {
            unknown += usize::from(settled.outcome == Outcome::Unknown);
        }
    }
    for (session, turns) in acknowledged {
        let written = puts.get(&format!("session/ann:{session}")).copied().unwrap_or(0);
        if written != *turns {
            faults.push(format!("{session}: {written} values were written in {turns} turns"));
        }
    }
    unknown
}
