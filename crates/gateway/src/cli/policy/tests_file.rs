//! `portcullis policy test`: tables of questions and answers that stand beside the policies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use portcullis_domain::call::Place;
use portcullis_domain::ids::{IssuerName, LabelName, PrincipalName, SessionId};
use portcullis_domain::money::Nanodollars;
use portcullis_domain::policy::{Decision, Effect, Moment, Said};
use portcullis_domain::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use serde_saphyr::{DuplicateKeyPolicy, Options};

use crate::amount::Dollars;
use crate::cli::arguments::Common;
use crate::cli::exit::Exit;
use crate::cli::policy::ask::{self, Case, Judge};
use crate::cli::policy::ground;
use crate::cli::policy::vouched::{self, Who};
use crate::cli::print;
use crate::config::read;
use crate::identity::table::IdentityTable;

/// The end of the names of files with tests.
const SUFFIX: &str = ".test.yaml";
/// The time of a test that names none: a Wednesday, at noon.
const NOON: &str = "2025-01-01T12:00:00Z";

/// A file of tests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestsFile {
    tests: Vec<Row>,
}

/// One question and its answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// What it shows, in words.
    name: String,
    /// Who asks; or `token`, `certificate` or `chain`.
    principal: Option<PrincipalName>,
    /// What an issuer says of who asks.
    token: Option<TokenRow>,
    /// Whom the certificate of who asks is for.
    certificate: Option<CertificateRow>,
    /// Who asks first, and the agents through whom; with `token` or `certificate` the agents alone.
    #[serde(default)]
    chain: Vec<PrincipalName>,
    /// What the task, or the key, is for, as in `model/* tool/claims__*`.
    scope: Option<String>,
    /// What is called, as in `tool/claims__approve_payment`.
    capability: String,
    /// The arguments of a tool; as text they are taken as JSON, digit for digit.
    arguments: Option<Value>,
    #[serde(default)]
    session: SessionRow,
    #[serde(default)]
    said: SaidRow,
    /// The time, as in `2026-11-22T09:30:00Z`.
    at: Option<String>,
    door: Option<String>,
    /// Where: `request` or `model_answer`.
    place: Option<Place>,
    expect: Effect,
    /// A rule that must be among those that decide.
    by: Option<String>,
    /// The message that must be told.
    message: Option<String>,
}

/// A token of an issuer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenRow {
    issuer: IssuerName,
    claims: Value,
}

/// A client certificate.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateRow {
    /// One of `identity.certificates`.
    issuer: IssuerName,
    /// The SPIFFE id, or the DNS name.
    name: String,
}

/// What the session has done by then.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SessionRow {
    name: Option<String>,
    calls: u64,
    refused: u64,
    spent: Option<Dollars>,
    age_s: u64,
    labels: BTreeSet<LabelName>,
}

/// What was said in the session by then, and by whom.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SaidRow {
    user: Vec<String>,
    trusted: Vec<String>,
    untrusted: Vec<String>,
    /// Values that a source vouches for.
    vouched: Vec<String>,
    /// Records that sources have stated, by the name of the statement.
    stated: BTreeMap<String, Vec<Vec<String>>>,
}

impl SaidRow {
    fn said(&self) -> Said {
        let mut said = Said::default();
        self.user.iter().for_each(|text| said.by_user(text));
        self.trusted.iter().for_each(|text| said.by_trusted(text));
        self.untrusted.iter().for_each(|text| said.by_untrusted(text));
        self.vouched.iter().for_each(|value| said.vouched(value));
        for (name, records) in &self.stated {
            let keyed = |(number, record): (usize, &Vec<String>)| (number.to_string(), Some(record.clone()));
            said.stated.take(name, records.iter().enumerate().map(keyed));
        }
        said
    }
}

/// What became of a test.
struct Outcome {
    file: String,
    name: String,
    /// What was expected and what came instead.
    difference: Option<(String, String)>,
}

pub(super) async fn run(common: &Common, files: &[PathBuf], is_offline: bool) -> Result<(), Exit> {
    let files = if files.is_empty() { beside_policies(common)? } else { files.to_vec() };
    let loaded = read::read_file(&common.config).map_err(|problem| Exit::config(problem.to_string()))?;
    let identity = &loaded.config.identity;
    let mut tests = Vec::new();
    for file in &files {
        let name = file.display().to_string();
        for row in read_file(file)?.tests {
            let case =
                row.case(identity).map_err(|problem| Exit::config(format!("{name}: {}: {problem}", row.name)))?;
            tests.push((name.clone(), row, case));
        }
    }
    if tests.is_empty() {
        return Err(Exit::negative("there are no tests: write some into `NAME.test.yaml` beside the policies"));
    }
    let ground = ground::configured(common, is_offline).await?;
    let judge = Judge::new(&ground.engine, &ground.made_of.facts);
    let outcomes: Vec<Outcome> = tests
        .into_iter()
        .map(|(file, row, case)| Outcome { difference: row.difference(&judge.decide(&case)), file, name: row.name })
        .collect();
    report(common, &outcomes)
}

