//! The configuration: what is found wrong with it and where, how it is taken in while calls go on, and the commands around it.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use portcullis_testkit::process::wait_until;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::fake_mcp::FakeMcp;
use crate::gateway::{Gateway, LIMIT, free_port, portcullis, run};
use crate::scene::{MODEL_KEY, RULES, Scene, Setup, Upstream, tools_client};
use crate::spoken::{COMPLETIONS, Heard, ask, begin, in_session, listen, saying, streaming, with};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A folder with these files, the first of which is the configuration.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

async fn check_files(files: &[(&str, &str)], arguments: &[&str]) -> Output {
    let folder = folder(files);
    run(folder.path(), &[&["check"], arguments].concat()).await
}

#[tokio::test]
async fn twenty_reloads_under_load_fail_no_request() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    let is_over = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicUsize::new(0));
    let mut load = JoinSet::new();
    for worker in 0..4 {
        let (client, is_over, done) = (client.clone(), is_over.clone(), done.clone());
        load.spawn(async move {
            let session = format!("load-{worker}");
            let mut tools = tools_client(&client, "/mcp", Some(&session));
            while !is_over.load(Ordering::SeqCst) {
                match worker {
                    0 => assert_eq!(ask(&client, &in_session(&session), &saying("SAY hi")).await.status, 200),
                    1 => {
                        let heard = listen(&client, &in_session(&session), &streaming("SLOW 3 2")).await;
                        assert!(heard.is_done && heard.text == "word1 word2 word3", "{heard:?}");
                    }
                    2 => {
                        let answer = tools.call_tool("tools__echo", r#"{"text":"a"}"#, None).await.unwrap();
                        assert_eq!((answer.text.as_str(), answer.is_error), ("a", false));
                    }
                    _ => {
                        let answer =
                            tools.call_tool("tools__record", r#"{"id":"x","value":50000}"#, None).await.unwrap();
                        assert!(answer.is_error && answer.text.starts_with("Limit"), "{answer:?}");
                    }
                }
                done.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    for reload in 0..20 {
        let before = done.load(Ordering::SeqCst);
        if reload % 2 == 0 {
            scene.gateway.replace("rules.cedar", &RULES.replace("Limit Exceeded.", &format!("Limit {reload}.")));
        } else {
            let setup = Setup { rounds: reload, ..Setup::default() };
            scene.gateway.configure(&setup.config(&scene.model.url, &scene.tools.url));
        }
        scene.gateway.wait_for_log("the configuration was taken in", usize::from(reload) + 1).await;
        let have_moved = || async { done.load(Ordering::SeqCst) > before };
        wait_until("calls go on", LIMIT, have_moved).await.unwrap();
    }
    is_over.store(true, Ordering::SeqCst);
    // A worker whose assertion failed brings the test down here.
    load.join_all().await;
    let is_new = || async {
        let mut tools = tools_client(&client, "/mcp", None);
        let answer = tools.call_tool("tools__record", r#"{"id":"x","value":50000}"#, None).await.unwrap();
        answer.text == "Limit 18. Escalate to Manager."
    };
    wait_until("the last rules are in force", LIMIT, is_new).await.unwrap();
    assert!(scene.recorded().is_empty());
    let derived = scene.finish().await;
    assert!(derived.counts["policy.activated"] >= 11, "{:?}", derived.counts);
}

#[tokio::test]
async fn a_broken_reload_changes_nothing_and_is_said() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    let good = Setup::default().config(&scene.model.url, &scene.tools.url);
    let still_works = async |what: &str| {
        assert_eq!(ask(&client, COMPLETIONS, &saying("SAY hi")).await.status, 200, "{what}");
        let mut tools = tools_client(&client, "/mcp", None);
        let denied = tools.call_tool("tools__record", r#"{"id":"x","value":50000}"#, None).await.unwrap();
        assert_eq!(denied.text, "Limit Exceeded. Escalate to Manager.", "{what}");
    };
    let refusals = [
        ("portcullis.yaml", "server: [".to_owned(), "portcullis.yaml:1"),
        (
            "portcullis.yaml",
            good.replace("identity:", "identitty:"),
            "unknown key `identitty`; did you mean `identity`?",
        ),
        ("portcullis.yaml", good.replace("{PORT}", "1"), "`registry.ca_file` can't change"),
        ("portcullis.yaml", good.replace("sqlite:data", "sqlite:other"), "`registry.ca_file` can't change"),
        (
            "portcullis.yaml",
            good.replace("registry:\n", "registry:\n  ca_file: ca.pem\n"),
            "`registry.ca_file` can't change",
        ),
        ("portcullis.yaml", good.replace("[rules.cedar]", "[missing.cedar]"), "missing.cedar"),
        ("portcullis.yaml", good.replace("'http://127", "'ftp://127"), "is no URL of http or https"),
        ("rules.cedar", "permit (".to_owned(), "rules.cedar:1"),
        ("rules.cedar", RULES.replace("arguments.value", "arguments.valeu"), "did you mean `value`?"),
    ];
    let mut times = 0;
    for (file, broken, said) in &refusals {
        let message = "the configuration is broken and not taken; everything stays as it was";
        if *file == "portcullis.yaml" {
            scene.gateway.configure(broken)
        } else {
            scene.gateway.replace(file, broken)
        }
        times += 1;
        scene.gateway.wait_for_log(message, times).await;
        assert!(scene.gateway.log().contains(said), "{said}\n{}", scene.gateway.log());
        still_works(said).await;
        // Mended, it is taken in; this also shows that the broken file is the only thing wrong.
        let before = scene.gateway.log().matches("the configuration was taken in").count();
        scene.gateway.configure(&good);
        scene.gateway.replace("rules.cedar", RULES);
        scene.gateway.wait_for_log("the configuration was taken in", before + 1).await;
        times = scene.gateway.log().matches(message).count();
    }
    scene.finish().await;
}

#[tokio::test]
async fn what_is_new_in_the_configuration_is_there_after_a_reload() {
    let scene = Scene::start().await;
    let other = Upstream::model(&["second"]).await;
    let client = scene.client("ann").await;
    let second = with(saying("SAY hi"), "model", json!("second"));
    let wait_for = async |status: u16| {
        let is_so = || async { ask(&client, COMPLETIONS, &second).await.status == status };
        wait_until(&format!("the second model answers {status}"), LIMIT, is_so).await.unwrap();
    };
    wait_for(404).await;
    let mut config = Setup::default().config(&scene.model.url, &scene.tools.url);
    config = config.replace("boss: {", "carl: {}, boss: {");
    let model = format!("models: {{ second: {{ base_url: '{}/v1', api_key: '{MODEL_KEY}' }}, ", other.url);
    config = config.replace("models: { ", &model);
    scene.gateway.configure(&config);
    wait_for(200).await;
    assert_eq!(ask(&scene.client("carl").await, COMPLETIONS, &second).await.status, 200);
    // A new file of rules is watched from then on.
    scene.gateway.replace(
        "more.cedar",
        r#"@message("Not today.") forbid (principal, action == Action::"call_model", resource) when { context.door == "openai" };"#,
    );
    scene.gateway.configure(&config.replace("[rules.cedar]", "[rules.cedar, more.cedar]"));
    wait_for(403).await;
    assert_eq!(ask(&client, COMPLETIONS, &second).await.json()["error"]["message"], json!("Not today."));
    scene.gateway.replace("more.cedar", "// Nothing.\n");
    wait_for(200).await;
    scene.finish().await;
}

#[tokio::test]
async fn a_file_of_rules_that_is_not_there_yet_is_taken_in_when_it_is() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    let good = Setup::default().config(&scene.model.url, &scene.tools.url);
    let rule = r#"@message("Not today.") forbid (principal, action == Action::"call_model", resource) when { context.door == "openai" };"#;
    // In the same folder, and in one that is not there either.
    for name in ["later.cedar", "rules.d/deep/later.cedar"] {
        scene.gateway.configure(&good.replace("[rules.cedar]", &format!("[rules.cedar, {name}]")));
        scene.gateway.wait_for_log(&format!("ERROR {name}: error: can't be read"), 1).await;
        assert_eq!(ask(&client, COMPLETIONS, &saying("SAY hi")).await.status, 200);
        std::fs::create_dir_all(scene.gateway.file(name).parent().unwrap()).unwrap();
        scene.gateway.replace(name, rule);
        let status = |expected: u16| {
            let client = &client;
            move || async move { ask(client, COMPLETIONS, &saying("SAY hi")).await.status == expected }
        };
        wait_until("the new rules are in force", LIMIT, status(403)).await.unwrap();
        scene.gateway.configure(&good);
        wait_until("the old rules are in force", LIMIT, status(200)).await.unwrap();
    }
    scene.finish().await;
}

#[tokio::test]
async fn a_stop_lets_calls_under_way_finish() {
    let mut scene = Scene::start().await;
    let client = scene.client("ann").await;
    let mut stream = begin(&client, COMPLETIONS, &streaming("SLOW 12 50")).await;
    let mut heard = Heard::default();
    while heard.text.is_empty() {
        heard.take(stream.next_event().await.unwrap().unwrap().data);
    }
    let rest = tokio::spawn(async move {
        while let Some(event) = stream.next_event().await.unwrap() {
            heard.take(event.data);
        }
        heard
    });
    scene.gateway.stop().await;
    let heard = rest.await.unwrap();
    assert!(heard.is_done && heard.text.ends_with("word12"), "{heard:?}");
    assert!(scene.gateway.stranger().get("/healthz").await.is_err(), "nobody listens any more");
    scene.finish().await;
}

#[tokio::test]
async fn a_misspelt_argument_in_a_rule_is_found_with_its_place_and_what_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let tools = Upstream::tools(Setup::default().era, folder.path().join("effects")).await;
    let config = Setup::default().config("http://127.0.0.1:9", &tools.url).replace("{PORT}", "4040");
    let rules = |argument: &str| RULES.replace("arguments.value", &format!("arguments.{argument}"));
    let right = check_files(&[("portcullis.yaml", &config), ("rules.cedar", &rules("value"))], &[]).await;
    assert_eq!(right.status.code(), Some(0), "{}", text(&right.stderr));
    assert!(text(&right.stdout).contains("in order, 2 policies"), "{}", text(&right.stdout));
    let check = async |rules: &str, expected: &str| {
        let wrong = check_files(&[("portcullis.yaml", &config), ("rules.cedar", rules)], &[]).await;
        assert_eq!((wrong.status.code(), text(&wrong.stdout).as_str()), (Some(1), ""));
        let said = text(&wrong.stderr);
        assert!(said.contains(expected), "{said}");
        said
    };
    let said = check(&rules("vallue"), "did you mean `value`?").await;
    assert!(said.contains("rules.cedar:8:") && said.contains("error"), "{said}");
    check(
        &RULES.replace("tools__record", "tools__recrod"),
        r#"unrecognized action `Action::"tools__recrod"`; did you mean `Action::"tools__"#,
    )
    .await;
    check(&rules("value").replace(r#"decimal("10000.0")"#, "10000"), "rules.cedar:8:").await;
    check("permit (principal, action, resource)", "rules.cedar:1:").await;

    let files = [("portcullis.yaml", config.as_str()), ("rules.cedar", &rules("vallue"))];
    let machine = check_files(&files, &["--json"]).await;
    assert_eq!((machine.status.code(), text(&machine.stderr).as_str()), (Some(1), ""));
    let value: Value = serde_json::from_slice(&machine.stdout).unwrap();
    let problem = &value["problems"][0];
    assert_eq!((&value["ok"], &problem["file"], &problem["line"]), (&json!(false), &json!("rules.cedar"), &json!(8)));
    assert!(problem["suggestion"].as_str().unwrap().contains("`value`"), "{problem}");
    // A role that nobody has may come to be: a warning.
    let role =
        check_files(&[("portcullis.yaml", &config), ("rules.cedar", &RULES.replace("junior", "juniro"))], &[]).await;
    assert_eq!(role.status.code(), Some(0));
    assert!(text(&role.stderr).contains(r#"did you mean `Role::"junior"`?"#), "{}", text(&role.stderr));
    // Without asking the server nobody can know, and that is said.
    let offline = check_files(&files, &["--offline"]).await;
    assert_eq!(offline.status.code(), Some(0), "{}", text(&offline.stderr));
    assert!(text(&offline.stderr).contains("warning") && text(&offline.stderr).contains("not checked"));
}

#[tokio::test]
async fn what_is_wrong_with_the_file_is_found_with_its_place_and_what_was_meant() {
    let check = async |config: &str, expected: &[&str]| {
        let output = check_files(&[("portcullis.yaml", config)], &["--offline"]).await;
        assert_eq!(output.status.code(), Some(1), "{config}");
        let said = text(&output.stderr);
        assert!(expected.iter().all(|part| said.contains(part)), "{config}\n{said}");
    };
    check("regsitry: {}\n", &["portcullis.yaml:1:1: error", "unknown key `regsitry`; did you mean `registry`?"]).await;
    check(
        "registry:\n  models:\n    m: { base_urll: 'http://x' }\n",
        &["portcullis.yaml:3:", "did you mean `base_url`?"],
    )
    .await;
    check("registry:\n  models:\n    m: { base_url: 'http://x', api_key: '${NO_SUCH_KEY}' }\n", &["NO_SUCH_KEY"]).await;
    check("registry:\n  models:\n    m: { base_url: 'x' }\n", &["registry.models.m", "`x` is no URL"]).await;
    check(
        "registry:\n  servers:\n    s: { url: 'http://x', command: [y] }\n",
        &["registry.servers.s", "both `url` and `command`"],
    )
    .await;
    check("registry:\n  tools_wait_s: 601\n", &["`registry.tools_wait_s` is 600 at most"]).await;
    check("ledger:\n  rates: { patience_ms: 0 }\n", &["`ledger.rates.patience_ms` is 1 to 60000"]).await;
    check("registry:\n  servers:\n    s: {}\n", &["registry.servers.s", "neither `url` nor `command`"]).await;
    check(
        "registry:\n  toolsets: { t: [nothing] }\n",
        &["registry.toolsets.t", "`nothing` is neither a server nor a tool"],
    )
    .await;
    check("ledger: { budgets: { ann: { usd: 1.0000000001 } } }\n", &["portcullis.yaml:1:"]).await;
    check("identity: { principals: { 'a b': {} } }\n", &["portcullis.yaml:1:", "is no name of a principal"]).await;
    check("policy: {}\npolicy: {}\n", &["portcullis.yaml:2:1"]).await;
    check("policy: { files: [no.cedar] }\n", &["no.cedar", "can't be read"]).await;
    check("server: { listen: '0.0.0.0:4040' }\n", &["server.allowed_hosts"]).await;
    check("journal: { store: 'postgres:x' }\n", &["the store is none that is known"]).await;
}

#[tokio::test]
async fn exit_codes_say_what_kind_of_no_it_is() {
    let port = free_port();
    let listen = format!("server: {{ listen: '127.0.0.1:{port}' }}\n");
    let check = async |files: &[(&str, &str)], arguments: &[&str], code: i32, said: &str| {
        let folder = folder(files);
        let output = run(folder.path(), arguments).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(said), "{arguments:?}: {}", text(&output.stderr));
    };
    let ok = [("portcullis.yaml", listen.as_str()), ("key", "pcs_x_y\n")];
    check(&ok, &["check"], 0, "").await;
    check(&[("portcullis.yaml", "polcy: {}")], &["check"], 1, "did you mean `policy`?").await;
    check(&[("portcullis.yaml", "polcy: {}")], &["up"], 78, "did you mean `policy`?").await;
    check(&[], &["up"], 78, "portcullis.yaml").await;
    check(&[("portcullis.yaml", "polcy: {}")], &["session", "list"], 78, "").await;
    check(&ok, &["sesion", "list"], 2, "session").await;
    check(&ok, &["check", "--ofline"], 2, "--offline").await;
    check(&ok, &[], 2, "Usage").await;
    check(&ok, &["session", "list", "--key-file", "key"], 69, "is `portcullis up` running?").await;
    check(&ok, &["session", "list", "--key-file", "none"], 74, "`none` can't be read").await;
    check(&ok, &["session", "list"], 74, "admin.key").await;

    let scene = Scene::start().await;
    let taken = scene.gateway.url().replace("http://", "");
    check(&[("portcullis.yaml", &format!("server: {{ listen: '{taken}' }}"))], &["up"], 70, "can't listen").await;
    let config = std::fs::read_to_string(scene.gateway.file("portcullis.yaml")).unwrap();
    std::fs::write(scene.gateway.file("second.yaml"), config.replace(&taken, &format!("127.0.0.1:{port}"))).unwrap();
    let second = scene.gateway.command(&["up", "--config", "second.yaml"]).await;
    assert_eq!(second.status.code(), Some(74), "{}", text(&second.stderr));
    assert!(text(&second.stderr).contains("in use by another gateway"), "{}", text(&second.stderr));
    std::fs::write(scene.gateway.file("wrong.key"), "pcs_000000000000_x\n").unwrap();
    let wrong = scene.gateway.command(&["session", "list", "--key-file", "wrong.key"]).await;
    assert_eq!(wrong.status.code(), Some(1), "a refusal: {}", text(&wrong.stderr));
    scene.finish().await;
}

#[tokio::test]
async fn commands_beside_a_gateway_need_none_of_its_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let (model, tools) = (
        Upstream::model(&["scripted"]).await,
        Upstream::tools(Setup::default().era, folder.path().join("effects")).await,
    );
    let config = Setup::default().config(&model.url, &tools.url).replace(MODEL_KEY, "${UPSTREAM_KEY}");
    let gateway = Gateway::start_with(&config, &[("rules.cedar", RULES)], &[("UPSTREAM_KEY", MODEL_KEY)]).await;
    gateway.keep_secret(MODEL_KEY);
    let (beside, limit) = (gateway.file(""), ["--limit", "1"]);
    for command in [
        &["identity", "key", "create", "ann"][..],
        &["identity", "key", "list"],
        &["session", "list"],
        &["journal", "verify"],
        &[&["journal", "show"], &limit[..]].concat(),
    ] {
        let output = run(&beside, command).await;
        assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    }
    let unset = run(&beside, &["check", "--offline"]).await;
    assert!(!unset.status.success() && text(&unset.stderr).contains("UPSTREAM_KEY"), "{}", text(&unset.stderr));
    gateway.finish().await;
}

#[tokio::test]
async fn sessions_are_shown_to_people_and_to_programs() {
    let scene = Scene::start().await;
    let client = scene.client("ann").await;
    let call = "SAY so\nCALL tools__echo {\"text\":\"hi\"}";
    ask(&client, &in_session("claim-99"), &saying(call)).await;
    client.put("/api/v1/sessions/claim-99/state/step", &json!(1)).await.unwrap();
    let show = async |arguments: &[&str]| {
        let output = scene.gateway.command(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let table = show(&["session", "list"]).await;
    assert!(table.contains("SESSION") && table.contains("ann:claim-99") && table.contains("active"), "{table}");
    let shown = show(&["session", "show", "ann:claim-99"]).await;
    for part in
        ["1 calls, 0 refused", "state step at version 1", "user  SAY so", "assistant  → tools__echo({\"text\":\"hi\"})"]
    {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let list: Value = serde_json::from_str(&show(&["session", "list", "--json"]).await).unwrap();
    assert_eq!(list["sessions"][0]["id"], json!("ann:claim-99"));
    let one: Value = serde_json::from_str(&show(&["--json", "session", "show", "ann:claim-99"]).await).unwrap();
    assert_eq!((&one["session"]["calls"], one["history"].as_array().unwrap().len()), (&json!(1), 2));
    let missing = scene.gateway.command(&["session", "show", "ann:nothing"]).await;
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("there is no session `nothing`"), "{}", text(&missing.stderr));
    scene.finish().await;
}

#[tokio::test]
async fn help_completions_and_schemas_are_printed_without_a_configuration() {
    let nowhere = tempfile::tempdir().unwrap();
    let show = async |arguments: &[&str]| {
        let output = run(nowhere.path(), arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = show(&["completions", shell]).await;
        assert!(script.contains("portcullis") && script.contains("session"), "{shell}");
    }
    for command in [&["--help"][..], &["up", "--help"], &["check", "--help"], &["identity", "key", "create", "--help"]]
    {
        let help = show(command).await;
        assert!(help.contains("Usage: portcullis"), "{help}");
    }
    assert!(show(&["--help"]).await.contains("Exit codes: 0 done"));
    assert!(show(&["--version"]).await.starts_with("portcullis 0."));
    let schema: Value = serde_json::from_str(&show(&["check", "--config-schema"]).await).unwrap();
    assert_eq!(schema["title"], json!("Portcullis configuration"));
}

/// The checkout.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All files below `folder` whose name ends so.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, end));
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The fenced blocks of a language in a page.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// The variables that a configuration has no default for.
fn variables(config: &str) -> Vec<String> {
    let names = config.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
    names
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
        .map(str::to_owned)
        .collect()
}

/// Checks a configuration without asking any server; every variable that it needs has the value `x`.
async fn check_offline(folder: &Path, file: &Path, what: &str) {
    let config = std::fs::read_to_string(folder.join(file)).unwrap();
    let mut command = portcullis(folder, &["check", "--offline", "--config", &file.to_string_lossy()]);
    command.envs(variables(&config).into_iter().map(|name| (name, "x")));
    let output = tokio::process::Command::from(command).output().await.unwrap();
    assert!(output.status.success(), "{what}:\n{config}\n{}", text(&output.stderr));
}

#[tokio::test]
async fn every_configuration_that_we_show_is_in_order() {
    let examples = files(&root().join("examples"), ".yaml");
    let configs = examples.iter().filter(|path| path.file_name().is_some_and(|name| name == "portcullis.yaml"));
    let mut count = 0;
    for path in configs {
        check_offline(path.parent().unwrap(), Path::new("portcullis.yaml"), &path.display().to_string()).await;
        count += 1;
    }
    for page in [files(&root().join("docs"), ".md"), files(&root(), "README.md")].concat() {
        if page.components().any(|part| part.as_os_str() == "target") {
            continue;
        }
        let text = std::fs::read_to_string(&page).unwrap();
        let mut shown: Vec<String> = Vec::new();
        for block in blocks(&text, "yaml") {
            // A block that begins further in goes on with the one before it.
            match shown.last_mut() {
                Some(last) if block.starts_with(' ') => last.push_str(&block),
                Some(_) | None => shown.push(block),
            }
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("policies.cedar"), blocks(&text, "cedar").concat()).unwrap();
        for config in shown {
            std::fs::write(folder.path().join("portcullis.yaml"), &config).unwrap();
            check_offline(folder.path(), Path::new("portcullis.yaml"), &page.display().to_string()).await;
            count += 1;
        }
    }
    assert!(count >= 4, "only {count} configurations were found: are they still where they were?");
}

#[tokio::test]
async fn twelve_lines_govern_a_model_and_a_tool() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (config, rules) = (blocks(&readme, "yaml")[0].clone(), blocks(&readme, "cedar")[0].clone());
    assert!(config.lines().count() <= 12, "{config}");
    let schema = r#"{"type":"object","properties":{"amount":{"type":"number"}},"required":["amount"]}"#;
    let tools = format!(r#"[{{"name":"approve_payment","inputSchema":{schema}}}]"#);
    let claims = FakeMcp::start(&tools, |_| r#""result":{"content":[{"type":"text","text":"paid"}]}"#.to_owned()).await;
    let model = Upstream::model(&["gpt-4o"]).await;
    let config = config.replace("https://api.openai.com/v1", &format!("{}/v1", model.url));
    let config = config.replace("http://127.0.0.1:9000/mcp", &claims.upstream.url);
    let config = format!("{config}server: {{ listen: '127.0.0.1:{{PORT}}' }}\njournal: {{ store: 'sqlite:data' }}\n");
    let gateway = Gateway::start_with(&config, &[("policies.cedar", &rules)], &[("OPENAI_API_KEY", MODEL_KEY)]).await;
    gateway.keep_secret(MODEL_KEY);
    let created = gateway.command(&["identity", "key", "create", "admin"]).await;
    let key = text(&created.stdout).trim().to_owned();
    gateway.keep_secret(&key);
    let client = gateway.stranger().with_key(&key);
    let answer = ask(&client, COMPLETIONS, &with(saying("SAY hi"), "model", json!("gpt-4o"))).await;
    assert_eq!(Heard::whole(&answer).text, "hi");
    let mut calls = tools_client(&client, "/mcp", None);
    let paid = calls.call_tool("claims__approve_payment", r#"{"amount":50000}"#, None).await.unwrap();
    assert_eq!((paid.text.as_str(), paid.is_error), ("paid", false));
    gateway.finish().await;
}
