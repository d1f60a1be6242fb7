//! The verdict: notes, effects and journal held against one another, while no call is under way.

use std::collections::{HashMap, HashSet};

use portcullis_domain::digest::Digest;
use portcullis_domain::event::Outcome;
use portcullis_domain::refusal::Code;
use portcullis_domain::session::Status;
use portcullis_testkit::http::Client;
use portcullis_testkit::oracle::Derived;
use serde_json::Value;

use super::journal::{Index, Stored, effects_in, requests_in};
use super::notes::{ChatNote, Heard, Notes, Revoked, ToolNote};
use super::site::Site;

/// How many histories of the last round are read.
const HISTORIES: usize = 4;
/// How many of the last keys are tried.
const KEYS: usize = 12;

/// What is wrong, by what it breaks.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Callers were told of it, and it is not there.
    pub(super) missing: Vec<String>,
    /// It happened more often than it was asked for.
    pub(super) twice: Vec<String>,
    /// Everything else.
    pub(super) unlawful: Vec<String>,
    /// How many traces tools have left.
    pub(super) effects: usize,
    /// How many entries there are.
    pub(super) entries: u64,
    /// How many calls nobody knows the outcome of.
    pub(super) unknown: usize,
}

/// What was there when it was judged last.
#[derive(Debug, Default)]
pub(super) struct Judge {
    entries: Vec<Digest>,
    checkpoints: Vec<String>,
}

impl Judge {
    /// Judges what is on disk. No gateway may work meanwhile; one that waits for calls may run.
    pub(super) fn judge(&mut self, site: &Site, notes: &Notes) -> (Verdict, Option<Derived>) {
        let mut verdict = Verdict { unlawful: notes.wrong.clone(), ..Verdict::default() };
        let derived = match self.read(site, notes, &mut verdict) {
            Ok(derived) => Some(derived),
            Err(mut problems) => {
                verdict.unlawful.append(&mut problems);
                None
            }
        };
        (verdict, derived)
    }

    fn read(&mut self, site: &Site, notes: &Notes, verdict: &mut Verdict) -> Result<Derived, Vec<String>> {
        let one = |problem: String| vec![problem];
        let data = site.file("data");
        // Effects before entries: whatever had an effect by now must have its entry by then.
        let effects = effects_in(site.folder()).map_err(one)?;
        let requests = requests_in(site.folder()).map_err(one)?;
        let stored = Stored::read(&data).map_err(|error| one(error.to_string()))?;
        let derived = stored.derive(&data)?;
        let index = Index::of(&stored).map_err(one)?;
        verdict.effects = effects.values().sum();
        verdict.entries = derived.entries;
        verdict.unknown = derived.settled.values().filter(|outcome| **outcome == Outcome::Unknown).count();
        self.continued(&stored, verdict);
        settled(&derived, verdict);
        tools(notes, &effects, &index, &derived, verdict);
        models(&requests, &index, verdict);
        told(notes, &index, &derived, verdict);
        Ok(derived)
    }

    /// What was there before stands there still, and in the same place.
    fn continued(&mut self, stored: &Stored, verdict: &mut Verdict) {
        let entries: Vec<Digest> = stored.entries.iter().map(|(_, bytes)| Digest::of(bytes)).collect();
        if !entries.starts_with(&self.entries) {
            verdict.missing.push("entries that were there before are gone or others".to_owned());
        }
        if !stored.checkpoints.starts_with(&self.checkpoints) {
            verdict.missing.push("checkpoints that were published before are gone or others".to_owned());
        }
        (self.entries, self.checkpoints) = (entries, stored.checkpoints.clone());
    }
}

/// No call is open and nothing is held.
fn settled(derived: &Derived, verdict: &mut Verdict) {
    for call in derived.admitted.iter().filter(|call| !derived.settled.contains_key(call)) {
        verdict.unlawful.push(format!("call {call} is still open"));
    }
    for (account, balance) in derived.world.ledger.balances() {
        if balance.held.nanos() > 0 {
            verdict.unlawful.push(format!("`{account}` still holds {}", balance.held));
        }
        if balance.granted.is_some_and(|granted| balance.held.plus(balance.spent) > granted) {
            verdict.unlawful.push(format!("`{account}` has spent {}, more than it was granted", balance.spent));
        }
    }
}

