//! Streams through the machine: what goes in, what is judged, what comes out.

use bytes::Bytes;
use portcullis_domain::money::Tokens;
use portcullis_domain::refusal::{Code, Refusal};
use proptest::prelude::*;

use super::*;
use crate::llm::chat::call::CallKind;

/// What came out of a stream.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// `name(arguments)` of what was judged.
    judged: Vec<String>,
    released: String,
    tail: String,
    done: String,
}

fn event(json: &str) -> String {
    format!("data: {json}\n\n")
}

/// A piece that adds `delta` to choice 0.
fn delta(delta: &str) -> String {
    piece(0, delta, "null")
}

fn piece(index: usize, delta: &str, reason: &str) -> String {
    event(&format!(
        r#"{{"id":"c1","created":7,"model":"m","choices":[{{"index":{index},"delta":{delta},"finish_reason":{reason}}}]}}"#
    ))
}

fn call(index: usize, id: &str, name: &str, arguments: &str) -> String {
    delta(&format!(
        r#"{{"tool_calls":[{{"index":{index},"id":"{id}","type":"function","function":{{"name":"{name}","arguments":"{arguments}"}}}}]}}"#
    ))
}

fn arguments(index: usize, arguments: &str) -> String {
    delta(&format!(r#"{{"tool_calls":[{{"index":{index},"function":{{"arguments":"{arguments}"}}}}]}}"#))
}

fn finish(reason: &str) -> String {
    piece(0, "{}", &format!("\"{reason}\""))
}

const ROLE: &str = r#"{"role":"assistant","content":""}"#;
const USAGE: &str = "data: {\"id\":\"c1\",\"created\":7,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":5,\"total_tokens\":8}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// Feeds one round; calls whose name begins with `no` are denied.
fn feed(stream: &mut ChatStream, pieces: &[&[u8]]) -> Result<(Vec<String>, Vec<u8>), Refusal> {
    let (mut judged, mut released) = (Vec::new(), Vec::new());
    for piece in pieces.iter().map(Some).chain([None]) {
        match piece {
            Some(piece) => stream.feed(piece),
            None => stream.feed_end(),
        }
        while let Some(step) = stream.next_step()? {
            match step {
                Step::Release(bytes) => released.extend_from_slice(&bytes),
                Step::Judge(call) => {
                    assert_eq!(stream.next_step(), Ok(None), "nothing moves before the call is decided");
                    stream.decide(if call.name.starts_with("no") { Verdict::Deny } else { Verdict::Allow });
                    judged.push(format!("{}({})", call.name, call.arguments));
                }
            }
        }
    }
    assert!(stream.is_over());
    Ok((judged, released))
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    String::from_utf8(bytes.as_ref().to_vec()).unwrap()
}

fn run(asked_for_usage: bool, input: &str) -> (Outcome, Option<Tokens>) {
    let mut stream = ChatStream::new(asked_for_usage);
    let (judged, released) = feed(&mut stream, &[input.as_bytes()]).unwrap();
    let end = stream.end();
    let (usage, note) = (end.usage, (end.denied > 0).then_some("[no]"));
    let Closing { tail, done } = end.close(note).unwrap();
    (Outcome { judged, released: text(released), tail: text(tail), done: text(done) }, usage)
}

/// The whole stream as the client gets it, and what was judged.
fn check(asked_for_usage: bool, input: &[&str], judged: &[&str], released: &[&str], tail: &[&str]) {
    let (outcome, _) = run(asked_for_usage, &input.concat());
    assert_eq!(outcome.judged, judged, "judged");
    assert_eq!(outcome.released, released.concat(), "released");
    assert_eq!(outcome.tail, tail.concat(), "tail");
}

#[test]
fn text_flows_as_it_came_and_the_end_is_held_back() {
    let (first, second, last) = (delta(ROLE), delta(r#"{"content":"h\u00e4"}"#), finish("stop"));
    let input = [": hello\n\n", &first, &second, ": ping\r\n\r\n", &last, ": bye\n\n", USAGE, DONE];
    let (outcome, usage) = run(true, &input.concat());
    assert_eq!(outcome.released, input[..4].concat());
    assert_eq!(outcome.tail, input[4..7].concat());
    assert_eq!((outcome.done.as_str(), usage), (DONE, Some(Tokens { input: 3, output: 5 })));
}

#[test]
fn usage_that_was_not_asked_for_is_taken_out_again() {
    let with = |usage: &str, reason: &str| {
        event(&format!(
            r#"{{"x":1.0,"choices":[{{"index":0,"delta":{{}},"finish_reason":{reason}}}],"usage":{usage}}}"#
        ))
    };
    let without = |reason: &str| {
        event(&format!(r#"{{"x":1.0,"choices":[{{"index":0,"delta":{{}},"finish_reason":{reason}}}]}}"#))
    };
    let counts = r#"{"prompt_tokens":3,"completion_tokens":5}"#;
    let input = [with("null", "null"), with("null", "\"stop\""), USAGE.to_owned(), DONE.to_owned()].concat();
    check(false, &[&input], &[], &[&without("null")], &[&without("\"stop\"")]);
    check(false, &[&with(counts, "\"stop\""), DONE], &[], &[], &[&without("\"stop\"")]);
    check(true, &[&with(counts, "\"stop\""), DONE], &[], &[], &[&with(counts, "\"stop\"")]);
    assert_eq!(run(false, &with(counts, "\"stop\"")).1, Some(Tokens { input: 3, output: 5 }));
}

#[test]
fn allowed_calls_come_as_they_were_sent() {
    let calls = [
        delta(ROLE),
        call(0, "a", "f", ""),
        arguments(0, "{\\\"x\\\""),
        arguments(0, ":1.0}"),
        call(1, "b", "g", "{}"),
    ]
    .concat();
    check(
        false,
        &[&calls, &finish("tool_calls"), DONE],
        &["f({\"x\":1.0})", "g({})"],
        &[&calls],
        &[&finish("tool_calls")],
    );
}

#[test]
fn calls_that_are_written_by_turns_are_judged_each_as_a_whole() {
    let turns = |pieces: &[String], judged: &[&str], released: &[String]| {
        let input: Vec<&str> = pieces.iter().map(String::as_str).chain([DONE]).collect();
        let released: Vec<&str> = released.iter().map(String::as_str).collect();
        check(false, &input, judged, &released, &[]);
    };
    let (first, second) = (call(0, "a", "f", "{"), call(1, "b", "g", "{"));
    let (first_end, second_end) = (arguments(0, "}"), arguments(1, "}"));
    let in_order = [first.clone(), first_end.clone(), second.clone(), second_end.clone()];
    turns(&[first.clone(), second.clone(), first_end.clone(), second_end.clone()], &["f({})", "g({})"], &in_order);
    turns(&[first.clone(), second.clone(), second_end.clone(), first_end.clone()], &["f({})", "g({})"], &in_order);
    // What is left of them is numbered anew.
    let denied = call(0, "a", "no", "{");
    let anew = call(0, "b", "g", "{}").replace("\"delta\":{", "\"delta\":{\"role\":\"assistant\",");
    let (outcome, _) = run(false, &[denied, second, first_end, second_end].concat());
    assert_eq!((outcome.judged.concat(), outcome.released), ("no({})g({})".to_owned(), anew));
    // Behind one that is not whole all others wait.
    let three = [first, call(1, "b", "g", "{}"), call(2, "c", "h", "{}")];
    turns(&three, &["f({)", "g({})", "h({})"], &three);
}

#[test]
fn a_call_is_judged_as_soon_as_the_next_one_begins() {
    let mut stream = ChatStream::new(true);
    stream.feed([call(0, "a", "f", "{"), arguments(0, "}")].concat().as_bytes());
    assert_eq!(stream.next_step(), Ok(None));
    stream.feed(call(1, "b", "g", "").as_bytes());
    let Ok(Some(Step::Judge(judged))) = stream.next_step() else { panic!("nothing to judge") };
    assert_eq!((judged.id.as_str(), judged.arguments.as_str(), judged.kind), ("a", "{}", CallKind::Function));
    stream.feed(delta(r#"{"content":"x"}"#).as_bytes());
    assert_eq!(stream.next_step(), Ok(None));
    stream.decide(Verdict::Allow);
    let released = [call(0, "a", "f", "{"), arguments(0, "}"), delta(r#"{"content":"x"}"#)].concat();
    assert_eq!(stream.next_step(), Ok(Some(Step::Release(Bytes::from(released)))));
}

#[test]
fn a_denied_call_is_gone_and_the_others_close_the_gap() {
    let denied = [call(0, "a", "no_f", "{\\\"amount\\\":"), arguments(0, "50000}")].concat();
    let allowed = [call(1, "b", "g", "{\\\"x\\\":"), arguments(1, "1.0}")].concat();
    let renumbered = r#"{"role":"assistant","tool_calls":[{"index":0,"id":"b","type":"function","function":{"name":"g","arguments":"{\"x\":1.0}"}}]}"#;
    check(
        false,
        &[&denied, &allowed, &finish("tool_calls"), DONE],
        &["no_f({\"amount\":50000})", "g({\"x\":1.0})"],
        &[&delta(renumbered)],
        &[&delta(r#"{"content":"[no]"}"#), &finish("tool_calls")],
    );
}

#[test]
fn an_answer_without_any_call_left_ends_with_the_note() {
    let denied = call(0, "a", "no", "{}");
    check(
        false,
        &[&denied, &finish("tool_calls"), USAGE, DONE],
        &["no({})"],
        &[],
        &[&delta(r#"{"role":"assistant","content":"[no]"}"#), &finish("stop")],
    );
    let role = delta(r#"{"role":"assistant","content":"I pay."}"#);
    check(
        true,
        &[&role, &denied, &finish("tool_calls"), USAGE, DONE],
        &["no({})"],
        &[&role],
        &[&delta(r#"{"content":"\n\n[no]"}"#), &finish("stop"), USAGE],
    );
    check(
        false,
        &[&denied, &finish("length"), DONE],
        &["no({})"],
        &[],
        &[&delta(r#"{"role":"assistant","content":"[no]"}"#), &finish("length")],
    );
    check(
        false,
        &[&denied, DONE],
        &["no({})"],
        &[],
        &[&delta(r#"{"role":"assistant","content":"[no]"}"#), &finish("stop")],
    );
    check(false, &[&denied], &["no({})"], &[], &[&delta(r#"{"role":"assistant","content":"[no]"}"#)]);
}

#[test]
fn text_beside_a_call_flows_on_without_it() {
    let tool = r#"{"index":0,"id":"a","type":"function","function":{"name":"NAME","arguments":"{}"}}"#;
    for (name, more) in [("no", ""), ("f", r#"{"tool_calls":[TOOL]}"#)] {
        let tool = tool.replace("NAME", name);
        let mixed = delta(&format!(r#"{{"role":"assistant","content":"I pay.","tool_calls":[{tool}]}}"#));
        let (outcome, _) = run(false, &[mixed, finish("tool_calls"), DONE.to_owned()].concat());
        let call = if more.is_empty() { String::new() } else { delta(&more.replace("TOOL", &tool)) };
        assert_eq!(outcome.released, [delta(r#"{"role":"assistant","content":"I pay."}"#), call].concat());
    }
}

#[test]
fn calls_that_come_all_at_once_are_split() {
    let tool = |index: usize, id: &str, name: &str| {
        format!(
            r#"{{"index":{index},"id":"{id}","type":"function","function":{{"name":"{name}","arguments":"{{}}"}},"signature":"s{id}"}}"#
        )
    };
    let all = |tools: &[String]| piece(0, &format!(r#"{{"tool_calls":[{}]}}"#, tools.join(",")), "\"stop\"");
    let one = |role: &str, tool: String| delta(&format!("{{{role}\"tool_calls\":[{tool}]}}"));
    check(
        false,
        &[&all(&[tool(0, "a", "f"), tool(0, "b", "no"), tool(0, "c", "g")]), DONE],
        &["f({})", "no({})", "g({})"],
        &[&one(r#""role":"assistant","#, tool(0, "a", "f")), &one("", tool(1, "c", "g"))],
        &[&delta(r#"{"content":"[no]"}"#), &finish("stop")],
    );
}

#[test]
fn a_name_that_clients_could_read_in_two_ways_is_written_anew() {
    for (second, name) in [("_payment", "approve_payment"), ("approve", "approve")] {
        let input = [call(0, "a", "approve", "{"), call(0, "a", second, "}"), finish("tool_calls")].concat();
        let written = format!(
            r#"{{"role":"assistant","tool_calls":[{{"index":0,"id":"a","type":"function","function":{{"name":"{name}","arguments":"{{}}"}}}}]}}"#
        );
        check(false, &[&input], &[&format!("{name}({{}})")], &[&delta(&written)], &[&finish("tool_calls")]);
    }
}

#[test]
fn the_deprecated_function_call_is_held_and_judged_too() {
    let pieces = |name: &str| {
        [
            delta(&format!(
                r#"{{"role":"assistant","content":null,"function_call":{{"name":"{name}","arguments":"{{"}}}}"#
            )),
            delta(r#"{"function_call":{"arguments":"}"}}"#),
        ]
        .concat()
    };
    check(
        false,
        &[&pieces("f"), &finish("function_call"), DONE],
        &["f({})"],
        &[&pieces("f")],
        &[&finish("function_call")],
    );
    check(
        false,
        &[&pieces("no"), &finish("function_call"), DONE],
        &["no({})"],
        &[],
        &[&delta(r#"{"role":"assistant","content":"[no]"}"#), &finish("stop")],
    );
}

#[test]
fn each_choice_has_its_own_calls_and_its_own_end() {
    let tool = |name: &str| {
        format!(
            r#"{{"tool_calls":[{{"index":0,"id":"a","type":"function","function":{{"name":"{name}","arguments":"{{}}"}}}}]}}"#
        )
    };
    let input = [
        piece(0, &tool("no"), "null"),
        piece(1, &tool("f"), "null"),
        piece(0, "{}", "\"tool_calls\""),
        piece(1, "{}", "\"tool_calls\""),
        DONE.to_owned(),
    ]
    .concat();
    let note = piece(0, r#"{"role":"assistant","content":"[no]"}"#, "null");
    check(
        false,
        &[&input],
        &["no({})", "f({})"],
        &[&piece(1, &tool("f"), "null")],
        &[&note, &piece(0, "{}", "\"stop\""), &piece(1, "{}", "\"tool_calls\"")],
    );
    let both = event(
        r#"{"id":"c1","created":7,"model":"m","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null},{"index":1,"delta":{},"finish_reason":"stop"}]}"#,
    );
    check(false, &[&both, DONE], &[], &[&delta(r#"{"content":"a"}"#)], &[&piece(1, "{}", "\"stop\"")]);
}

#[test]
fn the_next_round_goes_on_in_the_same_answer() {
    let mut stream = ChatStream::new(true);
    let first = [
        delta(r#"{"role":"assistant","content":"I pay."}"#),
        call(0, "a", "no", "{}"),
        finish("tool_calls"),
        USAGE.to_owned(),
        DONE.to_owned(),
    ]
    .concat();
    let (_, released) = feed(&mut stream, &[first.as_bytes()]).unwrap();
    assert_eq!(text(released), delta(r#"{"role":"assistant","content":"I pay."}"#));
    let end = stream.end();
    assert_eq!((end.denied, end.is_complete, end.usage), (1, true, Some(Tokens { input: 3, output: 5 })));
    assert_eq!(end.texts, [(0, "I pay.".to_owned())]);
    let (rest, mut stream) = end.go_on().unwrap();
    assert!(rest.is_empty());
    let second = [
        delta(ROLE),
        delta(r#"{"content":"Ask a manager."}"#),
        call(0, "b", "f", "{}"),
        finish("tool_calls"),
        USAGE.to_owned(),
        DONE.to_owned(),
    ]
    .concat();
    let second = second.replace("\"c1\"", "\"c2\"").replace("7", "8");
    let (_, released) = feed(&mut stream, &[second.as_bytes()]).unwrap();
    let expected = [
        delta(r#"{"content":""}"#),
        delta(r#"{"content":"\n\n"}"#),
        delta(r#"{"content":"Ask a manager."}"#),
        call(0, "b", "f", "{}"),
    ]
    .concat();
    assert_eq!(text(released), expected);
    let Closing { tail, done } = stream.end().close(None).unwrap();
    let sum = USAGE.replace(
        "\"prompt_tokens\":3,\"completion_tokens\":5,\"total_tokens\":8",
        "\"prompt_tokens\":6,\"completion_tokens\":10,\"total_tokens\":16",
    );
    assert_eq!((text(tail), text(done)), ([finish("tool_calls"), sum].concat(), DONE.to_owned()));
}

#[test]
fn text_that_comes_with_the_end_is_not_lost_by_another_round() {
    let last = piece(0, r#"{"content":"I pay."}"#, "\"stop\"");
    check(true, &[&last, DONE], &[], &[], &[&last]);
    let mut stream = ChatStream::new(true);
    feed(&mut stream, &[last.as_bytes()]).unwrap();
    let (rest, _) = stream.end().go_on().unwrap();
    assert_eq!(text(rest), delta(r#"{"content":"I pay."}"#));
    let (denied, closing) = (call(0, "a", "no", "{}"), piece(0, r#"{"content":"I pay."}"#, "\"tool_calls\""));
    let tail =
        [delta(r#"{"content":"I pay."}"#), delta(r#"{"role":"assistant","content":"\n\n[no]"}"#), finish("stop")];
    check(true, &[&denied, &closing, DONE], &["no({})"], &[], &tail.each_ref().map(String::as_str));
}

#[test]
fn a_call_behind_the_end_is_held_too() {
    let late = call(1, "b", "no", "{}");
    check(
        false,
        &[&call(0, "a", "f", "{}"), &finish("tool_calls"), &late, DONE],
        &["f({})", "no({})"],
        &[&call(0, "a", "f", "{}")],
        &[&delta(r#"{"role":"assistant","content":"[no]"}"#), &finish("tool_calls")],
    );
    let input = [call(0, "a", "f", "{}"), finish("tool_calls"), arguments(0, "x")].concat();
    let refusal = feed(&mut ChatStream::new(false), &[input.as_bytes()]).unwrap_err();
    assert_eq!(refusal.code, Code::UpstreamFailed);
}

#[test]
fn an_error_of_the_upstream_is_passed_and_what_is_held_is_gone() {
    for error in [
        event(r#"{"error":{"message":"overloaded"}}"#),
        "event: error\ndata: {\"message\":\"overloaded\"}\n\n".to_owned(),
    ] {
        let mut stream = ChatStream::new(false);
        let input = [delta(ROLE), call(0, "a", "f", "{"), error.clone(), DONE.to_owned()].concat();
        let (judged, released) = feed(&mut stream, &[input.as_bytes()]).unwrap();
        assert_eq!((judged.len(), text(released)), (0, [delta(ROLE), error].concat()));
        let end = stream.end();
        assert!(end.is_failed && !end.is_complete && end.allowed.is_empty());
    }
}

#[test]
fn a_stream_that_breaks_off_is_not_complete() {
    for (input, is_complete) in [
        (delta(ROLE), false),
        (String::new(), false),
        ([delta(ROLE), finish("stop")].concat(), true),
        ([delta(ROLE), DONE.to_owned()].concat(), true),
        ([delta(ROLE), "data: [DONE]\n".to_owned()].concat(), true),
        ([delta(ROLE), finish("stop").trim_end().to_owned()].concat(), false),
    ] {
        let mut stream = ChatStream::new(false);
        feed(&mut stream, &[input.as_bytes()]).unwrap();
        assert_eq!(stream.end().is_complete, is_complete, "{input}");
    }
}

#[test]
fn what_was_produced_is_counted() {
    let mut stream = ChatStream::new(false);
    let input = [
        delta(r#"{"content":"abc"}"#),
        delta(r#"{"reasoning_content":"de"}"#),
        call(0, "a", "f", "{}"),
        arguments(0, " "),
    ]
    .concat();
    feed(&mut stream, &[input.as_bytes()]).unwrap();
    let end = stream.end();
    assert_eq!((end.produced_bytes, end.produced_chunks), ("abcdef{} ".len(), 4));
}

#[test]
fn what_can_not_be_judged_ends_the_stream() {
    let late = [call(0, "a", "f", "{}"), call(1, "b", "g", "{"), arguments(0, "}")].concat();
    let by_turns: String = (0..17).map(|index| call(index, "", "f", "{")).collect();
    let many: String = (0..200).map(|index| call(index, "", "f", "{}")).collect();
    for (input, code) in [
        (event("hello"), Code::UpstreamFailed),
        (event(r#"{"choices":[],"choices":[{"index":0,"delta":{"tool_calls":[{}]}}]}"#), Code::UpstreamFailed),
        (
            event(r#"{"choices":[{"index":0,"delta":{},"message":{"tool_calls":[{"function":{"name":"f"}}]}}]}"#),
            Code::UpstreamFailed,
        ),
        (delta(r#"{"tool_calls":{"index":0}}"#), Code::UpstreamFailed),
        (delta(r#"{"tool_calls":[{"index":0,"function":{"name":"f","name":"g"}}]}"#), Code::UpstreamFailed),
        (
            delta(r#"{"tool_calls":[{"index":0,"function":{"name":"f"}},{"index":0,"custom":{"name":"f"}}]}"#),
            Code::UpstreamFailed,
        ),
        (late, Code::UpstreamFailed),
        (by_turns, Code::TooLarge),
        (many, Code::TooLarge),
        (call(0, "a", "f", &"x".repeat(1 << 20)), Code::TooLarge),
        ((0..1100).map(|_| call(0, "a", "f", &"x".repeat(1000))).collect(), Code::TooLarge),
        ((0..200).map(|index| piece(index, "{}", "null")).collect(), Code::TooLarge),
        (["data: ", &"x".repeat(5 << 20)].concat(), Code::TooLarge),
    ] {
        let refusal = feed(&mut ChatStream::new(false), &[input.as_bytes()]).expect_err(&input[..200.min(input.len())]);
        assert_eq!(refusal.code, code, "{refusal}");
    }
}

/// The name of denied calls in generated streams, which have no capital letters otherwise.
const DENIED: &str = "noPAY";

/// Streams of one choice: text, then calls, each in one or more pieces, then the end.
fn streams() -> impl Strategy<Value = String> {
    let texts = prop::collection::vec(
        "[a-zä\\\\n ]{0,6}".prop_map(|text| delta(&format!(r#"{{"content":{}}}"#, serde_json::Value::from(text)))),
        0..5,
    );
    let calls = prop::collection::vec((prop::bool::ANY, prop::collection::vec("[a-z0-9]{0,5}", 0..4)), 0..5).prop_map(
        |calls| {
            let one = |(index, (is_denied, pieces)): (usize, (bool, Vec<String>))| {
                let name = if is_denied { DENIED } else { "f" };
                let begin = call(index, &format!("id{index}"), name, "");
                [vec![begin], pieces.iter().map(|piece| arguments(index, piece)).collect()].concat().concat()
            };
            calls.into_iter().enumerate().map(one).collect::<String>()
        },
    );
    (texts, calls, prop::bool::ANY).prop_map(|(texts, calls, has_usage)| {
        let usage = if has_usage { USAGE } else { "" };
        [delta(ROLE), texts.concat(), calls, finish("tool_calls"), usage.to_owned(), DONE.to_owned()].concat()
    })
}

/// Pieces of calls as no upstream should send them: numbers, ids and names missing, repeated or out of order.
fn messy_streams() -> impl Strategy<Value = String> {
    let maybe = |values: &'static [&'static str]| prop::option::of(prop::sample::select(values));
    let inner = (maybe(&["f", "no", "g", ""]), maybe(&["{", "}", "1", ""])).prop_map(|(name, arguments)| {
        let mut inner = Vec::new();
        inner.extend(name.map(|name| format!(r#""name":"{name}""#)));
        inner.extend(arguments.map(|arguments| format!(r#""arguments":"{arguments}""#)));
        format!("{{{}}}", inner.join(","))
    });
    let tool = (maybe(&["0", "1", "2"]), maybe(&["a", "b", "c", ""]), inner).prop_map(|(index, id, inner)| {
        let mut tool = vec![format!(r#""function":{inner}"#)];
        tool.extend(index.map(|index| format!(r#""index":{index}"#)));
        tool.extend(id.map(|id| format!(r#""id":"{id}""#)));
        format!("{{{}}}", tool.join(","))
    });
    let reason = prop::sample::select(&["null", "null", "null", "null", "\"tool_calls\""][..]);
    let chunk = (prop::collection::vec(tool, 0..3), maybe(&[r#""content":"x""#, r#""role":"assistant""#]), reason)
        .prop_map(|(tools, more, reason)| {
            let mut delta = vec![format!(r#""tool_calls":[{}]"#, tools.join(","))];
            delta.extend(more.map(str::to_owned));
            piece(0, &format!("{{{}}}", delta.join(",")), reason)
        });
    prop::collection::vec(chunk, 0..8).prop_map(|chunks| chunks.concat())
}

/// The calls that a client puts together by their numbers: all names that it was given, and the arguments.
fn assembled(released: &str) -> Vec<(Vec<String>, String)> {
    let mut calls: Vec<(Vec<String>, String)> = Vec::new();
    for data in released.split("\n\n").filter_map(|event| event.strip_prefix("data: ")) {
        let chunk: serde_json::Value = serde_json::from_str(data).unwrap();
        for tool in chunk["choices"][0]["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let index = usize::try_from(tool["index"].as_u64().expect("a number")).unwrap();
            assert!(index <= calls.len(), "numbers follow one another");
            if index == calls.len() {
                calls.push(Default::default());
            }
            assert_eq!(index + 1, calls.len(), "calls do not mix");
            let name = tool["function"]["name"].as_str().unwrap_or_default();
            calls[index].0.extend((!name.is_empty()).then(|| name.to_owned()));
            calls[index].1.push_str(tool["function"]["arguments"].as_str().unwrap_or_default());
        }
    }
    calls
}

proptest! {
    #[test]
    fn a_client_puts_together_what_was_judged_however_it_does_so(input in messy_streams()) {
        let mut stream = ChatStream::new(true);
        let (mut released, mut allowed) = (Vec::new(), Vec::new());
        stream.feed(input.as_bytes());
        stream.feed_end();
        while let Ok(Some(step)) = stream.next_step() {
            match step {
                Step::Release(bytes) => released.extend_from_slice(&bytes),
                Step::Judge(call) if call.name.contains("no") => stream.decide(Verdict::Deny),
                Step::Judge(call) => {
                    stream.decide(Verdict::Allow);
                    let names = if call.name.is_empty() { vec![] } else { vec![call.name] };
                    allowed.push((names, call.arguments));
                }
            }
        }
        let all = [text(released), text(stream.end().close(None).unwrap().tail)].concat();
        let mut got = assembled(&all);
        // What was allowed last is not out yet when a later piece ends the stream.
        got.extend(allowed.get(got.len()..).unwrap_or_default().to_vec());
        prop_assert_eq!(got, allowed);
    }

    #[test]
    fn where_the_stream_is_cut_makes_no_difference(input in streams(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).chain([0, input.len()]).collect();
        places.sort_unstable();
        let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &input.as_bytes()[pair[0]..pair[1]]).collect();
        let mut stream = ChatStream::new(true);
        let (judged, released) = feed(&mut stream, &pieces).unwrap();
        let end = stream.end();
        let note = (end.denied > 0).then_some("[no]");
        let Closing { tail, done } = end.close(note).unwrap();
        let cut = Outcome { judged, released: text(released), tail: text(tail), done: text(done) };
        prop_assert_eq!(cut, run(true, &input).0);
    }

    #[test]
    fn a_stream_without_a_denied_call_passes_byte_for_byte(input in streams()) {
        let input = input.replace(DENIED, "f");
        let (outcome, _) = run(true, &input);
        prop_assert_eq!([outcome.released, outcome.tail, outcome.done].concat(), input);
    }

    #[test]
    fn nothing_of_a_denied_call_gets_out(input in streams()) {
        let (outcome, _) = run(false, &input);
        let all = [outcome.released, outcome.tail].concat();
        prop_assert!(!all.contains(DENIED));
        prop_assert!(!all.contains("usage"));
        let released = all.matches("\"name\":\"f\"").count();
        prop_assert_eq!(released, outcome.judged.iter().filter(|call| call.starts_with("f(")).count());
        for index in 0..released {
            let numbered = format!("\"tool_calls\":[{{\"index\":{index},");
            prop_assert!(all.contains(&numbered));
        }
    }
}
