//! A list of tasks over several contexts (A2A 1.0, section 3.1.4), put together from what agents say of each.
//!
//! [`Wanted`] is what the client asks for, and what each context is asked with; [`Gathered`] takes the answers in and gives a page of them, newest first. What agents
//! should have done by themselves is done again here (the filters, the history, the artifacts), since a list is only sorted by what they say if they all say it alike.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use portcullis_domain::json;
use serde::{Deserialize, Serialize};

use crate::a2a::call::{A2aCall, member, text_of};
use crate::a2a::failure::{Failure, Kind};
use crate::a2a::method::Method;
use crate::a2a::reply::Reply;
use crate::a2a::state::TaskState;
use crate::a2a::version::Version;
use crate::a2a::walk::Named;
use crate::frame::object::{Object, quoted};
use crate::frame::proto::time;

/// The most tasks on a page.
pub const PAGE_LIMIT: usize = 100;
/// How many tasks are on a page if nothing is said.
pub const PAGE: usize = 50;

/// A time, as seconds and nanoseconds since 1970.
type Instant = (i64, u32);

/// Which tasks a client wants, and how much of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    state: Option<TaskState>,
    after: Option<Instant>,
    history: Option<usize>,
    has_artifacts: bool,
    page: usize,
    token: Option<String>,
}

/// Where a task stands in a list: what was changed last stands first, and what does not say when it was stands last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    changed_at: Option<Instant>,
    id: String,
}

/// Tasks of several contexts.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Raw, by their ids: an agent may show a task twice while it changes.
    tasks: BTreeMap<String, (Option<Instant>, String)>,
    bytes: usize,
}

impl Wanted {
    /// Reads what a client asks for.
    ///
    /// # Errors
    ///
    /// [`Kind::InvalidParams`] with what is wrong.
    pub fn read(call: &A2aCall<'_>) -> Result<Self, Failure> {
        let value = |name: &'static str| member(&call.params, &[name]);
        let number = |name, least: usize, most: usize| {
            let Some(raw) = value(name) else { return Ok(None) };
            let number = raw.parse().ok().filter(|number| (least..=most).contains(number));
            number.map(Some).ok_or_else(|| invalid(name, format!("{raw} is not a number from {least} to {most}")))
        };
        let text = |name| text_of(&call.params, &[name]).filter(|text| !text.is_empty());
        let state = value("status").map(|raw| {
            let state = Some(TaskState::read(raw)).filter(|state| *state != TaskState::Unknown);
            let is_any = matches!(raw, "0" | "\"TASK_STATE_UNSPECIFIED\"" | "\"\"");
            if state.is_some() || is_any {
                Ok(state)
            } else {
                Err(invalid("status", format!("{raw} is no state of a task")))
            }
        });
        let after = text("statusTimestampAfter").map(|text| {
            time::read(&text).ok_or_else(|| invalid("statusTimestampAfter", format!("`{text}` is no time of RFC 3339")))
        });
        Ok(Self {
            state: state.transpose()?.flatten(),
            after: after.transpose()?,
            history: number("historyLength", 0, i32::MAX.unsigned_abs() as usize)?,
            has_artifacts: value("includeArtifacts") == Some("true"),
            page: number("pageSize", 1, PAGE_LIMIT)?.unwrap_or(PAGE),
            token: text("pageToken"),
        })
    }

    /// The page that is asked for; none for the first.
    #[must_use]
    pub fn page_token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// What makes it another list: a page of one is none of another.
    #[must_use]
    pub fn filters(&self) -> String {
        format!("{:?} {:?}", self.state, self.after)
    }