type Effects = HashMap<(&'static str, String), usize>;

fn tools(notes: &Notes, effects: &Effects, index: &Index, derived: &Derived, verdict: &mut Verdict) {
    let sent: HashSet<(&str, &str)> = notes.tools.values().map(|note| (note.server, note.id.as_str())).collect();
    for (server, id) in effects.keys().filter(|(server, id)| !sent.contains(&(*server, id.as_str()))) {
        verdict.unlawful.push(format!("{server} did `{id}`, which nobody has asked for"));
    }
    for (digest, note) in &notes.tools {
        let ran = effects.get(&(note.server, note.id.clone())).copied().unwrap_or(0);
        tool(note, ran, digest, index, derived, verdict);
    }
}

fn tool(note: &ToolNote, ran: usize, digest: &Digest, index: &Index, derived: &Derived, verdict: &mut Verdict) {
    let name = format!("`{}` of {}", note.id, note.server);
    let admitted = index.admitted.get(digest).map_or(&[][..], Vec::as_slice);
    let outcome = admitted.first().and_then(|call| derived.settled.get(call)).copied();
    let is_denied = index.refused.get(digest).is_some_and(|codes| codes.contains(&Code::Denied));
    if ran > 1 {
        verdict.twice.push(format!("{name} ran {ran} times"));
    }
    if admitted.len() > 1 {
        verdict.twice.push(format!("{name} was sent once and admitted {} times", admitted.len()));
    }
    if ran > 0 && admitted.is_empty() {
        verdict.unlawful.push(format!("{name} ran and was never admitted"));
    }
    match note.heard {
        Heard::Nothing => {}
        Heard::Done if outcome == Some(Outcome::Completed) && ran == 1 => {}
        Heard::Done => {
            verdict.missing.push(format!("{name} was answered: its entry says {outcome:?}, and it ran {ran} times"));
        }
        Heard::Denied if is_denied && ran == 0 => {}
        Heard::Denied => verdict.missing.push(format!("{name} was denied: no entry says so, or it ran ({ran} times)")),
    }
    // What the record says of the outcome is true, also for those who were told nothing.
    match outcome {
        Some(Outcome::Completed) if ran == 0 => verdict.unlawful.push(format!("{name} is completed and did not run")),
        Some(Outcome::Failed) => {
            verdict.unlawful.push(format!("{name} has failed ({ran} times done), and its server never does"))
        }
        _ => {}
    }
}

/// The model got nothing that was not admitted, and nothing more often than it was.
fn models(requests: &HashMap<Digest, usize>, index: &Index, verdict: &mut Verdict) {
    for (digest, count) in requests {
        match index.admitted.get(digest).map_or(0, Vec::len) {
            0 => verdict.unlawful.push(format!("the model got a request that was never admitted: {digest}")),
            admitted if admitted < *count => {
                verdict.twice.push(format!("the model got a request {count} times and {admitted} were admitted"));
            }
            _ => {}
        }
    }
}

fn told(notes: &Notes, index: &Index, derived: &Derived, verdict: &mut Verdict) {
    let world = &derived.world;
    for note in &notes.chats {
        let outcome = derived.settled.get(&note.call);
        if outcome != Some(&Outcome::Completed) {
            verdict.missing.push(format!("completion {} was answered, and its entry says {outcome:?}", note.call));
        }
        if world.session.find(&note.session).is_none() {
            verdict.missing.push(format!("session {} was told of and is not there", note.session));
        }
    }
    for note in &notes.values {
        let place = (note.session.clone(), note.key.clone(), note.version);
        if index.values.get(&place) != Some(&note.digest) {
            verdict.missing.push(format!("version {} of `{}` in {} is missing", note.version, note.key, note.session));
        }
    }
    for note in &notes.keys {
        let key = note.id.parse().ok().and_then(|id| world.identity.find(&id).cloned());
        let is_revoked = key.as_ref().map(|key| key.revoked_at.is_some());
        let is_so = match note.is_revoked {
            Revoked::No => is_revoked == Some(false),
            Revoked::Perhaps => is_revoked.is_some(),
            Revoked::Yes => is_revoked == Some(true),
        };
        if !is_so {
            verdict
                .missing
                .push(format!("key {} was {:?} taken back; in the journal: {is_revoked:?}", note.id, note.is_revoked));
        }
    }
    for session in &notes.closed {
        if world.session.find(session).map(|found| found.status) != Some(Status::Closed) {
            verdict.missing.push(format!("session {session} was closed and is not"));
        }
    }
}

/// What a gateway that waits for calls says by itself: that it knows what the journal says, and that callers get back what they were told.
pub(super) async fn ask(site: &Site, notes: Notes, derived: &Derived, verdict: &mut Verdict) {
    let asked = [
        sessions(&site.admin(), derived).await,
        balances(&site.admin(), derived).await,
        histories(&site.admin(), &notes.chats).await,
        values(&site.admin(), &notes).await,
        keys(site, &notes).await,
    ];
    for asked in asked {
        match asked {
            Ok(mut problems) => verdict.missing.append(&mut problems),
            Err(problem) => verdict.unlawful.push(problem),
        }
    }
}

async fn get(client: &Client, path: &str) -> Result<Value, String> {
    let answer = client.get(path).await.and_then(portcullis_testkit::http::Answer::accepted);
    answer.map(|answer| answer.json()).map_err(|failure| format!("GET {path}: {failure}"))
}

/// Invariant 5: the live state is the one that the journal gives.
async fn sessions(admin: &Client, derived: &Derived) -> Result<Vec<String>, String> {
    let mut told = HashMap::new();
    let mut after = String::new();
    loop {
        let page = get(admin, &format!("/api/v1/sessions?after={after}")).await?;
        let page = page["sessions"].as_array().cloned().unwrap_or_default();
        let Some(last) = page.last() else { break };
        last["id"].as_str().unwrap_or_default().clone_into(&mut after);
        told.extend(page.into_iter().map(|session| (session["id"].as_str().unwrap_or_default().to_owned(), session)));
    }
    let mut problems = Vec::new();
    for (id, session) in derived.world.session.all() {
        let status = serde_json::to_value(session.status).unwrap_or_default();
        let expected = (Some(&status), Some(session.calls), Some(session.refused));
        let found = told.remove(&id.to_string()).unwrap_or_default();
        if (found.get("status"), found["calls"].as_u64(), found["refused"].as_u64()) != expected {
            problems.push(format!("session {id}: the journal says {expected:?} and the gateway {found}"));
        }
    }
    problems.extend(told.keys().map(|id| format!("session {id} is known to the gateway alone")));
    Ok(problems)
}

/// The same for money.
async fn balances(admin: &Client, derived: &Derived) -> Result<Vec<String>, String> {
    let told = get(admin, "/api/v1/ledger/accounts").await?;
    let number = |account: &Value, name: &str| account[name].as_u64();
    let told = told["accounts"].as_array().into_iter().flatten().map(|account| {
        let amounts = ["granted_nanodollars", "held_nanodollars", "spent_nanodollars"];
        (account["account"].as_str().unwrap_or_default().to_owned(), amounts.map(|name| number(account, name)))
    });
    let mut told: Vec<_> = told.collect();
    let known = derived.world.ledger.balances().map(|(account, balance)| {
        let granted = balance.granted.map(|granted| granted.nanos());
        (account.to_string(), [granted, Some(balance.held.nanos()), Some(balance.spent.nanos())])
    });
    let mut known: Vec<_> = known.collect();
    told.sort();
    known.sort();
    let differs = known.iter().zip(&told).find(|(known, told)| known != told);
    let is_same = differs.is_none() && known.len() == told.len();
    Ok(if is_same { Vec::new() } else { vec![format!("accounts: the journal and the gateway differ: {differs:?}")] })
}

/// Sessions of the last round have what was said in them.
async fn histories(admin: &Client, chats: &[ChatNote]) -> Result<Vec<String>, String> {
    let last = chats.iter().map(|note| note.round).max();
    let mut problems = Vec::new();
    let mut looked_at = HashSet::new();
    for note in
        chats.iter().filter(|note| Some(note.round) == last && !note.session.name.as_str().starts_with("common"))
    {
        if looked_at.contains(&note.session) || looked_at.len() >= HISTORIES {
            continue;
        }
        looked_at.insert(note.session.clone());
        let history = get(admin, &format!("/api/v1/sessions/{}/history", note.session)).await?;
        let said: Vec<&str> = history["messages"].as_array().into_iter().flatten().filter_map(spoken).collect();
        let expected =
            chats.iter().filter(|other| other.session == note.session).filter_map(|other| other.marker.as_deref());
        let missing = expected.filter(|marker| !said.contains(marker));
        problems.extend(missing.map(|marker| format!("the history of {} does not have `{marker}`", note.session)));
    }
    Ok(problems)
}

/// The first line of what the model said.
fn spoken(message: &Value) -> Option<&str> {
    message["content"].as_str().filter(|_| message["role"] == "assistant").and_then(|text| text.lines().next())
}

/// The last version that was told of a value is there, or a later one whose writer was told nothing.
async fn values(admin: &Client, notes: &Notes) -> Result<Vec<String>, String> {
    let mut last = HashMap::new();
    for note in &notes.values {
        let place = (note.session.clone(), note.key.clone());
        let newest = last.entry(place).or_insert(note);
        if newest.version < note.version {
            *newest = note;
        }
    }
    let mut problems = Vec::new();
    for ((session, key), note) in last {
        let path = format!("/api/v1/sessions/{session}/state/{key}");
        let answer = admin.get(&path).await.map_err(|failure| failure.to_string())?;
        let version = answer.header("etag").and_then(|tag| tag.trim_matches('"').parse::<u64>().ok());
        let is_so = match version {
            Some(version) if version == note.version => Digest::of(&answer.body) == note.digest,
            Some(version) => version > note.version,
            None => false,
        };
        if !is_so {
            problems.push(format!(
                "version {} of `{key}` in {session} is now {version:?} {}",
                note.version,
                answer.text()
            ));
        }
    }
    Ok(problems)
}

/// Keys that were issued open the door, and those that were taken back do not.
async fn keys(site: &Site, notes: &Notes) -> Result<Vec<String>, String> {
    let mut problems = Vec::new();
    for note in notes.keys.iter().rev().take(KEYS) {
        let client = site.stranger().with_key(&note.text);
        let status = client.get("/v1/models").await.map_err(|failure| failure.to_string())?.status;
        let is_so = match note.is_revoked {
            Revoked::No => status == 200,
            Revoked::Perhaps => status == 200 || status == 401,
            Revoked::Yes => status == 401,
        };
        if !is_so {
            problems
                .push(format!("key {}: {:?} taken back, and it is answered with {status}", note.id, note.is_revoked));
        }
    }
    Ok(problems)
}

impl Verdict {
    /// What is wrong, for a person; none when nothing is.
    pub(super) fn problem(&self) -> Option<String> {
        let told = |what: &str, problems: &[String]| {
            let first = problems.iter().take(20).map(|problem| format!("  {problem}\n")).collect::<String>();
            if problems.is_empty() { first } else { format!("{} {what}:\n{first}", problems.len()) }
        };
        let parts = [
            told("missing", &self.missing),
            told("more often than asked for", &self.twice),
            told("wrong", &self.unlawful),
        ];
        Some(parts.concat()).filter(|parts| !parts.is_empty())
    }
}
