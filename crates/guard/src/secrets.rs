//! Credentials. The formats are facts that the services publish, or that the public rule sets of gitleaks, secretlint and detect-secrets agree on.

mod entropy;
mod generic;
mod github;
mod tokens;
mod written;

use crate::look::Look;
use crate::spec::{SecretKind, Secrets};

pub(crate) use generic::{NAMED, names_a_secret};

const ALL: &[SecretKind] = &[
    SecretKind::Portcullis,
    SecretKind::Aws,
    SecretKind::Gcp,
    SecretKind::Azure,
    SecretKind::Github,
    SecretKind::Gitlab,
    SecretKind::Slack,
    SecretKind::Stripe,
    SecretKind::Openai,
    SecretKind::Anthropic,
    SecretKind::Npm,
    SecretKind::Pypi,
    SecretKind::Jwt,
    SecretKind::PrivateKey,
    SecretKind::UrlPassword,
    SecretKind::Generic,
];

/// The looks of a rule. Where two find the same, the first one names it: those of certain services stand before the general ones.
pub(crate) fn looks(rule: &Secrets) -> Vec<Look> {
    chosen(rule).into_iter().flat_map(of_kind).collect()
}

/// Whether values count that stand beside a name like `password`, also where the name is that of a member of JSON.
pub(crate) fn is_generic(rule: &Secrets) -> bool {
    chosen(rule).contains(&SecretKind::Generic)
}

fn chosen(rule: &Secrets) -> Vec<SecretKind> {
    let is_chosen = |kind: &SecretKind| rule.kinds.is_empty() || rule.kinds.contains(kind);
    ALL.iter().copied().filter(|kind| is_chosen(kind) && !rule.except.contains(kind)).collect()
}

fn of_kind(kind: SecretKind) -> Vec<Look> {
    match kind {
        SecretKind::Portcullis => vec![written::PORTCULLIS_KEY, written::PORTCULLIS_TASK],
        SecretKind::Aws => vec![tokens::AWS_BEDROCK, written::AWS_ACCESS_KEY, generic::AWS_SECRET_KEY],
        SecretKind::Gcp => tokens::GCP.to_vec(),
        SecretKind::Azure => [tokens::AZURE, &[written::AZURE_CLIENT_SECRET]].concat(),
        SecretKind::Github => github::LOOKS.to_vec(),
        SecretKind::Gitlab => tokens::GITLAB.to_vec(),
        SecretKind::Slack => tokens::SLACK.to_vec(),
        SecretKind::Stripe => tokens::STRIPE.to_vec(),
        SecretKind::Openai => vec![tokens::OPENAI],
        SecretKind::Anthropic => vec![tokens::ANTHROPIC],
        SecretKind::Npm => vec![tokens::NPM],
        SecretKind::Pypi => vec![tokens::PYPI],
        SecretKind::Jwt => vec![written::JWT],
        SecretKind::PrivateKey => vec![written::PRIVATE_KEY],
        SecretKind::UrlPassword => vec![written::URL_PASSWORD],
        SecretKind::Generic => vec![generic::GENERIC],
    }
}

#[cfg(test)]
mod tests;
