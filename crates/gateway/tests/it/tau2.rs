//! The written policies of tau2-bench as rules: what its reference solutions write is allowed, and what its prose forbids is refused. `examples/tau2/README.md` says where the data is from.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_testkit::http::Client;
use portcullis_testkit::mcp;
use serde_json::{Value, json};

use crate::fake_mcp::FakeMcp;
use crate::gateway::Gateway;
use crate::scene::{TOOLS_WAIT_S, tools_client};

const CONFIG: &str = include_str!("../../../../examples/tau2/portcullis.yaml");
const FILES: [(&str, &str); 4] = [
    ("retail.cedar", include_str!("../../../../examples/tau2/policies/retail.cedar")),
    ("mock.cedar", include_str!("../../../../examples/tau2/policies/mock.cedar")),
    ("retail.test.yaml", include_str!("../../../../examples/tau2/policies/retail.test.yaml")),
    ("mock.test.yaml", include_str!("../../../../examples/tau2/policies/mock.test.yaml")),
];
const RETAIL: &str = include_str!("../../../../examples/tau2/tau2-bench/retail.json");
const MOCK: &str = include_str!("../../../../examples/tau2/tau2-bench/mock.json");
const VIOLATIONS: &str = include_str!("../../../../examples/tau2/violations.yaml");

/// What a server does, which checks nothing: all that is refused is refused by the gateway's rules.
type Act = fn(&mut Value, &str, &Value) -> Option<Value>;

/// A server whose state is the data.
struct Shop {
    /// As it is in the file.
    data: Value,
    /// Locked for one call, never across a wait.
    state: Arc<Mutex<(Value, usize)>>,
    server: FakeMcp,
}

