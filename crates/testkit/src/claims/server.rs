//! The claims server's wire: JSON-RPC lines (MCP 2025-11-25, "Transports", stdio), one request after the other.

use std::io;
use std::path::Path;

use serde_json::json;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};

use super::tools;
use crate::mcp::{Fault, Incoming, ToolCall, answer, fault_answer, initialized, read};

/// More bytes than a line has.
const MAX_LINE_BYTES: u64 = 16 * 1024 * 1024;

/// Serves on standard input and output until the input ends; payments are appended to the file `payments`.
///
/// # Errors
///
/// A sentence when a line is too long, or input or output fails.
pub async fn serve_stdio(payments: &Path) -> Result<(), String> {
    serve(BufReader::new(tokio::io::stdin()), tokio::io::stdout(), payments).await
}

/// Serves on any pair of pipes, as [`serve_stdio`].
///
/// # Errors
///
/// As [`serve_stdio`].
pub async fn serve(
    mut input: impl AsyncBufRead + Unpin,
    mut output: impl AsyncWrite + Unpin,
    payments: &Path,
) -> Result<(), String> {
    let failed = |error: io::Error| format!("serve claims: {error}");
    let mut is_initialized = false;
    let mut line = String::new();
    loop {
        line.clear();
        let mut limited = (&mut input).take(MAX_LINE_BYTES);
        if limited.read_line(&mut line).await.map_err(failed)? == 0 {
            return Ok(());
        }
        if limited.limit() == 0 {
            return Err(format!("serve claims: a line has more than {MAX_LINE_BYTES} bytes"));
        }
        if line.trim().is_empty() {
            continue;
        }
        // A payment waits for the disk right here: there is nobody else in this process to be held up.
        if let Some(answer) = answer_to(&line, &mut is_initialized, payments) {
            output.write_all(format!("{answer}\n").as_bytes()).await.map_err(failed)?;
            output.flush().await.map_err(failed)?;
        }
    }
}

fn answer_to(line: &str, is_initialized: &mut bool, payments: &Path) -> Option<String> {
    let (id, method, params) = match read(line) {
        Ok(Incoming::Request { id, method, params }) => (id, method, params),
        Ok(Incoming::Notification | Incoming::Response) => return None,
        Err(fault) => return Some(fault_answer(None, &fault)),
    };
    let params: Option<&RawValue> = params.as_deref();
    let outcome = match method.as_str() {
        "initialize" => {
            *is_initialized = true;
            Ok(initialized(params, "claims"))
        }
        "ping" => Ok(json!({})),
        "tools/list" | "tools/call" if !*is_initialized => {
            Err(Fault::new(Fault::INVALID_REQUEST, "the session is not initialized"))
        }
        "tools/list" => Ok(tools::listed()),
        "tools/call" => ToolCall::read(params).and_then(|call| tools::call(&call, payments)),
        _ => Err(Fault::unknown_method()),
    };
    Some(answer(&id, outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that come back, one for each that has an answer.
    async fn check(lines: &[(&str, &str)]) {
        let folder = tempfile::tempdir().unwrap();
        let input: String = lines.iter().map(|(line, _)| format!("{line}\n")).collect();
        let mut output = Vec::new();
        serve(input.as_bytes(), &mut output, &folder.path().join("payments.jsonl")).await.unwrap();
        let output = String::from_utf8(output).unwrap();
        let expected: Vec<&str> = lines.iter().map(|(_, answer)| *answer).filter(|answer| !answer.is_empty()).collect();
        assert_eq!(output.lines().count(), expected.len(), "{output}");
        for (line, expected) in output.lines().zip(expected) {
            assert!(line.contains(expected), "{expected} in {line}");
        }
    }

    #[tokio::test]
    async fn a_session_is_initialized_used_and_ends_with_its_input() {
        check(&[
            (r#"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#, r#""id":1,"error":{"code":-32601,"#),
            (r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#, r#""id":2,"error":{"code":-32600,"#),
            (r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}"#, r#""id":0,"result":{"protocolVersion":"2025-06-18""#),
            (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, ""),
            ("", ""),
            (r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#, r#""id":"p","result":{}"#),
            (r#"{"jsonrpc":"2.0","id":3,"method":"tools/list"}"#, r#"{"name":"approve_payment""#),
            (r#"{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"approve_payment","arguments":{"claim_id":"c","amount":5}}}"#, "payment-1: $5 paid for c."),
            (r#"{"jsonrpc":"2.0","id":5,"method":"tools/call"}"#, "-32602"),
            (r#"{"jsonrpc":"2.0","id":6,"result":{}}"#, ""),
            ("nonsense", r#""id":null,"error":{"code":-32700,"#),
        ])
        .await;
    }

    #[tokio::test]
    async fn a_line_without_end_is_not_read_to_its_end() {
        let endless = BufReader::new(tokio::io::repeat(b'x'));
        let error = serve(endless, tokio::io::sink(), Path::new("/nowhere")).await.unwrap_err();
        assert!(error.contains("more than"), "{error}");
    }
}
