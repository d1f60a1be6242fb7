//! Somebody who finds out what became of a call when nobody saw its end, and says so to the gateway.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use portcullis_testkit::effects;
use portcullis_testkit::http::{Client, Failure};
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};

use crate::gateway::LIMIT;

/// What the tool has done, by the ids of its effects, in order.
pub(super) fn done(effects: &Path) -> Vec<String> {
    let id = |line: String| serde_json::from_str::<Value>(&line).unwrap()["id"].as_str().unwrap().to_owned();
    effects::lines(effects).unwrap().into_iter().map(id).collect()
}

pub(super) struct Person {
    /// Through the balancer, as the administrator.
    pub(super) admin: Client,
    /// The tool server itself.
    pub(super) tools: Client,
    /// What it has done.
    pub(super) effects: PathBuf,
}

impl Person {
    /// Settles the calls of the session of which nobody knows what became: the tool's by what it has done, and the agent's as not done, since the agent knows its turns by
    /// their numbers. Where the gateway does not answer, whoever asked will ask again.
    pub(super) async fn find_out(&self, session: &str, turn: u64) {
        // A later attempt finds what this one has left.
        let _ = self.try_to(session, turn).await;
    }

    async fn try_to(&self, session: &str, turn: u64) -> Result<(), Failure> {
        let path = format!("/api/v1/sessions/ann:{session}");
        let shown = self.admin.get(&path).await?.json();
        let unknown = shown["unknown_calls"].as_array().cloned().unwrap_or_default();
        if unknown.is_empty() {
            return Ok(());
        }
        let kinds = self.kinds(&path).await?;
        for call in unknown.iter().filter_map(Value::as_str) {
            let outcome = match kinds.get(call) {
                Some(kind) if kind.starts_with("tool/") => self.of_tool(session, turn).await,
                Some(_) => json!({"outcome": "failed"}),
                None => continue,
            };
            self.admin.post(&format!("{path}/calls/{call}/resolve"), &outcome).await?;
        }
        Ok(())
    }

    /// What every call of the session was aimed at.
    async fn kinds(&self, path: &str) -> Result<HashMap<String, String>, Failure> {
        let mut kinds = HashMap::new();
        let mut after = 0;
        loop {
            let page = self.admin.get(&format!("{path}/entries?after={after}")).await?.json();
            let entries = page["entries"].as_array().cloned().unwrap_or_default();
            let Some(last) = entries.last().and_then(|entry| entry["seq"].as_u64()) else { return Ok(kinds) };
            after = last;
            for entry in entries.iter().filter(|entry| entry["event"]["type"] == "call.admitted") {
                let data = &entry["event"]["data"];
                let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
                kinds.insert(text("call"), text("capability"));
            }
        }
    }

    async fn of_tool(&self, session: &str, turn: u64) -> Value {
        let id = format!("{session}/{turn}");
        let is_idle = || async {
            let requests = self.tools.get("/__requests").await.unwrap().json();
            let mut requests = requests["requests"].as_array().into_iter().flatten();
            !requests.any(|request| request["outcome"] == "pending" && request.to_string().contains(&id))
        };
        wait_until("the tool has done what it was asked", LIMIT, is_idle).await.unwrap();
        if done(&self.effects).contains(&id) {
            json!({"outcome": "completed", "result": {"content": [{"type": "text", "text": format!("recorded {id}")}]}})
        } else {
            json!({"outcome": "failed"})
        }
    }
}
