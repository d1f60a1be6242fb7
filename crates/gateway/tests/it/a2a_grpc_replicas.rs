//! Where agents by gRPC are: under TLS only at a place that proves its name, and for each session at one replica.

use portcullis_interop::a2a::{Method, Version};
use portcullis_testkit::authority::Authority;
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};

use crate::gateway::{Gateway, LIMIT};
use crate::grpc_peer::{Called, EXTENSION, GrpcAgent, GrpcClient, Proofs};
use crate::scene::Setup;

const ALL: &str = "permit (principal, action, resource);";

/// The configuration with an agent at these addresses.
fn config(urls: &[&str], more: &str) -> String {
    let setup = Setup { models: "{}".to_owned(), servers: "{}".to_owned(), ..Setup::default() };
    let urls: Vec<String> = urls.iter().map(|url| format!("'{url}'")).collect();
    let table = format!("{{ protocol: a2a, replicas: [{}]{more} }}", urls.join(", "));
    setup.config("", "").replace("policy:", &format!("  agents: {{ adjuster: {table} }}\npolicy:"))
}

async fn send(client: &GrpcClient, text: &str, context: &str) -> Called {
    let message = json!({"messageId": "m-1", "role": "ROLE_USER", "contextId": context, "parts": [{"text": text}]});
    client.call(Method::SendMessage, &json!({"message": message})).await
}

#[tokio::test]
async fn an_agent_is_called_only_where_it_proves_its_name() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [ours, strange] = folders.each_ref().map(|folder| Authority::new(folder.path()).unwrap());
    let trusted = format!("registry:\n  ca_file: '{}'\n", ours.roots().display());
    let shown = ours.issue("IP:127.0.0.1").unwrap();
    for (proof, trusted, problem) in [
        (&shown, trusted.as_str(), None),
        (&ours.issue("DNS:elsewhere.example").unwrap(), &trusted, Some("not valid for name")),
        (&strange.issue("IP:127.0.0.1").unwrap(), &trusted, Some("BadSignature")),
        // Without the file, the card is not believed already.
        (&shown, "registry:\n", Some("UnknownIssuer")),
    ] {
        let proofs = Proofs { card: Some(shown.clone()), calls: Some(proof.clone()) };
        let agent = GrpcAgent::start_with(Version::V1_0, proofs).await;
        let config = config(&[&agent.card.url], &format!(", grpc_port: {}", agent.port));
        let gateway = Gateway::start(&config.replace("registry:\n", trusted), &[("rules.cedar", ALL)]).await;
        let client = GrpcClient::new(&gateway.url(), &gateway.key("ann").await, Version::V1_0);
        let called = send(&client, "hello", "claim-1").await;
        match problem {
            None => {
                assert_eq!(called.replies[0]["task"]["status"]["state"], "TASK_STATE_COMPLETED", "{called:?}");
                let hello = json!({"message": {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": "hello"}]}});
                assert_eq!(client.call(Method::SendStreamingMessage, &hello).await.replies.len(), 2);
            }
            Some(problem) => {
                assert_eq!(called.status.name(), "UNAVAILABLE", "{called:?}");
                gateway.wait_for_log(problem, 1).await;
                assert_eq!(agent.calls().len(), 0);
            }
        }
        gateway.finish().await;
    }
}

#[tokio::test]
async fn a_session_stays_with_its_replica_and_the_next_one_is_told_what_it_remembers() {
    let agents = [GrpcAgent::start(Version::V1_0).await, GrpcAgent::start(Version::V1_0).await];
    let urls = agents.each_ref().map(GrpcAgent::url);
    let gateway = Gateway::start(&config(&urls.each_ref().map(String::as_str), ""), &[("rules.cedar", ALL)]).await;
    let key = gateway.key("ann").await;
    let (client, http) = (GrpcClient::new(&gateway.url(), &key, Version::V1_0), gateway.stranger().with_key(&key));
    http.put("/api/v1/sessions/claim-1/state/amount", &json!(900)).await.unwrap();
    let task = send(&client, "wait", "claim-1").await.replies[0]["task"]["id"].clone();
    let home = usize::from(agents[0].calls().is_empty());
    let (before, after) = (&agents[home], &agents[1 - home]);
    for _ in 0..3 {
        assert_eq!(send(&client, "hello", "claim-1").await.status.code, 0);
        assert_eq!(client.call(Method::GetTask, &json!({"id": task})).await.replies[0]["id"], task);
    }
    assert_eq!((before.calls().len(), after.calls().len()), (7, 0));
    let told = |agent: &GrpcAgent| {
        let calls = agent.calls().into_iter().filter(|(_, method, _)| method.is_sending());
        calls.map(|(_, _, params)| params["message"]["metadata"][EXTENSION].clone()).collect::<Vec<Value>>()
    };
    let is_whole =
        |told: &Value| told["state"][0]["key"] == "amount" && told["state"][0]["value"].as_f64() == Some(900.0);
    let all = told(before);
    assert!(
        is_whole(&all[0]) && all[1..].iter().all(|told| told["session"] == "claim-1" && !is_whole(told)),
        "{all:?}"
    );
    before.kill();
    // A connection that has just broken may still be taken for one.
    let has_moved = || async { send(&client, "hello", "claim-1").await.status.code == 0 };
    wait_until("the session has moved", LIMIT, has_moved).await.unwrap();
    assert_eq!(send(&client, "hello", "claim-1").await.status.code, 0);
    let all = told(after);
    let fences: Vec<Option<f64>> = all.iter().map(|told| told["fence"].as_f64()).collect();
    assert!(is_whole(&all[0]) && !is_whole(&all[1]), "{all:?}");
    assert_eq!((all.len(), fences), (2, vec![Some(2.0); 2]));
    assert_eq!(before.calls().len(), 7);
    gateway.finish().await;
}
