//! What a token endpoint is asked, and what it may answer (RFC 6749; RFC 8693, section 2; RFC 7523).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use portcullis_domain::json;

use crate::upstreams::issuer::Way;
use crate::upstreams::oauth::kind;
use crate::upstreams::oauth::server::Server;
use crate::upstreams::push::PushClient;

/// The largest answer of a token endpoint, in bytes.
const ANSWER_LIMIT_BYTES: usize = 64 << 10;
/// The longest token that is sent to an upstream, in bytes.
const TOKEN_LIMIT_BYTES: usize = 16 << 10;
/// The longest code of an error that is repeated to the operator, in bytes.
const ERROR_LIMIT_BYTES: usize = 64;
/// How long a token is taken to live whose issuer does not say it, in seconds.
const UNSAID_LIFE_S: u64 = 60;
/// What a client assertion is (RFC 7523, section 2.2).
const CLIENT_ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How the gateway proves to a token endpoint who it is.
pub enum Proof {
    /// A secret in `Authorization: Basic` (RFC 6749, section 2.3.1).
    Basic(String),
    /// A secret in the form.
    Post(String),
    /// A JWT that the gateway has signed.
    Assertion(String),
    /// Nothing but its name.
    None,
}

/// Who the gateway is for an authorization server.
pub struct Client {
    /// Its name there.
    pub id: String,
    /// What proves it.
    pub proof: Proof,
}

/// What a token is asked for with.
pub enum Grant<'a> {
    /// The gateway itself (RFC 6749, section 4.4).
    ClientCredentials,
    /// A token for another one (RFC 8693).
    Exchange {
        /// The token of the user, and its kind.
        subject: (&'a str, &'a str),
        /// The token of who acts for them, which is a JWT.
        actor: Option<&'a str>,
        /// The kind that is wanted.
        wanted: &'a str,
    },
    /// An assertion that another one has made (RFC 7523, section 2.1).
    JwtBearer {
        /// The assertion.
        assertion: &'a str,
    },
}

/// What a token is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// Where it is shown (RFC 8707).
    pub resource: Option<String>,
    /// What that is called by the authorization server.
    pub audience: Option<String>,
    /// What it may be used for.
    pub scope: Vec<String>,
}

/// A token that was given.
#[derive(PartialEq, Eq)]
pub struct Issued {
    /// Its text.
    pub token: String,
    /// How long it lives, in seconds.
    pub life_s: u64,
}

/// Asks a token endpoint.
///
/// # Errors
///
/// Why there is no token, for the operator. Neither what was sent nor what came stands in it, but for the code of an error.
pub async fn ask(
    way: &PushClient,
    server: &Server,
    client: &Client,
    grant: &Grant<'_>,
    target: &Target,
) -> Result<Issued, String> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Proof::Basic(secret) = &client.proof {
        let pair = STANDARD.encode(format!("{}:{}", encoded(&client.id), encoded(secret)));
        let mut value = HeaderValue::from_str(&format!("Basic {pair}")).map_err(|error| error.to_string())?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let endpoint = &server.token_endpoint;
    let way = Way::new(way, server.ca_file.as_deref());
    let (status, body) = way.ask(endpoint, headers, form(client, grant, target).into(), ANSWER_LIMIT_BYTES).await?;
    let wanted = match grant {
        Grant::Exchange { wanted, .. } => Some(*wanted),
        Grant::ClientCredentials | Grant::JwtBearer { .. } => None,
    };
    read(status, &body, wanted, &target.scope).map_err(|problem| format!("`{endpoint}` {problem}"))
}

