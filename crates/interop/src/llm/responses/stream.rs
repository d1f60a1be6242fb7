//! The events of a response, made of a chat answer in pieces as its client would get it: what was denied is not in it any more.
//!
//! Text flows on at once. The arguments of a call come when it was judged, which is when it is whole.

use portcullis_domain::refusal::{Code, Refusal};
use serde_json::{Value, json};

use crate::frame::sse::Decoder;
use crate::llm::responses::{Ending, Frame, items};

/// The largest event of a chat answer, in bytes.
const EVENT_LIMIT_BYTES: usize = 16 << 20;

/// The longest text of all items, in bytes.
const TEXT_LIMIT_BYTES: usize = 16 << 20;

/// Makes events of one chat stream.
#[derive(Debug)]
pub struct ResponseStream {
    frame: Frame,
    decoder: Decoder,
    events: Vec<String>,
    number: u64,
    /// The items that are whole.
    output: Vec<Value>,
    /// How long the text of all items is.
    text_bytes: usize,
    open: Option<Open>,
    finish_reason: Option<String>,
    usage: Option<Value>,
    failure: Option<String>,
    is_done: bool,
}

/// What a stream came to.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The response.
    pub response: Value,
    /// Its items.
    pub output: Vec<Value>,
    /// The events before the last one.
    pub events: String,
    /// The last event, which must not be released before the response is kept.
    pub last: String,
    /// Whether it failed.
    pub is_failed: bool,
}

/// The item that is being said.
#[derive(Debug)]
struct Open {
    kind: Kind,
    id: String,
    text: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Reasoning,
    Text,
    Refusal,
    Call { index: u64, call: String, name: String },
}

impl ResponseStream {
    /// The stream of this response. Its first events are there at once.
    #[must_use]
    pub fn new(frame: Frame) -> Self {
        let mut stream = Self {
            decoder: Decoder::new(EVENT_LIMIT_BYTES),
            events: Vec::new(),
            number: 0,
            output: Vec::new(),
            text_bytes: 0,
            open: None,
            finish_reason: None,
            usage: None,
            failure: None,
            is_done: false,
            frame,
        };
        for name in ["response.created", "response.in_progress"] {
            let response = stream.frame.response(&Ending::Under, &[], None);
            stream.event(name, json!({"response": response}));
        }
        stream
    }

    /// Takes a piece of the chat stream and gives the events that follow.
    ///
    /// # Errors
    ///
    /// When it is no stream of a chat answer, or an event is too large.
    pub fn feed(&mut self, piece: &[u8]) -> Result<String, Refusal> {
        self.decoder.feed(piece);
        while let Some(event) = self.decoder.next_event()? {
            let Some(data) = event.data else { continue };
            if data.trim_ascii() == b"[DONE]" {
                self.is_done = true;
            } else if let Ok(chunk) = serde_json::from_slice::<Value>(&data) {
                self.take(&chunk);
            }
            if self.text_bytes > TEXT_LIMIT_BYTES {
                let message = format!("the model's answer is larger than {TEXT_LIMIT_BYTES} bytes");
                return Err(Refusal::new(Code::TooLarge, message));
            }
        }
        Ok(self.events.drain(..).collect())
    }

    /// Ends the stream. One that did not end well has failed, with what `otherwise` says where the model said nothing of it.
    #[must_use]
    pub fn end(mut self, otherwise: Option<&str>) -> Ended {
        let failure = self.failure.take().or_else(|| otherwise.map(str::to_owned));
        let is_whole = self.is_done || self.finish_reason.is_some();
        let ending = match failure {
            Some(message) => Ending::Failed(message),
            None if is_whole => Ending::of(self.finish_reason.as_deref()),
            None => Ending::Failed("the model's answer broke off".to_owned()),
        };
        let status = if ending == Ending::Completed { "completed" } else { "incomplete" };
        self.close(status);
        if self.output.is_empty() && ending == Ending::Completed {
            self.say(&Kind::Text, "");
            self.close(status);
        }
        let response = self.frame.response(&ending, &self.output, self.usage.as_ref());
        let events: String = self.events.drain(..).collect();
        self.event(&format!("response.{}", ending.status()), json!({"response": response}));
        let last: String = self.events.drain(..).collect();
        let is_failed = matches!(ending, Ending::Failed(_));
        Ended { response, output: self.output, events, last, is_failed }
    }

