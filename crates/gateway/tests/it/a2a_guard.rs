//! Guardrails at agents by Agent2Agent: what is in messages on the way in, and in what agents say on the way out, whole, in streams, and in pieces.

use portcullis_domain::event::Event;
use portcullis_domain::policy::Guarded;
use portcullis_testkit::http::{Answer, Client};
use serde_json::{Value, json};

use crate::a2a::{ALL, TOKEN, config, message, rpc};
use crate::a2a_agent::{Agent, Speaks};
use crate::gateway::Gateway;

const CARD: &str = "4111 1111 1111 1111";
const CARDS: &str = "detect: { personal: { kinds: [card] } }";

struct Stage {
    gateway: Gateway,
    agents: [Agent; 1],
    ann: Client,
}

impl Stage {
    async fn start(speaks: Speaks, rule: &str) -> Self {
        let agents = [Agent::start(speaks).await];
        let config = format!("{}guardrails:\n  - {{ {rule} }}\n", config(&agents, ""));
        let gateway = Gateway::start(&config, &[("rules.cedar", ALL)]).await;
        gateway.keep_secret(TOKEN);
        let ann = gateway.client("ann").await;
        Self { gateway, agents, ann }
    }

    /// What the record of the session says of guardrails.
    fn guarded(&self, session: &str) -> Vec<String> {
        let shown = |guarded: &Guarded| format!("{} {} {}", guarded.rule, guarded.at.as_str(), guarded.deed.as_str());
        let of = |event: Event| {
            if let Event::CallAdmitted(event) = event {
                event.guarded
            } else if let Event::CallRefused(event) = event {
                event.guarded
            } else if let Event::CallSettled(event) = event {
                event.guarded
            } else {
                Vec::new()
            }
        };
        self.gateway.events(session).into_iter().flat_map(of).map(|guarded| shown(&guarded)).collect()
    }
}

const VERSIONS: [(Speaks, &str, &str, &str, &str); 2] = [
    (Speaks::New, "1.0", "SendMessage", "SendStreamingMessage", "GetTask"),
    (Speaks::Old, "0.3", "message/send", "message/stream", "tasks/get"),
];

/// A message with these parts.
fn parts(version: &str, context: &str, texts: &[&str], data: Option<Value>) -> Value {
    let mut params = message(version, "", Some(context), None);
    let kind = |name: &str, mut part: Value| {
        if version == "0.3" {
            part["kind"] = json!(name);
        }
        part
    };
    let texts = texts.iter().map(|text| kind("text", json!({"text": text})));
    params["message"]["parts"] = texts.chain(data.map(|data| kind("data", json!({"data": data})))).collect();
    params
}

fn events(answer: &Answer) -> String {
    answer.text()
}

#[tokio::test]
async fn what_is_masked_in_a_message_reaches_neither_the_agent_nor_the_record() {
    for (speaks, version, sending, ..) in VERSIONS {
        let stage = Stage::start(speaks, &format!("name: cards, at: [model_in], {CARDS}, action: mask")).await;
        stage.gateway.keep_secret(CARD);
        let data = json!({"id": CARD, "amount": 7});
        let params = parts(version, "claim-1", &["pay 4111 1111", " 1111 1111 now"], Some(data));
        let answer = rpc(&stage.ann, version, sending, params).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let said = stage.agents[0].message();
        assert_eq!((&said["parts"][0]["text"], &said["parts"][1]["text"]), (&json!("pay [CARD] now"), &json!("")));
        assert_eq!(said["parts"][2]["data"], json!({"id": "[CARD]", "amount": 7}));
        assert_eq!(stage.guarded("ann:claim-1"), ["cards model_in changed"]);
        stage.gateway.finish().await;
    }
}

#[tokio::test]
async fn white_space_before_a_message_hides_nothing_of_it() {
    let stage = Stage::start(Speaks::New, &format!("name: cards, at: [model_in], {CARDS}, action: mask")).await;
    stage.gateway.keep_secret(CARD);
    let body = format!("\r\n\t {}", parts("1.0", "claim-1", &[CARD], None));
    let headers = [("a2a-version", "1.0")];
    let answer = stage.ann.send("POST", "/a2a/adjuster/message:send", &headers, Some(body)).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(stage.agents[0].message()["parts"][0]["text"], "[CARD]");
    assert_eq!(stage.guarded("ann:claim-1"), ["cards model_in changed"]);
    stage.gateway.finish().await;
}

#[tokio::test]
async fn what_is_blocked_in_a_message_goes_nowhere_and_its_sender_reads_why() {
    for (speaks, version, sending, ..) in VERSIONS {
        let rule = format!("name: cards, at: [model_in], {CARDS}, message: 'No cards here.'");
        let stage = Stage::start(speaks, &rule).await;
        stage.gateway.keep_secret(CARD);
        let answer = rpc(&stage.ann, version, sending, parts(version, "claim-1", &[CARD], None)).await.json();
        assert!(answer.to_string().contains("No cards here.") && answer.to_string().contains("blocked"), "{answer}");
        assert!(stage.agents[0].calls().is_empty());
        assert_eq!(stage.guarded("ann:claim-1"), ["cards model_in blocked"]);
        stage.gateway.finish().await;
    }
}

#[tokio::test]
async fn what_an_agent_says_is_masked_or_blocked_whole_in_streams_and_in_pieces() {
    for (speaks, version, sending, streaming, get) in VERSIONS {
        let stage = Stage::start(speaks, &format!("name: cards, at: [model_out], {CARDS}, action: mask")).await;
        let said = |text: &str| parts(version, "claim-1", &[text], None);
        let direct = rpc(&stage.ann, version, sending, said(&format!("direct {CARD}"))).await;
        assert!(direct.text().contains("direct [CARD]") && !direct.text().contains(CARD), "{}", direct.text());
        let task = rpc(&stage.ann, version, sending, said(&format!("hello {CARD}"))).await.json();
        assert!(task.to_string().contains("hello [CARD]"), "{task}");
        let id = if version == "1.0" { &task["result"]["task"]["id"] } else { &task["result"]["id"] };
        let got = rpc(&stage.ann, version, get, json!({ "id": id })).await;
        assert!(got.text().contains("hello [CARD]") && !got.text().contains(CARD), "{}", got.text());
        let stream = events(&rpc(&stage.ann, version, streaming, said(&format!("go {CARD}"))).await);
        assert!(stream.contains("go [CARD]") && !stream.contains(CARD), "{stream}");
        let pieces = events(&rpc(&stage.ann, version, streaming, said("pieces 4111 1111| 1111 1111")).await);
        assert!(pieces.contains("[CARD]") && !pieces.contains("4111 1111\""), "{pieces}");
        assert!(pieces.to_lowercase().contains("completed"), "{pieces}");
        assert!(stage.guarded("ann:claim-1").iter().all(|guarded| guarded == "cards model_out changed"));
        assert_eq!(stage.guarded("ann:claim-1").len(), 5);
        stage.gateway.finish().await;

        let stage = Stage::start(speaks, &format!("name: cards, at: [model_out], {CARDS}, message: 'No cards.'")).await;
        for (method, text) in
            [(sending, format!("hello {CARD}")), (streaming, "pieces 4111 1111| 1111 1111".to_owned())]
        {
            let refused = rpc(&stage.ann, version, method, parts(version, "claim-1", &[&text], None)).await;
            assert!(refused.text().contains("No cards.") && !refused.text().contains("4111"), "{}", refused.text());
        }
        assert_eq!(stage.guarded("ann:claim-1"), ["cards model_out blocked", "cards model_out blocked"]);
        stage.gateway.finish().await;
    }
}
