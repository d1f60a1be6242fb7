use bytes::Bytes;
use std::time::Instant;
fn time(name: &str, mut f: impl FnMut()) {
    for _ in 0..2000 {
        f()
    }
    let mut best = u128::MAX;
    for _ in 0..3000 {
        let t = Instant::now();
        for _ in 0..50 {
            f()
        }
        best = best.min(t.elapsed().as_nanos() / 50);
    }
    println!("{name}: {best} ns");
}
#[test]
fn speed() {
    let body = Bytes::from(format!(
        r#"{{"model":"gpt-4o-mini","messages":[{{"role":"system","content":"You are a helpful assistant."}},{{"role":"user","content":"{}"}}],"temperature":0.7,"max_tokens":256,"stream":false,"tools":[{{"type":"function","function":{{"name":"get_weather","description":"Get the weather","parameters":{{"type":"object","properties":{{"city":{{"type":"string"}}}},"required":["city"]}}}}}}]}}"#,
        "hello there, \\nplease tell me ".repeat(22)
    ));
    println!("request {} bytes", body.len());
    time("request read", || {
        std::hint::black_box(crate::llm::chat::ChatRequest::read(body.clone()).unwrap());
    });
    let r = crate::llm::chat::ChatRequest::read(body.clone()).unwrap();
    time("request forward other model", || {
        std::hint::black_box(r.forward("gpt-4o-mini-2024"));
    });
    let ans = Bytes::from(format!(
        r#"{{"id":"chatcmpl-123","object":"chat.completion","created":1677652288,"model":"gpt-4o-mini","choices":[{{"index":0,"message":{{"role":"assistant","content":"{}","refusal":null}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21,"completion_tokens_details":{{"reasoning_tokens":0}}}}}}"#,
        "hello there, \\nhow are you ".repeat(25)
    ));
    println!("answer {} bytes", ans.len());
    time("answer read", || {
        std::hint::black_box(crate::llm::chat::ChatAnswer::read(ans.clone()).unwrap());
    });
    let chunk = "data: {\"id\":\"chatcmpl-123\",\"object\":\"chat.completion.chunk\",\"created\":1694268190,\"model\":\"gpt-4o-mini\",\"system_fingerprint\":\"fp_44709d6fcb\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n";
    for asked in [true, false] {
        let mut s = crate::llm::chat::stream::ChatStream::new(asked);
        time(&format!("stream chunk {} bytes asked {asked}", chunk.len()), || {
            s.feed(chunk.as_bytes());
            std::hint::black_box(s.next_step().unwrap());
            if s.next_step().is_err() {
                panic!()
            };
        });
    }
    let tool = "data: {\"id\":\"chatcmpl-123\",\"object\":\"chat.completion.chunk\",\"created\":1694268190,\"model\":\"gpt-4o-mini\",\"system_fingerprint\":\"fp_44709d6fcb\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"x\"}}]},\"logprobs\":null,\"finish_reason\":null}]}\n\n";
    let mut s = crate::llm::chat::stream::ChatStream::new(true);
    time("stream tool chunk", || {
        s.feed(tool.as_bytes());
        std::hint::black_box(s.next_step().unwrap());
    });
    let call = br#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"echo","arguments":{"message":"hi"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"mcp","version":"0.1.0"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let mut h = http::HeaderMap::new();
    for (n, v) in [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "echo"),
        ("content-type", "application/json"),
    ] {
        h.insert(n, v.parse().unwrap());
    }
    time("mcp call read", || {
        std::hint::black_box(crate::mcp::ingress::read(&http::Method::POST, &h, call).unwrap());
    });
    let peer = crate::mcp::egress::Peer {
        client: crate::mcp::egress::Client { name: "portcullis", version: "0.1.0" },
        version: crate::mcp::Version::MODERN,
        session: None,
    };
    time("mcp call out", || {
        std::hint::black_box(peer.call_tool(
            7,
            &crate::mcp::egress::Call {
                name: "echo",
                arguments: Some(r#"{"message":"hi"}"#),
                input_schema: "{}",
                meta: None,
            },
        ));
    });
    let result = br#"{"jsonrpc":"2.0","id":7,"result":{"resultType":"complete","content":[{"type":"text","text":"Echo: hi"}],"isError":false,"structuredContent":{"result":"Echo: hi"}}}"#;
    time("mcp answer in and out", || {
        let mut r = crate::mcp::egress::AnswerReader::new(7, Some("application/json"), 1 << 20);
        r.feed(result).unwrap();
        r.feed_end().unwrap();
        let Some(crate::mcp::egress::Inbound::Answer { outcome, .. }) = r.next_inbound() else { panic!() };
        let raw = crate::mcp::egress::read_called(&outcome).unwrap();
        std::hint::black_box(
            crate::mcp::answer::called(&crate::frame::jsonrpc::Id::number(3), crate::mcp::Era::Modern, raw).unwrap(),
        );
    });
}
