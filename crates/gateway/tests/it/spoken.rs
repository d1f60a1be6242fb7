//! What clients say to models, and what they hear.

use portcullis_testkit::http::{Answer, Client, EventStream};
use serde_json::{Value, json};

/// Where completions are asked for outside of a session that the path names.
pub(crate) const COMPLETIONS: &str = "/v1/chat/completions";

/// A request with one message of the user.
pub(crate) fn saying(text: &str) -> Value {
    json!({"model": "scripted", "messages": [{"role": "user", "content": text}]})
}

/// The same, as a stream.
pub(crate) fn streaming(text: &str) -> Value {
    with(saying(text), "stream", json!(true))
}

/// The request with another member.
pub(crate) fn with(mut request: Value, name: &str, value: Value) -> Value {
    request[name] = value;
    request
}

/// The path of completions in a session.
pub(crate) fn in_session(session: &str) -> String {
    format!("/s/{session}{COMPLETIONS}")
}

/// Asks for a completion as a whole.
pub(crate) async fn ask(client: &Client, path: &str, request: &Value) -> Answer {
    client.post(path, request).await.unwrap()
}

/// Asks for a stream that must begin.
pub(crate) async fn begin(client: &Client, path: &str, request: &Value) -> EventStream {
    let stream = client.stream("POST", path, &[], Some(request.to_string())).await.unwrap();
    if stream.status != 200 || !stream.is_events() {
        let status = stream.status;
        panic!("no stream begins: {status} {}", stream.whole().await.unwrap().text());
    }
    stream
}

/// Asks for a stream and listens to its end.
pub(crate) async fn listen(client: &Client, path: &str, request: &Value) -> Heard {
    Heard::of(begin(client, path, request).await).await
}

/// What a client makes of a stream, or of a whole answer.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Heard {
    pub(crate) text: String,
    /// Name and arguments of every tool call, in the order of their indexes.
    pub(crate) calls: Vec<(String, String)>,
    pub(crate) finish: Option<String>,
    pub(crate) usage: Option<Value>,
    /// The error that ended the stream.
    pub(crate) error: Option<Value>,
    pub(crate) is_done: bool,
    /// Every event's data as it came.
    pub(crate) events: Vec<String>,
}

impl Heard {
    /// Listens to the end of the stream, however it ends, and fails where it is no proper one.
    pub(crate) async fn of(mut stream: EventStream) -> Self {
        let mut heard = Self::default();
        while let Ok(Some(event)) = stream.next_event().await {
            heard.take(event.data);
        }
        heard
    }

    /// Takes in one event.
    pub(crate) fn take(&mut self, data: String) {
        assert!(!self.is_done, "`{data}` came after the end");
        if data == "[DONE]" {
            self.is_done = true;
        } else {
            let chunk: Value = serde_json::from_str(&data).unwrap_or_else(|error| panic!("`{data}`: {error}"));
            self.take_chunk(&chunk);
        }
        self.events.push(data);
    }

    fn take_chunk(&mut self, chunk: &Value) {
        if let Some(error) = chunk.get("error") {
            self.error = Some(error.clone());
            return;
        }
        if let Some(usage) = chunk.get("usage").filter(|usage| !usage.is_null()) {
            self.usage = Some(usage.clone());
        }
        for choice in chunk["choices"].as_array().unwrap() {
            assert!(self.finish.is_none(), "{chunk} came after the choice had finished");
            self.text.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
            for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
                self.take_call(call);
            }
            self.finish = choice["finish_reason"].as_str().map(str::to_owned);
        }
    }

    /// A call begins with its id and name at the next free index, and goes on at that index only.
    fn take_call(&mut self, call: &Value) {
        let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
        if index == self.calls.len() {
            assert!(call["id"].as_str().is_some_and(|id| !id.is_empty()), "a call begins without an id: {call}");
            self.calls.push((call["function"]["name"].as_str().unwrap().to_owned(), String::new()));
        }
        let (_, arguments) = self.calls.get_mut(index).unwrap_or_else(|| panic!("a gap before the index of {call}"));
        arguments.push_str(call["function"]["arguments"].as_str().unwrap_or_default());
    }

    /// What a whole answer says.
    pub(crate) fn whole(answer: &Answer) -> Self {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json();
        let choice = &body["choices"][0];
        let call = |call: &Value| {
            let text = |name: &str| call["function"][name].as_str().unwrap().to_owned();
            assert!(call["id"].as_str().is_some_and(|id| !id.is_empty()), "{call}");
            (text("name"), text("arguments"))
        };
        Self {
            text: choice["message"]["content"].as_str().unwrap_or_default().to_owned(),
            calls: choice["message"]["tool_calls"].as_array().into_iter().flatten().map(call).collect(),
            finish: choice["finish_reason"].as_str().map(str::to_owned),
            usage: body.get("usage").cloned(),
            error: None,
            is_done: true,
            events: Vec::new(),
        }
    }
}

/// Asks in both ways and expects to hear the same. Of text that flowed on before the model was asked again, a whole answer does not have anything.
pub(crate) async fn hear_both(client: &Client, path: &str, request: &Value) -> Heard {
    let plain = Heard::whole(&ask(client, path, request).await);
    let streamed = listen(client, path, &with(request.clone(), "stream", json!(true))).await;
    let essence = |heard: &Heard| (heard.calls.clone(), heard.finish.clone(), heard.error.clone());
    assert_eq!(essence(&plain), essence(&streamed), "the whole answer, then the stream");
    assert!(streamed.is_done && streamed.text.ends_with(&plain.text), "{plain:?}, {streamed:?}");
    plain
}

/// A declared function of that name.
pub(crate) fn function(name: &str) -> Value {
    json!({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}})
}
