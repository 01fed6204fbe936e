//! Asking in tests.

use std::sync::Arc;

use serde_json::{Value, json};
use tributary_da::Committer;

use crate::fixture::World;
use tributary_graphql::Settings;
use tributary_graphql::{Answer, Ask, Graphql};

/// Asks and gives the whole answer.
pub(super) async fn answer(graphql: &Graphql, query: &str, variables: Value) -> Answer {
    let Value::Object(variables) = variables else { panic!("variables are an object") };
    match graphql.check(Ask { query: Some(query.to_owned()), variables, ..Ask::default() }) {
        Ok(checked) => graphql.run(checked).await,
        Err(error) => Answer::refused(error),
    }
}

/// Asks and gives the data; an error fails the test.
pub(super) async fn data(graphql: &Graphql, query: &str, variables: Value) -> Value {
    let answer = answer(graphql, query, variables).await;
    assert_eq!(answer.body.get("errors"), None, "{query}");
    answer.body["data"].clone()
}

/// Asks for what must fail, and gives the code of the first error.
pub(super) async fn code(graphql: &Graphql, query: &str, variables: Value) -> String {
    let answer = answer(graphql, query, variables).await;
    let code = &answer.body["errors"][0]["extensions"]["code"];
    code.as_str().unwrap_or_else(|| panic!("{query}: no code in {}", answer.body)).to_owned()
}

pub(super) fn graphql(world: &World) -> Arc<Graphql> {
    Graphql::new(Arc::clone(&world.engine), Committer::shipped(), Settings::default())
}

pub(super) fn none() -> Value {
    json!({})
}
