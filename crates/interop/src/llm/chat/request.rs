//! What a client asks of a model: read once, then forwarded with as few bytes changed as can be.

use std::ops::Range;

use bytes::Bytes;
use portcullis_domain::json;
use portcullis_domain::refusal::{Code, Refusal};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::frame::object::{Object, quoted, span, spliced};

/// The most answers that can be asked for at a time, as at OpenAI.
pub const CHOICES_LIMIT: u64 = 128;

/// Members with which a provider is told to run tools of its own, and what such a tool is called towards policy.
const PROVIDER_TOOLS: [(&str, &str); 4] = [
    ("web_search_options", "web_search"),
    ("search_parameters", "web_search"),
    ("plugins", "plugins"),
    ("mcp_servers", "mcp"),
];

/// A request that was read and can be admitted and forwarded.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    body: Bytes,
    model: String,
    places: Places,
    is_stream: bool,
    asked_for_usage: bool,
    output_limit: Option<u64>,
    choice_count: u64,
    message_count: usize,
    size: Size,
    provider_tools: Vec<String>,
}

/// Where the members that may be edited stand in the body.
#[derive(Debug, Clone)]
struct Places {
    model: Range<usize>,
    messages: Range<usize>,
    stream_options: Option<Range<usize>>,
    closing_brace: usize,
}

/// How much there is to read for the model.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    text_bytes: usize,
    image_count: usize,
}

/// One earlier answer to the same request that the client was not given, because all the calls in it were denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// The text of the answer; may be empty.
    pub text: String,
    /// What the model must know about the denial.
    pub message: String,
}

impl ChatRequest {
    /// Reads the body of a request.
    ///
    /// # Errors
    ///
    /// [`Code::InvalidRequest`], naming the member at fault.
    pub fn read(body: Bytes) -> Result<Self, Refusal> {
        let text = std::str::from_utf8(&body).map_err(|_| invalid("the body is not UTF-8"))?;
        let members = json::members(text).map_err(|problem| invalid(&format!("the body can't be read: {problem}")))?;
        let member = |name: &str| json::member(&members, name).filter(|raw| raw.get() != "null");
        for name in ["functions", "function_call"] {
            if member(name).is_some() {
                return Err(invalid(&format!("`{name}` is not accepted: use `tools` and `tool_choice`")).about(name));
            }
        }
        let model_raw = member("model").ok_or_else(|| missing("model"))?;
        let model: String = typed(Some(model_raw), "model", "a text")?
            .filter(|model: &String| !model.is_empty())
            .ok_or_else(|| missing("model"))?;
        let messages_raw = member("messages").ok_or_else(|| missing("messages"))?;
        let messages = json::items(messages_raw.get()).map_err(|_| wrong("messages", "a list"))?;
        let stream_options = member("stream_options");
        let options = stream_options
            .map(|raw| Object::read(raw.get()).map_err(|_| wrong("stream_options", "an object")))
            .transpose()?;
        let include_usage: Option<bool> = match options.as_ref().and_then(|options| options.raw("include_usage")) {
            Some(raw) => {
                serde_json::from_str(raw).map_err(|_| wrong("stream_options.include_usage", "true or false"))?
            }
            None => None,
        };
        let at = |raw: &RawValue| span(&body, raw.get().as_bytes()).unwrap_or_default();
        let mut size = Size::default();
        for (place, message) in messages.iter().enumerate() {
            size.add_message(message, place)?;
        }
        for name in ["tools", "response_format"] {
            size.text_bytes += member(name).map_or(0, |raw| raw.get().len());
        }
        Ok(Self {
            places: Places {
                model: at(model_raw),
                messages: at(messages_raw),
                // Also where it is `null`, since a second member of that name would be one too many.
                stream_options: json::member(&members, "stream_options").map(at),
                closing_brace: text.trim_end().len().saturating_sub(1),
            },
            model,
            is_stream: typed(member("stream"), "stream", "true or false")?.unwrap_or(false),
            asked_for_usage: include_usage.unwrap_or(false),
            output_limit: output_limit(member("max_completion_tokens"), member("max_tokens"))?,
            choice_count: choice_count(member("n"))?,
            message_count: messages.len(),
            size,
            provider_tools: provider_tools(member)?,
            body: body.clone(),
        })
    }

