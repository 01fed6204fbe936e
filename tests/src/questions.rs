//! Questions made up by chance: conditions in GraphQL and the same in SQL.

use serde_json::{Map, Value, json};

use crate::chance::Chance;
use crate::server::Server;
use crate::sql::text;
use crate::{Outcome, ensure};

/// What a condition on a field can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Text,
    Long,
    Wei,
    Time,
    Address,
}

/// A field: in GraphQL, in SQL, what it holds, and whether it may be null.
pub type Field = (&'static str, &'static str, Kind, bool);

/// A list of GraphQL and the view behind it.
#[allow(missing_docs)]
pub struct Entity {
    pub list: &'static str,
    pub view: &'static str,
    pub id: (&'static str, &'static str),
    /// What is selected, besides the id.
    pub selected: &'static [(&'static str, &'static str)],
    pub filtered: &'static [Field],
    pub ordered: &'static [(&'static str, &'static str)],
}

/// Lists with conditions and orders.
pub const ENTITIES: &[Entity] = &[
    Entity {
        list: "inferences",
        view: "effective_inferences",
        id: ("inferenceId", "inference_id"),
        selected: &[("modelId", "model_id"), ("fee", "fee"), ("inputTokens", "input_tokens"), ("outputTokens", "output_tokens")],
        filtered: &[
            ("inferenceId", "inference_id", Kind::Text, false),
            ("modelId", "model_id", Kind::Text, false),
            ("agentId", "agent_id", Kind::Text, true),
            ("requester", "requester", Kind::Address, false),
            ("inputTokens", "input_tokens", Kind::Long, false),
            ("latencyMicros", "latency_us", Kind::Long, false),
            ("fee", "fee", Kind::Wei, false),
            ("at", "event_time", Kind::Time, false),
        ],
        ordered: &[("AT", "event_time"), ("FEE", "fee"), ("OUTPUT_TOKENS", "output_tokens"), ("LATENCY", "latency_us")],
    },
    Entity {
        list: "contributions",
        view: "current_contributions",
        id: ("contributionId", "contribution_id"),
        selected: &[("contentHash", "content_hash"), ("bytes", "bytes"), ("tokens", "tokens")],
        filtered: &[
            ("contributionId", "contribution_id", Kind::Text, false),
            ("datanetId", "datanet_id", Kind::Text, false),
            ("contributor", "contributor", Kind::Address, false),
            ("bytes", "bytes", Kind::Long, false),
            ("submittedAt", "event_time", Kind::Time, false),
        ],
        ordered: &[("BYTES", "bytes"), ("SUBMITTED_AT", "event_time")],
    },
    Entity {
        list: "models",
        view: "current_models",
        id: ("modelId", "model_id"),
        selected: &[("weightsHash", "weights_hash")],
        filtered: &[
            ("modelId", "model_id", Kind::Text, false),
            ("owner", "owner", Kind::Address, false),
            ("registeredAt", "event_time", Kind::Time, false),
        ],
        ordered: &[("REGISTERED_AT", "event_time")],
    },
    Entity {
        list: "datanets",
        view: "current_datanets",
        id: ("datanetId", "datanet_id"),
        selected: &[("name", "name"), ("license", "license")],
        filtered: &[("datanetId", "datanet_id", Kind::Text, false), ("registeredAt", "event_time", Kind::Time, false)],
        ordered: &[("NAME", "name"), ("REGISTERED_AT", "event_time")],
    },
];

/// Values that conditions compare with: some of those recorded and the greatest, by column.
pub struct Values(Map<String, Value>);

impl Values {
    /// Of each filtered column.
    pub async fn read(server: &Server) -> Outcome<Self> {
        let mut values = Map::new();
        for entity in ENTITIES {
            for (_, column, kind, _) in entity.filtered {
                let shown = if *kind == Kind::Time {
                    format!("to_char({column}, '%Y-%m-%dT%H:%M:%S%.6fZ')")
                } else {
                    (*column).to_owned()
                };
                let mut found: Vec<Value> = Vec::new();
                // The greatest too: amounts beyond 64 bits are few.
                for (order, count) in [(format!("md5(CAST({} AS VARCHAR))", entity.id.1), 40), (format!("{column} DESC"), 8)] {
                    let from = format!("FROM {} WHERE {column} IS NOT NULL", entity.view);
                    let rows = server.sql(&format!("SELECT {shown} AS v {from} ORDER BY {order} LIMIT {count}")).await?;
                    found.extend(rows.iter().map(|row| Value::from(text(&row["v"]))));
                }
                values.insert(format!("{}.{column}", entity.view), Value::from(found));
            }
        }
        Ok(Self(values))
    }

