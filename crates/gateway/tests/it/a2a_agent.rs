//! A small agent that speaks Agent2Agent in one version and binding, and says what it was asked.
//!
//! `direct …` is answered by a message, `wait …` by a task that goes on until it is cancelled, `hang …` by nothing, `fail <code>` by that error, `garble …` by what is no answer, everything else by a
//! task that is done; in a stream `pieces a|b` by an artifact in as many pieces. Its tasks are called `t-1`, `t-2` and so on. Who subscribes to `wait briefly` sees its end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_testkit::process::listen;
use serde_json::{Value, json};

use crate::raw_upstream::{RawUpstream, Received, SILENCE, event_head, whole};

/// How many tasks it gives at a time.
const PAGE: usize = 3;

/// A time after all that were given before, to any agent.
fn next_second() -> String {
    static SECONDS: AtomicUsize = AtomicUsize::new(0);
    let second = SECONDS.fetch_add(1, Ordering::SeqCst);
    format!("2026-11-22T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Old,
    New,
    /// 1.0 over HTTP+JSON.
    Rest,
}

pub(crate) struct Agent {
    pub(crate) upstream: RawUpstream,
    pub(crate) state: Arc<State>,
}

pub(crate) struct State {
    speaks: Speaks,
    /// Locked to read and to change, never across a wait.
    tasks: Mutex<BTreeMap<String, Value>>,
    pub(crate) has_card: Mutex<bool>,
    /// How many requests to cancel a task are still to fail. Locked to read and to change, never across a wait.
    pub(crate) cancels_failing: Mutex<usize>,
    /// What becomes of its card before it is shown. Locked to read and to change, never across a wait.
    pub(crate) sealed: Mutex<Option<Sealed>>,
}

type Sealed = Box<dyn Fn(&str) -> String + Send>;

impl Agent {
    pub(crate) async fn start(speaks: Speaks) -> Self {
        let (listener, url) = listen().await.unwrap();
        let state = Arc::new(State {
            speaks,
            tasks: Mutex::default(),
            has_card: Mutex::new(true),
            cancels_failing: Mutex::default(),
            sealed: Mutex::default(),
        });
        let (shared, name) = (state.clone(), url.clone());
        let upstream = RawUpstream::start_at(listener, url, move |request| shared.answer(&name, request));
        Self { upstream, state }
    }

    /// All calls that have come, without requests for the card.
    pub(crate) fn calls(&self) -> Vec<Received> {
        let all = self.upstream.received();
        all.into_iter().filter(|request| !request.head.contains("/.well-known/")).collect()
    }

    /// The place for news that it was told last: by a configuration, or with a message.
    pub(crate) fn place(&self) -> Value {
        let params = self.calls().last().map(|call| call.json()["params"].clone()).unwrap();
        let configuration = &params["configuration"];
        let places = [
            &configuration["taskPushNotificationConfig"],
            &configuration["pushNotificationConfig"],
            &params["pushNotificationConfig"],
        ];
        places.into_iter().find(|place| place.is_object()).unwrap_or(&params).clone()
    }

    /// The message that came last.
    pub(crate) fn message(&self) -> Value {
        self.calls()
            .last()
            .map(|call| {
                let body = call.json();
                [&body["params"]["message"], &body["message"]].into_iter().find(|raw| raw.is_object()).cloned().unwrap()
            })
            .unwrap()
    }
}

impl State {
    fn answer(&self, url: &str, request: &Received) -> Vec<Vec<u8>> {
        let mut words = request.head.split(' ');
        let (verb, target) = (words.next().unwrap(), words.next().unwrap());
        let path = target.split('?').next().unwrap();
        if path.starts_with("/.well-known/") {
            let has_card = *self.has_card.lock().unwrap_or_else(PoisonError::into_inner);
            let card = self.card(url).to_string();
            let sealed = self.sealed.lock().unwrap_or_else(PoisonError::into_inner);
            let card = sealed.as_ref().map_or(card.clone(), |sealed| sealed(&card));
            return vec![if has_card { whole(200, "", &card) } else { whole(404, "", "{}") }];
        }
        let body = request.json();
        if self.speaks == Speaks::Rest {
            return match (verb, path.strip_prefix("/rest").unwrap_or_default()) {
                ("post", "/message:send") => vec![whole(200, "", &self.send(&body["message"], false).to_string())],
                ("get", path) => {
                    let task = self.task(path.trim_start_matches("/tasks/"));
                    vec![task.map_or_else(|| whole(404, "", r#"{"error":{"code":404,"status":"NOT_FOUND","message":"no task","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"TASK_NOT_FOUND","domain":"a2a-protocol.org"}]}}"#), |task| whole(200, "", &task.to_string()))]
                }
                _ => vec![whole(405, "", "{}")],
            };
        }
        let (id, params) = (&body["id"], &body["params"]);
        let result = |result: Value| json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string();
        let named = params["id"].as_str().unwrap_or_default();
        let error = |code: i64, message: &str| {
            let error = json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}});
            vec![whole(200, "", &error.to_string())]
        };
        let text = params["message"]["parts"][0]["text"].as_str().unwrap_or_default();
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "hang" => return vec![SILENCE.to_vec()],
            "fail" => return error(rest.parse().unwrap(), "no"),
            "garble" => return vec![whole(200, "", &result(json!({"nothing": true})))],
            _ => {}
        }
        let missing = || error(-32001, &format!("Task {named} not found"));
        match body["method"].as_str().unwrap_or_default() {
            "SendMessage" | "message/send" => vec![whole(200, "", &result(self.send(&params["message"], false)))],
            "SendStreamingMessage" | "message/stream" => {
                let events = self.stream(&params["message"]);
                let is_over = self.is_last(events.last().unwrap());
                let mut pieces = vec![event_head()];
                pieces.extend(events.into_iter().map(|event| format!("data: {}\n\n", result(event)).into_bytes()));
                pieces.extend((!is_over).then(|| SILENCE.to_vec()));
                pieces
            }
            "GetTask" | "tasks/get" => {
                self.task(named).map_or_else(missing, |task| vec![whole(200, "", &result(task))])
            }
            "CancelTask" | "tasks/cancel" => {
                let mut failing = self.cancels_failing.lock().unwrap_or_else(PoisonError::into_inner);
                if *failing > 0 {
                    *failing -= 1;
                    return error(-32603, "not now");
                }
                match self.task(named) {
                    None => return missing(),
                    Some(task) if self.is_last(&task) => return error(-32002, "Task cannot be canceled"),
                    Some(_) => self.change(named, self.state("canceled")),
                }
                vec![whole(200, "", &result(self.task(named).unwrap()))]
            }
            "SubscribeToTask" | "tasks/resubscribe" => match self.task(named) {
                None => missing(),
                Some(task) if self.is_last(&task) => error(-32004, "the task has ended"),
                Some(task) => {
                    let is_brief = task.to_string().contains("wait briefly");
                    let end = json!({"statusUpdate": {"taskId": named, "contextId": task["contextId"], "status": {"state": self.state("completed")}}});
                    let event = if self.speaks == Speaks::Old { task } else { json!({"task": task}) };
                    let data = |event: Value| format!("data: {}\n\n", result(event)).into_bytes();
                    vec![event_head(), data(event), if is_brief { data(end) } else { SILENCE.to_vec() }]
                }
            },
            // It does not mind the filters, and gives few tasks at a time.
            "ListTasks" => {
                let all: Vec<Value> = self.tasks().values().cloned().collect();
                let start = params["pageToken"].as_str().map_or(0, |token| token.parse::<usize>().unwrap());
                let end = all.len().min(start + PAGE);
                let next = if end < all.len() { end.to_string() } else { String::new() };
                let page =
                    json!({"totalSize": all.len(), "pageSize": PAGE, "nextPageToken": next, "tasks": all[start..end]});
                vec![whole(200, "", &result(page))]
            }
            "CreateTaskPushNotificationConfig" | "tasks/pushNotificationConfig/set" => {
                vec![whole(200, "", &result(params.clone()))]
            }
            "GetExtendedAgentCard" | "agent/getAuthenticatedExtendedCard" => {
                if !*self.has_card.lock().unwrap_or_else(PoisonError::into_inner) {
                    return error(-32007, "no such card");
                }
                let mut card = self.card("http://192.0.2.1");
                card["description"] = json!("Adjusts large claims.");
                let card = card.to_string();
                let sealed = self.sealed.lock().unwrap_or_else(PoisonError::into_inner);
                let card = sealed.as_ref().map_or(card.clone(), |sealed| sealed(&card));
                vec![whole(200, "", &result(serde_json::from_str(&card).unwrap()))]
            }
            "DeleteTaskPushNotificationConfig" | "tasks/pushNotificationConfig/delete" => {
                vec![whole(200, "", &result(Value::Null))]
            }
            _ => error(-32601, "no"),
        }
    }

    fn card(&self, url: &str) -> Value {
        let mut card = json!({
            "name": "adjuster", "description": "Adjusts claims.", "version": "7", "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
            "skills": [{"id": "s", "name": "n", "description": "d", "tags": ["t"]}],
            "capabilities": {"streaming": true, "pushNotifications": true, "extendedAgentCard": true, "extensions": [{"uri": "https://portcullis.dev/extensions/session/v1"}]},
        });
        let object = card.as_object_mut().unwrap();
        match self.speaks {
            Speaks::Old => {
                object.insert("url".to_owned(), json!(format!("{url}/rpc")));
                object.insert("protocolVersion".to_owned(), json!("0.3.0"));
                object.insert("supportsAuthenticatedExtendedCard".to_owned(), json!(true));
            }
            // Another host than the one that the operator has named.
            Speaks::New | Speaks::Rest => {
                let (path, binding) =
                    if self.speaks == Speaks::New { ("rpc", "JSONRPC") } else { ("rest", "HTTP+JSON") };
                let interface = json!({"url": format!("http://192.0.2.1/{path}"), "protocolBinding": binding, "protocolVersion": "1.0"});
                object.insert("supportedInterfaces".to_owned(), json!([interface]));
            }
        }
        card
    }

    fn send(&self, message: &Value, as_event: bool) -> Value {
        let text = message["parts"][0]["text"].as_str().unwrap_or_default();
        let (context, is_old) = (&message["contextId"], self.speaks == Speaks::Old);
        if text.starts_with("direct") {
            return if is_old {
                json!({"kind": "message", "messageId": "r", "role": "agent", "contextId": context, "parts": [{"kind": "text", "text": text}]})
            } else {
                json!({"message": {"messageId": "r", "role": "ROLE_AGENT", "contextId": context, "parts": [{"text": text}]}})
            };
        }
        let id = message["taskId"].as_str().map_or_else(|| format!("t-{}", self.tasks().len() + 1), str::to_owned);
        let state = if as_event {
            "working"
        } else if text.starts_with("wait") {
            "input-required"
        } else {
            "completed"
        };
        let timestamp = next_second();
        let task = if is_old {
            json!({"kind": "task", "id": id, "contextId": context, "status": {"state": state, "timestamp": timestamp}, "artifacts": [{"artifactId": "a", "parts": [{"kind": "text", "text": text}]}]})
        } else {
            json!({"id": id, "contextId": context, "status": {"state": self.state(state), "timestamp": timestamp}, "artifacts": [{"artifactId": "a", "parts": [{"text": text}]}]})
        };
        self.tasks().insert(id, task.clone());
        if is_old { task } else { json!({"task": task}) }
    }

    /// The events of a message: the task, what it has made, and its end, unless it waits.
    fn stream(&self, message: &Value) -> Vec<Value> {
        let mut first = self.send(message, true);
        let is_old = self.speaks == Speaks::Old;
        let pieces = message["parts"][0]["text"].as_str().and_then(|text| text.strip_prefix("pieces "));
        if pieces.is_some() {
            let task = if is_old { &mut first } else { &mut first["task"] };
            task["artifacts"] = json!([]);
        }
        let task = if is_old { first.clone() } else { first["task"].clone() };
        let Some(id) = task["id"].as_str() else { return vec![first] };
        let mut events = vec![first.clone()];
        for (index, piece) in pieces.into_iter().flat_map(|pieces| pieces.split('|')).enumerate() {
            let part = if is_old { json!({"kind": "text", "text": piece}) } else { json!({"text": piece}) };
            let mut update = json!({"taskId": id, "contextId": task["contextId"], "append": index > 0, "artifact": {"artifactId": "p", "parts": [part]}});
            if is_old {
                update["kind"] = json!("artifact-update");
            }
            events.push(if is_old { update } else { json!({"artifactUpdate": update}) });
        }
        if !message["parts"][0]["text"].as_str().unwrap_or_default().starts_with("wait") {
            self.change(id, self.state("completed"));
            let status = json!({"state": self.state("completed")});
            let mut update = json!({"taskId": id, "contextId": task["contextId"], "status": status});
            if is_old {
                update["kind"] = json!("status-update");
                update["final"] = json!(true);
            }
            events.push(if is_old { update } else { json!({"statusUpdate": update}) });
        }
        events
    }

    fn is_last(&self, event: &Value) -> bool {
        event.to_string().contains(&self.state("completed")) || event.to_string().contains("messageId")
    }

    fn state(&self, name: &str) -> String {
        if self.speaks == Speaks::Old {
            name.to_owned()
        } else {
            format!("TASK_STATE_{}", name.to_uppercase().replace('-', "_"))
        }
    }

    fn task(&self, id: &str) -> Option<Value> {
        self.tasks().get(id).cloned()
    }

    pub(crate) fn change(&self, id: &str, state: String) {
        self.tasks().get_mut(id).unwrap()["status"]["state"] = json!(state);
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Value>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
