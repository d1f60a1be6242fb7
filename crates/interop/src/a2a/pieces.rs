//! An artifact that comes in pieces: which update goes on with which, and both as one.

use portcullis_domain::json;

use crate::a2a::call::{member, text_of};
use crate::a2a::reply::{Payload, Reply};
use crate::a2a::version::Version;
use crate::frame::object::Object;

/// Whether `next` goes on with the artifact that `held` is a piece of.
#[must_use]
pub fn goes_on(held: &Reply, next: &Reply) -> bool {
    let (Some(held), Some(next)) = (update(held), update(next)) else { return false };
    let named = |raw| (text_of(raw, &["taskId"]), text_of(raw, &["artifact", "artifactId"]));
    member(next, &["append"]) == Some("true") && named(held) == named(next)
}

/// Whether it says that no more of its artifact comes.
#[must_use]
pub fn is_last(reply: &Reply) -> bool {
    update(reply).is_some_and(|raw| member(raw, &["lastChunk"]) == Some("true"))
}

/// Both as one update.
///
/// # Errors
///
/// What can't be read.
pub fn joined(held: &Reply, next: &Reply) -> Result<Reply, String> {
    let (Some(first), Some(second)) = (update(held), update(next)) else {
        return Err("it is no piece of an artifact".to_owned());
    };
    let parts = |raw| json::items(member(raw, &["artifact", "parts"]).unwrap_or("[]"));
    let all: Vec<&str> = parts(first)?.into_iter().chain(parts(second)?).map(|raw| raw.get()).collect();
    let mut artifact = Object::read(member(first, &["artifact"]).unwrap_or("{}"))?;
    artifact.set("parts", format!("[{}]", all.join(",")));
    let artifact = artifact.to_string();
    let mut update = Object::read(first)?;
    update.set("artifact", artifact);
    if let Some(is_last) = member(second, &["lastChunk"]) {
        update.set("lastChunk", is_last);
    }
    let raw = match held.form() {
        Version::V0_3 => update.to_string(),
        Version::V1_0 => format!("{{\"artifactUpdate\":{update}}}"),
    };
    Reply::read(held.method(), held.form(), &raw)
}

fn update(reply: &Reply) -> Option<&str> {
    reply.content().filter(|(payload, _)| *payload == Payload::ArtifactUpdate).map(|(_, raw)| raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::a2a::method::Method;

    fn piece(form: Version, id: &str, text: &str, more: &str) -> Reply {
        let raw = format!(r#"{{"taskId":"t"{more},"artifact":{{"artifactId":"{id}","parts":[{{"text":"{text}"}}]}}}}"#);
        let raw = match form {
            Version::V1_0 => format!("{{\"artifactUpdate\":{raw}}}"),
            Version::V0_3 => raw.replacen('{', r#"{"kind":"artifact-update","#, 1),
        };
        Reply::read(Method::SendStreamingMessage, form, &raw).unwrap()
    }

    #[test]
    fn pieces_of_one_artifact_are_one_update() {
        for form in [Version::V1_0, Version::V0_3] {
            let first = piece(form, "a", "1", "");
            let second = piece(form, "a", "2", r#","append":true,"lastChunk":true"#);
            assert!(goes_on(&first, &second) && !is_last(&first) && is_last(&second));
            assert!(!goes_on(&first, &piece(form, "b", "2", r#","append":true"#)), "of another artifact");
            assert!(!goes_on(&first, &piece(form, "a", "2", "")), "it begins anew");
            let both = joined(&first, &second).unwrap();
            assert_eq!((both.text().as_str(), both.form(), is_last(&both)), ("1\n2", form, true));
        }
    }
}
