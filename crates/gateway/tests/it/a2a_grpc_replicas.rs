//! Where agents by gRPC are: under TLS only at a place that proves its name.

use portcullis_interop::a2a::{Method, Version};
use portcullis_testkit::authority::Authority;
use serde_json::json;

use crate::gateway::Gateway;
use crate::grpc_peer::{Called, GrpcAgent, GrpcClient, Proofs};
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
