use serde_json::json;

use crate::{Detector, Personal, PersonalKind, Spec, mask, mask_json};

fn detector(kinds: &[PersonalKind]) -> Detector {
    Detector::new(&Spec::Personal(Personal { kinds: kinds.to_vec(), except: Vec::new() })).unwrap()
}

/// Finds exactly these, in a text where they stand in `«»`, and everything else not.
fn check(kind: PersonalKind, marked: &str) {
    let text = marked.replace(['«', '»'], "");
    let mut shown = text.clone();
    for finding in detector(&[kind]).find(&text).iter().rev() {
        shown.insert(finding.range.end, '»');
        shown.insert(finding.range.start, '«');
    }
    assert_eq!(shown, marked);
}

fn check_all(kind: PersonalKind, all: &[&str]) {
    for marked in all {
        check(kind, marked);
    }
}

#[test]
fn e_mail_addresses() {
    check_all(
        PersonalKind::Email,
        &[
            "Write to «ada.lovelace+x@mail.example.com».",
            "<«a@b.de»>, «c_d@e-f.museum»; «jürgen@müller.de»",
            "mailto:«a@b.co»?subject=x",
            "'«o'neil@example.org»'",
            "...«a@b.de»...",
            "a@b, @user, a@localhost, a@b.1, a..b@c.de, a.@c.de, a@-b.de, a@b..de",
            "user@10.0.0.1 npm i react@18.2.0 git@ github",
        ],
    );
}

#[test]
fn telephone_numbers() {
    check_all(
        PersonalKind::Phone,
        &[
            "Call «+49 30 901820» or «+1 (202) 555-0123», «+44 (0)20 7946 0958».",
            "tel:«+4930901820»",
            "«0049 30 901820»",
            "«(202) 555-0123», «202-555-0123», «202.555.0123», «1-202-555-0123»",
            "2026-11-23 12:00:00, 3.14159265358, 1234567890, 192.168.10.10",
            "x = 1+2345678, +12, +0123456789, 555-0123, 102-555-0123, 202-155-0123",
            "order 202-555-01234 and 4111 1111 1111 1111",
            "+1234567890123456789",
        ],
    );
}

#[test]
fn bank_accounts_need_their_check_digits() {
    check_all(
        PersonalKind::Iban,
        &[
            "IBAN «DE89 3704 0044 0532 0130 00», «GB82WEST12345698765432».",
            "«NO9386011117947» «MT84MALT011000012345MTLCAST001S» «FR14 2004 1010 0505 0001 3M02 606»",
            "DE89 3704 0044 0532 0130 01 GB82WEST1234569876543 XX82WEST12345698765432",
            "DE893704004405320130001 aDE89370400440532013000",
        ],
    );
}

#[test]
fn payment_cards_need_an_issuer_and_their_check_digit() {
    check_all(
        PersonalKind::Card,
        &[
            "«4111111111111111» «4111 1111 1111 1111» «4111-1111-1111-1111»",
            "«378282246310005», «3782 822463 10005»; «6011111111111117» «5555555555554444» «2223003122003222»",
            "qty 1 «4111111111111111» 12/27",
            "«30569309025904» «3530111333300000»",
            "4111111111111112 1234567812345670 0000000000000000 41111111111111111 9111111111111111",
            "0.4111111111111111 x4111111111111111 4111111111111111x",
            "1700000000000 20261123120000",
        ],
    );
}

#[test]
fn ip_addresses() {
    check_all(
        PersonalKind::Ip,
        &[
            "from «203.0.113.7», «10.0.0.1»:80 to «192.168.1.255».",
            "«2001:db8::1» [«fe80::1»]:443 «::ffff:192.0.2.1» «1:2:3:4:5:6:7:8»",
            "127.0.0.1 0.0.0.0 255.255.255.255 ::1 :: 256.1.1.1 01.2.3.4 v1.2.3.4 1.2.3 1.2.3.4.5 1.2.3.4-beta",
            "std::fs a::b 12:30:45 dead::beefy core::net 00:1a:2b:3c:4d:5e",
        ],
    );
}

#[test]
fn numbers_of_states() {
    check_all(
        PersonalKind::UsSsn,
        &[
            "SSN «536-90-4399».",
            "000-12-3456 666-12-3456 900-12-3456 123-00-4567 123-45-0000 078-05-1120 123456789 1536-90-4399 536-90-43991",
        ],
    );
    check_all(
        PersonalKind::DeTaxId,
        &[
            "«86095742719» «47036892816» «86 095 742 719»",
            "86095742718 12345678901 00000000000 86 095742719 860957427190",
        ],
    );
}

#[test]
fn numbers_in_json_count() {
    let mut value = json!({"card": 4_111_111_111_111_111_u64, "to": ["a@b.de"], "n": 5});
    let detector = detector(&[]);
    let found = detector.find_json(&value);
    mask_json(&mut value, &found);
    assert_eq!(value, json!({"card": "[CARD]", "to": ["[EMAIL]"], "n": 5}));
}

#[test]
fn each_kind_has_its_own_mask() {
    let text = "a@b.de 4111111111111111 DE89370400440532013000 203.0.113.7 536-90-4399 86095742719 +49 30 901820";
    let found = detector(&[]).find(text);
    assert_eq!(mask(text, &found), "[EMAIL] [CARD] [IBAN] [IP] [SSN] [TAX ID] [PHONE]");
}
