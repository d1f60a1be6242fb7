//! What the gateway's own tools do: they read and write the scratchpad of the session that they are called in, by the rules of the API.

use bytes::Bytes;
use portcullis_domain::admission::{Admitted, DeleteState, PutState};
use portcullis_domain::journal::Body;
use portcullis_domain::json;
use portcullis_domain::refusal::{Code, Refusal};
use portcullis_domain::session::scratchpad::TTL_LIMIT_S;
use portcullis_domain::session::{Expected, StateKey};
use portcullis_interop::refuse;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::asking::Asking;
use crate::life::Gate;
use crate::reply::ToolAnswer;
use crate::scratchpad::{self, PAGE_LIMIT, Wanted};

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    prefix: String,
    after: Option<StateKey>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
struct Addressed {
    key: StateKey,
    if_version: Option<u64>,
    #[serde(default)]
    if_absent: bool,
    ttl_s: Option<u64>,
}

impl Addressed {
    fn expected(&self) -> Result<Expected, Refusal> {
        match (self.if_version, self.if_absent) {
            (None, false) => Ok(Expected::Anything),
            (None, true) => Ok(Expected::Absent),
            (Some(version), false) => Ok(Expected::Version(version)),
            (Some(_), true) => Err(invalid("`if_version` and `if_absent` exclude one another")),
        }
    }

    fn ttl_us(&self) -> Result<Option<u64>, Refusal> {
        let Some(ttl_s) = self.ttl_s else { return Ok(None) };
        let is_ttl = (1..=TTL_LIMIT_S).contains(&ttl_s);
        let wrong = || invalid(&format!("`ttl_s` is a number from 1 to {TTL_LIMIT_S}"));
        is_ttl.then_some(Some(ttl_s.saturating_mul(1_000_000))).ok_or_else(wrong)
    }
}

impl Gate {
    /// Runs a tool of the gateway's own. What the scratchpad says no to is a result that the model reads, as it is of every tool.
    pub(super) async fn call_own(&self, asking: &Asking, admitted: &Admitted, name: &str) -> ToolAnswer {
        let arguments = admitted.payload();
        let answered = match name {
            "state_list" => self.list_state(admitted, arguments).await,
            "state_get" => self.get_state(admitted, arguments).await,
            "state_put" => self.put_state(asking, admitted, arguments).await,
            "state_delete" => self.delete_state(asking, admitted, arguments).await,
            _ => Err(Refusal::new(Code::CapabilityNotFound, format!("Unknown tool: {name}"))),
        };
        ToolAnswer::Result(match answered {
            Ok(structured) => result(&structured),
            Err(refusal) => refuse::mcp_tool_result(&refusal),
        })
    }

    async fn list_state(&self, admitted: &Admitted, arguments: &Bytes) -> Result<String, Refusal> {
        let Listed { prefix, after, limit } = read(arguments)?;
        let limit = limit.unwrap_or(PAGE_LIMIT);
        if !(1..=PAGE_LIMIT).contains(&limit) {
            return Err(invalid(&format!("`limit` is a number from 1 to {PAGE_LIMIT}")));
        }
        let page = scratchpad::page(&self.journal, admitted.session(), Wanted { prefix, after, limit }).await?;
        serde_json::to_string(&page.unwrap_or_default()).map_err(|error| invalid(&error.to_string()))
    }

    async fn get_state(&self, admitted: &Admitted, arguments: &Bytes) -> Result<String, Refusal> {
        let Addressed { key, .. } = read(arguments)?;
        let found = scratchpad::value(&self.journal, admitted.session(), &key).await?.flatten();
        let missing = || Refusal::new(Code::NotFound, format!("there is no value `{key}`"));
        let (shown, value) = found.ok_or_else(missing)?;
        let no_text = |_| Refusal::new(Code::NotFound, format!("the value `{key}` is no text"));
        let value = std::str::from_utf8(&value).map_err(no_text)?;
        Ok(format!("{{\"key\":\"{key}\",\"version\":{},\"value\":{value}}}", shown.version))
    }

    async fn put_state(&self, asking: &Asking, admitted: &Admitted, arguments: &Bytes) -> Result<String, Refusal> {
        let wanted: Addressed = read(arguments)?;
        let command = PutState {
            authority: asking.authority.clone(),
            session: admitted.session().clone(),
            // The session is open: the call was admitted in it.
            session_budget: None,
            key: wanted.key.clone(),
            expected: wanted.expected()?,
            ttl_us: wanted.ttl_us()?,
            value: Body::new(value(arguments)?),
        };
        let put = self.journal.execute(command).await??;
        let (key, version, is_new) = (wanted.key, put.version, put.is_new);
        Ok(format!("{{\"key\":\"{key}\",\"version\":{version},\"is_new\":{is_new}}}"))
    }

    async fn delete_state(&self, asking: &Asking, admitted: &Admitted, arguments: &Bytes) -> Result<String, Refusal> {
        let wanted: Addressed = read(arguments)?;
        let command = DeleteState {
            authority: asking.authority.clone(),
            session: admitted.session().clone(),
            key: wanted.key.clone(),
            expected: wanted.expected()?,
        };
        self.journal.execute(command).await??;
        Ok(format!("{{\"key\":\"{}\",\"is_deleted\":true}}", wanted.key))
    }
}

/// The result of a tool, with its content as text for clients that know nothing else.
fn result(structured: &str) -> String {
    let text = serde_json::Value::from(structured);
    format!(
        "{{\"content\":[{{\"type\":\"text\",\"text\":{text}}}],\"structuredContent\":{structured},\"isError\":false}}"
    )
}

fn read<T: DeserializeOwned>(arguments: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(arguments).map_err(|error| invalid(&error.to_string()))
}

/// The value as it was written: not a byte of it changes.
fn value(arguments: &Bytes) -> Result<Bytes, Refusal> {
    let text = std::str::from_utf8(arguments).map_err(|error| invalid(&error.to_string()))?;
    let members = json::members(text).map_err(|problem| invalid(&problem))?;
    let value = json::member(&members, "value").map(RawValue::get).ok_or_else(|| invalid("`value` is missing"))?;
    Ok(Bytes::copy_from_slice(value.as_bytes()))
}

fn invalid(problem: &str) -> Refusal {
    Refusal::new(Code::InvalidArguments, problem)
}
