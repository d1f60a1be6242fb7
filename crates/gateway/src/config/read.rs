//! Reading the file.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_saphyr::{DuplicateKeyPolicy, Error, Options, PropertySyntax};

use crate::config::variables::Written;
use crate::config::{Config, Problem};
use crate::journal::table::JournalTable;
use crate::server::ServerTable;

/// The largest configuration file, in bytes.
const FILE_LIMIT_BYTES: u64 = 4 << 20;

/// A configuration with where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The file, as it was named.
    pub path: PathBuf,
    /// What it says.
    pub config: Config,
}

impl Loaded {
    /// A path of the configuration, which is relative to the file that it stands in.
    #[must_use]
    pub fn resolve(&self, path: &Path) -> PathBuf {
        directory(&self.path).join(path)
    }
}

/// The directory that a file lies in, which its relative paths begin at.
#[must_use]
pub fn directory(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Reads the file at `path` with the variables of the environment.
///
/// # Errors
///
/// What is wrong with the file, with its place.
pub fn read_file(path: &Path) -> Result<Loaded, Problem> {
    let (name, text) = text_of(path)?;
    Ok(Loaded { path: path.to_owned(), config: read_text(&name, &text, environment())? })
}

/// Reads `text`, which `name` stands for in messages, with these variables.
///
/// # Errors
///
/// What is wrong with it, with its place.
pub fn read_text(name: &str, text: &str, variables: HashMap<String, String>) -> Result<Config, Problem> {
    parse(name, &Written::required(text), variables)
}

/// Where a gateway is: all that commands beside it need to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Whereabouts {
    /// The configuration file, as it was named.
    pub path: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// The file with the certificate that it shows there; none where it speaks in clear.
    pub certificate_file: Option<PathBuf>,
    /// Where its record is kept.
    pub journal: JournalTable,
}

/// Reads from the file at `path` where its gateway is. Nothing else needs to be in order: the credentials that only the gateway has need not be set.
///
/// # Errors
///
/// What is wrong with what is needed, with its place.
pub fn find(path: &Path) -> Result<Whereabouts, Problem> {
    let (name, text) = text_of(path)?;
    let Place { server, journal, .. } = place_of(&name, &text, environment())?;
    let certificate_file = server.tls.map(|tls| directory(path).join(tls.certificate_file));
    Ok(Whereabouts { path: path.to_owned(), listen: server.listen, certificate_file, journal })
}

/// [`Config`] with only the tables that say where a gateway is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
// What is not needed here is still no unknown key.
struct Place {
    server: ServerTable,
    journal: JournalTable,
    identity: IgnoredAny,
    registry: IgnoredAny,
    policy: IgnoredAny,
    guardrails: IgnoredAny,
    ledger: IgnoredAny,
}

fn place_of(name: &str, text: &str, variables: HashMap<String, String>) -> Result<Place, Problem> {
    let written = Written::lenient(text, |variable| variables.contains_key(variable));
    let place: Place = parse(name, &written, variables)?;
    let directory = place.journal.directory();
    if directory.to_string_lossy().contains("${") {
        let message = format!("`journal.store` has a variable that is not set: `{}`", directory.display());
        return Err(Problem::of_file(name, message));
    }
    Ok(place)
}