    /// The model that the client asks for, by the name that the client uses.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Whether the answer is wanted in pieces.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.is_stream
    }

    /// Whether the client wants the usage at the end of a stream.
    #[must_use]
    pub fn asked_for_usage(&self) -> bool {
        self.asked_for_usage
    }

    /// The most tokens that one choice may take; the larger number where there are two.
    #[must_use]
    pub fn output_limit(&self) -> Option<u64> {
        self.output_limit
    }

    /// How many answers are wanted: 1 to [`CHOICES_LIMIT`].
    #[must_use]
    pub fn choice_count(&self) -> u64 {
        self.choice_count
    }

    /// How many messages there are.
    #[must_use]
    pub fn message_count(&self) -> usize {
        self.message_count
    }

    /// The bytes of all text that the model will read: messages, tool calls in them, declared tools and the answer's schema.
    /// Parts of an unknown kind count with all their bytes, so that an estimate made of it is never too low.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.size.text_bytes
    }

    /// How many images the messages have.
    #[must_use]
    pub fn image_count(&self) -> usize {
        self.size.image_count
    }

    /// What the provider is asked to run itself, or what is no plain function: the `type` of such tools, as in `web_search`.
    #[must_use]
    pub fn provider_tools(&self) -> &[String] {
        &self.provider_tools
    }

    /// The messages as they were written.
    #[must_use]
    pub fn messages(&self) -> Vec<&RawValue> {
        let raw = self.body.get(self.places.messages.clone()).and_then(|raw| std::str::from_utf8(raw).ok());
        raw.and_then(|raw| json::items(raw).ok()).unwrap_or_default()
    }

    /// The body as it was sent.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The same request with other messages, as a raw JSON list.
    ///
    /// # Errors
    ///
    /// [`Code::InvalidRequest`] when they are no messages.
    pub fn with_messages(&self, messages: &str) -> Result<Self, Refusal> {
        Self::read(spliced(&self.body, &[(self.places.messages.clone(), messages.to_owned())]).into())
    }

    /// The messages as they were written, as a raw JSON list.
    #[must_use]
    pub fn raw_messages(&self) -> &str {
        let raw = self.body.get(self.places.messages.clone()).and_then(|raw| std::str::from_utf8(raw).ok());
        raw.unwrap_or("[]")
    }

    /// The body that goes upstream: the model's name replaced, and usage asked for on streams. Where neither is to be done it
    /// is the same bytes.
    #[must_use]
    pub fn forward(&self, upstream_model: &str) -> Bytes {
        self.ask_again(upstream_model, &[])
    }

    /// The body for another try, with the answers that the client was not given and why they were denied behind its messages.
    #[must_use]
    pub fn ask_again(&self, upstream_model: &str, rounds: &[Round]) -> Bytes {
        let mut edits = Vec::new();
        if upstream_model != self.model {
            edits.push((self.places.model.clone(), quoted(upstream_model)));
        }
        if self.is_stream && !self.asked_for_usage {
            edits.push(self.usage_wanted());
        }
        if !rounds.is_empty() {
            let end = self.places.messages.end.saturating_sub(1);
            let mut added: Vec<String> = rounds.iter().flat_map(messages_of).collect();
            if self.message_count > 0 {
                added.insert(0, String::new());
            }
            edits.push((end..end, added.join(",")));
        }
        if edits.is_empty() {
            return self.body.clone();
        }
        edits.sort_by_key(|(range, _)| range.start);
        spliced(&self.body, &edits).into()
    }

    /// The body with these messages in front of its own.
    #[must_use]
    pub fn preceded_by(&self, messages: &[serde_json::Value]) -> Bytes {
        let start = self.places.messages.start.saturating_add(1);
        let mut added: Vec<String> = messages.iter().map(ToString::to_string).collect();
        if self.message_count > 0 && !added.is_empty() {
            added.push(String::new());
        }
        spliced(&self.body, &[(start..start, added.join(","))]).into()
    }

    fn usage_wanted(&self) -> (Range<usize>, String) {
        let Some(place) = self.places.stream_options.clone() else {
            let end = self.places.closing_brace;
            return (end..end, r#","stream_options":{"include_usage":true}"#.to_owned());
        };
        let raw = self.body.get(place.clone()).and_then(|raw| std::str::from_utf8(raw).ok());
        let mut options = raw.and_then(|raw| Object::read(raw).ok()).unwrap_or_default();
        options.set("include_usage", "true");
        (place, options.to_string())
    }
}

