//! `portcullis policy try`: one question from the command line.

use portcullis_domain::call::Place;
use portcullis_domain::ids::{SessionId, SessionName};
use portcullis_domain::policy::{Effect, Moment, Said};

use crate::cli::arguments::{Common, Try};
use crate::cli::exit::Exit;
use crate::cli::policy::ask::{self, Case, Judge};
use crate::cli::policy::ground;
use crate::cli::policy::vouched::{self, Who};
use crate::cli::print;
use crate::clock::{Clock as _, SystemClock};
use crate::config::read;
use crate::identity::table::IdentityTable;

pub(super) async fn run(common: &Common, flags: &Try) -> Result<(), Exit> {
    let loaded = read::read_file(&common.config).map_err(|problem| Exit::config(problem.to_string()))?;
    let case = case(flags, &loaded.config.identity).map_err(Exit::negative)?;
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

/// Who asks: somebody by name, or whoever an issuer vouches for.
fn who(flags: &Try, identity: &IdentityTable) -> Result<Who, String> {
    match (&flags.principal, &flags.issuer, &flags.claims, &flags.certificate) {
        (Some(name), None, None, None) => Ok((name.parse()?, None)),
        (None, Some(issuer), Some(claims), None) => vouched::by_claims(identity, &issuer.parse()?, claims),
        (None, Some(issuer), None, Some(name)) => vouched::by_certificate(identity, &issuer.parse()?, name),
        _ => Err("say `--as`, or `--issuer` with `--claims` or `--certificate`".to_owned()),
    }
}

fn case(flags: &Try, identity: &IdentityTable) -> Result<Case, String> {
    let (subject, profile) = who(flags, identity)?;
    let name: SessionName = flags.session.parse()?;
    let mut said = Said::default();
    flags.words.iter().for_each(|words| said.by_user(words));
    let at = flags.at.as_deref().map_or_else(|| Ok(SystemClock.now()), str::parse)?;
    Ok(Case {
        session: SessionId { owner: subject.clone(), name },
        subject,
        credential: ask::no_key()?,
        profile,
        scope: flags.scope.as_deref().map(str::parse).transpose()?,
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
