//! The table `policy` of the configuration.

use std::path::PathBuf;

use portcullis_domain::call::Kind;
use portcullis_domain::ids::RoleName;
use portcullis_domain::policy::Asks;
use schemars::JsonSchema;
use serde::Deserialize;

/// Which calls are allowed. Without any policies, only principals with the role `administrator` may call anything.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyTable {
    /// Files of Cedar policies, relative to the configuration file.
    pub files: Vec<PathBuf>,
    /// Cedar policies written here.
    pub text: Option<String>,
    /// Whether what the policies say is applied. With `audit` everything is evaluated and written down, and nothing is refused by policy.
    pub mode: Mode,
    /// How often a model is asked again after one of its tool calls was denied, within one request.
    pub rounds: u8,
    /// What happens when a rule says that a person must be asked (`@ask`).
    pub approvals: ApprovalsTable,
}

/// Whether what the policies say is applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It is.
    #[default]
    Enforce,
    /// Everything is allowed, and what would have been refused is written down.
    Audit,
}

impl Default for PolicyTable {
    fn default() -> Self {
        Self { files: Vec::new(), text: None, mode: Mode::Enforce, rounds: 2, approvals: ApprovalsTable::default() }
    }
}

/// The longest time that a person may take, in seconds.
const EXPIRES_LIMIT_S: u64 = 400 * 86_400;
/// The longest time that the stream of a call is kept open for somebody's answer, in seconds.
const CLIENT_LIMIT_S: u64 = 86_400;

/// What happens when a rule says that a person must be asked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApprovalsTable {
    /// How long an approval may be answered and used, in seconds from when it was asked for.
    pub expires_s: u64,
    /// Who may answer too when nobody has for a while.
    pub escalate: Vec<Escalation>,
    /// Whether the gateway makes a tool call itself once it is approved, and says what came of it as the end of a wait of the session. Otherwise the agent makes it again.
    pub run: bool,
    /// How long whoever is in front of an MCP client is waited for, where a rule says that they may answer (`@approver("client")`), in seconds. Then the call is parked. Clients of 2026-07-28 wait by themselves.
    pub client_s: u64,
    /// A URL that is told of every approval that is asked for, with a link for each principal who may answer. As with news of tasks it must be public and `https`, or named in `server.push_allowed`.
    pub notify: Option<String>,
}

/// Another role that may answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Escalation {
    /// How long an approval has waited then, in seconds.
    pub after_s: u64,
    /// The role. Its answer counts for every role that was asked.
    #[schemars(with = "String")]
    pub role: RoleName,
}

impl Default for ApprovalsTable {
    fn default() -> Self {
        Self { expires_s: 86_400, escalate: Vec::new(), run: false, client_s: 300, notify: None }
    }
}

impl ApprovalsTable {
    /// How long a request for approval lasts, in microseconds.
    #[must_use]
    pub fn expires_us(&self) -> u64 {
        self.expires_s.saturating_mul(1_000_000)
    }

    /// How a person is asked about a call of something of that kind. What its caller waits for as a task, the gateway goes on with itself.
    #[must_use]
    pub fn asks(&self, kind: Kind, is_task: bool) -> Asks {
        Asks::Anew { lasts_us: self.expires_us(), is_run: is_task || (self.run && kind == Kind::Tool) }
    }

    /// What is wrong with it.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        if !(1..=EXPIRES_LIMIT_S).contains(&self.expires_s) {
            return Some("`policy.approvals.expires_s` is from 1 second to 400 days".to_owned());
        }
        if !(1..=CLIENT_LIMIT_S).contains(&self.client_s) {
            return Some("`policy.approvals.client_s` is from 1 second to a day".to_owned());
        }
        let late = self.escalate.iter().find(|escalation| escalation.after_s >= self.expires_s)?;
        let Escalation { after_s, role } = late;
        Some(format!("`policy.approvals.escalate`: after {after_s} s for `{role}` an approval has expired already"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escalation_comes_before_the_end() {
        let check = |expires_s, after_s, expected: bool| {
            let escalate = vec![Escalation { after_s, role: "director".parse().unwrap() }];
            let table = ApprovalsTable { expires_s, escalate, ..ApprovalsTable::default() };
            assert_eq!(table.problem().is_none(), expected, "{expires_s} {after_s}");
        };
        check(60, 59, true);
        check(60, 60, false);
        check(0, 0, false);
        check(u64::MAX, 1, false);
        assert_eq!(ApprovalsTable::default().problem(), None);
    }
}
