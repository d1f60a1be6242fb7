//! `portcullis policy try`: one question from the command line.

use portcullis_domain::call::Place;
use portcullis_domain::ids::{PrincipalName, SessionId, SessionName};
use portcullis_domain::policy::{Effect, Moment, Said};

use crate::cli::arguments::{Common, Try};
use crate::cli::exit::Exit;
use crate::cli::policy::ask::{self, Case, Judge};
use crate::cli::policy::ground;
use crate::cli::print;
use crate::clock::{Clock as _, SystemClock};

pub(super) async fn run(common: &Common, flags: &Try) -> Result<(), Exit> {
    let case = case(flags).map_err(Exit::negative)?;
    let ground = ground::configured(common, flags.offline).await?;
    let decision = Judge::new(&ground.engine, &ground.made_of.facts).decide(&case);
    if common.json {
        print::json(&ask::value(&decision));
    } else {
        let who = ask::chain(&case.subject, &case.through);
        print::line(&format!("{who}: {}: {}", case.capability, ask::line(&decision)));
    }
    if decision.effect == Effect::Allow { Ok(()) } else { Err(Exit::negative("")) }
}

fn case(flags: &Try) -> Result<Case, String> {
    let subject: PrincipalName = flags.principal.parse()?;
    let name: SessionName = flags.session.parse()?;
    let mut said = Said::default();
    flags.words.iter().for_each(|words| said.by_user(words));
    let at = flags.at.as_deref().map_or_else(|| Ok(SystemClock.now()), str::parse)?;
    Ok(Case {
        session: SessionId { owner: subject.clone(), name },
        subject,
        credential: ask::no_key()?,
        profile: None,
        through: flags.through.iter().map(|name| name.parse()).collect::<Result<_, String>>()?,
        capability: flags.capability.parse()?,
        arguments: flags.arguments.clone(),
        functions: Vec::new(),
        door: ask::door(&flags.door)?,
        place: if flags.in_answer { Place::ModelAnswer } else { Place::Request },
        moment: Moment {
            at: Some(at),
            age_s: Some(flags.age_s),
            spent: Some(flags.spent.parse()?),
            calls: Some(flags.calls),
            refused: Some(flags.refused),
            labels: Some(flags.label.iter().map(|label| label.parse()).collect::<Result<_, String>>()?),
        },
        said: Some(said),
    })
}