    fn one(&self, entity: &Entity, column: &str, chance: &mut Chance) -> Outcome<String> {
        let known = self.0[&format!("{}.{column}", entity.view)].as_array().ok_or("values are an array")?;
        ensure(!known.is_empty(), || format!("{}.{column} has no value", entity.view))?;
        Ok(text(chance.one_of(known)))
    }
}

/// A condition in GraphQL and in SQL.
pub type Condition = (Value, String);

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

fn in_sql(kind: Kind, value: &str) -> String {
    match kind {
        Kind::Text | Kind::Address => quoted(value),
        Kind::Long => value.to_owned(),
        Kind::Wei => format!("CAST({value} AS DECIMAL(38,0))"),
        Kind::Time => format!("CAST({} AS TIMESTAMP WITH TIME ZONE)", quoted(value)),
    }
}

fn in_graphql(kind: Kind, value: &str) -> Outcome<Value> {
    Ok(if kind == Kind::Long { json!(value.parse::<i64>()?) } else { json!(value) })
}

/// A condition made up by chance, of so many levels at most.
pub fn condition(entity: &Entity, values: &Values, depth: u64, chance: &mut Chance) -> Outcome<Condition> {
    if depth > 0 && chance.below(3) == 0 {
        let parts =
            (0..1 + chance.below(3)).map(|_| condition(entity, values, depth - 1, chance)).collect::<Outcome<Vec<_>>>()?;
        let (graphql, sql): (Vec<Value>, Vec<String>) = parts.into_iter().unzip();
        return Ok(match chance.below(3) {
            0 => (json!({"and": graphql}), format!("({})", sql.join(" AND "))),
            1 => (json!({"or": graphql}), format!("({})", sql.join(" OR "))),
            _ => (json!({"not": graphql[0]}), format!("NOT {}", sql[0])),
        });
    }
    let (field, column, kind, nullable) = *chance.one_of(entity.filtered);
    let value = values.one(entity, column, chance)?;
    let other = values.one(entity, column, chance)?;
    let (sql_value, sql_other) = (in_sql(kind, &value), in_sql(kind, &other));
    let signs: &[(&str, &str)] = match kind {
        Kind::Text => &[("eq", "="), ("ne", "<>"), ("in", "IN"), ("startsWith", "starts_with"), ("contains", "contains")],
        Kind::Address => &[("eq", "="), ("ne", "<>"), ("in", "IN"), ("notIn", "NOT IN")],
        Kind::Long => &[("eq", "="), ("ne", "<>"), ("in", "IN"), ("gt", ">"), ("gte", ">="), ("lt", "<"), ("lte", "<=")],
        Kind::Wei => &[("eq", "="), ("gt", ">"), ("gte", ">="), ("lt", "<"), ("lte", "<=")],
        Kind::Time => &[("gt", ">"), ("gte", ">="), ("lt", "<"), ("lte", "<=")],
    };
    let (word, sign) = *chance.one_of(signs);
    let (operand, sql) = match word {
        "in" | "notIn" => {
            let both = json!([in_graphql(kind, &value)?, in_graphql(kind, &other)?]);
            (both, format!("{column} {sign} ({sql_value}, {sql_other})"))
        }
        "startsWith" | "contains" => {
            let from = if word == "contains" { value.len() / 3 } else { 0 };
            let part: String = value.chars().skip(from).take(3).collect();
            (json!(part), format!("{sign}({column}, {})", quoted(&part)))
        }
        _ => (in_graphql(kind, &value)?, format!("{column} {sign} {sql_value}")),
    };
    // In GraphQL a condition holds or does not: without a value only the negative ones hold.
    let sql = match (nullable, word) {
        (false, _) => format!("({sql})"),
        (true, "ne" | "notIn") => format!("({column} IS NULL OR {sql})"),
        (true, _) => format!("({column} IS NOT NULL AND {sql})"),
    };
    Ok((json!({field: {word: operand}}), sql))
}

impl Entity {
    /// The type of its conditions.
    pub fn condition_type(&self) -> &'static str {
        match self.list {
            "inferences" => "InferenceWhere",
            "contributions" => "ContributionWhere",
            "models" => "ModelWhere",
            _ => "DatanetWhere",
        }
    }
}
