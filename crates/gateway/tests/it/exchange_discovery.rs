//! MCP servers that say themselves whose tokens they take: they are asked where they are, believed in what the configuration allows, and lead the gateway to nobody else.

use std::sync::{Arc, Mutex, PoisonError};

use portcullis_domain::call::Shown;
use portcullis_domain::event::Event;
use portcullis_testkit::http::Client;
use portcullis_testkit::process::{listen, wait_until};
use serde_json::json;

use crate::authorization_server::{AuthorizationServer, SECRET};
use crate::exchange::crm;
use crate::gateway::{Gateway, LIMIT};
use crate::raw_upstream::{RawUpstream, whole};
use crate::scene::{TOOLS_WAIT_S, tools_client};

const RULES: &str = "permit (principal, action, resource);";
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// What the server says of itself.
#[derive(Clone, Default)]
struct Said {
    /// To whoever comes without a token.
    challenge: String,
    /// Where the metadata of `/mcp` are.
    answer: Vec<u8>,
}

struct Site {
    gateway: Gateway,
    server: AuthorizationServer,
    tools: RawUpstream,
    /// Somebody who would like to be asked.
    evil: RawUpstream,
    /// Locked to read and to change, never across a wait.
    said: Arc<Mutex<Said>>,
    /// Where the server is.
    url: String,
}

impl Site {
    /// `client` is more of the table of who the gateway is for calls; `{URL}` stands for the authorization server.
    async fn start(client: &str) -> Self {
        let server = AuthorizationServer::start().await;
        let evil = RawUpstream::of_body(200, "", "{}").await;
        let said: Arc<Mutex<Said>> = Arc::default();
        let (listener, at) = listen().await.unwrap();
        let (shared, kept) = (server.shared(), said.clone());
        let tools = RawUpstream::start_at(listener, at.clone(), move |request| {
            let said = kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let target = request.raw_head.split(' ').nth(1).unwrap_or_default();
            if target.starts_with("/.well-known/") {
                let is_there = target == format!("{WELL_KNOWN}/mcp");
                return vec![if is_there { said.answer } else { whole(404, "", "{}") }];
            }
            let answer = crm(request, &shared);
            let is_refused = answer.first().is_some_and(|head| head.starts_with(b"HTTP/1.1 401"));
            let challenge = format!("www-authenticate: Bearer {}\r\n", said.challenge);
            if is_refused { vec![whole(401, &challenge, "")] } else { answer }
        });
        let own = format!("client: {{ issuer: '{}', id: gateway, secret_file: secret }}", server.url);
        let config = format!(
            "server: {{ listen: '127.0.0.1:{{PORT}}' }}\njournal: {{ store: 'sqlite:data' }}\n\
             identity: {{ principals: {{ bob: {{}}, eve: {{}} }}, issuers_allowed: [127.0.0.1] }}\n\
             registry:\n  tools_wait_s: {TOOLS_WAIT_S}\n  servers:\n    crm:\n      url: '{at}/mcp'\n      session: per_session\n      credential:\n\
             \x20       client_credentials: {{ {own} }}\n\
             \x20       exchange: {{ client: {{ id: gateway, {} }}, scope: [tickets] }}\n\
             policy: {{ files: [rules.cedar] }}\n",
            client.replace("{URL}", &server.url),
        );
        let files = [("rules.cedar", RULES), ("secret", SECRET.trim())];
        let gateway = Gateway::start(&config, &files).await;
        gateway.keep_secret(SECRET.trim());
        server.trust(&gateway).await;
        let site = Self { gateway, server, tools, evil, said, url: format!("{at}/mcp") };
        let bob = site.gateway.client("bob").await;
        let is_there = || async {
            let listed = tools_client(&bob, "/mcp", None).list_tools().await;
            listed.is_ok_and(|tools| !tools.is_empty())
        };
        wait_until("the tools are there", LIMIT, is_there).await.unwrap();
        site
    }

    /// This is what the server says from now on: where its metadata are, and what these are.
    fn say(&self, challenge: &str, answer: Vec<u8>) {
        let said = Said { challenge: challenge.to_owned(), answer };
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = said;
    }

    /// Where its metadata are.
    fn place(&self) -> String {
        format!("resource_metadata=\"{}\"", self.url.replace("/mcp", &format!("{WELL_KNOWN}/mcp")))
    }

    /// Its metadata, if it is called so and takes the tokens of these.
    fn metadata(&self, name: &str, issuers: &[&str]) -> Vec<u8> {
        whole(200, "", &json!({"resource": name, "authorization_servers": issuers}).to_string())
    }

    async fn look(&self, by: &Client) -> String {
        let answer = tools_client(by, "/mcp", None).call_tool("crm__look", "{}", None).await;
        answer.map_or_else(|failure| failure.to_string(), |answer| answer.text)
    }