fn form(client: &Client, grant: &Grant<'_>, target: &Target) -> String {
    let scope = target.scope.join(" ");
    let mut pairs: Vec<(&str, &str)> = match grant {
        Grant::ClientCredentials => vec![("grant_type", "client_credentials")],
        Grant::JwtBearer { assertion } => {
            vec![("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", assertion)]
        }
        Grant::Exchange { subject: (token, ty), actor, wanted } => {
            let mut pairs = vec![
                ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                ("requested_token_type", wanted),
                ("subject_token", token),
                ("subject_token_type", ty),
            ];
            let actor = actor.iter().flat_map(|actor| [("actor_token", *actor), ("actor_token_type", kind::JWT)]);
            pairs.extend(actor);
            pairs
        }
    };
    pairs.extend(target.audience.as_deref().map(|audience| ("audience", audience)));
    pairs.extend(target.resource.as_deref().map(|resource| ("resource", resource)));
    pairs.extend((!scope.is_empty()).then_some(("scope", scope.as_str())));
    match &client.proof {
        Proof::Basic(_) => {}
        Proof::Post(secret) => pairs.extend([("client_id", client.id.as_str()), ("client_secret", secret)]),
        Proof::Assertion(assertion) => pairs.extend([
            ("client_id", client.id.as_str()),
            ("client_assertion_type", CLIENT_ASSERTION),
            ("client_assertion", assertion),
        ]),
        Proof::None => pairs.push(("client_id", client.id.as_str())),
    }
    pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
}

