//! Keys that are for something alone, and keys that are replaced.

use portcullis_domain::event::Event;
use portcullis_domain::journal::{Entry, StreamId};
use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};

use crate::gateway::LIMIT;
use crate::scene::{Scene, Setup, tools_client};
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

#[tokio::test]
async fn a_key_of_the_configuration_counts_as_long_as_it_stands_there() {
    let mut scene = Scene::start().await;
    let generated =
        scene.gateway.command(&["identity", "key", "generate", "ci", "--principal", "boss", "--json"]).await;
    let generated: Value = serde_json::from_slice(&generated.stdout).unwrap();
    let [key, digest] = ["key", "sha256"].map(|name| generated[name].as_str().unwrap().to_owned());
    scene.gateway.keep_secret(&key);
    let second = scene.gateway.command(&["identity", "key", "generate", "mounted"]).await;
    let second = String::from_utf8(second.stdout).unwrap().trim().to_owned();
    scene.gateway.keep_secret(&second);
    scene.gateway.replace("mounted.key", &format!("{second}\n"));
    let (model, tools) = (scene.model.url.clone(), scene.tools.url.clone());
    let with = |keys: &str| {
        let principals =
            format!("{{ ann: {{ roles: [junior] }}, bob: {{}}, boss: {{ roles: [senior] }} }}, keys: {{ {keys} }}");
        let setup = Setup { principals: Box::leak(principals.into_boxed_str()), ..Setup::default() };
        setup.config(&model, &tools)
    };
    let ci =
        format!("ci: {{ principal: boss, sha256: {digest}, doors: [openai], expires_at: '2099-01-01T00:00:00Z' }}");
    let mounted = "mounted: { principal: ann, file: mounted.key }";
    let status = async |scene: &Scene, key: &str, path: &str| {
        scene.gateway.stranger().with_key(key).get(path).await.unwrap().status
    };
    scene.gateway.configure(&with(&format!("{ci}, {mounted}")));
    scene.gateway.reload().await;
    assert_eq!((status(&scene, &key, "/v1/models").await, status(&scene, &second, "/v1/models").await), (200, 200));
    assert_eq!(status(&scene, &key, "/api/v1/sessions").await, 403, "it is for one door");
    let of_ci = |entry: &Entry<Event>| {
        let event = serde_json::to_value(&entry.event).unwrap();
        let is_ours = event["data"]["key"] == "file-ci" && entry.stream == StreamId::Control;
        is_ours.then(|| (event["type"].as_str().unwrap().to_owned(), entry.actor.to_string()))
    };
    let entries = |scene: &Scene| scene.gateway.entries().iter().filter_map(of_ci).collect::<Vec<_>>();
    let by_gateway = |types: &[&str]| -> Vec<(String, String)> {
        types.iter().map(|name| (format!("identity.key_{name}"), "gateway".to_owned())).collect()
    };
    assert_eq!(entries(&scene), by_gateway(&["created"]));
    let listed = scene.gateway.admin().get("/api/v1/identity/keys").await.unwrap().json();
    let one = |id: &str| listed["keys"].as_array().unwrap().iter().find(|key| key["id"] == id).unwrap().clone();
    assert!(one("file-ci")["last_used_at"].as_str().unwrap().ends_with(":00.000Z"), "{listed}");
    assert_eq!(one("file-ci")["expires_at"], "2099-01-01T00:00:00.000Z");

    // A call is remembered by its entry, whatever becomes of the gateway.
    let client = scene.gateway.stranger().with_key(&second);
    let mut tools = tools_client(&client, "/mcp", Some("s"));
    assert!(!tools.call_tool("tools__record", r#"{"id":"x","value":1}"#, None).await.unwrap().is_error);
    scene.gateway.kill();
    scene.gateway.restart().await;
    let listed = scene.gateway.admin().get("/api/v1/identity/keys").await.unwrap().json();
    let used = |id: &str| {
        let key = listed["keys"].as_array().unwrap().iter().find(|key| key["id"] == id).unwrap();
        key["last_used_at"].is_string()
    };
    assert_eq!((used("file-mounted"), used("file-ci")), (true, false), "{listed}");
    assert_eq!((status(&scene, &key, "/v1/models").await, entries(&scene).len()), (200, 1), "it is noted once");

    // What is another one's, or another one, must have another name.
    for changed in [ci.replace("boss", "ann"), ci.replace("openai", "mcp"), ci.replace(&digest, &"0".repeat(64))] {
        let before = scene.gateway.log().matches("was another key, or for something else").count();
        scene.gateway.configure(&with(&changed));
        scene.gateway.wait_for_log("was another key, or for something else", before + 1).await;
        assert_eq!(status(&scene, &key, "/v1/models").await, 200);
    }
    // Nor does a key live longer, or shorter, because a line says so: it is not left to die at the old time in silence.
    for end in ["2098-01-01", "2100-01-01"] {
        let before = scene.gateway.log().matches("a key gets no other end").count();
        scene.gateway.configure(&with(&ci.replace("2099-01-01", end)));
        scene.gateway.wait_for_log("a key gets no other end", before + 1).await;
        assert_eq!(status(&scene, &key, "/v1/models").await, 200);
    }
    scene.gateway.configure(&with(mounted));
    let is_gone = || async { status(&scene, &key, "/v1/models").await == 401 };
    wait_until("the key is withdrawn", LIMIT, is_gone).await.unwrap();
    assert_eq!(entries(&scene), by_gateway(&["created", "withdrawn"]));
    assert_eq!(status(&scene, &second, "/v1/models").await, 200);

    // It counts again as soon as it stands there again, unless a person has taken it back.
    scene.gateway.configure(&with(&format!("{ci}, {mounted}")));
    let is_back = || async { status(&scene, &key, "/v1/models").await == 200 };
    wait_until("the key is there again", LIMIT, is_back).await.unwrap();
    assert_eq!(entries(&scene), by_gateway(&["created", "withdrawn", "restored"]));
    let disabled = scene.gateway.command(&["identity", "disable", "file-mounted"]).await;
    assert!(disabled.status.success(), "{disabled:?}");
    scene.gateway.kill();
    scene.gateway.restart().await;
    scene.gateway.wait_for_log("identity.keys.mounted was taken back and opens nothing", 1).await;
    assert_eq!((status(&scene, &second, "/v1/models").await, status(&scene, &key, "/v1/models").await), (401, 200));
    scene.finish().await;
}
