//! The conversation as the script looks at it: which tools there are, what the user wants, and what has come of it.

use crate::chat::{Message, Role};

/// A conversation and the tools that may be called in it.
pub(super) struct Request<'a> {
    pub(super) messages: &'a [Message],
    pub(super) tools: &'a [String],
}

impl<'a> Request<'a> {
    /// The declared name of the tool with this plain name: the name itself, or one with a prefix such as `claims__`.
    pub(super) fn declared(&self, plain: &str) -> Option<&'a str> {
        let find = |fits: &dyn Fn(&str) -> bool| self.tools.iter().map(String::as_str).find(|name| fits(name));
        find(&|name| name == plain)
            .or_else(|| find(&|name| name.ends_with(&format!("__{plain}"))))
            .or_else(|| find(&|name| name.ends_with(plain)))
    }
}

/// The last message of the user, and what came after it.
pub(super) struct Turn<'a> {
    pub(super) instruction: &'a str,
    pub(super) since: &'a [Message],
}

impl<'a> Turn<'a> {
    pub(super) fn of(messages: &'a [Message]) -> Self {
        let before = messages.iter().rposition(|message| message.role == Role::User);
        let instruction = before.and_then(|at| messages.get(at)).map_or("", |message| message.text.as_str());
        let since = messages.get(before.map_or(0, |at| at + 1)..).unwrap_or_default();
        Self { instruction, since }
    }

    /// The results of tools at the very end, each with the name of its tool.
    pub(super) fn results(&self) -> Vec<(&'a str, &'a str)> {
        let start = self.since.iter().rposition(|message| message.role != Role::Tool).map_or(0, |at| at + 1);
        let calls = || self.since.iter().flat_map(|message| &message.calls);
        let name = |result: &Message| calls().find(|call| Some(&call.id) == result.call_id.as_ref());
        let results = self.since.get(start..).unwrap_or_default().iter();
        results.map(|result| (name(result).map_or("a tool", |call| call.name.as_str()), result.text.as_str())).collect()
    }
}