/// As forms are written (WHATWG URL, "application/x-www-form-urlencoded").
fn encoded(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => written.push('+'),
            b'*' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => written.push(char::from(byte)),
            _ => {
                let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0').to_ascii_uppercase();
                written.extend(['%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    written
}

fn read(status: StatusCode, body: &Bytes, wanted: Option<&str>, scope: &[String]) -> Result<Issued, String> {
    let text = std::str::from_utf8(body).map_err(|_| "gave an answer that is no text".to_owned())?;
    let members = json::members(text).map_err(|_| format!("answered {status} with something that is no JSON object"));
    let said = |name: &str| {
        let members = members.as_ref().ok()?;
        json::text(json::member(members, name)?).map(std::borrow::Cow::into_owned)
    };
    if status != StatusCode::OK {
        let is_code = |code: &String| {
            code.len() <= ERROR_LIMIT_BYTES && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        };
        let code = said("error").filter(is_code).unwrap_or_else(|| "no code".to_owned());
        return Err(format!("gives no token: {status}, {code}"));
    }
    let found = members.as_ref().map_err(Clone::clone)?;
    if let Some(wanted) = wanted
        && said("issued_token_type").as_deref() != Some(wanted)
    {
        return Err(format!("gave a token that is not said to be `{wanted}`"));
    }
    let token_type = said("token_type").ok_or("does not say how its token is used")?;
    let is_bearer = token_type.eq_ignore_ascii_case("bearer");
    let is_fit = if wanted == Some(kind::ID_JAG) { token_type == "N_A" } else { is_bearer };
    if !is_fit {
        return Err("gave a token that is used in another way than as bearer token".to_owned());
    }
    let token = said("access_token").filter(|token| is_token(token)).ok_or("gave no token that can be sent")?;
    let more = |given: &str| given.split(' ').any(|one| !one.is_empty() && !scope.iter().any(|asked| asked == one));
    if !scope.is_empty() && said("scope").is_some_and(|given| more(&given)) {
        return Err("gave a token for more than it was asked for".to_owned());
    }
    let life_s = match json::member(found, "expires_in") {
        None => UNSAID_LIFE_S,
        Some(raw) => raw.get().parse().map_err(|_| "does not say in seconds how long its token lives")?,
    };
    if life_s == 0 {
        return Err("gave a token that has expired already".to_owned());
    }
    Ok(Issued { token, life_s })
}

/// Whether it can stand in a header (RFC 6750, section 2.1).
fn is_token(token: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    !token.is_empty() && token.len() <= TOKEN_LIMIT_BYTES && token.bytes().all(is_fit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_not_exactly_a_token_of_the_kind_that_was_asked_for_gives_none() {
        let check = |status: u16, body: &str, wanted: Option<&str>, expected: Result<(&str, u64), &str>| {
            let scope = ["read".to_owned(), "write".to_owned()];
            let found = read(StatusCode::from_u16(status).unwrap(), &body.to_owned().into(), wanted, &scope);
            match (found, expected) {
                (Ok(issued), Ok((token, life_s))) => {
                    assert_eq!((issued.token.as_str(), issued.life_s), (token, life_s), "{body}");
                }
                (Err(problem), Err(part)) => assert!(problem.contains(part), "{body}: {problem}"),
                (Ok(_), Err(part)) => panic!("{body} is taken, although {part}"),
                (Err(problem), Ok(_)) => panic!("{body}: {problem}"),
            }
        };
        let access = Some(kind::ACCESS_TOKEN);
        let of = |more: &str| format!(r#"{{"access_token":"t0k"{more}}}"#);
        let typed =
            |more: &str| of(&format!(r#","token_type":"Bearer","issued_token_type":"{}"{more}"#, kind::ACCESS_TOKEN));
        check(200, &typed(r#","expires_in":300"#), access, Ok(("t0k", 300)));
        check(200, &typed(""), access, Ok(("t0k", UNSAID_LIFE_S)));
        check(200, &of(r#","token_type":"bearer""#), None, Ok(("t0k", UNSAID_LIFE_S)));
        check(200, &typed(r#","scope":"read""#), access, Ok(("t0k", UNSAID_LIFE_S)));
        check(200, &typed(r#","scope":"read admin""#), access, Err("for more"));
        check(200, &of(r#","token_type":"Bearer""#), access, Err("is not said to be"));
        check(200, &typed("").replace("Bearer", "DPoP"), access, Err("in another way"));
        check(200, &typed("").replace("Bearer", "N_A"), access, Err("in another way"));
        check(200, &of(""), None, Err("how its token is used"));
        check(200, &typed(r#","expires_in":0"#), access, Err("expired already"));
        check(200, &typed(r#","expires_in":-5"#), access, Err("in seconds"));
        check(200, &typed(r#","expires_in":"soon""#), access, Err("in seconds"));
        check(200, &typed(r#","access_token":"two""#), access, Err("no JSON object"));
        check(200, &typed("").replace("t0k", "a b"), access, Err("can be sent"));
        check(200, "[]", access, Err("no JSON object"));
        check(200, "", None, Err("no JSON object"));
        let jag = of(&format!(r#","token_type":"N_A","issued_token_type":"{}""#, kind::ID_JAG));
        check(200, &jag, Some(kind::ID_JAG), Ok(("t0k", UNSAID_LIFE_S)));
        check(200, &jag.replace("N_A", "Bearer"), Some(kind::ID_JAG), Err("in another way"));
        check(
            400,
            r#"{"error":"invalid_grant","error_description":"t0k is bad"}"#,
            access,
            Err("400 Bad Request, invalid_grant"),
        );
        check(400, r#"{"error":"the token t0k"}"#, access, Err("no code"));
        check(302, "", access, Err("302"));
    }

    #[test]
    fn a_form_has_what_the_grant_needs_and_nothing_else() {
        let check = |proof: Proof, grant: Grant<'_>, expected: &str| {
            let client = Client { id: "gate way".to_owned(), proof };
            let target = Target {
                resource: Some("https://crm.example.org/mcp".to_owned()),
                scope: vec!["a".to_owned(), "b".to_owned()],
                ..Target::default()
            };
            assert_eq!(form(&client, &grant, &target), expected);
        };
        let tail = "resource=https%3A%2F%2Fcrm.example.org%2Fmcp&scope=a+b";
        check(Proof::Basic("s".to_owned()), Grant::ClientCredentials, &format!("grant_type=client_credentials&{tail}"));
        check(
            Proof::Post("s&t".to_owned()),
            Grant::JwtBearer { assertion: "x.y.z" },
            &format!(
                "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=x.y.z&{tail}&client_id=gate+way&client_secret=s%26t"
            ),
        );
        let exchange =
            Grant::Exchange { subject: ("s.t.u", kind::JWT), actor: Some("a.b.c"), wanted: kind::ACCESS_TOKEN };
        let expected = format!(
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&requested_token_type={}&subject_token=s.t.u&subject_token_type={jwt}&actor_token=a.b.c&actor_token_type={jwt}&{tail}&client_id=gate+way",
            encoded(kind::ACCESS_TOKEN),
            jwt = encoded(kind::JWT)
        );
        check(Proof::None, exchange, &expected);
    }
}