    fn take(&mut self, chunk: &Value) {
        if let Some(error) = chunk.get("error").filter(|error| !error.is_null()) {
            let message = error.get("message").and_then(Value::as_str).unwrap_or("the model's answer broke off");
            self.failure = Some(message.to_owned());
        }
        if let Some(usage) = chunk.get("usage").filter(|usage| !usage.is_null()) {
            self.usage = Some(usage.clone());
        }
        let Some(choice) = chunk.pointer("/choices/0") else { return };
        let text = |name: &str| {
            choice.pointer(&format!("/delta/{name}")).and_then(Value::as_str).filter(|text| !text.is_empty())
        };
        if let Some(thought) = text("reasoning_content").or_else(|| text("reasoning")) {
            self.say(&Kind::Reasoning, thought);
        }
        for (name, kind) in [("content", Kind::Text), ("refusal", Kind::Refusal)] {
            if let Some(text) = text(name) {
                self.say(&kind, text);
            }
        }
        for call in choice.pointer("/delta/tool_calls").and_then(Value::as_array).into_iter().flatten() {
            self.call(call);
        }
        if let Some(reason) = choice.get("finish_reason").and_then(Value::as_str) {
            self.finish_reason = Some(reason.to_owned());
        }
    }

    /// A piece of a call. Calls come one after the other, each whole.
    fn call(&mut self, call: &Value) {
        let text = |path: &str| call.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let index = call.get("index").and_then(Value::as_u64).unwrap_or(0);
        let under = match &self.open {
            Some(Open { kind: kind @ Kind::Call { index: open, .. }, .. }) if *open == index => Some(kind.clone()),
            Some(_) | None => None,
        };
        let new = || Kind::Call { index, call: text("/id").to_owned(), name: text("/function/name").to_owned() };
        self.say(&under.unwrap_or_else(new), text("/function/arguments"));
    }

    /// Goes on with the item of that kind, or begins one.
    fn say(&mut self, kind: &Kind, delta: &str) {
        if self.open.as_ref().is_none_or(|open| open.kind != *kind) {
            self.close("completed");
            self.begin(kind);
        }
        let Some(open) = &mut self.open else { return };
        open.text.push_str(delta);
        self.text_bytes = self.text_bytes.saturating_add(delta.len());
        if delta.is_empty() {
            return;
        }
        let (id, place) = (open.id.clone(), self.output.len());
        let mut data = json!({"item_id": id, "output_index": place, "delta": delta});
        let name = match kind {
            Kind::Reasoning => "response.reasoning_text.delta",
            Kind::Text => "response.output_text.delta",
            Kind::Refusal => "response.refusal.delta",
            Kind::Call { .. } => "response.function_call_arguments.delta",
        };
        if let (false, Some(data)) = (matches!(kind, Kind::Call { .. }), data.as_object_mut()) {
            data.insert("content_index".to_owned(), json!(0));
        }
        if let (Kind::Text, Some(data)) = (kind, data.as_object_mut()) {
            data.insert("logprobs".to_owned(), json!([]));
        }
        self.event(name, data);
    }

    fn begin(&mut self, kind: &Kind) {
        let place = self.output.len();
        let prefix = match kind {
            Kind::Reasoning => "rs",
            Kind::Text | Kind::Refusal => "msg",
            Kind::Call { .. } => "fc",
        };
        let id = self.frame.item(prefix, place);
        let item = match kind {
            Kind::Reasoning => json!({"id": id, "type": "reasoning", "summary": [], "content": []}),
            Kind::Text | Kind::Refusal => items::message(&id, "in_progress", &[]),
            Kind::Call { call, name, .. } => items::function_call(&id, call, name, "", "in_progress"),
        };
        self.event("response.output_item.added", json!({"output_index": place, "item": item}));
        if let Some(part) = part(kind, "") {
            let data = json!({"item_id": id, "output_index": place, "content_index": 0, "part": part});
            self.event("response.content_part.added", data);
        }
        self.open = Some(Open { kind: kind.clone(), id, text: String::new() });
    }

    /// The item that is being said is whole, or as whole as it gets.
    fn close(&mut self, status: &str) {
        let Some(Open { kind, id, text }) = self.open.take() else { return };
        let place = self.output.len();
        let at = |mut data: Value, more: Value| {
            let base = json!({"item_id": id, "output_index": place});
            if let (Value::Object(data), Value::Object(base), Value::Object(more)) = (&mut data, base, more) {
                data.extend(base);
                data.extend(more);
            }
            data
        };
        let first = json!({"content_index": 0});
        let (name, data, item) = match &kind {
            Kind::Reasoning => {
                ("response.reasoning_text.done", at(json!({"text": text}), first.clone()), items::reasoning(&id, &text))
            }
            Kind::Text => (
                "response.output_text.done",
                at(json!({"text": text, "logprobs": []}), first.clone()),
                items::message(&id, status, &[items::output_text(&text)]),
            ),
            Kind::Refusal => (
                "response.refusal.done",
                at(json!({"refusal": text}), first.clone()),
                items::message(&id, status, &[items::refusal(&text)]),
            ),
            Kind::Call { call, name, .. } => (
                "response.function_call_arguments.done",
                at(json!({"arguments": text, "name": name}), json!({})),
                items::function_call(&id, call, name, &text, status),
            ),
        };
        let last = part(&kind, &text).map(|part| at(json!({"part": part}), first));
        self.event(name, data);
        if let Some(part) = last {
            self.event("response.content_part.done", part);
        }
        self.event("response.output_item.done", json!({"output_index": place, "item": item}));
        self.output.push(item);
    }

