//! What a certificate says that the TLS library keeps to itself (RFC 5280): until when it is valid, the names in its subject alternative name, and what its key may be used for.
//!
//! Only certificates are read whose signature was verified, or that the gateway itself is to show. Encodings are DER: what can be said in two ways is not read.

use portcullis_domain::time::Timestamp;

/// The largest certificate that is read, in bytes.
const CERTIFICATE_LIMIT_BYTES: usize = 32 << 10;
/// The most names and extensions of one certificate.
const ITEMS_LIMIT: usize = 256;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BOOLEAN: u8 = 0x01;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;
const ISSUER_ID: u8 = 0x81;
const SUBJECT_ID: u8 = 0x82;
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;

const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// What a certificate says of whom it is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificate {
    /// When it ends.
    pub ends_at: Timestamp,
    /// The URIs among its names.
    pub uris: Vec<String>,
    /// The DNS names among its names.
    pub dns_names: Vec<String>,
    /// Whether its key may sign certificates or lists of revoked ones.
    pub may_sign_others: bool,
}

impl Certificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    ///
    /// A sentence when it can't be read exactly.
    pub fn read(der: &[u8]) -> Result<Self, String> {
        if der.len() > CERTIFICATE_LIMIT_BYTES {
            return Err(format!("the certificate is larger than {CERTIFICATE_LIMIT_BYTES} bytes"));
        }
        read(der).ok_or_else(|| "the certificate can't be read".to_owned())
    }
}

fn read(der: &[u8]) -> Option<Certificate> {
    let mut outer = Reader(der);
    let mut certificate = Reader(outer.expect(SEQUENCE)?);
    let mut fields = Reader(certificate.expect(SEQUENCE)?);
    outer.end()?;
    fields.skip_if(VERSION)?;
    fields.expect(INTEGER)?;
    // The algorithm and the issuer.
    fields.expect(SEQUENCE)?;
    fields.expect(SEQUENCE)?;
    let mut validity = Reader(fields.expect(SEQUENCE)?);
    time(validity.next()?)?;
    let mut read = Certificate { ends_at: time(validity.next()?)?, ..Certificate::default() };
    // The subject and its key.
    fields.expect(SEQUENCE)?;
    fields.expect(SEQUENCE)?;
    fields.skip_if(ISSUER_ID)?;
    fields.skip_if(SUBJECT_ID)?;
    if fields.is_over() {
        return Some(read);
    }
    let mut wrapped = Reader(fields.expect(EXTENSIONS)?);
    let mut extensions = Reader(wrapped.expect(SEQUENCE)?);
    let (mut has_names, mut has_usage) = (false, false);
    for _ in 0..ITEMS_LIMIT {
        if extensions.is_over() {
            return Some(read);
        }
        let mut extension = Reader(extensions.expect(SEQUENCE)?);
        let id = extension.expect(OBJECT_IDENTIFIER)?;
        extension.skip_if(BOOLEAN)?;
        let value = extension.expect(OCTET_STRING)?;
        // An extension may stand there once (RFC 5280, section 4.2).
        if id == SUBJECT_ALTERNATIVE_NAME && !std::mem::replace(&mut has_names, true) {
            names(value, &mut read)?;
        } else if id == KEY_USAGE && !std::mem::replace(&mut has_usage, true) {
            read.may_sign_others = may_sign_others(value)?;
        } else if id == SUBJECT_ALTERNATIVE_NAME || id == KEY_USAGE {
            return None;
        }
    }
    None
}

fn names(value: &[u8], into: &mut Certificate) -> Option<()> {
    let mut outer = Reader(value);
    let mut names = Reader(outer.expect(SEQUENCE)?);
    for _ in 0..ITEMS_LIMIT {
        if names.is_over() {
            return Some(());
        }
        let (tag, name) = names.next()?;
        let text = || std::str::from_utf8(name).ok().filter(|text| text.is_ascii()).map(str::to_owned);
        match tag {
            URI => into.uris.push(text()?),
            DNS_NAME => into.dns_names.push(text()?),
            _ => {}
        }
    }
    None
}

/// `keyCertSign` is bit 5 and `cRLSign` bit 6, from the left of the first octet (RFC 5280, section 4.2.1.3).
fn may_sign_others(value: &[u8]) -> Option<bool> {
    let bits = Reader(value).expect(BIT_STRING)?;
    Some(bits.get(1).is_some_and(|first| first & 0b0000_0110 != 0))
}

/// RFC 5280, section 4.1.2.5: to the second, in UTC. Years of two digits are those from 1950 to 2049.
fn time((tag, text): (u8, &[u8])) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let digits = text.strip_suffix('Z').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let (year, rest) = match (tag, digits.len()) {
        (UTC_TIME, 12) => {
            let (year, rest) = digits.split_at_checked(2)?;
            (format!("{}{year}", if year < "50" { "20" } else { "19" }), rest)
        }
        (GENERALIZED_TIME, 14) => {
            let (year, rest) = digits.split_at_checked(4)?;
            (year.to_owned(), rest)
        }
        _ => return None,
    };
    let two = |at: usize| rest.get(at..at + 2);
    if year.as_str() < "1970" {
        return Some(Timestamp(0));
    }
    let text = format!("{year}-{}-{}T{}:{}:{}Z", two(0)?, two(2)?, two(4)?, two(6)?, two(8)?);
    text.parse().ok()
}

