//! Values of scratchpads, written by compare-and-set.

use portcullis_domain::digest::Digest;
use portcullis_testkit::http::Answer;

use super::callers::{Caller, End};
use super::notes::ValueNote;

/// What a caller believes of the value.
#[derive(Default)]
pub(super) enum Known {
    /// Nothing yet: it has to look.
    #[default]
    Nothing,
    /// There is none.
    Absent,
    /// It has this version.
    Version(u64),
}

/// Writes the caller's own value once more. Nobody else does, so that it is always as the caller left it.
pub(super) async fn own(caller: &mut Caller, known: &mut Known) -> Result<(), End> {
    let key = format!("own-{}", caller.place);
    let answer = write(caller, "values", &key, known).await?;
    match answer {
        None => Ok(()),
        Some(answer) => Err(End::Wrong(format!("the own value: {} {}", answer.status, answer.text()))),
    }
}

/// Writes a value that others write as well; whoever loses looks again.
pub(super) async fn shared(caller: &mut Caller, known: &mut Known) -> Result<(), End> {
    let answer = write(caller, "values", "shared", known).await?;
    match answer {
        None => Ok(()),
        Some(answer) if matches!(answer.status, 409 | 412) => {
            *known = Known::Nothing;
            Ok(())
        }
        Some(answer) => Err(End::Wrong(format!("the shared value: {} {}", answer.status, answer.text()))),
    }
}

/// Looks or writes, whichever is due. Returns the answer of a write that was not taken.
async fn write(caller: &mut Caller, session: &str, key: &str, known: &mut Known) -> Result<Option<Answer>, End> {
    let session = caller.session_named(session);
    let path = format!("/api/v1/sessions/{}/state/{key}", session.name);
    let expected = match known {
        Known::Nothing => {
            *known = look(caller, &path).await?;
            return Ok(None);
        }
        Known::Absent => ("if-none-match", "*".to_owned()),
        Known::Version(version) => ("if-match", format!("\"{version}\"")),
    };
    let value = format!(r#"{{"by":"{}"}}"#, caller.next());
    let digest = Digest::of(value.as_bytes());
    let answer = caller.http.send("PUT", &path, &[(expected.0, &expected.1)], Some(value)).await?;
    if !matches!(answer.status, 201 | 204) {
        return Ok(Some(answer));
    }
    let version = version(&answer)?;
    caller.notes.lock().values.push(ValueNote { session, key: key.to_owned(), version, digest });
    *known = Known::Version(version);
    Ok(None)
}

async fn look(caller: &Caller, path: &str) -> Result<Known, End> {
    let answer = caller.http.get(path).await?;
    match answer.status {
        200 => version(&answer).map(Known::Version),
        404 => Ok(Known::Absent),
        status => Err(End::Wrong(format!("looking at a value: {status} {}", answer.text()))),
    }
}

fn version(answer: &Answer) -> Result<u64, End> {
    let tag = answer.header("etag").and_then(|tag| tag.trim_matches('"').parse().ok());
    tag.ok_or_else(|| End::Wrong(format!("the value's version is missing: {:?}", answer.headers)))
}