    /// How often its metadata were looked at.
    fn looks(&self) -> usize {
        self.tools.received().iter().filter(|request| request.head.contains(WELL_KNOWN)).count()
    }

    async fn finish(self) {
        assert!(self.evil.received().is_empty(), "nobody else is asked anything");
        self.server.keep_secrets(&self.gateway);
        self.gateway.finish().await;
    }
}

#[tokio::test]
async fn a_server_that_says_whose_tokens_it_takes_gets_one_of_these() {
    let site = Site::start("issuers: ['{URL}'], secret_file: secret").await;
    let (bob, eve) = (site.gateway.client("bob").await, site.gateway.client("eve").await);
    site.say(&site.place(), site.metadata(&site.url, &[&site.evil.url, &site.server.url]));
    for (client, expected) in [(&bob, "seen: bob"), (&eve, "seen: eve"), (&bob, "seen: bob")] {
        assert_eq!(site.look(client).await, expected);
    }
    let asked = site.server.lock().asked.clone();
    assert_eq!((asked.len(), &asked[0]["resource"], site.looks()), (2, &site.url, 1), "and says so once");
    // It has moved to somebody who is not allowed, and takes no other tokens any more.
    site.say(&site.place(), site.metadata(&site.url, &[&site.evil.url]));
    site.server.lock().tokens.clear();
    let refused = site.look(&bob).await;
    assert!(refused.contains("none could be had; nothing was done"), "{refused}");
    assert_eq!(site.server.lock().asked.len(), 2);
    site.finish().await;
}

#[tokio::test]
async fn a_server_that_does_not_say_where_its_metadata_are_has_them_where_all_have() {
    let site = Site::start("issuers: ['{URL}'], secret_file: secret").await;
    site.say("realm=\"x\"", site.metadata(&site.url, &[&site.server.url]));
    assert_eq!(site.look(&site.gateway.client("bob").await).await, "seen: bob");
    site.finish().await;
}

#[tokio::test]
async fn whatever_a_server_says_nobody_is_shown_anything_who_is_not_allowed() {
    let site = Site::start("issuers: ['{URL}'], secret_file: secret").await;
    let bob = site.gateway.client("bob").await;
    let (place, good) = (site.place(), site.metadata(&site.url, &[&site.server.url]));
    let evil = site.evil.url.clone();
    let elsewhere = format!("resource_metadata=\"{evil}{WELL_KNOWN}/mcp\"");
    let cases = [
        (&place, site.metadata(&site.url, &[&evil]), "names none of the `issuers`"),
        (&place, site.metadata(&site.url, &[&format!("{}/", site.server.url)]), "names none of the `issuers`"),
        (&place, site.metadata(&site.url, &[]), "names none of the `issuers`"),
        (
            &place,
            site.metadata("https://bank.example.org/mcp", &[&site.server.url]),
            "the metadata of another resource",
        ),
        (&elsewhere, good.clone(), "elsewhere than it is itself"),
        (&place, whole(302, &format!("location: {evil}\r\n"), ""), "status 302"),
        (&place, whole(200, "", &format!("{{\"x\":\"{}\"}}", "x".repeat(100_000))), "can't be read"),
        (&place, whole(200, "", "<html>"), "is no metadata"),
    ];
    for (challenge, answer, reason) in cases {
        let before = site.gateway.log().matches(reason).count();
        site.say(challenge, answer);
        let refused = site.look(&bob).await;
        assert!(refused.contains("none could be had; nothing was done"), "{reason}: {refused}");
        site.gateway.wait_for_log(reason, before + 1).await;
        let state = site.server.lock();
        assert_eq!((state.asked.len(), state.seen.len()), (0, 0), "{reason}");
    }
    site.say(&place, good);
    assert_eq!(site.look(&bob).await, "seen: bob");
    site.finish().await;
}

#[tokio::test]
async fn a_server_chooses_among_several_where_the_gateway_has_no_secret_to_lose() {
    let site = Site::start("issuers: ['{URL}', '{URL}/crm'], auth: private_key_jwt").await;
    let chosen = format!("{}/crm", site.server.url);
    site.say(&site.place(), site.metadata(&site.url, &[&site.evil.url, &chosen]));
    assert_eq!(site.look(&site.gateway.client("bob").await).await, "seen: bob");
    let shown = |event| if let Event::CallAdmitted(call) = event { Some(call.shown) } else { None };
    let calls = site.gateway.entries().into_iter().filter_map(|entry| shown(entry.event));
    let all = format!("{} {chosen}", site.server.url);
    assert_eq!(calls.collect::<Vec<_>>(), [Some(Shown::Exchanged(all))]);
    site.finish().await;
}