impl Shop {
    async fn start(data: &str, act: Act) -> Self {
        let data: Value = serde_json::from_str(data).unwrap();
        let state = Arc::new(Mutex::new((data.clone(), 0)));
        let served = state.clone();
        let tools = data["tools"].to_string();
        let server = FakeMcp::start(&tools, move |call| {
            let mut state = served.lock().unwrap_or_else(PoisonError::into_inner);
            state.1 += 1;
            let answer = act(&mut state.0, call["name"].as_str().unwrap(), &call["arguments"]);
            let text = match &answer {
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
                None => "there is no such thing".to_owned(),
            };
            let result = json!({"content": [{"type": "text", "text": text}], "isError": answer.is_none()});
            format!(r#""result":{result}"#)
        });
        Self { server: server.await, data, state }
    }

    /// Everything is as it is in the file again.
    fn begin_anew(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = self.data.clone();
    }

    fn calls(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

/// The shop: orders change as tau2-bench's do, as far as their status, items and payments go.
fn retail(state: &mut Value, tool: &str, arguments: &Value) -> Option<Value> {
    let text = |name: &str| arguments[name].as_str().unwrap_or_default();
    let is = |value: &Value, name: &str| value.as_str().unwrap().eq_ignore_ascii_case(text(name));
    let found = |is_it: &dyn Fn(&Value) -> bool| {
        state["users"].as_object().unwrap().values().find(|user| is_it(user)).map(|user| user["user_id"].clone())
    };
    match tool {
        "find_user_id_by_email" => found(&|user| is(&user["email"], "email")),
        "find_user_id_by_name_zip" => found(&|user| {
            let name = &user["name"];
            is(&name["first_name"], "first_name") && is(&name["last_name"], "last_name") && is(&user["zip"], "zip")
        }),
        "get_user_details" => state["users"].get(text("user_id")).cloned(),
        "get_order_details" => state["orders"].get(text("order_id")).cloned(),
        "get_product_details" => state["products"].get(text("product_id")).cloned(),
        "get_item_details" => {
            let mut products = state["products"].as_object()?.values();
            products.find_map(|product| product["variants"].get(text("item_id"))).cloned()
        }
        "modify_user_address" => state["users"].get(text("user_id")).cloned(),
        "calculate" | "transfer_to_human_agents" | "list_all_product_types" => Some(json!("done")),
        write => changed(state["orders"].get_mut(text("order_id"))?, write, arguments),
    }
}

fn changed(order: &mut Value, tool: &str, arguments: &Value) -> Option<Value> {
    let status = match tool {
        "cancel_pending_order" => "cancelled",
        "modify_pending_order_items" => "pending (item modified)",
        "modify_pending_order_payment" | "modify_pending_order_address" => "pending",
        "return_delivered_order_items" => "return requested",
        "exchange_delivered_order_items" => "exchange requested",
        _ => return None,
    };
    order["status"] = json!(status);
    if tool == "modify_pending_order_payment" {
        let payment = json!({"transaction_type": "payment", "payment_method_id": arguments["payment_method_id"]});
        order["payment_history"].as_array_mut()?.push(payment);
    }
    if tool == "modify_pending_order_items" {
        for (old, new) in arguments["item_ids"].as_array()?.iter().zip(arguments["new_item_ids"].as_array()?) {
            let mut items = order["items"].as_array_mut()?.iter_mut();
            items.find(|item| item["item_id"] == *old)?["item_id"] = new.clone();
        }
    }
    Some(order.clone())
}

fn mock(state: &mut Value, tool: &str, arguments: &Value) -> Option<Value> {
    match tool {
        "get_users" => Some(state["users"].as_object()?.values().cloned().collect()),
        "create_task" => Some(json!({"task_id": "task_2", "title": arguments["title"], "status": "pending"})),
        "update_task_status" => Some(json!({"task_id": arguments["task_id"], "status": arguments["status"]})),
        _ => Some(json!("Transfer successful")),
    }
}

struct Stage {
    gateway: Gateway,
    retail: Shop,
    mock: Shop,
    agent: Client,
}

impl Stage {
    async fn start() -> Self {
        let (retail, mock) = (Shop::start(RETAIL, retail).await, Shop::start(MOCK, mock).await);
        let patient = format!("\nregistry:\n  tools_wait_s: {TOOLS_WAIT_S}\n");
        let config = CONFIG.replace("127.0.0.1:4040", "127.0.0.1:{PORT}").replace("policies/", "");
        let config = config.replace("\nregistry:\n", &patient);
        let urls = [
            ("TAU2_RETAIL_URL", retail.server.upstream.url.as_str()),
            ("TAU2_MOCK_URL", mock.server.upstream.url.as_str()),
        ];
        let gateway = Gateway::start_with(&config, &FILES, &urls).await;
        let agent = gateway.client("agent").await;
        Self { gateway, retail, mock, agent }
    }

    /// A conversation about nothing yet.
    fn conversation(&self, name: &str) -> Conversation<'_> {
        self.retail.begin_anew();
        let tools = tools_client(&self.agent, "/mcp", Some(name));
        Conversation { stage: self, session: format!("agent:{name}"), tools, looked_up: BTreeSet::new() }
    }
}

/// A session, and what was looked up in it.
struct Conversation<'a> {
    stage: &'a Stage,
    session: String,
    tools: mcp::Client,
    looked_up: BTreeSet<String>,
}

impl Conversation<'_> {
    /// What a tool says, or none when the gateway has refused the call: then the server has not seen it.
    async fn call(&mut self, server: &str, tool: &str, arguments: &Value) -> Option<Value> {
        let shop = if server == "retail" { &self.stage.retail } else { &self.stage.mock };
        let before = shop.calls();
        let answer = self.tools.call_tool(&format!("{server}__{tool}"), &arguments.to_string(), None).await.unwrap();
        let is_refused = answer.result["_meta"]["portcullis/refusal"].is_object();
        // What was read already may be answered by the gateway itself.
        assert!(!is_refused || shop.calls() == before, "{tool} {arguments} was refused and forwarded");
        (!is_refused).then(|| serde_json::from_str(&answer.text).unwrap_or(json!(answer.text)))
    }

    /// Finds out who the customer is, and reads their profile.
    async fn know(&mut self, customer: &str) {
        let user = &self.stage.retail.data["users"][customer];
        if self.looked_up.insert("customer".to_owned()) {
            let name = &user["name"];
            let who = json!({"first_name": name["first_name"], "last_name": name["last_name"], "zip": user["zip"]});
            assert_eq!(self.call("retail", "find_user_id_by_name_zip", &who).await, Some(json!(customer)));
        }
        self.look_up("get_user_details", "user_id", customer).await;
    }

