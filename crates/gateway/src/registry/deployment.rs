//! The places that one model runs in. To a session each is a model of its own, with its own address, key and price.

use std::path::Path;
use std::sync::Arc;

use portcullis_domain::money::Price;
use portcullis_domain::registry::Replica;

use crate::registry::agent::replica;
use crate::registry::credential::UpstreamCredential;
use crate::registry::model::{Deployment, Model};
use crate::registry::table::{DeploymentTable, ModelTable};

/// The model of that name and table, with all places that it runs in; paths are relative to `base`.
///
/// # Errors
///
/// A sentence on what is wrong with the table.
pub fn model(name: &str, table: &ModelTable, base: &Path) -> Result<Model, String> {
    if table.deployments.is_empty() {
        if table.base_url.is_empty() {
            return Err("needs a `base_url` or `deployments`".to_owned());
        }
        return Model::of_table(name, table, base);
    }
    if !table.base_url.is_empty() || table.api_key.is_some() || table.api_key_file.is_some() {
        return Err("has `deployments` and must have no `base_url` or key beside them".to_owned());
    }
    let mut deployments: Vec<Deployment> = Vec::new();
    for place in &table.deployments {
        let deployment = deployment(name, table, place, base)?;
        if deployments.iter().any(|other| other.replica == deployment.replica) {
            return Err(format!("two deployments are at `{}`: give them a `name`", deployment.replica));
        }
        deployments.push(deployment);
    }
    is_shown_alike(&deployments)?;
    let Some(first) = table.deployments.first() else { return Err("has no deployment".to_owned()) };
    let model = Model::of_table(name, &of_place(table, first), base)?;
    // What is held must suffice wherever the call goes.
    Ok(Model { price: dearest(&deployments), deployments, ..model })
}

/// A call that goes to another deployment must not be shown something else there: a key of the gateway's in the place of a token for the user, least of all.
fn is_shown_alike(deployments: &[Deployment]) -> Result<(), String> {
    let mut shown = deployments.iter().map(|place| place.model.credential.shown());
    let is_given = deployments.iter().any(|place| matches!(place.model.credential, UpstreamCredential::Given(_)));
    let first = shown.next().flatten();
    if is_given && shown.any(|other| other != first) {
        return Err("shows its deployments different kinds of credentials: with a `credential`, all must have one of the same kind from the same authorization server".to_owned());
    }
    Ok(())
}

fn deployment(name: &str, table: &ModelTable, place: &DeploymentTable, base: &Path) -> Result<Deployment, String> {
    let address = replica(&place.base_url)?;
    let named = |own: &String| Replica::at(&format!("{address}#{own}"));
    Ok(Deployment {
        replica: place.name.as_ref().map_or_else(|| address.clone(), named),
        is_draining: place.draining,
        model: Arc::new(Model::of_table(name, &of_place(table, place), base)?),
    })
}

/// The table of the model as if it ran in that place only.
fn of_place(table: &ModelTable, place: &DeploymentTable) -> ModelTable {
    ModelTable {
        base_url: place.base_url.clone(),
        deployments: Vec::new(),
        api_key: place.api_key.clone(),
        api_key_file: place.api_key_file.clone(),
        credential: place.credential.clone().or_else(|| table.credential.clone()),
        price: place.price.or(table.price),
        ..table.clone()
    }
}

/// The highest price of each kind of token; none when one of the deployments has none.
fn dearest(deployments: &[Deployment]) -> Option<Price> {
    let prices: Option<Vec<Price>> = deployments.iter().map(|deployment| deployment.model.price).collect();
    prices?
        .into_iter()
        .reduce(|one, other| Price { input: one.input.max(other.input), output: one.output.max(other.output) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(table: &str, expected: Result<&[&str], &str>) {
        let table: ModelTable = serde_json::from_str(table).unwrap();
        match (model("m", &table, Path::new(".")), expected) {
            (Ok(model), Ok(names)) => {
                let found: Vec<&str> = model.deployments.iter().map(|place| place.replica.address()).collect();
                assert_eq!(found, names);
            }
            (Err(problem), Err(part)) => assert!(problem.contains(part), "{problem}"),
            (found, expected) => panic!("{found:?} for {expected:?}"),
        }
    }

    #[test]
    fn deployments_are_told_apart() {
        check(r#"{"base_url": "http://a/v1"}"#, Ok(&[]));
        check(r#"{"deployments": [{"base_url": "http://a/v1/"}]}"#, Ok(&["http://a/v1"]));
        check(
            r#"{"deployments": [{"base_url": "http://a"}, {"base_url": "http://a", "name": "two"}]}"#,
            Ok(&["http://a", "http://a#two"]),
        );
        check(r#"{"deployments": [{"base_url": "http://a"}, {"base_url": "http://a/"}]}"#, Err("two deployments"));
        check(r#"{"base_url": "http://a", "deployments": [{"base_url": "http://b"}]}"#, Err("must have no `base_url`"));
        check(r#"{"deployments": [{"base_url": "http://user:pass@a"}]}"#, Err("is no URL"));
        check(r#"{}"#, Err("needs a `base_url`"));
        let given = |at: &str| {
            format!(r#""credential": {{"exchange": {{"client": {{"issuer": "{at}", "id": "g", "auth": "none"}}}}}}"#)
        };
        let two = |one: &str, other: &str| {
            format!(r#"{{"deployments": [{{"base_url": "http://a", {one}}}, {{"base_url": "http://b", {other}}}]}}"#)
        };
        check(&two(&given("https://a"), &given("https://a")), Ok(&["http://a", "http://b"]));
        check(&two(&given("https://a"), &given("https://b")), Err("different kinds"));
        check(&two(&given("https://a"), r#""api_key": "k""#), Err("different kinds"));
        check(&two(&given("https://a"), r#""draining": false"#), Err("different kinds"));
        check(
            &format!(r#"{{"base_url": "http://a", "api_key": "k", {}}}"#, given("https://a")),
            Err("a `credential` too"),
        );
        let all = format!(
            r#"{{"deployments": [{{"base_url": "http://a"}}, {{"base_url": "http://b"}}], {}}}"#,
            given("https://a")
        );
        check(&all, Ok(&["http://a", "http://b"]));
    }

    #[test]
    fn what_is_held_is_the_price_of_the_dearest_and_unknown_when_one_is() {
        let priced = |other: &str| {
            let text = format!(
                r#"{{"price": {{"input": "1", "output": "4"}}, "deployments": [{{"base_url": "http://a"}}, {{"base_url": "http://b"{other}}}]}}"#
            );
            model("m", &serde_json::from_str(&text).unwrap(), Path::new(".")).unwrap()
        };
        let model = priced(r#", "price": {"input": "2", "output": "3"}"#);
        let (own, other) = (model.deployments[0].model.price.unwrap(), model.deployments[1].model.price.unwrap());
        assert_eq!(model.price, Some(Price { input: other.input, output: own.output }));
        let text = r#"{"deployments": [{"base_url": "http://a"}, {"base_url": "http://b", "price": {"input": "2", "output": "3"}}]}"#;
        assert_eq!(super::model("m", &serde_json::from_str(text).unwrap(), Path::new(".")).unwrap().price, None);
    }
}
