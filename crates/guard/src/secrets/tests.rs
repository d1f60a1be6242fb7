use serde_json::{Value, json};

use crate::{Detector, SecretKind, Secrets, Spec, mask_json};

fn detector(kinds: &[SecretKind]) -> Detector {
    Detector::new(&Spec::Secrets(Secrets { kinds: kinds.to_vec(), except: Vec::new() })).unwrap()
}

/// What is found in a text by all detectors, as `kind:what`. A `|` in the text is not there: so no scanner for leaked secrets takes these for some.
fn found(text: &str) -> Vec<String> {
    let text = text.replace('|', "");
    let found = detector(&[]).find(&text);
    found.iter().map(|finding| format!("{}:{}", finding.kind, &text[finding.range.clone()])).collect()
}

fn check(text: &str, expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(|expected| expected.replace('|', "")).collect();
    assert_eq!(found(text), expected, "in {text}");
}

/// Finds exactly the token, wherever it stands.
fn finds(kind: &str, token: &str) {
    let expected = format!("{kind}:{token}");
    for (before, after) in [("", ""), ("It is ", "."), ("\"", "\","), ("a\\n", "\\n"), ("(", ")"), ("x=", " y")] {
        check(&format!("{before}{token}{after}"), &[&expected]);
    }
}

fn finds_nothing(texts: &[&str]) {
    for text in texts {
        check(text, &[]);
    }
}

#[test]
fn keys_of_the_gateway_are_found() {
    finds("portcullis_key", "pcs|_0123456789ab_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE");
    finds(
        "portcullis_task_token",
        concat!(
            "eyJ|hbGciOiJFZERTQSIsInR5cCI6InRhc2srand0Iiwia2lkIjoiYSJ9.",
            "eyJ|pc3MiOiJhIn0.c2lnbmF0dXJlc2lnbmF0dXJl"
        ),
    );
    finds_nothing(&[
        "pcs_0123456789ab_short",
        "pcs_0123456789AB_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE",
        "pcs_<id>_<secret>",
    ]);
}

