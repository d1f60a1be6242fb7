//! What holds for every text: finds lie in it, masks are complete, and a text in pieces is as good as a whole one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use portcullis_guard::{Detector, Finding, Pattern, Personal, PersonalKind, Scanner, SecretKind, Secrets, Spec, mask};
use proptest::prelude::*;

/// What detectors look for, what nearly is it, and what may stand around it.
const PIECES: &[&str] = &[
    "AKIAQYLPMN5HFIQR7XYA",
    "AKIA",
    "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",
    "ghp_",
    "glpat-ab12CD34ef56GH78ij90",
    "pcs_0123456789ab_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE",
    "eyJhbGciOiJIUzI1NiJ9",
    ".eyJzdWIiOiIxMjM0In0",
    ".dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "-----BEGIN PRIVATE KEY-----",
    "-----END PRIVATE KEY-----",
    "MIIEowIBAAKCAQEAxyz0123456789abcdefghijklmnopqrstuvwxyz",
    "-----",
    "--",
    "https://",
    "user:",
    "s3cr3t!pw",
    "@host",
    "password",
    "=",
    ": ",
    "api_key",
    "8f14e45fceea167a5a36dedd4bea2543",
    "correct-h0rse-battery",
    "Bearer ",
    "a.b",
    "@",
    "example.org",
    ".",
    "+49 30 901820",
    "(202) 555-0123",
    "202-555-0123",
    "+",
    "DE89 3704 0044 0532 0130 00",
    "DE89370400440532013000",
    "4111 1111 1111 1111",
    "4111111111111111",
    "203.0.113.7",
    "2001:db8::1",
    "::",
    ":",
    "536-90-4399",
    "86095742719",
    "1",
    "12",
    "000",
    "x",
    "AB",
    " ",
    "  ",
    "\n",
    "\\n",
    "\"",
    "'",
    "ß",
    "日本",
    "🦀",
    "[EMAIL]",
    "[SECRET]",
    "-",
    "_",
    "/",
    "(",
    ")",
    ",",
    "aab",
    "aaaaaaaab",
    "foo bar",
];

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => proptest::sample::select(PIECES).prop_map(str::to_owned),
        1 => any::<char>().prop_map(|c| c.to_string()),
        1 => "[ -~]{0,6}",
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

fn pattern(regex: &str, longest: u16) -> Spec {
    let replacement = Some("·".to_owned());
    Spec::Pattern(Pattern { name: "x".to_owned(), regex: regex.to_owned(), replacement, longest: Some(longest) })
}

fn specs() -> Vec<Spec> {
    let mut specs = vec![
        Spec::Secrets(Secrets::default()),
        Spec::Personal(Personal::default()),
        pattern("a+b|aa", 6),
        pattern(r"\b\w+\b", 5),
        pattern(r"(?s)^[a-z]|f.*r|\s$", 7),
        pattern("(?i)日|PASS[a-z]*", 300),
    ];
    let secrets = [
        SecretKind::Portcullis,
        SecretKind::Aws,
        SecretKind::Github,
        SecretKind::Gitlab,
        SecretKind::Jwt,
        SecretKind::PrivateKey,
        SecretKind::UrlPassword,
        SecretKind::Generic,
    ];
    specs.extend(secrets.map(|kind| Spec::Secrets(Secrets { kinds: vec![kind], except: Vec::new() })));
    let personal = [
        PersonalKind::Email,
        PersonalKind::Phone,
        PersonalKind::Iban,
        PersonalKind::Card,
        PersonalKind::Ip,
        PersonalKind::UsSsn,
        PersonalKind::DeTaxId,
    ];
    specs.extend(personal.map(|kind| Spec::Personal(Personal { kinds: vec![kind], except: Vec::new() })));
    specs
}

fn detectors() -> Vec<Detector> {
    specs().iter().map(|spec| Detector::new(spec).unwrap()).collect()
}