    /// The call that asks for a page of one context, which is still to be named in it.
    ///
    /// # Errors
    ///
    /// What can't be read.
    pub fn asking(call: &A2aCall<'static>, page_token: Option<&str>) -> Result<A2aCall<'static>, Failure> {
        let mut params = Object::read(&call.params).map_err(|problem| Failure::new(Kind::InvalidParams, problem))?;
        params.set("pageSize", PAGE_LIMIT.to_string());
        params.remove("pageToken");
        if let Some(token) = page_token {
            params.set("pageToken", quoted(token));
        }
        let params = params.to_string().into();
        Ok(A2aCall { params, id: None, ..call.clone() })
    }

    /// The task as it is wanted; none when it is not.
    fn of(&self, raw: &str) -> Result<Option<(String, Option<Instant>, String)>, String> {
        let id = text_of(raw, &["id"]).ok_or("a task has no `id`")?;
        let state = member(raw, &["status", "state"]).map_or(TaskState::Unknown, TaskState::read);
        let changed_at = text_of(raw, &["status", "timestamp"]).and_then(|text| time::read(&text));
        let is_wanted = self.state.is_none_or(|wanted| wanted == state)
            && self.after.is_none_or(|after| changed_at.is_some_and(|at| at >= after));
        if !is_wanted {
            return Ok(None);
        }
        let mut task = Object::read(raw)?;
        if !self.has_artifacts {
            task.remove("artifacts");
        }
        if let Some(length) = self.history
            && let Some(history) = task.take("history").filter(|_| length > 0)
        {
            let all = json::items(&history)?;
            let latest: Vec<&str> =
                all.iter().skip(all.len().saturating_sub(length)).map(|message| message.get()).collect();
            task.set("history", format!("[{}]", latest.join(",")));
        }
        Ok(Some((id, changed_at, task.to_string())))
    }
}

impl Gathered {
    /// Takes in a page of one context; the token of the next one, if there is one.
    ///
    /// # Errors
    ///
    /// What can't be read.
    pub fn take(&mut self, wanted: &Wanted, page: &Reply) -> Result<Option<String>, String> {
        let tasks = member(page.raw(), &["tasks"]).map(json::items).transpose()?;
        for task in tasks.unwrap_or_default() {
            self.take_task(wanted, task.get())?;
        }
        Ok(text_of(page.raw(), &["nextPageToken"]).filter(|token| !token.is_empty()))
    }

    /// Takes in a task, raw, if it is wanted.
    ///
    /// # Errors
    ///
    /// What can't be read.
    pub fn take_task(&mut self, wanted: &Wanted, raw: &str) -> Result<(), String> {
        let Some((id, changed_at, raw)) = wanted.of(raw)? else { return Ok(()) };
        if self.tasks.get(&id).is_some_and(|(known, _)| *known > changed_at) {
            return Ok(());
        }
        self.bytes += raw.len();
        if let Some((_, old)) = self.tasks.insert(id, (changed_at, raw)) {
            self.bytes -= old.len();
        }
        Ok(())
    }

    /// Gives a task another name, if it is there.
    ///
    /// # Errors
    ///
    /// What can't be read.
    pub fn rename(&mut self, from: &str, to: String) -> Result<(), String> {
        let Some((changed_at, raw)) = self.tasks.remove(from) else { return Ok(()) };
        let task = Reply::read(Method::GetTask, Version::V1_0, &raw)?;
        let mut rename = |named, id: &str| (named == Named::Task && id == from).then(|| to.clone());
        let renamed = task.renamed(&mut rename)?.raw().to_owned();
        self.bytes = self.bytes - raw.len() + renamed.len();
        self.tasks.insert(to, (changed_at, renamed));
        Ok(())
    }

    /// Takes in what was gathered elsewhere.
    pub fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.tasks.extend(other.tasks);
    }

