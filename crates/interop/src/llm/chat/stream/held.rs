//! A tool call that is held back: put together from its pieces, judged as a whole, and released as what was judged.

use bytes::Bytes;
use portcullis_domain::refusal::{Code, Refusal};
use serde::de::IgnoredAny;

use crate::frame::object::{Object, quoted};
use crate::llm::chat::call::{CallKind, Parts, ToolCall, unreadable};

/// The longest name, id and arguments of one call together, in bytes.
pub(super) const CALL_LIMIT_BYTES: usize = 1 << 20;

/// How many bytes of a call's pieces are kept to be released as they came. Pieces are far longer than what they add, so
/// this is reached first; the call is then written anew as one piece.
const RAW_LIMIT_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct HeldCall {
    pub choice: u64,
    /// Its place among the calls of its choice in this round.
    pub position: usize,
    /// The number that the pieces go by.
    pub index: Option<u64>,
    /// Whether the pieces also tell who speaks.
    pub carries_role: bool,
    id: String,
    name: String,
    arguments: String,
    kind: Option<CallKind>,
    others: Object<'static>,
    inner_others: Object<'static>,
    /// The pieces as they came; none when they can't be released so.
    raw: Option<Vec<Bytes>>,
    raw_bytes: usize,
}

impl HeldCall {
    pub(super) fn new(choice: u64, position: usize, index: Option<u64>) -> Self {
        Self {
            choice,
            position,
            index,
            carries_role: false,
            id: String::new(),
            name: String::new(),
            arguments: String::new(),
            kind: None,
            others: Object::default(),
            inner_others: Object::default(),
            raw: Some(Vec::new()),
            raw_bytes: 0,
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Whether nothing more can be meant to come: its arguments are JSON as they are. Of free text nobody knows, so it counts as whole.
    pub(super) fn is_whole(&self) -> bool {
        let is_function = self.kind.is_none_or(|kind| kind == CallKind::Function);
        !is_function || serde_json::from_str::<IgnoredAny>(&self.arguments).is_ok()
    }

    /// Whether a piece belongs to this call. Some providers number all calls 0 and tell them apart by their ids.
    pub(super) fn is_continued_by(&self, parts: &Parts<'_>) -> bool {
        let is_legacy = self.kind == Some(CallKind::Legacy);
        let same_index = parts.index.is_none() || parts.index == self.index;
        let same_id = parts.id.as_ref().is_none_or(|id| id.is_empty() || self.id.is_empty() || **id == self.id);
        is_legacy == (parts.kind == Some(CallKind::Legacy)) && same_index && same_id
    }

    /// Adds a piece; `raw` is the event, where it has nothing else in it. Returns how many bytes the model produced for it.
    pub(super) fn absorb(&mut self, parts: Parts<'_>, raw: Option<Bytes>) -> Result<usize, Refusal> {
        let is_first = self.raw.as_ref().is_some_and(Vec::is_empty);
        if let Some(kind) = parts.kind {
            if self.kind.is_some_and(|known| known != kind) {
                return Err(unreadable("a tool call is both a function and a custom tool"));
            }
            self.kind = Some(kind);
        }
        if self.id.is_empty() {
            self.id.extend(parts.id.as_deref());
        }
        let name = parts.name.unwrap_or_default();
        let is_plain = !parts.is_untexted && parts.index == self.index && (is_first || name.is_empty());
        // Some providers repeat the whole name in each piece; what clients make of that differs, so it is written anew.
        if name != self.name {
            self.name.push_str(&name);
        }
        let arguments = parts.arguments.unwrap_or_default();
        self.arguments.push_str(&arguments);
        if self.name.len() + self.id.len() + self.arguments.len() > CALL_LIMIT_BYTES {
            return Err(Refusal::new(
                Code::TooLarge,
                format!("a tool call of the model is larger than {CALL_LIMIT_BYTES} bytes"),
            ));
        }
        for (others, new) in [(&mut self.others, parts.others), (&mut self.inner_others, parts.inner_others)] {
            others.extend(new.iter().map(|(name, value)| (name.as_ref(), value.get())));
        }
        self.keep_raw(raw.filter(|_| is_plain));
        Ok(name.len() + arguments.len())
    }

    fn keep_raw(&mut self, raw: Option<Bytes>) {
        self.raw_bytes += raw.as_ref().map_or(0, Bytes::len);
        match (&mut self.raw, raw) {
            (Some(pieces), Some(raw)) if self.raw_bytes <= RAW_LIMIT_BYTES => pieces.push(raw),
            (Some(_) | None, _) => self.raw = None,
        }
    }

    /// It has other arguments from here on, and so none of its pieces is what it was.
    pub(super) fn rewrite(&mut self, arguments: String) {
        self.arguments = arguments;
        self.raw = None;
    }

    /// What is to be judged.
    pub(super) fn tool_call(&self) -> ToolCall {
        ToolCall {
            choice: self.choice,
            position: self.position,
            id: self.id.clone(),
            name: self.name.clone(),
            arguments: self.arguments.clone(),
            kind: self.kind.unwrap_or(CallKind::Function),
        }
    }

    /// The pieces as they came, if the client can get them so under the number `index`.
    pub(super) fn raw_as(&self, index: u64) -> Option<&[Bytes]> {
        let fits = self.kind == Some(CallKind::Legacy) || self.index == Some(index);
        self.raw.as_deref().filter(|_| fits)
    }

    /// The raw `delta` with the whole call under the number `index`; `role` is put before it if given.
    pub(super) fn delta(&self, index: u64, role: Option<&str>) -> String {
        let kind = self.kind.unwrap_or(CallKind::Function);
        let mut inner = Object::default();
        inner.set("name", quoted(&self.name));
        inner.set(kind.arguments_member(), quoted(&self.arguments));
        inner.extend(self.inner_others.iter());
        let mut delta = Object::default();
        if let Some(role) = role {
            delta.set("role", quoted(role));
        }
        if kind == CallKind::Legacy {
            delta.set("function_call", inner.to_string());
            return delta.to_string();
        }
        let mut call = Object::default();
        call.set("index", index.to_string());
        if !self.id.is_empty() {
            call.set("id", quoted(&self.id));
        }
        call.set("type", quoted(kind.member()));
        call.set(kind.member(), inner.to_string());
        call.extend(self.others.iter());
        delta.set("tool_calls", format!("[{call}]"));
        delta.to_string()
    }
}
