//! How fees are split.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::SimpleObject;
use tributary_query::error::QueryError;
use tributary_query::sql_text::{SqlText, text};

use super::super::reader::Reader;
use super::super::rows::{Row, rows};
use super::super::waves::Load;

/// The scope of the policy of all models that have none of their own.
pub(crate) const GLOBAL: &str = "global";

/// How fees are split, in basis points.
/// scope is a model_id, global, or empty for the built-in default.
#[derive(Clone, SimpleObject)]
pub struct Policy {
    scope: String,
    contributors: i32,
    model: i32,
    node: i32,
    validators: i32,
    protocol: i32,
    upstream: i32,
}

/// What holds without any policy, by the rules of settlement.
impl Default for Policy {
    fn default() -> Self {
        Self { scope: String::new(), contributors: 6000, model: 2000, node: 1000, validators: 500, protocol: 500, upstream: 3000 }
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct PolicyOf(pub(crate) String);

impl Load for PolicyOf {
    type Value = Policy;

    async fn load(reader: Arc<Reader>, keys: Vec<Self>) -> Result<HashMap<Self, Policy>, QueryError> {
        let mut query = SqlText::new(
            "SELECT r.scope, r.contributors_bps, r.model_bps, r.node_bps, r.validators_bps, r.protocol_bps, r.upstream_bps \
             FROM current_policies r WHERE r.scope IN (",
        );
        query.bind_all(keys.iter().map(|key| text(&key.0))).push(")");
        let found = reader.ask(query).await?;
        let policy = |row: Row<'_>| -> Result<(Self, Policy), QueryError> {
            let bps = |name: &str| Ok::<_, QueryError>(i32::try_from(row.long(name)?).unwrap_or(i32::MAX));
            let policy = Policy {
                scope: row.text("scope")?,
                contributors: bps("contributors_bps")?,
                model: bps("model_bps")?,
                node: bps("node_bps")?,
                validators: bps("validators_bps")?,
                protocol: bps("protocol_bps")?,
                upstream: bps("upstream_bps")?,
            };
            Ok((Self(policy.scope.clone()), policy))
        };
        rows(&found).map(policy).collect()
    }
}
