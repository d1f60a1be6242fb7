//! Task tokens that are broken at random: none ends the process, and none opens anything but what the gateway has handed out, word for word.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says how much it has tried"
)]

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis::identity::signing::SigningKey;
use portcullis::identity::task::{TaskToken, is_task};
use portcullis_domain::authority::Authority;
use portcullis_domain::ids::CallId;
use portcullis_domain::time::Timestamp;
use portcullis_testkit::fuzz::Fuzz;
use serde_json::{Value, json};

const ISSUER: &str = "https://gate.example.org";
const NOW: Timestamp = Timestamp(1_000_000_000_000);
/// What is put into tokens and claims.
const WORDS: [&str; 22] = [
    ".",
    "..",
    "=",
    "e30",
    "eyJhbGciOiJub25lIn0",
    "A",
    "_",
    "-",
    "\"",
    "{",
    "}",
    ",",
    "null",
    "\"alg\":\"none\"",
    "\"sub\":\"boss\"",
    "\"exp\":99999999999",
    "\"aud\":[]",
    "[",
    "1e9",
    "\\u0000",
    "task+jwt",
    " ",
];

fn key() -> Arc<SigningKey> {
    Arc::new(SigningKey::new(&[7; 32], 0).unwrap())
}

/// A token that the gateway might hand out.
fn token(fuzz: &mut Fuzz) -> TaskToken {
    let mut authority = Authority::of_key("0123456789ab".parse().unwrap());
    let agents = ["planner", "payer", "writer"];
    authority.through = (0..=fuzz.below(3)).map(|_| fuzz.pick(&agents).parse().unwrap()).collect();
    authority.expires_at = Some(Timestamp(NOW.0 + 1_000_000 * (1 + fuzz.number() % 900)));
    authority.scope = fuzz.once_in(2).then(|| fuzz.pick(&["tool/a__*", "tool/b__c"]).parse().unwrap());
    authority.task = fuzz.once_in(3).then(|| "t1".parse().unwrap());
    let session = fuzz.pick(&["ann:claim-99", "bob:x"]).parse().unwrap();
    let byte = u8::try_from(fuzz.below(256)).unwrap();
    TaskToken { number: CallId([byte; 16]), session, authority, call: fuzz.once_in(2).then_some(CallId([2; 16])) }
}

fn read(text: &str) -> Result<TaskToken, &'static str> {
    let key = key();
    TaskToken::read(text, ISSUER, |id| (id == key.id()).then(|| key.clone()), NOW)
}

fn decoded(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

/// A text that nobody but the gateway can sign: broken, with parts of another token, or with other claims under the old signature.
fn forged(fuzz: &mut Fuzz, one: &str, other: &str) -> String {
    let parts = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (mut mine, theirs) = (parts(one), parts(other));
    match fuzz.below(3) {
        0 => fuzz.broken(one, &WORDS),
        1 => {
            let place = fuzz.below(3);
            mine[place].clone_from(&theirs[place]);
            mine.join(".")
        }
        _ => {
            let place = fuzz.below(2);
            let json = String::from_utf8(decoded(&mine[place]).unwrap()).unwrap();
            mine[place] = URL_SAFE_NO_PAD.encode(fuzz.broken(&json, &WORDS));
            mine.join(".")
        }
    }
}

#[test]
fn broken_tokens_end_nothing_and_only_what_was_handed_out_opens_anything() {
    let mut fuzz = Fuzz::start("token", 1_500);
    while fuzz.goes_on() {
        let (one, other) = (token(&mut fuzz), token(&mut fuzz));
        let texts = [&one, &other].map(|token| token.write(&key(), ISSUER, NOW).unwrap());
        let text = forged(&mut fuzz, &texts[0], &texts[1]);
        let _ = is_task(&text);
        let Ok(found) = read(&text) else { continue };
        fuzz.accepted += 1;
        let minted = [one, other].into_iter().zip(&texts).find(|(_, minted)| **minted == text);
        assert_eq!(minted.map(|(token, _)| token), Some(found), "{text}");
    }
    println!("{}", fuzz.summary());
}

/// Claims that the gateway has signed although they are odd: what is taken is what they say, read by another reader, and valid now.
#[test]
fn odd_claims_end_nothing_and_those_that_are_taken_are_read_as_they_are() {
    let mut fuzz = Fuzz::start("signed claims", 1_500);
    while fuzz.goes_on() {
        let text = token(&mut fuzz).write(&key(), ISSUER, NOW).unwrap();
        let parts: Vec<&str> = text.split('.').collect();
        let claims = String::from_utf8(decoded(parts[1]).unwrap()).unwrap();
        let claims = fuzz.broken(&claims, &WORDS);
        let input = format!("{}.{}", parts[0], URL_SAFE_NO_PAD.encode(&claims));
        let signed = format!("{input}.{}", URL_SAFE_NO_PAD.encode(key().sign(input.as_bytes())));
        let Ok(found) = read(&signed) else { continue };
        fuzz.accepted += 1;
        let seen: Value = serde_json::from_str(&claims).unwrap();
        assert_eq!((&seen["iss"], &seen["aud"]), (&json!(ISSUER), &json!(ISSUER)), "{claims}");
        assert_eq!(seen["sid"], json!(found.session), "{claims}");
        assert_eq!(seen["sub"], json!(found.session.owner), "{claims}");
        assert!(seen["exp"].as_u64().unwrap() > NOW.0 / 1_000_000, "{claims}");
        let mut through = Vec::new();
        let mut act = &seen["act"];
        while act.is_object() {
            through.insert(0, act["sub"].as_str().unwrap().to_owned());
            act = &act["act"];
        }
        assert_eq!(json!(found.authority.through), json!(through), "{claims}");
        assert_eq!(json!(found.authority.scope), seen["scope"], "{claims}");
    }
    println!("{}", fuzz.summary());
}