fn text_of(path: &Path) -> Result<(String, String), Problem> {
    let name = path.display().to_string();
    let problem = |error: std::io::Error| Problem::of_file(&name, format!("can't be read: {error}"));
    if std::fs::metadata(path).map_err(problem)?.len() > FILE_LIMIT_BYTES {
        return Err(Problem::of_file(&name, format!("is larger than {FILE_LIMIT_BYTES} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(problem)?;
    Ok((name, text))
}

fn parse<T: DeserializeOwned + Default>(
    name: &str,
    written: &Written,
    variables: HashMap<String, String>,
) -> Result<T, Problem> {
    if written.text.trim().is_empty() {
        return Ok(T::default());
    }
    let mut options = Options::default().with_properties(variables);
    options.property_syntax = PropertySyntax::DockerCompose;
    options.duplicate_keys = DuplicateKeyPolicy::Error;
    options.with_snippet = false;
    options.strict_booleans = true;
    serde_saphyr::from_str_with_options(&written.text, options).map_err(|error| explain(name, written, &error))
}

#[expect(clippy::disallowed_methods, reason = "configuration is the one part that reads the environment")]
fn environment() -> HashMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Whether people who read what is printed asked for no colours (<https://no-color.org>).
#[must_use]
pub fn has_no_color() -> bool {
    environment().get("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// The variables that every child process gets; the rest of the environment is the gateway's own.
#[must_use]
pub fn inherited() -> BTreeMap<String, String> {
    let is_plain = |(name, _): &(String, String)| matches!(name.as_str(), "PATH" | "HOME" | "LANG" | "TMPDIR");
    environment().into_iter().filter(is_plain).collect()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the reader's errors are many, and all others are shown as they are"
)]
fn explain(name: &str, written: &Written, error: &Error) -> Problem {
    let error = error.without_snippet();
    let place = error.location().map(|at| (at.line(), written.column_in_file(at.line(), at.column())));
    let (line, column) = place.unwrap_or((0, 0));
    let (message, suggestion) = match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            let field = error.location().and_then(|at| written.key_at(at.line(), at.column())).unwrap_or(field);
            (format!("unknown key `{field}`"), suggest(field, expected))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            (format!("unknown value `{variant}`"), suggest(variant, expected))
        }
        other => (sentence(&other.to_string()), None),
    };
    Problem { file: name.to_owned(), line, column, message, suggestion, is_warning: false }
}

/// The nearest of the expected names, or all of them where none is near.
#[must_use]
pub fn suggest(found: &str, expected: &[&str]) -> Option<String> {
    let distance = |name: &&&str| strsim::damerau_levenshtein(found, name);
    let nearest = expected.iter().min_by_key(distance).filter(|name| distance(name) <= 1 + found.len() / 3);
    match nearest {
        Some(name) => Some(format!("did you mean `{name}`?")),
        None if expected.is_empty() => None,
        None => Some(format!(
            "expected one of {}",
            expected.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        )),
    }
}

/// The reader's message without the place, which stands before it already.
fn sentence(message: &str) -> String {
    let end = message.find(" at line ").unwrap_or(message.len());
    message.get(..end).unwrap_or(message).trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::table::Store;

    #[test]
    fn variables_stand_for_their_values_with_and_without_quotes() {
        let check = |value: &str, expected: &str| {
            let variables = [("KEY".to_owned(), "sk-1".to_owned())].into();
            let text = format!("policy:\n  text: {value}\n");
            assert_eq!(
                read_text("c.yaml", &text, variables).unwrap().policy.text.as_deref(),
                Some(expected),
                "{value}"
            );
        };
        check("${KEY}", "sk-1");
        check("\"a ${KEY}\"", "a sk-1");
        check("'${KEY}'", "sk-1");
        check("|\n    ${KEY} $KEY $5", "sk-1 $KEY $5\n");
        check("'$${KEY}'", "${KEY}");
        check("\"${NO_SUCH:-b}\"", "b");
    }

    fn check(text: &str, expected: &str) {
        let variables = [("KEY".to_owned(), "sk-1".to_owned())].into();
        let shown = match read_text("c.yaml", text, variables) {
            Ok(_) => "ok".to_owned(),
            Err(problem) => problem.to_string(),
        };
        assert!(shown.contains(expected), "{text}\n{shown}");
    }

    #[test]
    fn a_place_is_that_of_the_file_whatever_variables_stand_before_it() {
        let here = |text: &str, wrong: &str, expected: &str| {
            let (before, _) = text.split_once(wrong).unwrap();
            let line = before.rsplit('\n').next().unwrap();
            let (number, column) = (before.matches('\n').count() + 1, line.chars().count() + 1);
            check(text, &format!("c.yaml:{number}:{column}: error: {expected}"));
        };
        let unknown = "unknown key `api_kye`; did you mean `api_key`?";
        for value in ["'${KEY}'", "\"${KEY}${KEY}\"", "'${KEY:-y}'", "'$${KEY}'", "'ä $5 $KEY'", "x"] {
            here(&format!("registry: {{models: {{m: {{base_url: {value}, api_kye: x}}}}}}"), "api_kye", unknown);
            here(
                &format!("# {value}\nregistry:\n  models:\n    ä: {{base_url: {value}, api_kye: x}}"),
                "api_kye",
                unknown,
            );
            here(&format!("policy: {{text: {value}, rounds: many}}"), "many", "");
            here(&format!("policy:\n  text: {value}\n  rounds: many\n"), "many", "");
            here(
                &format!("registry: {{models: {{m: {{base_url: {value}, api_key: '${{NO_SUCH}}'}}}}}}"),
                "'${NO_SUCH}",
                "",
            );
        }
        here("policy:\n  text: |\n    ${KEY}\n    ${KEY}\n  rounds: many\n", "many", "");
        here("policy:\n  text: |\r\n    ${KEY}\r\n  files: ['${KEY}', {}]\r\n", "{}", "");
        here("policy: {text: '${KEY}', files: [a}", "[", "");
    }

    #[test]
    fn where_a_gateway_is_needs_no_credential() {
        let check = |text: &str, expected: Result<(&str, &str), &str>| {
            let variables = [("PORT".to_owned(), "99".to_owned())].into();
            let found = place_of("c.yaml", text, variables);
            let found = found.map(|place| (place.server.listen.to_string(), place.journal.store));
            match (found, expected) {
                (Ok((listen, store)), Ok(expected)) => {
                    assert_eq!((listen.as_str(), store), (expected.0, Store::Sqlite(expected.1.into())), "{text}");
                }
                (Err(problem), Err(expected)) => assert!(problem.to_string().contains(expected), "{text}\n{problem}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        };
        let default = ("127.0.0.1:4040", "portcullis-data");
        check("", Ok(default));
        check("registry: {models: {m: {base_url: x, api_key: '${KEY}'}}}", Ok(default));
        check("registry: {models: {m: {api_key: '${KEY:?set it}'}}}\nledger: {session: {usd: '${USD}'}}", Ok(default));
        check("server: {listen: '127.0.0.1:${PORT}'}\njournal: {store: 'sqlite:d'}", Ok(("127.0.0.1:99", "d")));
        check("server: {listen: '127.0.0.1:${NO_SUCH}'}", Err("c.yaml:1:18: error"));
        check("journal: {store: 'sqlite:${NO_SUCH}/d'}", Err("a variable that is not set: `${NO_SUCH}/d`"));
        check("sever: {}", Err("did you mean `server`?"));
    }

    #[test]
    fn every_table_is_known_where_only_some_are_needed() {
        let schema: serde_json::Value = serde_json::from_str(&crate::config::schema::json_schema()).unwrap();
        for table in schema["properties"].as_object().unwrap().keys() {
            assert!(place_of("c.yaml", &format!("{table}: {{}}"), HashMap::new()).is_ok(), "{table}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_what_was_meant() {
        check("", "ok");
        check("ledger:\n  budgets: {ann: {usd: 2.50}}\n", "ok");
        check("regsitry: {}\n", "c.yaml:1:1: error: unknown key `regsitry`; did you mean `registry`?");
        check(
            "registry:\n  models:\n    m: {base_urll: 'http://x'}\n",
            "c.yaml:3:9: error: unknown key `base_urll`; did you mean `base_url`?",
        );
        check("ledger:\n  budgets: {ann: {usd: 2.0000000001}}\n", "c.yaml:2:24: error");
        check("ledger:\n  budgets: {ann: {usd: -1}}\n", "not an amount");
        check("policy: {}\npolicy: {}\n", "c.yaml:2:1: error");
        check("registry:\n  models:\n    m: {base_url: 'http://x', api_key: '${NO_SUCH}'}\n", "NO_SUCH");
        check("registry:\n  models:\n    m: {base_url: 'http://x', api_key: '${KEY}'}\n", "ok");
        check("registry:\n  models: {m: {base_url: \"${KEY}\"}}\n", "ok");
        check("registry:\n  models: {m: {base_url: \"${NO_SUCH:-http://x}\"}}\n", "ok");
        check("server: [", "c.yaml:1");
        check("- a", "c.yaml:1:1");
    }
}