    fn event(&mut self, name: &str, mut data: Value) {
        if let Some(data) = data.as_object_mut() {
            data.insert("type".to_owned(), json!(name));
            data.insert("sequence_number".to_owned(), json!(self.number));
        }
        self.number += 1;
        self.events.push(format!("event: {name}\ndata: {data}\n\n"));
    }
}

/// The part of a message or of a thought; calls have none.
fn part(kind: &Kind, text: &str) -> Option<Value> {
    match kind {
        Kind::Reasoning => Some(json!({"type": "reasoning_text", "text": text})),
        Kind::Text => Some(items::output_text(text)),
        Kind::Refusal => Some(items::refusal(text)),
        Kind::Call { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::responses::ResponsesRequest;

    fn chunk(delta: Value) -> String {
        format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": delta}]}))
    }

    fn finish(reason: &str) -> String {
        format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}))
    }

    /// The names of the events, and the response at the end.
    fn check(chat: &[String], expected: &[&str], status: &str, output: Value) {
        let request = ResponsesRequest::read(br#"{"model":"m","input":"hi","stream":true}"#).unwrap();
        let mut stream = ResponseStream::new(Frame::new(&request, "resp_ab", 7));
        let mut events = String::new();
        for byte in chat.concat().as_bytes().chunks(7) {
            events.push_str(&stream.feed(byte).unwrap());
        }
        let ended = stream.end(None);
        events.push_str(&ended.events);
        events.push_str(&ended.last);
        let names: Vec<&str> = events.lines().filter_map(|line| line.strip_prefix("event: response.")).collect();
        assert_eq!(names, expected);
        for (number, data) in events.lines().filter_map(|line| line.strip_prefix("data: ")).enumerate() {
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!(data["sequence_number"], json!(number));
        }
        assert_eq!((&ended.response["status"], &ended.response["output"]), (&json!(status), &output));
        assert_eq!(ended.is_failed, status == "failed");
    }

    #[test]
    fn text_flows_and_calls_come_as_items_of_their_own() {
        let start = |name: &str, arguments: &str, index: u64| {
            chunk(
                json!({"tool_calls": [{"index": index, "id": format!("call_{index}"), "type": "function", "function": {"name": name, "arguments": arguments}}]}),
            )
        };
        let usage =
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}\n\n";
        check(
            &[
                chunk(json!({"role": "assistant", "content": ""})),
                chunk(json!({"content": "he"})),
                chunk(json!({"content": "y"})),
                start("f", "{\"a\"", 0),
                chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]})),
                start("g", "{}", 1),
                finish("tool_calls"),
                usage.to_owned(),
                "data: [DONE]\n\n".to_owned(),
            ],
            &[
                "created",
                "in_progress",
                "output_item.added",
                "content_part.added",
                "output_text.delta",
                "output_text.delta",
                "output_text.done",
                "content_part.done",
                "output_item.done",
                "output_item.added",
                "function_call_arguments.delta",
                "function_call_arguments.delta",
                "function_call_arguments.done",
                "output_item.done",
                "output_item.added",
                "function_call_arguments.delta",
                "function_call_arguments.done",
                "output_item.done",
                "completed",
            ],
            "completed",
            json!([
                items::message("msg_ab0000", "completed", &[items::output_text("hey")]),
                items::function_call("fc_ab0001", "call_0", "f", "{\"a\":1}", "completed"),
                items::function_call("fc_ab0002", "call_1", "g", "{}", "completed"),
            ]),
        );
    }

    #[test]
    fn what_is_cut_says_so() {
        let text = |status: &str| json!([items::message("msg_ab0000", status, &[items::output_text("he")])]);
        let begun = [
            "created",
            "in_progress",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
        ];
        let said = chunk(json!({"content": "he"}));
        check(
            &[said.clone(), finish("length")],
            &[&begun[..], &["incomplete"]].concat(),
            "incomplete",
            text("incomplete"),
        );
        check(std::slice::from_ref(&said), &[&begun[..], &["failed"]].concat(), "failed", text("incomplete"));
        let error = "data: {\"error\":{\"message\":\"sorry\"}}\n\n".to_owned();
        check(&[said, error], &[&begun[..], &["failed"]].concat(), "failed", text("incomplete"));
    }
}
