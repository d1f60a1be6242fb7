//! Signatures of agents' cards: those of agents are looked at before anything is done with the card, and what clients see is signed by the gateway.

use std::sync::{Arc, PoisonError};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_interop::a2a::card::signature::{essential, payload, signatures, signing_input, with_signatures};
use serde_json::{Value, json};

use crate::a2a::{ALL, config, message, rpc};
use crate::a2a_agent::{Agent, Speaks};
use crate::gateway::Gateway;

const CARD: &str = "/a2a/adjuster/.well-known/agent-card.json";

struct Signer {
    pair: Ed25519KeyPair,
}

impl Signer {
    fn new(seed: u8) -> Arc<Self> {
        Arc::new(Self { pair: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap() })
    }

    fn keys(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k-1", "x": x}]}).to_string()
    }

    /// The card, of which that much is signed.
    fn sign(&self, card: &str, signed: &str) -> String {
        let protected = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"k-1","typ":"JOSE"}"#);
        let input = signing_input(&protected, &payload(signed).unwrap());
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(input.as_bytes()).as_ref());
        with_signatures(card, &[(protected, signature)]).unwrap()
    }
}

fn show(agent: &Agent, sealed: impl Fn(&str) -> String + Send + 'static) {
    *agent.state.sealed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(sealed));
}

#[tokio::test]
async fn a_card_that_is_not_signed_as_it_must_be_is_never_used() {
    let (signer, stranger) = (Signer::new(1), Signer::new(2));
    let agents = [Agent::start(Speaks::New).await];
    let [agent] = &agents;
    let keyed = config(&agents, ", card_keys: keys.json");
    show(agent, str::to_owned);
    let gateway = Gateway::start(&keyed, &[("rules.cedar", ALL), ("keys.json", &signer.keys())]).await;
    let ann = gateway.client("ann").await;
    const FORGED: &str = "it is not signed by one of the `card_keys`";
    gateway.wait_for_log(FORGED, 1).await;
    let call = || rpc(&ann, "1.0", "SendMessage", message("1.0", "hello", Some("claim-1"), None));
    for sealed in [
        Box::new(str::to_owned) as Box<dyn Fn(&str) -> String + Send>,
        Box::new(move |card| stranger.sign(card, card)),
        {
            let signer = signer.clone();
            Box::new(move |card| signer.sign(&card.replace("Adjusts claims.", "Pays all."), card))
        },
    ] {
        show(agent, sealed);
        let shown = ann.get(CARD).await.unwrap();
        assert_eq!(shown.status, 502, "{}", shown.text());
        let refused = call().await.json();
        assert_eq!(refused["error"]["code"], 502, "{refused}");
    }
    assert_eq!(agent.calls().len(), 0);
    // What a reader of 1.0 does not know is not signed by the official libraries, and so not believed.
    let by = signer.clone();
    show(agent, move |card| {
        let more = card.replacen('{', r#"{"unsigned": "yes","#, 1);
        by.sign(&more, &essential(card).unwrap())
    });
    let shown = ann.get(CARD).await.unwrap();
    assert_eq!(
        (shown.status, shown.json()["description"].as_str()),
        (200, Some("Adjusts claims.")),
        "{}",
        shown.text()
    );
    assert!(!shown.text().contains("unsigned"));
    assert!(call().await.json()["result"]["task"]["id"].is_string());
    // Other keys, and the card is another one's.
    gateway.replace("keys.json", &Signer::new(3).keys());
    gateway.reload().await;
    assert_eq!(ann.get(CARD).await.unwrap().status, 502);
    gateway.replace("keys.json", &signer.keys());
    gateway.reload().await;
    assert_eq!(ann.get(CARD).await.unwrap().status, 200);
    gateway.finish().await;
}

#[tokio::test]
async fn what_clients_see_is_signed_by_the_gateway() {
    let agents = [Agent::start(Speaks::New).await];
    let gateway = Gateway::start(&config(&agents, ""), &[("rules.cedar", ALL)]).await;
    let ann = gateway.client("ann").await;
    let keys = gateway.stranger().get("/.well-known/jwks.json").await.unwrap().json();
    let public = URL_SAFE_NO_PAD.decode(keys["keys"][0]["x"].as_str().unwrap()).unwrap();
    let public = UnparsedPublicKey::new(&ED25519, public);
    for version in ["", "1.0", "0.3"] {
        let headers: Vec<(&str, &str)> = if version.is_empty() { Vec::new() } else { vec![("a2a-version", version)] };
        let card = ann.send("GET", CARD, &headers, None).await.unwrap().text();
        for signed in [card.clone(), essential(&card).unwrap()] {
            let payload = payload(&signed).unwrap();
            let holds = signatures(&card).into_iter().any(|signature| {
                let input = signing_input(&signature.protected, &payload);
                let bytes = URL_SAFE_NO_PAD.decode(&signature.signature).unwrap();
                let header: Value =
                    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(&signature.protected).unwrap()).unwrap();
                let url = format!("{}/.well-known/jwks.json", gateway.url());
                let is_ours = (&header["kid"], &header["jku"], &header["typ"])
                    == (&keys["keys"][0]["kid"], &json!(url), &json!("JOSE"));
                is_ours && public.verify(input.as_bytes(), &bytes).is_ok()
            });
            assert!(holds, "{version} {card}");
        }
    }
    gateway.finish().await;
}

#[tokio::test]
async fn known_callers_get_the_card_for_them_with_the_gateway_in_it() {
    for speaks in [Speaks::New, Speaks::Old] {
        let signer = Signer::new(1);
        let agents = [Agent::start(speaks).await];
        let by = signer.clone();
        show(&agents[0], move |card| by.sign(card, card));
        let files = [("rules.cedar", ALL), ("keys.json", &signer.keys())];
        let gateway = Gateway::start(&config(&agents, ", card_keys: keys.json"), &files).await;
        let ann = gateway.client("ann").await;
        let shown = ann.get(CARD).await.unwrap().json();
        assert_eq!(shown["supportsAuthenticatedExtendedCard"], true, "{shown}");
        let here = format!("{}/a2a/adjuster", gateway.url());
        for (version, method, url) in [
            ("1.0", "GetExtendedAgentCard", "/supportedInterfaces/0/url"),
            ("0.3", "agent/getAuthenticatedExtendedCard", "/url"),
        ] {
            let answer = rpc(&ann, version, method, json!({})).await;
            let card = &answer.json()["result"];
            assert_eq!(card["description"], "Adjusts large claims.", "{card}");
            assert_eq!(card.pointer(url), Some(&json!(here)), "{card}");
            assert!(!answer.text().contains("192.0.2.1") && card["signatures"][0]["protected"].is_string(), "{card}");
        }
        show(&agents[0], str::to_owned);
        let refused = rpc(&ann, "1.0", "GetExtendedAgentCard", json!({})).await.json();
        assert!(refused["error"].is_object(), "{refused}");
        let stranger = gateway.stranger().post("/a2a/adjuster", &json!({})).await.unwrap();
        assert_eq!(stranger.status, 401);
        gateway.finish().await;
    }
}