#[test]
fn keys_of_clouds_are_found() {
    finds("aws_access_key", "AK|IAQYLPMN5HFIQR7XYA");
    finds("aws_access_key", "AS|IAQYLPMN5HFIQR7XYA");
    check(
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYzz12+3K4Ey",
        &["aws_secret_key:wJalrXUtnFEMI/K7MDENG/bPxRfiCYzz12+3K4Ey"],
    );
    finds("gcp_api_key", "AI|zaSyD3f0-abcdefgHIJKLmnopqRSTUV12345_");
    finds("gcp_client_secret", "GO|CSPX-abcdefGHIJKLmnop12345678qrst");
    check(
        "DefaultEndpointsProtocol=https;AccountName=a;Account|Key=AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfGhIjKlMn==;EndpointSuffix=b",
        &["azure_storage_key:AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfGhIjKlMn=="],
    );
    finds("azure_client_secret", "abc|8Q~abcdefghijklmnopqrstuvwxyz01234abc");
    finds_nothing(&[
        "AKIAIOSFODNN7EXAMPLE",
        "AKIAQYLPMN5HFIQR7XYAB",
        "AKIAQYLPMN5HFIQR7XY1",
        "xAKIAQYLPMN5HFIQR7XYA",
        "AKIA is how they begin",
        "AIzaSyShort",
        "AccountKey=<key>",
        "secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    ]);
}

#[test]
fn tokens_of_github_need_their_check_digits() {
    finds("github_token", "gh|p_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17");
    finds(
        "github_token",
        "github|_pat_11ABCDEFG0aBcDeFgHiJkL_mNoPqRsTuVwXyZ0123456789aBcDeFgHiJkLmNoPqRsTuVwXyZ012345670",
    );
    finds_nothing(&[
        "gh|p_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq18",
        "gh|p_zQWBuTSOoRi4A9spHcVY5ncnsDkxkK0mLq17",
        "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ]);
}

#[test]
fn tokens_of_services_are_found() {
    finds("gitlab_token", "gl|pat-ab12CD34ef56GH78ij90");
    finds("slack_token", "xo|xb-123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx");
    check(
        "https://hooks.slack.com/services|/T0AB12CD3/B0AB12CD3/AbCdEf0123456789AbCdEf01",
        &["slack_webhook:hooks.slack.com/services|/T0AB12CD3/B0AB12CD3/AbCdEf0123456789AbCdEf01"],
    );
    finds("stripe_key", "sk|_live_4eC39HqLyjWDarjtT1zdp7dc");
    finds("stripe_key", "rk|_test_4eC39HqLyjWDarjtT1zdp7dc");
    finds("openai_api_key", "sk|-proj-abcdefGHIJ0123456789T3Blbk|FJabcdefGHIJ0123456789");
    finds("openai_api_key", "sk|-abcdefGHIJ0123456789T3Blbk|FJabcdefGHIJ0123456789");
    finds("anthropic_api_key", &format!("sk|-ant-api03-{}AA", "aB3-xY9_".repeat(12)));
    finds("npm_token", "np|m_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789");
    finds("pypi_token", &format!("py|pi-AgEIcHlwaS5vcmc{}", "aB3xY9_-".repeat(10)));
    finds_nothing(&[
        "glpat-xxxxxxxxxxxxxxxxxxxx",
        "xoxb-your-token-goes-here-please",
        "sk_live_",
        "sk-learn and task-based-things-that-are-long-enough-to-be-a-key-of-some-kind",
        "npm_config_registry",
        "risk-abcdefGHIJ0123456789T3BlbkFJabcdefGHIJ0123456789",
        "pypi-AgE",
        "https://hooks.slack.com/services/T000/B000/XXX",
    ]);
}

#[test]
fn signed_tokens_are_found_and_unsigned_ones_are_not() {
    let token = "ey|JhbGciOiJIUzI1NiJ9.ey|JzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";
    finds("jwt", token);
    check(&format!("Authorization: Bearer {token}"), &[&format!("jwt:{token}")]);
    finds_nothing(&[
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxMjM0In0.",
        "eyJhbGciOiJIUzI1NiJ9",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0",
    ]);
}

#[test]
fn private_keys_are_found_whole_and_cut_off() {
    let body = "MIIEowIBAAKCAQEAxyz0123456789abcdefghijklmnopqrstuvwxyz+/ABCDEFGHIJ";
    for label in [
        "RSA PRIVATE KEY",
        "PRIVATE KEY",
        "EC PRIVATE KEY",
        "OPENSSH PRIVATE KEY",
        "ENCRYPTED PRIVATE KEY",
        "PGP PRIVATE KEY BLOCK",
    ] {
        let pem = format!("-----BEGIN |{label}-----\n{body}\n{body}\n-----END {label}-----");
        check(&format!("key:\n{pem}\nend"), &[&format!("private_key:{pem}")]);
        let line = pem.replace('\n', "\\n");
        check(&format!("{{\"key\":\"{line}\"}}"), &[&format!("private_key:{line}")]);
    }
    let cut = format!("-----BEGIN |PRIVATE KEY-----\n{body}");
    check(&cut, &[&format!("private_key:{cut}")]);
    finds_nothing(&[
        &format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----"),
        &format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----"),
        "A file that begins with -----BEGIN PRIVATE KEY----- is one.",
    ]);
}

#[test]
fn passwords_in_urls_are_found() {
    check("postgres://app:s3cr3t!pw@db.internal:5432/x", &["url_password:s3cr3t!pw"]);
    check("see https://u:p@[::1]/", &["url_password:p"]);
    check("redis://:hunter2@cache", &["url_password:hunter2"]);
    finds_nothing(&[
        "https://example.com:8080/a@b",
        "https://user@host/",
        "https://user:${PASSWORD}@host/",
        "https://user:***@host/",
        "https://user:<password>@host/",
        "mailto:a@b.example",
        "http://a/b:c@d",
    ]);
}

#[test]
fn values_beside_a_name_that_says_so_are_found() {
    check("DB_PASSWORD=correct-h0rse-battery", &["named_secret:correct-h0rse-battery"]);
    check("password: 'Tr0ub4dor&3'", &["named_secret:Tr0ub4dor&3"]);
    check(r#"{"api_key": "8f14e45fceea167a5a36dedd4bea2543"}"#, &["named_secret:8f14e45fceea167a5a36dedd4bea2543"]);
    check(r#"{\"apiKey\":\"8f14e45fceea167a5a36dedd4bea2543\"}"#, &["named_secret:8f14e45fceea167a5a36dedd4bea2543"]);
    check("client-secret => \"Zx9fQ2mB7kLp4Rt8Vw3Y\"", &["named_secret:Zx9fQ2mB7kLp4Rt8Vw3Y"]);
    check("X-Auth-Token: Zx9fQ2mB7kLp4Rt8Vw3Y", &["named_secret:Zx9fQ2mB7kLp4Rt8Vw3Y"]);
    check("Authorization: Basic dXNlcjpwYXNzd29yZDEyMw", &["named_secret:dXNlcjpwYXNzd29yZDEyMw"]);
    finds_nothing(&[
        "password: ",
        "The password must be at least 12 characters long.",
        "password=${DB_PASSWORD}",
        "password = getpass()",
        "password = config.database.password",
        "api_key = \"YOUR_API_KEY\"",
        "api_key: <your key here 1234>",
        "token = next_token()",
        "secret: /run/secrets/db1",
        "max_tokens: 4096",
        "token: https://auth1.example.com/token",
        "password: ********",
        "the secret: nobody knows that1",
        "secretary: 8f14e45fceea167a5a36dedd4bea2543",
    ]);
}

#[test]
fn a_finding_never_contains_what_was_found() {
    let text = "AKIAQYLPMN5HFIQR7XYA password=correct-h0rse-battery".to_owned();
    for finding in detector(&[]).find(&text) {
        assert!(!format!("{finding:?}").contains(&text[finding.range]));
    }
}

#[test]
fn members_of_json_are_found_by_their_names_too() {
    let mut value: Value = json!({"login": {"user": "a", "password": "correct-h0rse-battery"}, "AKIAQYLPMN5HFIQR7XYA": ["x", "AKIAQYLPMN5HFIQR7XYA"]});
    let found = detector(&[]).find_json(&value);
    let places: Vec<_> =
        found.iter().map(|finding| (finding.place.as_str(), finding.in_name, finding.kind.as_str())).collect();
    let key = "/AKIAQYLPMN5HFIQR7XYA";
    assert_eq!(
        places,
        [
            ("/login/password", false, "named_secret"),
            (key, true, "aws_access_key"),
            (&format!("{key}/1"), false, "aws_access_key")
        ]
    );
    mask_json(&mut value, &found);
    assert_eq!(value, json!({"login": {"user": "a", "password": "[SECRET]"}, "[SECRET]": ["x", "[SECRET]"]}));
    assert_eq!(detector(&[]).find_json(&value), []);
}

#[test]
fn only_what_a_rule_names_is_found() {
    let text = "AKIAQYLPMN5HFIQR7XYA https://u:p@h";
    let of = |kinds: &[SecretKind], except: &[SecretKind]| {
        let rule = Secrets { kinds: kinds.to_vec(), except: except.to_vec() };
        Detector::new(&Spec::Secrets(rule)).map(|detector| detector.find(text).len())
    };
    assert_eq!(of(&[], &[]), Ok(2));
    assert_eq!(of(&[SecretKind::Aws], &[]), Ok(1));
    assert_eq!(of(&[], &[SecretKind::Aws]), Ok(1));
    assert!(of(&[SecretKind::Aws], &[SecretKind::Aws]).is_err());
}