    /// How long they are together, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The page behind `before`, or the first one. `seal` writes where the next one begins.
    ///
    /// # Errors
    ///
    /// When that can't be written.
    pub fn page(
        self,
        wanted: &Wanted,
        before: Option<&Place>,
        seal: impl FnOnce(&Place) -> Result<String, Failure>,
    ) -> Result<Reply, Failure> {
        let total = self.tasks.len();
        let placed = self.tasks.into_iter().map(|(id, (changed_at, raw))| (Place { changed_at, id }, raw));
        let mut rest: Vec<(Place, String)> =
            placed.filter(|(place, _)| before.is_none_or(|before| place < before)).collect();
        rest.sort_unstable_by(|(one, _), (other, _)| Reverse(one).cmp(&Reverse(other)));
        let has_more = rest.len() > wanted.page;
        rest.truncate(wanted.page);
        let next = match rest.last().filter(|_| has_more) {
            Some((last, _)) => seal(last)?,
            None => String::new(),
        };
        let tasks: Vec<String> = rest.into_iter().map(|(_, raw)| raw).collect();
        let mut page = Object::default();
        page.set("tasks", format!("[{}]", tasks.join(",")));
        page.set("nextPageToken", quoted(&next));
        page.set("pageSize", wanted.page.to_string());
        page.set("totalSize", total.to_string());
        let read = Reply::read(Method::ListTasks, Version::V1_0, &page.to_string());
        read.map_err(|problem| Failure::new(Kind::Internal, problem))
    }
}