impl Size {
    fn add_message(&mut self, raw: &RawValue, place: usize) -> Result<(), Refusal> {
        #[derive(Deserialize)]
        struct Message<'a> {
            #[serde(borrow, default)]
            content: Option<&'a RawValue>,
            #[serde(borrow, default)]
            tool_calls: Option<&'a RawValue>,
            #[serde(borrow, default)]
            function_call: Option<&'a RawValue>,
        }
        if !raw.get().starts_with('{') {
            return Err(wrong(&format!("messages[{place}]"), "an object"));
        }
        let unreadable = |problem| {
            invalid(&format!("`messages[{place}]` can't be read: {problem}")).about(format!("messages[{place}]"))
        };
        let message: Message<'_> = serde_json::from_str(raw.get()).map_err(unreadable)?;
        for calls in [message.tool_calls, message.function_call].into_iter().flatten() {
            self.text_bytes += calls.get().len();
        }
        let Some(content) = message.content else { return Ok(()) };
        if let Some(text) = json::text(content) {
            self.text_bytes += text.len();
            return Ok(());
        }
        let parts =
            json::items(content.get()).map_err(|_| wrong(&format!("messages[{place}].content"), "a text or a list"))?;
        for part in parts {
            self.add_part(part).map_err(|problem| {
                invalid(&format!("`messages[{place}].content` can't be read: {problem}"))
                    .about(format!("messages[{place}].content"))
            })?;
        }
        Ok(())
    }

    fn add_part(&mut self, raw: &RawValue) -> Result<(), String> {
        let part = Object::read(raw.get())?;
        match (part.raw("type"), part.raw("text")) {
            (Some(r#""image_url""#), _) => self.image_count += 1,
            (Some(r#""text""#), Some(text)) => self.text_bytes += text.len().saturating_sub(2),
            (Some(_) | None, _) => self.text_bytes += raw.get().len(),
        }
        Ok(())
    }
}

fn output_limit(completion: Option<&RawValue>, total: Option<&RawValue>) -> Result<Option<u64>, Refusal> {
    let read = |raw, name| -> Result<Option<u64>, Refusal> {
        let limit = typed(raw, name, "a whole number of at least 1")?;
        if limit == Some(0) { Err(wrong(name, "a whole number of at least 1")) } else { Ok(limit) }
    };
    Ok(read(completion, "max_completion_tokens")?.max(read(total, "max_tokens")?))
}

fn choice_count(raw: Option<&RawValue>) -> Result<u64, Refusal> {
    let count = typed(raw, "n", "a whole number")?.unwrap_or(1);
    if (1..=CHOICES_LIMIT).contains(&count) {
        Ok(count)
    } else {
        Err(wrong("n", &format!("between 1 and {CHOICES_LIMIT}")))
    }
}

fn provider_tools<'a>(member: impl Fn(&str) -> Option<&'a RawValue>) -> Result<Vec<String>, Refusal> {
    let mut names = Vec::new();
    let tools = member("tools").map(|raw| json::items(raw.get()).map_err(|_| wrong("tools", "a list"))).transpose()?;
    for (place, tool) in tools.unwrap_or_default().into_iter().enumerate() {
        let about = format!("tools[{place}]");
        let tool = Object::read(tool.get())
            .map_err(|problem| invalid(&format!("`{about}` can't be read: {problem}")).about(&*about))?;
        let kind: Option<String> = tool.raw("type").and_then(|raw| serde_json::from_str(raw).ok());
        let kind = kind.ok_or_else(|| wrong(&format!("{about}.type"), "a text"))?;
        if kind != "function" && kind != "custom" {
            names.push(kind);
        }
    }
    names.extend(PROVIDER_TOOLS.iter().filter(|(name, _)| member(name).is_some()).map(|(_, tool)| (*tool).to_owned()));
    Ok(names)
}

fn messages_of(round: &Round) -> Vec<String> {
    let message = |role: &str, text: &str| format!("{{\"role\":\"{role}\",\"content\":{}}}", quoted(text));
    let answer = (!round.text.is_empty()).then(|| message("assistant", &round.text));
    answer.into_iter().chain([message("system", &round.message)]).collect()
}

fn typed<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>, name: &str, what: &str) -> Result<Option<T>, Refusal> {
    raw.map(|raw| serde_json::from_str(raw.get()).map_err(|_| wrong(name, what))).transpose()
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(Code::InvalidRequest, message)
}

fn missing(name: &str) -> Refusal {
    invalid(&format!("`{name}` is missing")).about(name)
}

fn wrong(name: &str, what: &str) -> Refusal {
    invalid(&format!("`{name}` is not {what}")).about(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<ChatRequest, Refusal> {
        ChatRequest::read(Bytes::copy_from_slice(body.as_bytes()))
    }

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn messages_are_put_in_front_of_those_of_the_request() {
        let before = [serde_json::json!({"role": "user", "content": "a"})];
        for (own, expected) in [
            ("[]", r#"[{"role":"user","content":"a"}]"#),
            (r#"[ {"role":"user"}]"#, r#"[{"role":"user","content":"a"}, {"role":"user"}]"#),
        ] {
            let request = read(&format!(r#"{{"model":"m","messages":{own},"x":1.0}}"#)).unwrap();
            assert_eq!(
                text(&request.preceded_by(&before)),
                format!(r#"{{"model":"m","messages":{expected},"x":1.0}}"#)
            );
            assert_eq!(request.preceded_by(&[]), request.body());
        }
    }

    #[test]
    fn what_is_needed_to_admit_a_request_is_read() {
        let request = read(
            r#"{"model":"gpt-4o","n":3,"max_tokens":10,"max_completion_tokens":20,"stream":false,"temperature":1.0,
                "messages":[{"role":"user","content":"h\u00e4\n"},
                    {"role":"user","content":[{"type":"text","text":"abc"},{"type":"image_url","image_url":{"url":"data:…"}}]},
                    {"role":"assistant","content":null,"tool_calls":[{}]},{"role":"tool","tool_call_id":"x","content":"ok"}],
                "tools":[{"type":"function","function":{"name":"f"}},{"type":"custom","custom":{"name":"g"}},{"type":"mcp"}],
                "web_search_options":{},"mcp_servers":null}"#,
        )
        .unwrap();
        assert_eq!((request.model(), request.is_stream(), request.asked_for_usage()), ("gpt-4o", false, false));
        assert_eq!((request.choice_count(), request.output_limit()), (3, Some(20)));
        assert_eq!((request.message_count(), request.image_count()), (4, 1));
        let tools =
            r#"[{"type":"function","function":{"name":"f"}},{"type":"custom","custom":{"name":"g"}},{"type":"mcp"}]"#;
        assert_eq!(request.text_bytes(), "hä\n".len() + "abc".len() + "[{}]".len() + "ok".len() + tools.len());
        assert_eq!(request.provider_tools(), ["mcp", "web_search"]);
        assert_eq!(request.messages()[2].get(), r#"{"role":"assistant","content":null,"tool_calls":[{}]}"#);
    }

    #[test]
    fn members_that_are_absent_or_null_have_their_defaults() {
        for more in
            ["", r#","n":null,"max_tokens":null,"stream":null,"stream_options":null,"tools":null,"functions":null"#]
        {
            let request = read(&format!(r#"{{"model":"m","messages":[]{more}}}"#)).unwrap();
            assert_eq!((request.choice_count(), request.output_limit(), request.is_stream()), (1, None, false));
            assert!(request.provider_tools().is_empty() && request.message_count() == 0 && !request.asked_for_usage());
        }
    }

    #[test]
    fn what_can_not_be_read_is_refused_with_the_member_at_fault() {
        let hello = r#""messages":[{"role":"user","content":"hi"}]"#;
        for (body, parameter) in [
            ("", None),
            ("[]", None),
            (r#"{"model":"m","model":"n","messages":[]}"#, None),
            (r#"{"model":"m","\u006dodel":"n","messages":[]}"#, None),
            (r#"{"model":"m","messages":[]} {}"#, None),
            (r#"{"messages":[]}"#, Some("model")),
            (r#"{"model":null,"messages":[]}"#, Some("model")),
            (r#"{"model":"","messages":[]}"#, Some("model")),
            (r#"{"model":5,"messages":[]}"#, Some("model")),
            (r#"{"model":"\ud800","messages":[]}"#, Some("model")),
            (r#"{"model":"m"}"#, Some("messages")),
            (r#"{"model":"m","messages":{}}"#, Some("messages")),
            (r#"{"model":"m","messages":["hi"]}"#, Some("messages[0]")),
            (r#"{"model":"m","messages":[{"content":"a","content":"b"}]}"#, Some("messages[0]")),
            (r#"{"model":"m","messages":[{"content":5}]}"#, Some("messages[0].content")),
            (r#"{"model":"m","messages":[{"content":["a"]}]}"#, Some("messages[0].content")),
            (&format!(r#"{{"model":"m",{hello},"functions":[]}}"#), Some("functions")),
            (&format!(r#"{{"model":"m",{hello},"function_call":"auto"}}"#), Some("function_call")),
            (&format!(r#"{{"model":"m",{hello},"stream":"true"}}"#), Some("stream")),
            (&format!(r#"{{"model":"m",{hello},"stream_options":[]}}"#), Some("stream_options")),
            (
                &format!(r#"{{"model":"m",{hello},"stream_options":{{"include_usage":1}}}}"#),
                Some("stream_options.include_usage"),
            ),
            (&format!(r#"{{"model":"m",{hello},"n":0}}"#), Some("n")),
            (&format!(r#"{{"model":"m",{hello},"n":129}}"#), Some("n")),
            (&format!(r#"{{"model":"m",{hello},"n":1.5}}"#), Some("n")),
            (&format!(r#"{{"model":"m",{hello},"max_tokens":-1}}"#), Some("max_tokens")),
            (&format!(r#"{{"model":"m",{hello},"max_completion_tokens":0}}"#), Some("max_completion_tokens")),
            (&format!(r#"{{"model":"m",{hello},"tools":{{}}}}"#), Some("tools")),
            (&format!(r#"{{"model":"m",{hello},"tools":[{{"function":{{}}}}]}}"#), Some("tools[0].type")),
            (&format!(r#"{{"model":"m",{hello},"tools":[{{"type":"function","type":"mcp"}}]}}"#), Some("tools[0]")),
        ] {
            let refusal = read(body).expect_err(body);
            assert_eq!((refusal.code, refusal.parameter.as_deref()), (Code::InvalidRequest, parameter), "{body}");
        }
        assert!(ChatRequest::read(Bytes::from_static(b"{\"model\":\"\xFF\",\"messages\":[]}")).is_err());
    }

    #[test]
    fn only_what_must_change_is_changed_on_the_way_up() {
        for (body, upstream, expected) in [
            (r#" { "model" : "m", "messages":[], "x":1.50 } "#, "m", r#" { "model" : "m", "messages":[], "x":1.50 } "#),
            (r#"{"messages":[], "model": "m","x":1e5}"#, "a\"b", r#"{"messages":[], "model": "a\"b","x":1e5}"#),
            (
                r#"{"model":"m","messages":[],"stream":true }"#,
                "m",
                r#"{"model":"m","messages":[],"stream":true ,"stream_options":{"include_usage":true}}"#,
            ),
            (
                r#"{"stream_options":{"x":[1.0]},"model":"m","messages":[],"stream":true}"#,
                "n",
                r#"{"stream_options":{"x":[1.0],"include_usage":true},"model":"n","messages":[],"stream":true}"#,
            ),
            (
                r#"{"stream_options":{"include_usage":false},"model":"m","messages":[],"stream":true}"#,
                "m",
                r#"{"stream_options":{"include_usage":true},"model":"m","messages":[],"stream":true}"#,
            ),
            (
                r#"{"stream_options":null,"model":"m","messages":[],"stream":true}"#,
                "m",
                r#"{"stream_options":{"include_usage":true},"model":"m","messages":[],"stream":true}"#,
            ),
            (
                r#"{"stream_options":{"include_usage": true},"model":"m","messages":[],"stream":true}"#,
                "m",
                r#"{"stream_options":{"include_usage": true},"model":"m","messages":[],"stream":true}"#,
            ),
        ] {
            assert_eq!(text(&read(body).unwrap().forward(upstream)), expected);
        }
    }

    #[test]
    fn a_denied_answer_is_told_behind_the_messages_of_the_client() {
        let round = |text: &str, message: &str| Round { text: text.into(), message: message.into() };
        let rounds = [round("I will pay.", "Limit \"Exceeded\"."), round("", "No.")];
        let added = r#"{"role":"assistant","content":"I will pay."},{"role":"system","content":"Limit \"Exceeded\"."},{"role":"system","content":"No."}"#;
        for (messages, joined) in [("[ ]", format!("[ {added}]")), ("[{} ]", format!("[{{}} ,{added}]"))] {
            let request = read(&format!(r#"{{"messages":{messages},"model":"m","x":1.0}}"#)).unwrap();
            let again = request.ask_again("n", &rounds);
            assert_eq!(text(&again), format!(r#"{{"messages":{joined},"model":"n","x":1.0}}"#));
        }
    }
}