/// All files of tests in the directories of the policies.
fn beside_policies(common: &Common) -> Result<Vec<PathBuf>, Exit> {
    let loaded = read::read_file(&common.config).map_err(|problem| Exit::config(problem.to_string()))?;
    let policies = loaded.config.policy.files.iter().map(|file| loaded.resolve(file));
    let directories: BTreeSet<PathBuf> =
        policies.chain([loaded.path.clone()]).map(|file| read::directory(&file).to_owned()).collect();
    let mut found = Vec::new();
    for directory in directories {
        let unread = |error| Exit::io(format!("`{}` can't be read: {error}", directory.display()));
        for entry in std::fs::read_dir(&directory).map_err(unread)? {
            let path = entry.map_err(unread)?.path();
            if path.to_string_lossy().ends_with(SUFFIX) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read_file(file: &Path) -> Result<TestsFile, Exit> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| Exit::io(format!("`{name}` can't be read: {error}")))?;
    let mut options = Options::default();
    options.duplicate_keys = DuplicateKeyPolicy::Error;
    options.with_snippet = false;
    serde_saphyr::from_str_with_options(&text, options).map_err(|error| Exit::config(format!("{name}: {error}")))
}

impl Row {
    /// Who asks first, what is said of them, and the agents through whom.
    fn who(&self, identity: &IdentityTable) -> Result<(Who, Vec<PrincipalName>), String> {
        match (&self.principal, &self.token, &self.certificate, self.chain.as_slice()) {
            (Some(principal), None, None, []) => Ok(((principal.clone(), None), Vec::new())),
            (None, Some(TokenRow { issuer, claims }), None, through) => {
                Ok((vouched::by_claims(identity, issuer, &claims.to_string())?, through.to_vec()))
            }
            (None, None, Some(CertificateRow { issuer, name }), through) => {
                Ok((vouched::by_certificate(identity, issuer, name)?, through.to_vec()))
            }
            (None, None, None, [first, through @ ..]) => Ok(((first.clone(), None), through.to_vec())),
            (None, None, None, []) => Err("`principal`, `token`, `certificate` or `chain` is missing".to_owned()),
            _ => Err("`principal`, `token`, `certificate` and `chain` exclude one another".to_owned()),
        }
    }

    fn case(&self, identity: &IdentityTable) -> Result<Case, String> {
        let ((subject, profile), through) = self.who(identity)?;
        let name = self.session.name.as_deref().unwrap_or("test").parse()?;
        let at: Timestamp = self.at.as_deref().unwrap_or(NOON).parse()?;
        let raw = |arguments: &Value| arguments.as_str().map_or_else(|| arguments.to_string(), str::to_owned);
        let arguments = self.arguments.as_ref().map(raw);
        Ok(Case {
            session: SessionId { owner: subject.clone(), name },
            subject,
            credential: ask::no_key()?,
            profile,
            through,
            scope: self.scope.as_deref().map(str::parse).transpose()?,
            capability: self.capability.parse()?,
            arguments,
            functions: Vec::new(),
            door: ask::door(self.door.as_deref().unwrap_or("mcp"))?,
            place: self.place.unwrap_or(Place::Request),
            moment: Moment {
                at: Some(at),
                age_s: Some(self.session.age_s),
                spent: Some(self.session.spent.map_or(Nanodollars::ZERO, |spent| spent.0)),
                calls: Some(self.session.calls),
                refused: Some(self.session.refused),
                labels: Some(self.session.labels.clone()),
            },
            said: Some(self.said.said()),
        })
    }

    /// What was expected, and what came instead.
    fn difference(&self, decision: &Decision) -> Option<(String, String)> {
        let is_by = self.by.as_ref().is_none_or(|rule| decision.policies.contains(rule));
        let is_told = self.message.is_none() || self.message == decision.message;
        if decision.effect == self.expect && is_by && is_told {
            return None;
        }
        let by = self.by.as_ref().map(|rule| format!(" by `{rule}`")).unwrap_or_default();
        let message = self.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
        Some((format!("{}{by}{message}", ask::word(self.expect)), ask::line(decision)))
    }
}

fn report(common: &Common, outcomes: &[Outcome]) -> Result<(), Exit> {
    let failed = outcomes.iter().filter(|outcome| outcome.difference.is_some()).count();
    let passed = outcomes.len() - failed;
    if common.json {
        let value = |outcome: &Outcome| {
            let (expected, found) = outcome.difference.clone().unzip();
            json!({"file": outcome.file, "name": outcome.name, "passed": found.is_none(), "expected": expected, "found": found})
        };
        let tests: Vec<Value> = outcomes.iter().map(value).collect();
        print::json(&json!({"passed": passed, "failed": failed, "tests": tests}));
    } else {
        for outcome in outcomes {
            if let Some((expected, found)) = &outcome.difference {
                print::line(&format!(
                    "FAILED {}: {}\n  expected {expected}\n  found    {found}",
                    outcome.file, outcome.name
                ));
            }
        }
        print::line(&format!("{passed} passed, {failed} failed"));
    }
    if failed == 0 { Ok(()) } else { Err(Exit::negative("")) }
}