fn invalid(name: &'static str, problem: String) -> Failure {
    Failure::new(Kind::InvalidParams, format!("`{name}`: {problem}")).with("parameter", name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::a2a::version::{Binding, Dialect};

    fn call(params: &Value) -> A2aCall<'static> {
        let dialect = Dialect::new(Version::V1_0, Binding::JsonRpc);
        let params = params.to_string().into();
        A2aCall { dialect, method: Method::ListTasks, id: None, extensions: Vec::new(), params }
    }

    fn wanted(params: &Value) -> Wanted {
        Wanted::read(&call(params)).unwrap()
    }

    /// A task by its id, how many seconds after 1970 it was changed, and its state.
    fn task(id: &str, second: Option<u32>, state: &str) -> Value {
        let mut task = json!({"id": id, "contextId": "c", "status": {"state": format!("TASK_STATE_{state}")}, "artifacts": [], "history": [1, 2, 3]});
        if let Some(second) = second {
            task["status"]["timestamp"] = json!(format!("1970-01-01T00:00:{second:02}Z"));
        }
        task
    }

    fn gathered(wanted: &Wanted, tasks: &[Value]) -> Gathered {
        let mut gathered = Gathered::default();
        for pair in tasks.chunks(2) {
            let page = json!({"tasks": pair, "nextPageToken": "more", "pageSize": 2, "totalSize": 9}).to_string();
            let page = Reply::read(Method::ListTasks, Version::V1_0, &page).unwrap();
            assert_eq!(gathered.take(wanted, &page).unwrap().as_deref(), Some("more"));
        }
        gathered
    }

    /// The page behind that place, and where the next one begins.
    fn page(wanted: &Wanted, tasks: &[Value], before: Option<&Place>) -> (Value, Option<Place>) {
        let mut next = None;
        let keep = |place: &Place| {
            next = Some(place.clone());
            Ok("sealed".to_owned())
        };
        let page = gathered(wanted, tasks).page(wanted, before, keep).unwrap();
        (serde_json::from_str(page.raw()).unwrap(), next)
    }

    fn ids(page: &Value) -> Vec<&str> {
        page["tasks"].as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap()).collect()
    }

    #[test]
    fn pages_go_from_the_newest_task_to_those_that_do_not_say_when() {
        let tasks = [
            task("a", Some(1), "WORKING"),
            task("b", None, "WORKING"),
            task("c", Some(3), "WORKING"),
            task("d", Some(3), "WORKING"),
            task("a", Some(4), "COMPLETED"),
            task("d", Some(2), "WORKING"),
        ];
        let wanted = wanted(&json!({"pageSize": 2}));
        let (first, next) = page(&wanted, &tasks, None);
        assert_eq!((ids(&first), &first["nextPageToken"]), (vec!["a", "d"], &json!("sealed")));
        let (second, end) = page(&wanted, &tasks, next.as_ref());
        assert_eq!((ids(&second), &second["nextPageToken"], end), (vec!["c", "b"], &json!(""), None));
        for page in [first, second] {
            assert_eq!((&page["pageSize"], &page["totalSize"]), (&json!(2), &json!(4)));
        }
    }

    #[test]
    fn what_was_not_asked_for_is_left_out_even_if_the_agent_says_it() {
        let tasks = [task("a", Some(1), "WORKING"), task("b", None, "COMPLETED"), task("c", Some(3), "COMPLETED")];
        for (params, expected) in [
            (json!({}), vec!["c", "a", "b"]),
            (json!({"status": "TASK_STATE_UNSPECIFIED"}), vec!["c", "a", "b"]),
            (json!({"status": "TASK_STATE_COMPLETED"}), vec!["c", "b"]),
            (json!({"status": 3, "statusTimestampAfter": "1970-01-01T00:00:03Z"}), vec!["c"]),
            (json!({"statusTimestampAfter": "1970-01-01T01:00:01+01:00"}), vec!["c", "a"]),
        ] {
            let (page, _) = page(&wanted(&params), &tasks, None);
            assert_eq!((ids(&page), &page["totalSize"]), (expected.clone(), &json!(expected.len())), "{params}");
        }
        for (params, artifacts, history) in [
            (json!({}), None, Some(json!([1, 2, 3]))),
            (json!({"includeArtifacts": true, "historyLength": 2}), Some(json!([])), Some(json!([2, 3]))),
            (json!({"historyLength": 0}), None, None),
        ] {
            let (page, _) = page(&wanted(&params), &tasks[..1], None);
            let task = &page["tasks"][0];
            assert_eq!(
                (task.get("artifacts"), task.get("history")),
                (artifacts.as_ref(), history.as_ref()),
                "{params}"
            );
        }
    }

    #[test]
    fn a_task_that_has_another_name_here_goes_by_it_wherever_it_is_named() {
        let wanted = wanted(&json!({}));
        let mut named = task("a", Some(1), "WORKING");
        named["status"]["message"] = json!({"messageId": "a", "taskId": "a", "parts": [{"text": "a"}]});
        let mut gathered = gathered(&wanted, &[named, task("b", Some(2), "WORKING")]);
        for (from, to) in [("a", "first"), ("a", "second"), ("c", "third")] {
            gathered.rename(from, to.to_owned()).unwrap();
        }
        let page = gathered.page(&wanted, None, |_| Ok(String::new())).unwrap();
        let page: Value = serde_json::from_str(page.raw()).unwrap();
        assert_eq!(ids(&page), ["b", "first"]);
        let message = &page["tasks"][1]["status"]["message"];
        assert_eq!(message, &json!({"messageId": "a", "taskId": "first", "parts": [{"text": "a"}]}));
    }

    #[test]
    fn what_can_not_be_asked_for_is_said_by_its_name() {
        for (params, parameter) in [
            (json!({"pageSize": 0}), "pageSize"),
            (json!({"pageSize": 101}), "pageSize"),
            (json!({"pageSize": "many"}), "pageSize"),
            (json!({"historyLength": -1}), "historyLength"),
            (json!({"status": "TASK_STATE_RUNNING"}), "status"),
            (json!({"statusTimestampAfter": "yesterday"}), "statusTimestampAfter"),
        ] {
            let failure = Wanted::read(&call(&params)).unwrap_err();
            assert_eq!(failure.kind(), Some(Kind::InvalidParams), "{params}");
            assert!(failure.message.starts_with(&format!("`{parameter}`: ")), "{}", failure.message);
        }
    }

    #[test]
    fn each_context_is_asked_for_whole_pages_with_the_same_filters() {
        let asked = call(&json!({"status": "TASK_STATE_WORKING", "pageSize": 2, "pageToken": "ours"}));
        for (token, expected) in [
            (None, json!({"status": "TASK_STATE_WORKING", "pageSize": 100})),
            (Some("theirs"), json!({"status": "TASK_STATE_WORKING", "pageSize": 100, "pageToken": "theirs"})),
        ] {
            let params = Wanted::asking(&asked, token).unwrap().params;
            assert_eq!(serde_json::from_str::<Value>(&params).unwrap(), expected);
        }
    }
}
