//! `portcullis store`: a gateway's journal goes into a database, and its sessions go on there.

use std::process::Output;

use portcullis_testkit::http::Client;
use serde_json::{Value, json};
use tokio_postgres::NoTls;

use crate::cluster::database;
use crate::gateway::Gateway;
use crate::scene::Scene;
use crate::spoken::{ask, in_session, saying};

/// Runs a command that must end with this code; what it printed, as JSON where it did.
async fn command(gateway: &Gateway, code: i32, arguments: &[&str]) -> Value {
    let Output { status, stdout, stderr } = gateway.command(arguments).await;
    let said = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(code), "{arguments:?}: {said}");
    assert_eq!(said.is_empty(), code == 0, "{arguments:?}: {said}");
    serde_json::from_slice(&stdout).unwrap_or(Value::Null)
}

async fn history(client: &Client) -> Value {
    let answer = client.get("/api/v1/sessions/claim-1/history").await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gateway_goes_on_with_a_journal_that_was_copied_into_a_database_and_back() {
    let Some(server) = database() else { return };
    let Scene { mut gateway, model: _model, tools: _tools, .. } = Scene::start().await;
    let client = gateway.client("ann").await;
    let answer = ask(&client, &in_session("claim-1"), &saying("hello")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let before = history(&client).await;
    let url = server.url();
    let copy = ["store", "copy", "--json", "--from", "data", "--to", &url, "--directory", "shared"];
    command(&gateway, 1, &copy).await;
    gateway.stop().await;
    let copied = command(&gateway, 0, &copy).await;
    let verified = command(&gateway, 0, &["journal", "verify", "--json"]).await;
    assert_eq!(copied["report"]["root"], verified["root"]);
    assert_eq!(copied["files"], json!(["vault.key", "journal.key", "admin.key"]));
    command(&gateway, 1, &copy).await;

    // The same gateway, with the database from now on. Its keys, sessions and history are those of before.
    let config = std::fs::read_to_string(gateway.file("portcullis.yaml")).unwrap();
    let shared = format!("journal: {{ store: '{url}', directory: shared }}");
    gateway.replace("portcullis.yaml", &config.replace("journal: { store: 'sqlite:data' }", &shared));
    gateway.restart().await;
    assert_eq!(history(&client).await, before);
    let answer = ask(&client, &in_session("claim-1"), &saying("and on")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let after = history(&client).await;
    assert_ne!(after, before);
    gateway.stop().await;

    command(&gateway, 0, &["store", "copy", "--to", "back"]).await;
    gateway.replace("portcullis.yaml", &config.replace("sqlite:data", "sqlite:back"));
    gateway.restart().await;
    assert_eq!(history(&client).await, after);
    gateway.stop().await;
    command(&gateway, 0, &["journal", "verify"]).await;
    gateway.finish_elsewhere().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tables_are_brought_forward_once_and_newer_ones_are_refused() {
    let Some(server) = database() else { return };
    let mut gateway = Scene::start().await.gateway;
    gateway.stop().await;
    let url = server.url();
    for (store, from, to) in
        [("nothing", None, None), ("data", Some(2), Some(2)), (url.as_str(), None, Some(2)), (&url, Some(2), Some(2))]
    {
        let migrated = command(&gateway, 0, &["store", "migrate", "--json", "--store", store]).await;
        assert_eq!(migrated, json!({"from": from, "to": to}), "{store}");
    }
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.execute("INSERT INTO portcullis.migrations (version) VALUES (99)", &[]).await.unwrap();
    rusqlite::Connection::open(gateway.file("data/journal.sqlite"))
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    for store in ["data", &url] {
        command(&gateway, 1, &["store", "migrate", "--store", store]).await;
        command(&gateway, 1, &["store", "copy", "--from", "data", "--to", store]).await;
    }
    gateway.finish_elsewhere().await;
}