    async fn look_up(&mut self, tool: &str, argument: &str, id: &str) {
        if self.looked_up.insert(id.to_owned()) {
            assert!(self.call("retail", tool, &json!({argument: id})).await.is_some(), "{tool} {id} was refused");
        }
    }

    /// What the written policy wants to be looked up before a write, as far as that was not done yet.
    async fn prepare(&mut self, tool: &str, arguments: &Value) {
        let data = &self.stage.retail.data;
        let order = arguments["order_id"].as_str().map(|id| &data["orders"][id]);
        let customer = order.unwrap_or(arguments)["user_id"].as_str().unwrap();
        self.know(customer).await;
        if let Some(order) = order {
            self.look_up("get_order_details", "order_id", order["order_id"].as_str().unwrap()).await;
        }
        for item in arguments["new_item_ids"].as_array().into_iter().flatten() {
            let mut products = data["products"].as_object().unwrap().values();
            let product = products.find(|product| product["variants"].get(item.as_str().unwrap()).is_some());
            let product = product.unwrap_or_else(|| panic!("{tool}: nobody knows {item}"));
            self.look_up("get_product_details", "product_id", product["product_id"].as_str().unwrap()).await;
        }
    }

    /// The rule by which the last call was refused.
    fn refused_by(&self) -> Vec<String> {
        let events = self.stage.gateway.events(&self.session).into_iter();
        let refused = events.filter_map(|event| {
            if let portcullis_domain::event::Event::CallRefused(refused) = event {
                Some(refused.policies)
            } else {
                None
            }
        });
        refused.last().unwrap_or_default()
    }
}

/// One reference solution: its reads and writes in their order, and before each what the written policy wants to be looked up. What was refused.
async fn replay(stage: &Stage, task: &Value, counts: &mut [usize; 2]) -> Vec<String> {
    let mut talk = stage.conversation(&format!("task-{}", task["id"].as_str().unwrap()));
    let actions = task["actions"].as_array().unwrap();
    let finds = |action: &Value| action["name"].as_str().unwrap().starts_with("find_user");
    let is_known_later = actions.iter().any(|action| finds(action) && action["ok"] == true);
    let mut refused = Vec::new();
    for action in actions {
        let (tool, arguments) = (action["name"].as_str().unwrap(), &action["arguments"]);
        let is_write = action["kind"] == "write";
        if finds(action) && action["ok"] == true {
            talk.looked_up.insert("customer".to_owned());
        } else if is_write {
            talk.prepare(tool, arguments).await;
        } else if !is_known_later && !finds(action) && tool.starts_with("get") {
            // A solution that leaves out how the customer was found: it is whoever its first write is for.
            if let Some(write) = actions.iter().find(|action| action["kind"] == "write") {
                talk.prepare(tool, &write["arguments"]).await;
            }
        }
        counts[usize::from(is_write)] += 1;
        let answer = talk.call("retail", tool, arguments).await;
        let is_as_expected =
            answer.as_ref().is_some_and(|answer| action.get("status").is_none_or(|status| answer["status"] == *status));
        if !is_as_expected {
            refused.push(format!("{} {tool} {arguments} {:?}", task["id"], talk.refused_by()));
        }
    }
    refused
}

