//! `portcullis policy history|show`: the versions that were in force, as the journal has them.

use portcullis_domain::event::Event;
use portcullis_domain::journal::{Entry, StreamId};
use serde_json::json;

use crate::cli::arguments::Common;
use crate::cli::exit::Exit;
use crate::cli::{journal, print};
use crate::journal::show::{Entries, Selection, Source};
use crate::policy::made_of::MadeOf;
use crate::rollback::versions::{Put, Versions};

/// All versions, in the order in which they were put in force. One may stand there twice.
pub(super) fn versions(source: &dyn Source) -> Result<Versions, Exit> {
    let wanted = Selection { stream: Some(StreamId::Control), from: 1, limit: usize::MAX };
    let mut versions = Versions::default();
    for stored in Entries::of(source, wanted) {
        let stored = stored?;
        versions.take(stored.position, &Entry::<Event>::decode(&stored.bytes).map_err(Exit::io)?);
    }
    Ok(versions)
}

/// All that a version was made of; none where the entry is older than that this is kept.
pub(super) fn made_of(source: &dyn Source, version: &Put) -> Result<Option<MadeOf>, Exit> {
    let body = source.body(&StreamId::Control, version.position, 1)?;
    body.map(|body| MadeOf::of_bytes(&body).map_err(Exit::io)).transpose()
}

/// What the newest version was made of.
pub(super) fn newest_made_of(source: &dyn Source) -> Result<MadeOf, Exit> {
    let versions = versions(source)?;
    let newest = versions.all().last().ok_or_else(|| Exit::negative("the journal knows no policies yet"))?;
    made_of(source, newest)?.ok_or_else(|| {
        Exit::negative("the journal does not say who and what there was; start the gateway once and try again")
    })
}

pub(super) fn list(common: &Common) -> Result<(), Exit> {
    let source = journal::open(common)?;
    let versions = versions(source.as_ref())?;
    if common.json {
        let value = |version: &Put| {
            json!({"version": version.event.version, "at": version.at.to_string(), "policies": version.event.policies,
                "by": version.by.to_string(), "mode": mode(version), "position": version.position})
        };
        print::json(&json!({"versions": versions.all().iter().map(value).collect::<Vec<_>>()}));
        return Ok(());
    }
    let row = |version: &Put| {
        let digest = version.event.version.to_string();
        let short = digest.get(..12).unwrap_or(&digest).to_owned();
        vec![
            short,
            version.at.to_string(),
            version.by.to_string(),
            version.event.policies.to_string(),
            mode(version).to_owned(),
        ]
    };
    print::table(&["VERSION", "IN FORCE SINCE", "BY", "RULES", "MODE"], versions.all().iter().map(row));
    Ok(())
}

fn mode(version: &Put) -> &'static str {
    if version.event.is_audit { "audit" } else { "enforce" }
}

pub(super) fn show(common: &Common, digits: &str) -> Result<(), Exit> {
    let source = journal::open(common)?;
    let versions = versions(source.as_ref())?;
    let version = versions.find(digits).map_err(Exit::negative)?;
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
