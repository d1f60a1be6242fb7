//! Which version of the protocol is spoken, by which binding, and in which form the JSON is then written.
//!
//! Versions are compared by their first two numbers (1.0, section 3.6): a patch never changes what is on the wire. A request
//! without a version speaks 0.3, since that one knew no such header.

use http::HeaderMap;

use crate::a2a::query;
use crate::frame::grpc;

/// The header, or the parameter of the query, that names the version.
pub const HEADER: &str = "a2a-version";
/// The header that names the extensions a client wants to use, separated by commas.
pub const EXTENSIONS: &str = "a2a-extensions";
/// The same in 0.3.
pub const LEGACY_EXTENSIONS: &str = "x-a2a-extensions";

/// A version that Portcullis speaks, on both faces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// Objects say what they are by a member `kind`.
    V0_3,
    /// Everything is written as the protocol's Protocol Buffers are in JSON.
    V1_0,
}

/// How a request is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Binding {
    /// JSON-RPC 2.0 by POST to one URL.
    JsonRpc,
    /// A path for each method.
    HttpJson,
    /// Protocol Buffers, by gRPC.
    Grpc,
}

/// A version and a binding: all that must be known to read what comes or to write what goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dialect {
    /// The version.
    pub version: Version,
    /// The binding.
    pub binding: Binding,
}

/// A request names a version that is not spoken here, or two that differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// What it names.
    pub requested: String,
}

impl Version {
    /// All versions, the newest first.
    pub const ALL: [Self; 2] = [Self::V1_0, Self::V0_3];

    /// The version as it is written in headers and cards.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_3 => "0.3",
            Self::V1_0 => "1.0",
        }
    }

    /// The version that is written so, with or without its patch, if it is spoken here.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut numbers = text.trim().split('.');
        let major = number(numbers.next()?)?;
        let minor = numbers.next().map_or(Some(0), number)?;
        let is_version = numbers.clone().count() <= 1 && numbers.all(|patch| number(patch).is_some());
        match (major, minor) {
            (0, 3) if is_version => Some(Self::V0_3),
            (1, 0) if is_version => Some(Self::V1_0),
            _ => None,
        }
    }

    /// The version that a request speaks: the header says it, or else the query, or else it is 0.3.
    ///
    /// # Errors
    ///
    /// [`Unsupported`] for any other version, and for two that differ.
    pub fn of(headers: &HeaderMap, raw_query: Option<&str>) -> Result<Self, Unsupported> {
        match Self::stated(headers, raw_query)? {
            Some(version) => Ok(version),
            None => Ok(Self::V0_3),
        }
    }

    /// The version that a request names; none when it names none. Who fetches a card may speak either.
    ///
    /// # Errors
    ///
    /// [`Unsupported`] for any other version, and for two that differ.
    pub fn stated(headers: &HeaderMap, raw_query: Option<&str>) -> Result<Option<Self>, Unsupported> {
        let mut version = None;
        for value in headers.get_all(HEADER) {
            let text = value.to_str().map_err(|_| unsupported("what is no text"))?;
            for text in text.split(',').map(str::trim).filter(|text| !text.is_empty()) {
                let found = Self::read(text).ok_or_else(|| unsupported(text))?;
                if version.is_some_and(|version| version != found) {
                    return Err(unsupported(text));
                }
                version = Some(found);
            }
        }
        if version.is_some() {
            return Ok(version);
        }
        let stated = query::pairs(raw_query.unwrap_or_default())
            .into_iter()
            .find(|(name, value)| name.eq_ignore_ascii_case(HEADER) && !value.trim().is_empty());
        stated.map(|(_, text)| Self::read(&text).ok_or_else(|| unsupported(&text))).transpose()
    }
}

impl Dialect {
    /// The version by this binding.
    #[must_use]
    pub fn new(version: Version, binding: Binding) -> Self {
        Self { version, binding }
    }

    /// The version whose JSON the core sees for this dialect. Over HTTP+JSON, 0.3 writes an older form of 1.0's JSON, not its
    /// own: what comes so is brought to 1.0 at once, and what goes so comes from there. By gRPC it is the same form, in other bytes.
    #[must_use]
    pub fn form(self) -> Version {
        match self.binding {
            Binding::JsonRpc => self.version,
            Binding::HttpJson | Binding::Grpc => Version::V1_0,
        }
    }

    /// Whether messages have the older form that 0.3 has but by JSON-RPC.
    #[must_use]
    pub fn is_older_form(self) -> bool {
        self.version == Version::V0_3 && self.binding != Binding::JsonRpc
    }

    /// The media type of whole answers.
    pub(super) fn media_type(self) -> &'static str {
        match (self.binding, self.version) {
            (Binding::Grpc, _) => grpc::MEDIA_TYPE,
            (Binding::HttpJson, Version::V1_0) => "application/a2a+json",
            (Binding::HttpJson, Version::V0_3) | (Binding::JsonRpc, _) => "application/json",
        }
    }
}

/// The extensions that a request wants to use.
#[must_use]
pub fn extensions(headers: &HeaderMap) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let values = headers.get_all(EXTENSIONS).iter().chain(headers.get_all(LEGACY_EXTENSIONS));
    for uri in values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')).map(str::trim) {
        if !uri.is_empty() && !all.iter().any(|known| known == uri) {
            all.push(uri.to_owned());
        }
    }
    all
}

fn number(text: &str) -> Option<u32> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

fn unsupported(text: &str) -> Unsupported {
    Unsupported { requested: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stated(headers: &[(&'static str, &'static str)], query: &str) -> Result<Version, String> {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Version::of(&headers, Some(query)).map_err(|unsupported| unsupported.requested)
    }

    #[test]
    fn a_request_speaks_the_version_that_it_names_and_0_3_if_it_names_none() {
        for (headers, query, expected) in [
            (&[][..], "", Ok(Version::V0_3)),
            (&[("a2a-version", "")], "", Ok(Version::V0_3)),
            (&[("a2a-version", "1.0")], "", Ok(Version::V1_0)),
            (&[("a2a-version", "1.0.1")], "", Ok(Version::V1_0)),
            (&[("a2a-version", "1")], "", Ok(Version::V1_0)),
            (&[("a2a-version", "0.3.0")], "A2A-Version=1.0", Ok(Version::V0_3)),
            (&[], "x=1&A2A-Version=1.0", Ok(Version::V1_0)),
            (&[("a2a-version", "1.0"), ("a2a-version", "1.0.0")], "", Ok(Version::V1_0)),
            (&[("a2a-version", "1.0"), ("a2a-version", "0.3")], "", Err("0.3".to_owned())),
            (&[("a2a-version", "1.1")], "", Err("1.1".to_owned())),
            (&[("a2a-version", "0.2.6")], "", Err("0.2.6".to_owned())),
            (&[("a2a-version", "1.0.0.0")], "", Err("1.0.0.0".to_owned())),
            (&[("a2a-version", "v1.0")], "", Err("v1.0".to_owned())),
            (&[], "a2a-version=2.0", Err("2.0".to_owned())),
        ] {
            assert_eq!(stated(headers, query), expected, "{headers:?} {query}");
        }
    }

    #[test]
    fn extensions_are_named_once_whichever_header_they_stand_in() {
        let headers = [(EXTENSIONS, "https://a, https://b"), (LEGACY_EXTENSIONS, "https://b,,https://c")]
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        assert_eq!(extensions(&headers.into_iter().collect()), ["https://a", "https://b", "https://c"]);
    }
}
