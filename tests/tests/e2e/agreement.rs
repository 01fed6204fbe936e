//! GraphQL, SQL and DuckDB over the Parquet files give the same answers at the same cut, to questions made up by chance.

use std::time::Duration;

use serde_json::{Value, json};
use tributary_tests::chance::Chance;
use tributary_tests::duckdb::{self, Question};
use tributary_tests::play::wait;
use tributary_tests::questions::{ENTITIES, Entity, Values, condition};
use tributary_tests::server::{Options, Server};
use tributary_tests::sql::{Row, text};
use tributary_tests::{Outcome, ensure, long, worlds};

/// Sums that only SQL is asked for: what they group by and what they add up.
const GROUPS: &[(&str, &str, &str)] = &[
    ("effective_inferences", "model_id", "fee"),
    ("effective_inferences", "requester", "output_tokens"),
    ("effective_attributions", "contribution_id", "weight"),
    ("effective_attributions", "method", "weight"),
    ("current_contributions", "datanet_id", "bytes"),
    ("feedback", "actor", "score"),
];

/// One question in all three languages.
struct Asked {
    at: String,
    graphql: Option<(String, Value, &'static Entity)>,
    sql: String,
    count: Option<String>,
}

fn made_up(values: &Values, at: &str, chance: &mut Chance) -> Outcome<Asked> {
    if chance.below(4) == 0 {
        let (view, group, sum) = chance.one_of(GROUPS);
        let sql = format!(
            "SELECT {group} AS c0, count(*) AS c1, CAST(sum({sum}) AS VARCHAR) AS c2, CAST(max({sum}) AS VARCHAR) AS c3 \
             FROM {view} GROUP BY {group} ORDER BY {group} LIMIT {}",
            1 + chance.below(200)
        );
        return Ok(Asked { at: at.to_owned(), graphql: None, sql, count: None });
    }
    let entity = chance.one_of(ENTITIES);
    let (filter, sql_filter) = condition(entity, values, 2, chance)?;
    let first = 1 + chance.below(60);
    let (way, is_by_id) = (*chance.one_of(&["ASC", "DESC"]), chance.below(4) == 0);
    let (order, sql_order) = if is_by_id {
        (String::new(), entity.id.1.to_owned())
    } else {
        let (field, column) = chance.one_of(entity.ordered);
        (format!(", orderBy: {{field: {field}, direction: {way}}}"), format!("{column} {way}, {}", entity.id.1))
    };
    let (fields, columns): (Vec<&str>, Vec<&str>) = entity.selected.iter().copied().chain([entity.id]).unzip();
    let kind = entity.condition_type();
    let query = format!(
        "query($where: {kind}, $cut: String) {{ list: {}(first: {first}, where: $where, asOf: {{cut: $cut}}{order}) \
         {{ totalCount nodes {{ {} }} }} }}",
        entity.list,
        fields.join(" ")
    );
    // Rows of JSON are read by name, so the names keep the order.
    let columns: Vec<String> = columns.iter().enumerate().map(|(n, column)| format!("{column} AS c{n}")).collect();
    let from = format!("FROM {} WHERE {sql_filter}", entity.view);
    Ok(Asked {
        at: at.to_owned(),
        graphql: Some((query, json!({"where": filter, "cut": at}), entity)),
        sql: format!("SELECT {} {from} ORDER BY {sql_order} LIMIT {first}", columns.join(", ")),
        count: Some(format!("SELECT count(*) AS n {from}")),
    })
}

async fn sql_at(server: &Server, at: &str, query: &str) -> Outcome<Vec<Vec<String>>> {
    let body = json!({"query": query, "as_of": {"cut": at}});
    let request = server.client().post(server.route("/v1/sql")).header("accept", "application/json").json(&body);
    let answer = request.send().await?;
    let (status, body) = (answer.status(), answer.text().await?);
    ensure(status.is_success(), || format!("{status} for `{query}`: {body:.600}"))?;
    let rows: Vec<Row> = serde_json::from_str(&body)?;
    Ok(rows.iter().map(|row| row.values().map(text).collect()).collect())
}

/// The cut of a token, without the epoch.
fn cut_of(token: &str) -> &str {
    token.split('@').next().unwrap_or(token)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn graphql_sql_and_duckdb_give_the_same_answers_at_the_same_cut() -> Outcome {
    let Some(python) = duckdb::python().await? else { return Ok(()) };
    let mut server = Server::fresh(Options::quick(4)).await?;
    let world = worlds::flywheel()?;
    let mut cuts = Vec::new();
    for part in world.epochs[0].lines.chunks(6_000) {
        server.send(part).await?.expect_code(0)?;
        // What is sealed and not indexed yet is part of the cut.
        wait(&server, "sealed", Duration::from_secs(60)).await?;
        cuts.push(text(&server.graphql("{ meta { cut } }", &json!({})).await?["meta"]["cut"]));
    }
    let (seed, count) = if long() { (2, 2_000) } else { (1, 160) };
    let mut chance = Chance::of(seed);
    let values = Values::read(&server).await?;
    let mut asked = Vec::new();
    for n in 0..count {
        // Questions about one cut come together: the peer defines its views once for each.
        let at = &cuts[n * cuts.len() / count];
        asked.push(made_up(&values, at, &mut chance)?);
    }
    let (mut rows, mut questions) = (Vec::new(), Vec::new());
    for question in &asked {
        let found = sql_at(&server, &question.at, &question.sql).await?;
        questions.push(Question { cut: cut_of(&question.at).to_owned(), sql: question.sql.clone() });
        if let (Some((query, variables, entity)), Some(count)) = (&question.graphql, &question.count) {
            let list = server.graphql(query, variables).await?["list"].clone();
            let fields: Vec<&str> = entity.selected.iter().map(|(field, _)| *field).chain([entity.id.0]).collect();
            let nodes = list["nodes"].as_array().ok_or("nodes are an array")?;
            let shown: Vec<Vec<String>> =
                nodes.iter().map(|node| fields.iter().map(|field| text(&node[*field])).collect()).collect();
            ensure(shown == found, || {
                format!(
                    "seed {seed}, {}: {query} with {variables} gives {shown:?}, and `{}` {found:?}",
                    question.at, question.sql
                )
            })?;
            let counted = sql_at(&server, &question.at, count).await?;
            ensure(counted == [[text(&list["totalCount"])]], || {
                format!("seed {seed}: {variables}: {list:.200} and {counted:?}")
            })?;
        }
        rows.push(found);
    }
    wait(&server, "indexed", Duration::from_secs(60)).await?;
    let lake = server.data().join("store/lake");
    let theirs = duckdb::answers(&python, &lake, &questions).await?;
    let mut with_rows = 0;
    for ((question, ours), theirs) in questions.iter().zip(&rows).zip(&theirs) {
        ensure(ours == theirs, || {
            format!("seed {seed}, {}: `{}` gives {ours:?}, in DuckDB {theirs:?}", question.cut, question.sql)
        })?;
        with_rows += usize::from(!ours.is_empty());
    }
    eprintln!("{count} questions of seed {seed} at {} cuts agree, {with_rows} of them with rows", cuts.len());
    ensure(with_rows * 2 > count, || format!("only {with_rows} of {count} questions found anything"))?;
    server.stop().await
}
