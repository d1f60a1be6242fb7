//! `portcullis policy history|show`: the versions that were in force, as the journal has them.

use portcullis_domain::event::Event;
use portcullis_domain::journal::{Entry, StreamId};
use portcullis_domain::policy::event::Activated;
use portcullis_domain::time::Timestamp;
use serde_json::json;

use crate::cli::arguments::Common;
use crate::cli::exit::Exit;
use crate::cli::{journal, print};
use crate::journal::show::{Entries, Selection, Source};
use crate::policy::made_of::MadeOf;

/// A version that was put in force.
#[derive(Clone)]
pub(super) struct Version {
    pub(super) position: u64,
    pub(super) at: Timestamp,
    pub(super) event: Activated,
}

/// All versions, in the order in which they were put in force. One may stand there twice.
pub(super) fn versions(source: &dyn Source) -> Result<Vec<Version>, Exit> {
    let wanted = Selection { stream: Some(StreamId::Control), from: 1, limit: usize::MAX };
    let mut versions = Vec::new();
    for stored in Entries::of(source, wanted) {
        let stored = stored?;
        let entry = Entry::<Event>::decode(&stored.bytes).map_err(Exit::io)?;
        if let Event::PolicyActivated(event) = entry.event {
            versions.push(Version { position: stored.position, at: entry.at, event });
        }
    }
    Ok(versions)
}

/// All that a version was made of; none where the entry is older than that this is kept.
pub(super) fn made_of(source: &dyn Source, version: &Version) -> Result<Option<MadeOf>, Exit> {
    let body = source.body(&StreamId::Control, version.position, 1)?;
    body.map(|body| MadeOf::of_bytes(&body).map_err(Exit::io)).transpose()
}

/// What the newest version was made of.
pub(super) fn newest_made_of(source: &dyn Source) -> Result<MadeOf, Exit> {
    let newest = versions(source)?.pop().ok_or_else(|| Exit::negative("the journal knows no policies yet"))?;
    made_of(source, &newest)?.ok_or_else(|| {
        Exit::negative("the journal does not say who and what there was; start the gateway once and try again")
    })
}

pub(super) fn list(common: &Common) -> Result<(), Exit> {
    let source = journal::open(common)?;
    let versions = versions(source.as_ref())?;
    if common.json {
        let value = |version: &Version| {
            json!({"version": version.event.version, "at": version.at.to_string(), "policies": version.event.policies,
                "mode": mode(version), "position": version.position})
        };
        print::json(&json!({"versions": versions.iter().map(value).collect::<Vec<_>>()}));
        return Ok(());
    }
    let row = |version: &Version| {
        let digest = version.event.version.to_string();
        let short = digest.get(..12).unwrap_or(&digest).to_owned();
        vec![short, version.at.to_string(), version.event.policies.to_string(), mode(version).to_owned()]
    };
    print::table(&["VERSION", "IN FORCE SINCE", "RULES", "MODE"], versions.iter().map(row));
    Ok(())
}

fn mode(version: &Version) -> &'static str {
    if version.event.is_audit { "audit" } else { "enforce" }
}

pub(super) fn show(common: &Common, digits: &str) -> Result<(), Exit> {
    let source = journal::open(common)?;
    let versions = versions(source.as_ref())?;
    let mut found: Vec<&Version> =
        versions.iter().filter(|version| version.event.version.to_string().starts_with(digits)).collect();
    found.dedup_by(|one, other| one.event.version == other.event.version);
    let Some(version) = found.pop() else { return Err(Exit::negative(format!("there was no version `{digits}`"))) };
    if found.iter().any(|other| other.event.version != version.event.version) {
        return Err(Exit::negative(format!("there are several versions that begin with `{digits}`")));
    }
    let text = source.body(&StreamId::Control, version.position, 0)?;
    let text = text.ok_or_else(|| Exit::negative("its text is erased"))?;
    let text = String::from_utf8_lossy(&text);
    if common.json {
        print::json(&json!({"version": version.event.version, "at": version.at.to_string(), "text": text}));
    } else {
        print::line(text.trim_end());
    }
    Ok(())
}
