//! What the journal says of the session, read entry by entry over the API.

use std::fmt;

use portcullis_domain::call::Capability;
use portcullis_domain::event::{CallSettled, Event, Judged, Outcome};
use portcullis_domain::journal::Entry;
use portcullis_domain::money::Nanodollars;
use portcullis_domain::policy::Effect;
use portcullis_testkit::http::{Answer, Client};
use serde::Deserialize;

use crate::cli::demo::trouble::{differs, unanswered};
use crate::cli::exit::Exit;

/// All entries of one session.
pub(super) struct Record {
    entries: Vec<Entry<Event>>,
}

/// A call that was admitted, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) seq: u64,
    pub(super) capability: Capability,
    /// None while it is under way.
    pub(super) outcome: Option<Outcome>,
    pub(super) charged: Nanodollars,
}

impl fmt::Display for Call {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.capability, word(self.outcome))
    }
}

/// How a call ended, in a word.
pub(super) fn word(outcome: Option<Outcome>) -> &'static str {
    match outcome {
        None => "under way",
        Some(Outcome::Completed) => "completed",
        Some(Outcome::Failed) => "failed",
        Some(Outcome::Aborted) => "aborted",
        Some(Outcome::Unknown) => "unknown",
    }
}

impl Record {
    /// Reads the whole of it. A session that nobody has opened yet has none.
    pub(super) async fn read(client: &Client, session: &str) -> Result<Self, Exit> {
        #[derive(Deserialize)]
        struct Page {
            entries: Vec<Entry<Event>>,
        }
        let mut entries: Vec<Entry<Event>> = Vec::new();
        loop {
            let after = entries.last().map_or(0, |last| last.seq);
            let answer = client.get(&format!("/api/v1/sessions/{session}/entries?after={after}")).await;
            let answer = answer.and_then(Answer::accepted).map_err(unanswered)?;
            let page: Page = serde_json::from_slice(&answer.body)
                .map_err(|error| differs(format!("the entries can't be read: {error}")))?;
            if page.entries.is_empty() {
                return Ok(Self { entries });
            }
            entries.extend(page.entries);
        }
    }

    /// The number of the last entry.
    pub(super) fn last(&self) -> u64 {
        self.entries.last().map_or(0, |last| last.seq)
    }

    /// Whether every entry has the number after the one before, from 1.
    pub(super) fn is_without_gap(&self) -> bool {
        self.entries.iter().zip(1..).all(|(entry, number)| entry.seq == number)
    }

    /// The entries behind that number.
    pub(super) fn after(&self, seq: u64) -> Self {
        Self { entries: self.entries.iter().filter(|entry| entry.seq > seq).cloned().collect() }
    }

    /// The calls that were admitted, in order.
    pub(super) fn calls(&self) -> Vec<Call> {
        let mut calls = Vec::new();
        for entry in &self.entries {
            if let Event::CallAdmitted(admitted) = &entry.event {
                let settled = self.settled().find(|settled| settled.call == admitted.call);
                calls.push(Call {
                    seq: entry.seq,
                    capability: admitted.capability.clone(),
                    outcome: settled.map(|settled| settled.outcome),
                    charged: settled.map_or(Nanodollars::ZERO, |settled| settled.charged),
                });
            }
        }
        calls
    }

    /// The tool calls inside the model's answers that were denied.
    pub(super) fn denied(&self) -> Vec<&Judged> {
        let judged = self.settled().flat_map(|settled| &settled.judged);
        judged.filter(|judged| judged.effect == Effect::Deny).collect()
    }

    /// The messages of the calls that were refused at the door.
    pub(super) fn refused(&self) -> Vec<(&str, &str)> {
        let refused = self.entries.iter().filter_map(|entry| {
            let Event::CallRefused(refused) = &entry.event else { return None };
            Some((refused.code.as_str(), refused.message.as_str()))
        });
        refused.collect()
    }

    /// The sum of what all calls were charged.
    pub(super) fn charged(&self) -> Nanodollars {
        self.settled().fold(Nanodollars::ZERO, |sum, settled| sum.plus(settled.charged))
    }

    fn settled(&self) -> impl Iterator<Item = &CallSettled> {
        self.entries.iter().filter_map(|entry| {
            let Event::CallSettled(settled) = &entry.event else { return None };
            Some(settled)
        })
    }
}