/// What is left to read of some DER.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    fn end(&self) -> Option<()> {
        self.is_over().then_some(())
    }

    /// The next element: its tag and its content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            0x81..=0x83 => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
                // The shortest form is the only one.
                let least = if digits.len() == 1 { 0x80 } else { 1 << (8 * (digits.len() - 1)) };
                (Some(length).filter(|length| *length >= least)?, rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, content))
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }

    /// Passes over the next element if it is of this kind.
    fn skip_if(&mut self, tag: u8) -> Option<()> {
        if self.0.first() == Some(&tag) {
            self.next()?;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut written = vec![tag];
        match content.len() {
            length @ 0..=0x7f => written.push(u8::try_from(length).unwrap()),
            length => written.extend([0x82, u8::try_from(length >> 8).unwrap(), u8::try_from(length & 0xff).unwrap()]),
        }
        written.extend(content);
        written
    }

    fn certificate(not_after: &[u8], extensions: &[Vec<u8>]) -> Vec<u8> {
        let sequence = |parts: &[Vec<u8>]| element(SEQUENCE, &parts.concat());
        let validity = sequence(&[element(UTC_TIME, b"260101000000Z"), not_after.to_vec()]);
        let extensions = element(EXTENSIONS, &sequence(extensions));
        let empty = || element(SEQUENCE, b"");
        let fields = [
            element(VERSION, &element(INTEGER, &[2])),
            element(INTEGER, &[7]),
            empty(),
            empty(),
            validity,
            empty(),
            empty(),
            extensions,
        ];
        sequence(&[sequence(&fields), empty(), element(BIT_STRING, &[0])])
    }

    fn extension(id: &[u8], value: &[u8]) -> Vec<u8> {
        let parts = [element(OBJECT_IDENTIFIER, id), element(BOOLEAN, &[0xff]), element(OCTET_STRING, value)];
        element(SEQUENCE, &parts.concat())
    }

    fn names(names: &[(u8, &[u8])]) -> Vec<u8> {
        let names: Vec<Vec<u8>> = names.iter().map(|(tag, name)| element(*tag, name)).collect();
        extension(SUBJECT_ALTERNATIVE_NAME, &element(SEQUENCE, &names.concat()))
    }

    const END: &[u8] = b"\x17\x0d270102030405Z";

    #[test]
    fn names_times_and_uses_are_read() {
        let read = |der: &[u8]| Certificate::read(der).unwrap();
        let whole = certificate(END, &[names(&[(URI, b"spiffe://a/b"), (DNS_NAME, b"x.y"), (0x87, &[127, 0, 0, 1])])]);
        let expected = Certificate {
            ends_at: "2027-01-02T03:04:05Z".parse().unwrap(),
            uris: vec!["spiffe://a/b".to_owned()],
            dns_names: vec!["x.y".to_owned()],
            may_sign_others: false,
        };
        assert_eq!(read(&whole), expected);
        for (time, expected) in [
            (&b"\x18\x0f99991231235959Z"[..], "9999-12-31T23:59:59Z"),
            (b"\x17\x0d491231235959Z", "2049-12-31T23:59:59Z"),
        ] {
            assert_eq!(read(&certificate(time, &[])).ends_at, expected.parse().unwrap(), "{expected}");
        }
        assert_eq!(read(&certificate(b"\x17\x0d500101000000Z", &[])).ends_at, Timestamp(0));
        for (bits, expected) in
            [(&[7, 0x80][..], false), (&[2, 0x04], true), (&[1, 0x06], true), (&[1, 0x82], true), (&[0], false)]
        {
            let usage = extension(KEY_USAGE, &element(BIT_STRING, bits));
            assert_eq!(read(&certificate(END, &[usage])).may_sign_others, expected, "{bits:?}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_not_read() {
        let name = || names(&[(URI, b"spiffe://a/b")]);
        let good = certificate(END, &[name()]);
        let mut longer = good.clone();
        longer.push(0);
        let cases = [
            ("two lists of names", certificate(END, &[name(), name()])),
            ("a name that is no text", certificate(END, &[names(&[(URI, b"spiffe://a/\xff")])])),
            ("a name beyond ASCII", certificate(END, &[names(&[(URI, "spiffe://a/ä".as_bytes())])])),
            ("a time with a zone", certificate(b"\x17\x11270102030405+0100", &[])),
            ("a time without seconds", certificate(b"\x17\x0b2701020304Z", &[])),
            ("a month that is none", certificate(b"\x17\x0d271302030405Z", &[])),
            ("more after the end", longer),
            ("no end", good[..good.len() / 2].to_vec()),
            ("a length without end", vec![SEQUENCE, 0x80, 0, 0]),
            ("a length in a longer form", vec![SEQUENCE, 0x81, 0x00]),
            ("nothing", Vec::new()),
            ("too much", vec![0; CERTIFICATE_LIMIT_BYTES + 1]),
        ];
        for (what, der) in cases {
            assert!(Certificate::read(&der).is_err(), "{what}");
        }
        for cut in 0..good.len() {
            assert!(Certificate::read(&good[..cut]).is_err(), "cut at {cut}");
        }
    }
}
