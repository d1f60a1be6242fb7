//! Where an agent can be reached, and what it speaks there.

use http::Uri;

use crate::a2a::version::{Binding, Dialect, Version};

/// A place where an agent can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The URL.
    pub url: String,
    /// What is spoken there.
    pub dialect: Dialect,
    /// What requests must say besides, where one URL serves many.
    pub tenant: Option<String>,
}

impl Interface {
    /// The interface that a card declares so.
    ///
    /// # Errors
    ///
    /// Why it can't be used.
    pub(super) fn read(url: &str, binding: &str, version: &str, tenant: Option<String>) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|_| format!("`{url}` is no URL"))?;
        // By gRPC many name only host and port, as their libraries take them.
        let is_web = match uri.scheme_str() {
            Some("http" | "https") => true,
            Some("grpc" | "grpcs") | None => binding == "GRPC",
            Some(_) => false,
        };
        let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
        if !is_web || authority.is_empty() || authority.contains('@') || uri.query().is_some() {
            return Err(format!("`{url}` is no plain web address"));
        }
        let binding = match binding {
            "JSONRPC" => Binding::JsonRpc,
            "HTTP+JSON" => Binding::HttpJson,
            "GRPC" => Binding::Grpc,
            other => return Err(format!("the binding `{other}` is not spoken here")),
        };
        let version = spoken(version).ok_or_else(|| format!("version `{version}` is not spoken here"))?;
        Ok(Self { url: url.to_owned(), dialect: Dialect::new(version, binding), tenant })
    }

    /// How gladly it is used: the newest version first, and then the binding that all libraries have. gRPC comes last: it is often served by another port than the
    /// card, which a card can't name.
    pub(super) fn rank(&self) -> u8 {
        match (self.dialect.version, self.dialect.binding) {
            (Version::V1_0, Binding::JsonRpc) => 0,
            (Version::V1_0, Binding::HttpJson) => 1,
            (Version::V0_3, Binding::JsonRpc) => 2,
            (Version::V0_3, Binding::HttpJson) => 3,
            (Version::V1_0, Binding::Grpc) => 4,
            (Version::V0_3, Binding::Grpc) => 5,
        }
    }
}

/// The version that is spoken with an agent of that version. One of 1.2 speaks 1.0 too (1.0, section 3.6.2).
fn spoken(version: &str) -> Option<Version> {
    let (major, rest) = version.split_once('.').unwrap_or((version, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match major {
        "1" if rest.split('.').all(is_number) => Some(Version::V1_0),
        _ => Version::read(version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_reached_and_spoken_is_an_interface() {
        for (url, binding, version, expected) in [
            ("https://a/x", "JSONRPC", "1.0", Ok((Version::V1_0, Binding::JsonRpc))),
            ("http://127.0.0.1:9/", "HTTP+JSON", "0.3.0", Ok((Version::V0_3, Binding::HttpJson))),
            ("https://a", "JSONRPC", "1.2.3", Ok((Version::V1_0, Binding::JsonRpc))),
            ("https://a", "JSONRPC", "0.2.6", Err("version `0.2.6` is not spoken here")),
            ("https://a", "JSONRPC", "1.x", Err("version `1.x` is not spoken here")),
            ("https://a", "GRPC", "1.0", Ok((Version::V1_0, Binding::Grpc))),
            ("a.example:50051", "GRPC", "0.3.0", Ok((Version::V0_3, Binding::Grpc))),
            ("grpcs://a:443", "GRPC", "1.0", Ok((Version::V1_0, Binding::Grpc))),
            ("a.example:50051", "JSONRPC", "1.0", Err("`a.example:50051` is no plain web address")),
            ("https://a", "SOAP", "1.0", Err("the binding `SOAP` is not spoken here")),
            ("/a", "JSONRPC", "1.0", Err("`/a` is no plain web address")),
            ("file://a/b", "JSONRPC", "1.0", Err("`file://a/b` is no plain web address")),
            ("https://me:secret@a", "JSONRPC", "1.0", Err("`https://me:secret@a` is no plain web address")),
            ("https://a b", "JSONRPC", "1.0", Err("`https://a b` is no URL")),
        ] {
            let found = Interface::read(url, binding, version, None);
            let found = found.map(|interface| (interface.dialect.version, interface.dialect.binding));
            assert_eq!(found, expected.map_err(str::to_owned));
        }
    }
}
