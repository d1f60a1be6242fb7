//! `portcullis policy explain`: why a recorded call was allowed or refused, and whether the same rules say so again.

use portcullis_domain::call::Place;
use portcullis_domain::ids::CallId;
use portcullis_domain::policy::Decision;
use serde_json::{Value, json};

use crate::cli::arguments::Common;
use crate::cli::exit::Exit;
use crate::cli::policy::ask::{self, Judge};
use crate::cli::policy::record::{Recorded, Walk};
use crate::cli::policy::{ground, history};
use crate::cli::{journal, print};
use crate::journal::show::Source;

/// How long arguments are shown.
const SHOWN_CHARACTERS: usize = 2_000;

/// What asking again came to.
enum Again {
    Decided(Box<Decision>),
    /// Why nobody can ask again.
    Not(String),
}

pub(super) fn run(common: &Common, call: &str) -> Result<(), Exit> {
    let call: CallId = call.parse().map_err(Exit::negative)?;
    let source = journal::open(common)?;
    let mut found = Vec::new();
    Walk::new(source.as_ref(), Some(call))?.run(None, |recorded| {
        found.push(recorded);
        Ok(())
    })?;
    if found.is_empty() {
        return Err(Exit::negative(format!("the journal has no call `{call}`")));
    }
    let (mut values, mut others) = (Vec::new(), 0);
    for recorded in &found {
        let again = again(source.as_ref(), recorded)?;
        others += usize::from(is_other(recorded, &again));
        if common.json {
            values.push(value(recorded, &again));
        } else {
            print_one(recorded, &again);
        }
    }
    if common.json {
        print::json(&json!({"call": call, "questions": values}));
    }
    if others == 0 { Ok(()) } else { Err(Exit::negative("asked again, the policies of then answer otherwise")) }
}

fn again(source: &dyn Source, recorded: &Recorded) -> Result<Again, Exit> {
    if recorded.effect.is_none() {
        return Ok(Again::Not("policy was not asked".to_owned()));
    }
    if let Some(lacks) = &recorded.lacks {
        return Ok(Again::Not(lacks.clone()));
    }
    let versions = history::versions(source)?;
    let Some(version) = versions.all().iter().find(|version| Some(version.event.version) == recorded.version) else {
        return Ok(Again::Not("the policies of then are not in the journal".to_owned()));
    };
    let Some(made_of) = history::made_of(source, version)? else {
        return Ok(Again::Not(
            "the journal has the text of the policies of then, and not who and what there was".to_owned(),
        ));
    };
    let ground = ground::compiled(made_of)?;
    if ground.engine.version() != version.event.version {
        return Ok(Again::Not("this release reads the policies of then in another way".to_owned()));
    }
    let decision = Judge::new(&ground.engine, &ground.made_of.facts).decide(&recorded.case);
    if decision.lacks_said {
        return Ok(Again::Not("a rule reads where arguments come from, which is not reckoned anew".to_owned()));
    }
    Ok(Again::Decided(Box::new(decision)))
}

fn is_other(recorded: &Recorded, again: &Again) -> bool {
    matches!(again, Again::Decided(decision) if Some(decision.effect) != recorded.effect)
}

fn value(recorded: &Recorded, again: &Again) -> Value {
    let case = &recorded.case;
    json!({
        "at": recorded.at.to_string(),
        "subject": case.subject, "through": case.through, "session": case.session,
        "capability": case.capability, "arguments": case.arguments, "door": case.door, "place": case.place,
        "moment": case.moment,
        "effect": recorded.effect.map(ask::word), "code": recorded.code, "policies": recorded.policies,
        "message": recorded.message, "reasons": recorded.reasons, "audit": recorded.audit, "version": recorded.version,
        "again": match again {
            Again::Decided(decision) => ask::value(decision),
            Again::Not(why) => json!({"impossible": why}),
        },
        "same": matches!(again, Again::Decided(_)).then(|| !is_other(recorded, again)),
    })
}

fn print_one(recorded: &Recorded, again: &Again) {
    let case = &recorded.case;
    let place = if case.place == Place::ModelAnswer { "wanted in the answer of the call" } else { "asked for" };
    print::line(&format!("call     {} at {}, {place}, by {}", recorded.call, recorded.at, case.door.as_str()));
    print::line(&format!("who      {}", ask::chain(&case.subject, &case.through)));
    print::line(&format!("session  {}", case.session));
    print::line(&format!("what     {}", case.capability));
    if let Some(arguments) = &case.arguments {
        print::line(&format!("with     {}", arguments.chars().take(SHOWN_CHARACTERS).collect::<String>()));
    }
    if let Some(version) = recorded.version {
        print::line(&format!("version  {version}"));
    }
    let moment = &case.moment;
    print::line(&format!(
        "until then  {} calls, {} refused, {} spent, open for {} s",
        moment.calls.unwrap_or_default(),
        moment.refused.unwrap_or_default(),
        moment.spent.unwrap_or_default(),
        moment.age_s.unwrap_or_default(),
    ));
    let mut said = recorded.effect.map_or("policy was not asked", ask::word).to_owned();
    if !recorded.policies.is_empty() {
        said.push_str(&format!(" by `{}`", recorded.policies.join("`, `")));
    }
    for more in recorded.message.iter().chain(&recorded.reasons).chain(&recorded.audit) {
        said.push_str(&format!("; {more}"));
    }
    print::line(&format!("said     {said}"));
    match again {
        Again::Decided(decision) if is_other(recorded, again) => {
            print::line(&format!("again    OTHERWISE: {}", ask::line(decision)));
        }
        Again::Decided(decision) => print::line(&format!("again    the same: {}", ask::line(decision))),
        Again::Not(why) => print::line(&format!("again    can't be asked: {why}")),
    }
    print::line("");
}