/// All that a scanner releases, put together again. Never holds back more than it says.
fn in_pieces(detector: &Detector, text: &str, cuts: &[usize]) -> (String, Vec<Finding>) {
    let mut scanner = Scanner::new(detector).unwrap();
    let (mut whole, mut findings, mut pushed) = (String::new(), Vec::new(), 0);
    let mut take = |released: portcullis_guard::Released| {
        assert_eq!(released.start, whole.len());
        for finding in &released.findings {
            assert!(released.text.get(finding.range.clone()).is_some_and(|found| !found.is_empty()));
        }
        findings.extend(released.findings.into_iter().map(|finding| Finding {
            range: finding.range.start + released.start..finding.range.end + released.start,
            ..finding
        }));
        whole.push_str(&released.text);
        whole.len()
    };
    let mut cuts = cuts.iter().cycle();
    while pushed < text.len() {
        let end = text.ceil_char_boundary(pushed + cuts.next().unwrap());
        let out = take(scanner.push(&text[pushed..end]));
        pushed = end;
        // The piece itself may be larger than what is held back; what is held back is not.
        assert!(pushed - out <= detector.window().unwrap(), "{} of {pushed} held back", pushed - out);
    }
    take(scanner.finish());
    (whole, findings)
}

fn cases() -> ProptestConfig {
    ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn finds_lie_in_the_text_in_order_and_apart(text in text()) {
        for detector in detectors() {
            let mut end = 0;
            for finding in detector.find(&text) {
                prop_assert!(finding.range.start >= end && finding.range.start < finding.range.end);
                prop_assert!(text.get(finding.range.clone()).is_some());
                end = finding.range.end;
            }
        }
    }

    #[test]
    fn a_text_in_pieces_is_as_good_as_a_whole_one(text in text(), cuts in proptest::collection::vec(1..40_usize, 1..9)) {
        for (spec, detector) in specs().iter().zip(detectors()) {
            let (whole, findings) = in_pieces(&detector, &text, &cuts);
            prop_assert_eq!(&whole, &text);
            prop_assert_eq!(findings, detector.find(&text), "by {:?}", spec);
        }
    }

    #[test]
    fn what_was_masked_is_not_found_again(text in text()) {
        for (spec, detector) in specs().iter().zip(detectors()) {
            // An expression may ask for what stands around it, and so for what a mask brings about.
            if !matches!(spec, Spec::Pattern(_)) {
                let masked = mask(&text, &detector.find(&text));
                prop_assert_eq!(detector.find(&masked), vec![], "by {:?} in {:?}", spec, masked);
            }
        }
    }
}

#[test]
fn long_keys_and_long_words_hold_no_more_back_than_said() {
    let body = "MIIEowIBAAKCAQEAxyz0123456789abcdefghijklmnopqrstuvwxyz\n".repeat(400);
    for text in
        [format!("-----BEGIN PRIVATE KEY-----\n{body}"), "eyJ".repeat(8000), "a".repeat(30_000), "1 ".repeat(9000)]
    {
        for detector in detectors() {
            let (whole, findings) = in_pieces(&detector, &text, &[7]);
            assert_eq!(whole, text);
            assert_eq!(findings, detector.find(&text));
        }
    }
}

#[test]
fn prose_flows_on_word_by_word() {
    for spec in [Spec::Secrets(Secrets::default()), Spec::Personal(Personal::default())] {
        let mut scanner = Scanner::new(&Detector::new(&spec).unwrap()).unwrap();
        let mut held = 0;
        for word in "The quick brown fox jumps over the lazy dog, and then it rests in the shade. "
            .repeat(8)
            .split_inclusive(' ')
        {
            held += word.len();
            held -= scanner.push(word).text.len();
            assert!(held <= 24, "{held} bytes are held back after `{word}`");
        }
    }
}

#[test]
fn bad_patterns_are_refused_with_the_reason() {
    for (regex, expected) in [
        ("(", "unclosed group"),
        ("a*", "the empty text"),
        (r"(a)\1", "backreferences"),
        (r"·", "found by it again"),
        (r"\w{500}{500}", "limit"),
    ] {
        let error = Detector::new(&pattern(regex, 9)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
