//! Tokens that are a prefix and a run of characters.

use crate::look::{Look, Read, Token, is_word};

/// A look for a token.
pub(super) const fn token(
    kind: &'static str,
    prefix: &'static str,
    of: fn(char) -> bool,
    (least, most): (usize, usize),
    valid: fn(&str) -> bool,
) -> Look {
    Look {
        kind,
        replacement: "[SECRET]",
        // What stands in tokens is ASCII; one more character, of any size, ends them.
        window: prefix.len() + most + 4,
        not_after: is_word,
        read: Read::Token(Token { prefix, of, least, most, valid }),
    }
}

pub(super) const AWS_BEDROCK: Look = token("aws_bedrock_key", "ABSK", base64, (109, 272), any);

pub(super) const GCP: &[Look] = &[
    token("gcp_api_key", "AIza", base64_url, (35, 35), is_mixed),
    token("gcp_client_secret", "GOCSPX-", base64_url, (28, 28), any),
    token("gcp_access_token", "ya29.", base64_url, (40, 1024), is_mixed),
];

pub(super) const AZURE: &[Look] = &[
    token("azure_storage_key", "AccountKey=", base64, (88, 88), |rest| rest.ends_with("==")),
    token("azure_shared_access_key", "SharedAccessKey=", base64, (44, 44), |rest| rest.ends_with('=')),
];

/// The routable ones are longer; what they have after a full stop, their length and check digits, is no secret.
pub(super) const GITLAB: &[Look] = &[
    token("gitlab_token", "glpat-", base64_url, (20, 320), is_random),
    token("gitlab_token", "gldt-", base64_url, (20, 320), is_random),
    token("gitlab_token", "glrt-", base64_url, (20, 320), is_random),
    token("gitlab_token", "glcbt-", base64_url, (20, 320), is_random),
    token("gitlab_token", "glptt-", base64_url, (40, 40), is_random),
    token("gitlab_token", "glft-", base64_url, (20, 320), is_random),
    token("gitlab_token", "glimt-", base64_url, (25, 320), is_random),
    token("gitlab_token", "glagent-", base64_url, (50, 320), is_random),
    token("gitlab_token", "glsoat-", base64_url, (20, 320), is_random),
    token("gitlab_token", "gloas-", base64_url, (64, 64), is_random),
    token("gitlab_token", "GR1348941", base64_url, (20, 20), is_random),
];

pub(super) const SLACK: &[Look] = &[
    token("slack_token", "xoxb-", slack, (20, 255), is_slack),
    token("slack_token", "xoxp-", slack, (20, 255), is_slack),
    token("slack_token", "xoxa-", slack, (20, 255), is_slack),
    token("slack_token", "xoxr-", slack, (20, 255), is_slack),
    token("slack_token", "xoxs-", slack, (20, 255), is_slack),
    token("slack_token", "xoxe-", slack, (20, 255), is_slack),
    token("slack_token", "xoxe.xoxp-", slack, (20, 255), is_slack),
    token("slack_token", "xoxe.xoxb-", slack, (20, 255), is_slack),
    token("slack_token", "xapp-", slack, (20, 255), is_slack),
    token("slack_webhook", "hooks.slack.com/services/", base64, (40, 64), is_mixed),
    token("slack_webhook", "hooks.slack.com/workflows/", base64, (40, 80), is_mixed),
];

pub(super) const STRIPE: &[Look] = &[
    token("stripe_key", "sk_live_", alphanumeric, (10, 256), is_mixed),
    token("stripe_key", "sk_test_", alphanumeric, (10, 256), is_mixed),
    token("stripe_key", "rk_live_", alphanumeric, (10, 256), is_mixed),
    token("stripe_key", "rk_test_", alphanumeric, (10, 256), is_mixed),
    token("stripe_webhook_secret", "whsec_", base64, (32, 64), is_random),
];

/// All of them have the same eight letters somewhere in the middle.
pub(super) const OPENAI: Look = token("openai_api_key", "sk-", base64_url, (40, 256), |rest| rest.contains("T3BlbkFJ"));

pub(super) const ANTHROPIC: Look = token("anthropic_api_key", "sk-ant-", base64_url, (80, 160), is_mixed);

pub(super) const NPM: Look = token("npm_token", "npm_", alphanumeric, (36, 36), is_random);

/// The beginning is a macaroon of pypi.org or test.pypi.org.
pub(super) const PYPI: Look = token("pypi_token", "pypi-AgE", base64_url, (60, 1024), is_mixed);

pub(super) fn alphanumeric(c: char) -> bool {
    c.is_ascii_alphanumeric()
}

pub(super) fn base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=')
}

pub(super) fn base64_url(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

fn slack(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-'
}

pub(super) fn any(_: &str) -> bool {
    true
}

fn is_slack(rest: &str) -> bool {
    rest.contains('-') && rest.bytes().filter(u8::is_ascii_digit).count() >= 4
}

/// Letters and digits both: words and placeholders have only letters.
pub(super) fn is_mixed(rest: &str) -> bool {
    rest.bytes().any(|byte| byte.is_ascii_digit()) && rest.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Also no `xxxxxxxx`, as examples have it.
pub(super) fn is_random(rest: &str) -> bool {
    is_mixed(rest) && super::entropy::bits_per_character(rest) >= 3.0
}
