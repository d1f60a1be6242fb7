//! What is measured before anything is killed, and once nothing is any more. These are figures of this machine and this build, to be compared with one another; nothing is asserted of them.

use std::collections::BTreeMap;
use std::time::Duration;

use portcullis_testkit::process::wait_until;
use serde_json::json;
use tokio::task::JoinSet;

use super::agent::{held, now};
use super::clients::ask;
use super::{AGENT, Site};
use crate::gateway::{LIMIT, processor_ticks};

/// How many sessions are opened at a time.
const OPENED_LIMIT: usize = 32;
/// How many ticks of the processor's clock there are in a second (`USER_HZ`, which is 100 on every Linux).
const TICKS_PER_S: f64 = 100.0;

pub(super) async fn measure(site: &mut Site, acknowledged: &BTreeMap<String, u64>) {
    let turns: Vec<(String, u64)> = acknowledged.iter().map(|(session, turns)| (session.clone(), turns + 1)).collect();
    let before = ticks(site);
    let (took, fences) = round(site, &turns).await;
    let count = f64::from(u32::try_from(turns.len()).unwrap());
    let used = f64::from(u32::try_from(ticks(site) - before).unwrap()) / TICKS_PER_S;
    eprintln!(
        "a turn with a tool call and a value: {:.1} ms of processor time of all gateways, {:.0} turns/s",
        used * 1e3 / count,
        count / took.as_secs_f64()
    );
    // Two of three replicas die for good: their sessions are resumed by the third.
    site.replicas[0].kill();
    site.replicas[1].kill();
    let next: Vec<_> = turns.iter().map(|(session, turn)| (session.clone(), turn + 1)).collect();
    let (took, moved) = round(site, &next).await;
    let resumed = moved.iter().filter(|(session, fence)| fences.get(*session) != Some(*fence)).count();
    let rate = f64::from(u32::try_from(resumed).unwrap()) / took.as_secs_f64();
    eprintln!("{resumed} sessions resumed on another replica, {rate:.0}/s, beside those that stayed");
    deliveries(site, acknowledged).await;
}

/// One turn of every session at once: how long it took, and which placements served it.
async fn round(site: &Site, turns: &[(String, u64)]) -> (Duration, BTreeMap<String, u64>) {
    let begun = now();
    let mut asked = JoinSet::new();
    for (session, turn) in turns.iter().cloned() {
        let (client, person) = (site.client.clone(), site.person.clone());
        asked.spawn(async move {
            let fence = ask(&client, &person, &session, turn).await;
            (session, fence)
        });
    }
    let fences = asked.join_all().await.into_iter().collect();
    (begun.elapsed(), fences)
}

async fn deliveries(site: &Site, acknowledged: &BTreeMap<String, u64>) {
    let mut sent = BTreeMap::new();
    for session in acknowledged.keys() {
        let wanted = json!({"name": "letter", "for": "a letter", "timeout_s": 600, "deliver": {"agent": AGENT, "path": "/resume"}});
        let answer = site.client.post(&format!("/api/v1/sessions/{session}/waits"), &wanted).await.unwrap();
        let url = answer.json()["event_url"].as_str().unwrap().to_owned();
        let token = url.split_once("/events/").unwrap().1;
        let answer = site.client.post(&format!("/events/{token}"), &json!({})).await.unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text());
        sent.insert(format!("ann:{session}/letter"), now());
    }
    let told = || async { held(&site.notes.told).iter().filter(|(delivery, _)| sent.contains_key(delivery)).count() };
    wait_until("all is told", LIMIT, || async { told().await >= sent.len() }).await.unwrap();
    let notes = held(&site.notes.told).clone();
    let mut took: Vec<Duration> =
        notes.iter().filter_map(|(delivery, at)| Some(at.saturating_duration_since(*sent.get(delivery)?))).collect();
    took.sort();
    let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)].as_secs_f64() * 1e3;
    eprintln!(
        "from the acknowledged event to the agent: p50 {:.0} ms, p99 {:.0} ms, of {}",
        at(50),
        at(99),
        took.len()
    );
}

/// What sessions take that do nothing. Measured before anything else happens: later, what was freed before is used first. With few of them nothing is seen either.
pub(super) async fn idle(site: &Site, count: usize) {
    let before = resident(site);
    let mut openers = JoinSet::new();
    for first in 0..OPENED_LIMIT.min(count) {
        let client = site.client.clone();
        openers.spawn(async move {
            for number in (first..count).step_by(OPENED_LIMIT) {
                let wanted = json!({"name": format!("idle-{number}")});
                let answer = client.post("/api/v1/sessions", &wanted).await.unwrap();
                assert!(answer.status < 300, "{}", answer.text());
            }
        });
    }
    openers.join_all().await;
    let grown = resident(site).saturating_sub(before);
    let gateways = u64::try_from(site.fleet.members.len()).unwrap();
    let each = grown * 1024 / gateways / u64::try_from(count.max(1)).unwrap();
    eprintln!("an idle session: {each} bytes of memory in each gateway (VmRSS, over {count} sessions)");
}

/// Processor time of all gateways so far, in ticks.
fn ticks(site: &Site) -> u64 {
    site.fleet.members.iter().map(|member| processor_ticks(member.process.id())).sum()
}

/// Memory of all gateways, in KiB.
fn resident(site: &Site) -> u64 {
    let of = |id: u32| {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    site.fleet.members.iter().map(|member| of(member.process.id())).sum()
}
