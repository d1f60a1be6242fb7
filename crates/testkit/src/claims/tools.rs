//! The three tools.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::amount::Amount;
use crate::effects;
use crate::mcp::{Fault, ToolCall, ToolResult};

/// The result of `tools/list`.
pub(super) fn listed() -> Value {
    let claim_id = json!({"type": "string", "description": "The claim, such as claim-99."});
    let by_claim = json!({
        "type": "object",
        "properties": {"claim_id": claim_id},
        "required": ["claim_id"],
        "additionalProperties": false,
    });
    let reads = json!({"readOnlyHint": true, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false});
    let payment = json!({
        "type": "object",
        "properties": {
            "claim_id": claim_id,
            "amount": {"type": "number", "description": "The amount in US dollars."},
            "note": {"type": "string", "description": "What the claimant will read."},
        },
        "required": ["claim_id", "amount"],
        "additionalProperties": false,
    });
    let policy = json!({
        "type": "object",
        "properties": {
            "claim_id": {"type": "string"},
            "policy": {"type": "string"},
            "is_active": {"type": "boolean"},
            "cover_limit": {"type": "integer"},
            "deductible": {"type": "integer"},
        },
        "required": ["claim_id", "policy", "is_active", "cover_limit", "deductible"],
    });
    json!({"tools": [
        {
            "name": "policy_lookup",
            "title": "Policy lookup",
            "description": "Looks up the insurance policy that a claim is made under.",
            "inputSchema": by_claim,
            "outputSchema": policy,
            "annotations": reads,
        },
        {
            "name": "damage_report",
            "title": "Damage report",
            "description": "Reads the report of the damage that a claim is about.",
            "inputSchema": by_claim,
            "annotations": reads,
        },
        {
            "name": "approve_payment",
            "title": "Approve a payment",
            "description": "Approves a payment for a claim and pays it at once.",
            "inputSchema": payment,
            "annotations": {
                "readOnlyHint": false, "destructiveHint": true, "idempotentHint": false, "openWorldHint": true,
            },
        },
    ]})
}

/// Runs a tool.
pub(super) fn call(call: &ToolCall, payments: &Path) -> Result<Value, Fault> {
    let outcome = match call.name.as_str() {
        "policy_lookup" => policy_lookup(call),
        "damage_report" => damage_report(call),
        "approve_payment" => approve_payment(call, payments),
        _ => return Err(call.unknown()),
    };
    Ok(ToolResult::of(outcome).to_json())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ByClaim {
    claim_id: String,
}

fn policy_lookup(call: &ToolCall) -> Result<ToolResult, String> {
    let ByClaim { claim_id } = call.arguments()?;
    Ok(ToolResult::structured(json!({
        "claim_id": claim_id,
        "policy": "comprehensive motor",
        "is_active": true,
        "cover_limit": 75_000,
        "deductible": 500,
    })))
}

fn damage_report(call: &ToolCall) -> Result<ToolResult, String> {
    let ByClaim { claim_id } = call.arguments()?;
    Ok(ToolResult::text(format!(
        "{claim_id}: rear-end collision, chassis bent. Repair is estimated at $48,200. An external verification was ordered."
    )))
}

fn approve_payment(call: &ToolCall, payments: &Path) -> Result<ToolResult, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Arguments {
        claim_id: String,
        amount: Box<RawValue>,
        note: Option<String>,
    }
    #[derive(Serialize)]
    struct Payment {
        payment_id: String,
        claim_id: String,
        /// Decimal, exactly as it was asked for.
        amount: String,
        note: Option<String>,
    }
    let Arguments { claim_id, amount, note } = call.arguments()?;
    let amount = Amount::from_json(amount.get())?.to_string();
    let failed = |error: &dyn std::fmt::Display| format!("the payment was not made: {error}");
    let number = effects::lines(payments).map_err(|error| failed(&error))?.len() + 1;
    let payment = Payment { payment_id: format!("payment-{number}"), claim_id, amount, note };
    let line = serde_json::to_string(&payment).map_err(|error| failed(&error))?;
    effects::append(payments, &line).map_err(|error| failed(&error))?;
    let Payment { payment_id, claim_id, amount, .. } = payment;
    Ok(ToolResult::text(format!("{payment_id}: ${amount} paid for {claim_id}.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(params: &str, payments: &Path) -> Result<Value, Fault> {
        let params = RawValue::from_string(params.to_owned()).unwrap();
        call(&ToolCall::read(Some(&params))?, payments)
    }

    #[test]
    fn payments_are_recorded_with_every_digit_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let payments = folder.path().join("payments.jsonl");
        let pay = |arguments: &str| {
            run(&format!("{{\"name\":\"approve_payment\",\"arguments\":{arguments}}}"), &payments).unwrap()
        };
        let paid = pay(r#"{"claim_id":"claim-99","amount":10000.00}"#);
        assert_eq!(paid["content"][0]["text"], json!("payment-1: $10000.00 paid for claim-99."));
        pay(r#"{"amount":1e400,"claim_id":"x"}"#);
        for wrong in [
            r#"{"claim_id":"c"}"#,
            r#"{"claim_id":"c","amount":"5"}"#,
            r#"{"claim_id":"c","amount":null}"#,
            r#"{"claim_id":"c","amount":{"value":5}}"#,
            r#"{"claim_id":"c","amount":5,"amount":6}"#,
            r#"{"claim_id":"c","amount":5,"approved_by":"me"}"#,
            "[]",
        ] {
            assert_eq!(pay(wrong)["isError"], json!(true), "{wrong}");
        }
        pay(r#"{"claim_id":"claim-99","amount":0.1,"note":"n"}"#);
        let expected = [
            r#"{"payment_id":"payment-1","claim_id":"claim-99","amount":"10000.00","note":null}"#,
            r#"{"payment_id":"payment-2","claim_id":"claim-99","amount":"0.1","note":"n"}"#,
        ];
        assert_eq!(effects::lines(&payments).unwrap(), expected);
    }

    #[test]
    fn what_is_looked_up_fits_the_output_schema() {
        let listed = listed();
        let answer =
            run(r#"{"name":"policy_lookup","arguments":{"claim_id":"claim-99"}}"#, Path::new("/nowhere")).unwrap();
        let required = listed["tools"][0]["outputSchema"]["required"].as_array().unwrap();
        assert!(required.iter().all(|name| answer["structuredContent"].get(name.as_str().unwrap()).is_some()));
        assert_eq!(answer["content"][0]["text"], json!(answer["structuredContent"].to_string()));
        let report =
            run(r#"{"name":"damage_report","arguments":{"claim_id":"claim-7"}}"#, Path::new("/nowhere")).unwrap();
        assert!(report["content"][0]["text"].as_str().unwrap().starts_with("claim-7: "));
        assert_eq!(run(r#"{"name":"rob_bank"}"#, Path::new("/nowhere")).unwrap_err().message, "Unknown tool: rob_bank");
    }

    #[test]
    fn a_payment_that_can_not_be_recorded_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let payments = folder.path().join("missing/payments.jsonl");
        let answer = run(r#"{"name":"approve_payment","arguments":{"claim_id":"c","amount":5}}"#, &payments).unwrap();
        assert_eq!(answer["isError"], json!(true));
    }
}