#[tokio::test]
async fn every_reference_write_of_the_shop_that_keeps_to_its_policy_is_allowed() {
    let stage = Stage::start().await;
    let (mut refused, mut counts) = (Vec::new(), [0; 2]);
    for task in stage.retail.data["tasks"].as_array().unwrap() {
        refused.extend(replay(&stage, task, &mut counts).await);
    }
    assert_eq!(counts[1], 176, "writes");
    // The one reference write that the shop itself refuses for its status: a pending order can't be exchanged.
    assert_eq!(refused.len(), 1, "{} reads, {} writes, {refused:#?}", counts[0], counts[1]);
    assert!(
        refused[0].starts_with(r#""64" exchange_delivered_order_items"#) && refused[0].contains("retail-delivered")
    );
    stage.gateway.finish().await;
}

#[tokio::test]
async fn every_write_that_the_policies_forbid_is_refused_by_the_rule_for_it() {
    let stage = Stage::start().await;
    let violations: Value = serde_saphyr::from_str(VIOLATIONS).unwrap();
    let mut wrong = Vec::new();
    for (server, number, row) in ["retail", "mock"].into_iter().flat_map(|server| {
        let rows = violations[server].as_array().unwrap().iter().enumerate();
        rows.map(move |(number, row)| (server, number, row))
    }) {
        let mut talk = stage.conversation(&format!("{server}-{number}"));
        if let Some(customer) = row["customer"].as_str() {
            talk.know(customer).await;
        }
        for id in row["looks_up"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let (tool, argument) = if id.starts_with('#') {
                ("get_order_details", "order_id")
            } else {
                ("get_product_details", "product_id")
            };
            talk.look_up(tool, argument, id).await;
        }
        for before in row["before"].as_array().into_iter().flatten() {
            let answer = talk.call(server, before["tool"].as_str().unwrap(), &before["arguments"]).await;
            assert!(answer.is_some(), "{}: {before} was refused by {:?}", row["name"], talk.refused_by());
        }
        let answer = talk.call(server, row["tool"].as_str().unwrap(), &row["arguments"]).await;
        let by = talk.refused_by();
        if answer.is_some() || !by.iter().any(|rule| *rule == row["by"]) {
            wrong.push(format!("{}: {answer:?} by {by:?}", row["name"]));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    stage.gateway.finish().await;
}

#[tokio::test]
async fn every_reference_write_of_the_mock_domain_is_allowed_and_the_tests_beside_the_policies_pass() {
    let stage = Stage::start().await;
    let mut writes = 0;
    for task in stage.mock.data["tasks"].as_array().unwrap() {
        let mut talk = stage.conversation(&format!("mock-{}", task["id"].as_str().unwrap()));
        for action in task["actions"].as_array().unwrap() {
            let tool = action["name"].as_str().unwrap();
            if tool == "create_task" {
                assert!(talk.call("mock", "get_users", &json!({})).await.is_some());
            }
            let answer = talk.call("mock", tool, &action["arguments"]).await;
            assert!(answer.is_some(), "{} {action} by {:?}", task["id"], talk.refused_by());
            writes += usize::from(action["kind"] == "write");
        }
    }
    assert_eq!(writes, 7);
    let tested = stage.gateway.command(&["policy", "test"]).await;
    assert_eq!(String::from_utf8_lossy(&tested.stdout), "10 passed, 0 failed\n", "{tested:?}");
    stage.gateway.finish().await;
}

#[tokio::test]
async fn nothing_is_told_of_anybody_else_and_one_conversation_is_about_one_customer() {
    let stage = Stage::start().await;
    let mut talk = stage.conversation("one");
    let (user, product) = (json!({"user_id": "yusuf_rossi_9620"}), json!({"product_id": "1656367028"}));
    for (tool, arguments) in [("get_user_details", &user), ("get_product_details", &product)] {
        assert_eq!(talk.call("retail", tool, arguments).await, None, "{tool}");
        assert!(talk.refused_by().contains(&"retail-authenticate".to_owned()), "{tool}");
    }
    // Whom nobody knows is nobody.
    let nobody = json!({"email": "nobody@example.com"});
    assert!(talk.call("retail", "find_user_id_by_email", &nobody).await.is_some());
    assert_eq!(talk.call("retail", "get_product_details", &product).await, None);
    talk.know("yusuf_rossi_9620").await;
    assert!(talk.call("retail", "get_product_details", &product).await.is_some());
    let other = json!({"email": "james.sanchez6979@example.com"});
    assert_eq!(talk.call("retail", "find_user_id_by_email", &other).await, None);
    assert_eq!(talk.call("retail", "get_user_details", &json!({"user_id": "james_sanchez_3954"})).await, None);
    assert_eq!(talk.refused_by(), ["retail-own-profile"].map(str::to_owned));
    stage.gateway.finish().await;
}
