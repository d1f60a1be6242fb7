//! Keys that are for something alone, and keys that are replaced.

use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};

use crate::gateway::LIMIT;
use crate::scene::{Scene, tools_client};
use crate::spoken::{COMPLETIONS, ask, saying};

async fn create(scene: &Scene, body: Value) -> (String, String) {
    let answer = scene.gateway.admin().post("/api/v1/identity/keys", &body).await.unwrap();
    assert_eq!(answer.status, 201, "{body}: {}", answer.text());
    let [id, key] = ["id", "key"].map(|name| answer.json()[name].as_str().unwrap().to_owned());
    scene.gateway.keep_secret(&key);
    (id, key)
}

#[tokio::test]
async fn a_key_opens_only_what_it_is_for() {
    let scene = Scene::start().await;
    let check = async |scope: Value, [models, tools, api]: [u16; 3]| {
        let mut body = json!({"principal": "boss"});
        body.as_object_mut().unwrap().extend(scope.as_object().unwrap().clone());
        let client = scene.gateway.stranger().with_key(&create(&scene, body).await.1);
        assert_eq!(ask(&client, COMPLETIONS, &saying("SAY hi")).await.status, models, "{scope}");
        let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"tools__echo","arguments":{"text":"a"}}}"#;
        let accept = [("accept", "application/json, text/event-stream")];
        let answer = client.send("POST", "/mcp", &accept, Some(list.to_owned())).await.unwrap();
        let status = if answer.text().contains("this key is not for `tool/") { 403 } else { answer.status };
        assert_eq!(status, tools, "{scope}: {}", answer.text());
        assert_eq!(client.get("/api/v1/sessions").await.unwrap().status, api, "{scope}");
    };
    check(json!({}), [200, 200, 200]).await;
    check(json!({"doors": ["openai"]}), [200, 403, 403]).await;
    check(json!({"doors": ["mcp", "api"]}), [403, 200, 200]).await;
    check(json!({"capabilities": ["model/*"]}), [200, 403, 403]).await;
    check(json!({"capabilities": ["tool/tools__echo"]}), [403, 200, 403]).await;
    check(json!({"capabilities": ["tool/tools__record", "model/other"]}), [403, 403, 403]).await;
    let key = create(&scene, json!({"principal": "boss", "capabilities": ["tool/tools__e*"]})).await.1;
    let listed = tools_client(&scene.gateway.stranger().with_key(&key), "/mcp", None).list_tools().await.unwrap();
    let names: Vec<&str> = listed.iter().filter_map(|tool| tool["name"].as_str()).collect();
    assert!(!names.is_empty() && names.iter().all(|name| name.starts_with("tools__e")), "{names:?}");
    for wrong in [json!({"doors": ["x"]}), json!({"capabilities": ["mod*"]}), json!({"capabilities": ["model"]})] {
        let mut body = json!({"principal": "boss"});
        body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        let answer = scene.gateway.admin().post("/api/v1/identity/keys", &body).await.unwrap();
        assert_eq!(answer.status, 400, "{wrong}");
    }
    scene.finish().await;
}

#[tokio::test]
async fn a_key_that_is_replaced_ends_by_itself_and_the_new_one_is_for_the_same() {
    let scene = Scene::start().await;
    let admin = scene.gateway.admin();
    let (id, old) = create(&scene, json!({"principal": "ann", "capabilities": ["model/*"]})).await;
    let status = async |key: &str| scene.gateway.stranger().with_key(key).get("/v1/models").await.unwrap().status;
    let rotate =
        async |id: &str, body: Value| admin.post(&format!("/api/v1/identity/keys/{id}/rotate"), &body).await.unwrap();
    let rotated = rotate(&id, json!({})).await;
    assert_eq!(rotated.status, 201, "{}", rotated.text());
    let new = rotated.json()["key"].as_str().unwrap().to_owned();
    scene.gateway.keep_secret(&new);
    assert_eq!((status(&old).await, status(&new).await), (200, 200));
    let newer = rotate(rotated.json()["id"].as_str().unwrap(), json!({"overlap_s": 0})).await.json();
    scene.gateway.keep_secret(newer["key"].as_str().unwrap());
    assert_eq!((status(&old).await, status(&new).await), (200, 401), "without overlap it ends at once");
    // An hour is not waited for: the time is asked for once more, and shorter.
    let again = rotate(&id, json!({"overlap_s": 1})).await.json();
    scene.gateway.keep_secret(again["key"].as_str().unwrap());
    let is_over = || async { status(&old).await == 401 };
    wait_until("the old key ends", LIMIT, is_over).await.unwrap();
    let listed = admin.get("/api/v1/identity/keys").await.unwrap().json();
    let keys = listed["keys"].as_array().unwrap();
    let own: Vec<&Value> = keys.iter().filter(|key| key["principal"] == "ann").collect();
    assert!(own.len() == 4 && own.iter().all(|key| key["scope"] == json!({"capabilities": ["model/*"]})), "{listed}");
    assert_eq!(rotate(&id, json!({})).await.status, 412, "it opens nothing any more");
    assert_eq!(rotate("000000000000", json!({})).await.status, 404);
    let newer_id = newer["id"].as_str().unwrap();
    assert_eq!(rotate(newer_id, json!({"overlap_s": 90 * 86_400 + 1})).await.status, 400);
    let denied = scene.client("bob").await.post(&format!("/api/v1/identity/keys/{newer_id}/rotate"), &json!({})).await;
    assert_eq!(denied.unwrap().status, 403);
    // By the command line, with the text of the key alone on standard output.
    let output = scene.gateway.command(&["identity", "key", "rotate", newer_id, "--overlap", "30m"]).await;
    let key = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    scene.gateway.keep_secret(&key);
    assert_eq!(status(&key).await, 200, "{}", String::from_utf8_lossy(&output.stderr));
    scene.finish().await;
}
