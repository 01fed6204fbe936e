//! Relay walks over everything that is a list, with orders and conditions made up by chance, while events are written.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use tributary_tests::chance::Chance;
use tributary_tests::play::{Sending, send, settle, wait};
use tributary_tests::questions::{ENTITIES, Values, condition};
use tributary_tests::server::{Options, Server};
use tributary_tests::sql::text;
use tributary_tests::{Outcome, ensure, long, worlds};

/// A list: the fields around it, its name with its own arguments, what tells its rows apart, and whether it is read backwards too.
struct List {
    around: String,
    field: String,
    rows: &'static str,
    backwards: bool,
    variables: Value,
    /// Declarations of the variables.
    declared: String,
}

impl List {
    fn plain(around: impl Into<String>, field: impl Into<String>, rows: &'static str) -> Self {
        let (around, field) = (around.into(), field.into());
        Self { around, field, rows, backwards: false, variables: json!({}), declared: String::new() }
    }

    fn both_ways(self) -> Self {
        Self { backwards: true, ..self }
    }

    /// The document that reads a page.
    fn document(&self, backward: bool) -> String {
        let page = if backward { "last: $n, before: $c" } else { "first: $n, after: $c" };
        let list = match self.field.split_once('(') {
            Some((name, rest)) => format!("{name}({page}, {rest}"),
            None => format!("{}({page})", self.field),
        };
        let ends = "}".repeat(self.around.matches('{').count() - self.around.matches('}').count());
        format!(
            "query($n: Int, $c: String{}) {{ {} list: {list} {{ totalCount edges {{ cursor node {{ {} }} }} \
             pageInfo {{ hasNextPage hasPreviousPage startCursor endCursor }} }} {ends} }}",
            self.declared, self.around, self.rows
        )
    }

    /// A page, wherever it lies in the answer.
    async fn page(&self, server: &Server, backward: bool, size: u64, cursor: &Value) -> Outcome<Value> {
        let mut variables = self.variables.clone();
        variables["n"] = json!(size);
        variables["c"] = cursor.clone();
        let data = server.graphql(&self.document(backward), &variables).await?;
        find(&data).ok_or_else(|| format!("{}: no list in {data:.300}", self.document(backward)).into())
    }

    /// Its rows, in pages of so many, and how many it said there are.
    async fn walk(&self, server: &Server, backward: bool, size: u64) -> Outcome<(Vec<(String, String)>, u64)> {
        let (mut rows, mut cursor, mut total) = (Vec::new(), Value::Null, None);
        let (more, end) = if backward { ("hasPreviousPage", "startCursor") } else { ("hasNextPage", "endCursor") };
        loop {
            let page = self.page(server, backward, size, &cursor).await?;
            let edges = page["edges"].as_array().ok_or("edges are an array")?;
            ensure(edges.len() as u64 <= size, || format!("{} rows of {size}", edges.len()))?;
            // Rows that look alike differ in their cursors, which hold the keys of the order.
            let shown = edges.iter().map(|edge| (edge["node"].to_string(), edge["cursor"].to_string()));
            if backward {
                rows.extend(shown.rev());
            } else {
                rows.extend(shown);
            }
            let counted = text(&page["totalCount"]).parse()?;
            ensure(*total.get_or_insert(counted) == counted, || format!("{}: the total changed within a walk", self.field))?;
            if page["pageInfo"][more] == json!(false) {
                return Ok((rows, counted));
            }
            ensure(!edges.is_empty() && page["pageInfo"][end] != cursor, || format!("{}: the walk stands still", self.field))?;
            cursor = page["pageInfo"][end].clone();
        }
    }

    /// Every row comes once, and forwards as backwards.
    async fn check(&self, server: &Server, chance: &mut Chance) -> Outcome<usize> {
        let (rows, total) = self.walk(server, false, 1 + chance.below(30)).await?;
        let distinct: HashSet<&(String, String)> = rows.iter().collect();
        let shown = || format!("{} with {}", self.document(false), self.variables);
        ensure(distinct.len() == rows.len(), || format!("{}: {} rows, {} different", shown(), rows.len(), distinct.len()))?;
        ensure(rows.len() as u64 == total, || format!("{}: {} rows of {total}", shown(), rows.len()))?;
        if self.backwards {
            let (back, _) = self.walk(server, true, 1 + chance.below(30)).await?;
            // The cursors of a list without `asOf` are of a later point.
            ensure(back.iter().rev().map(|(node, _)| node).eq(rows.iter().map(|(node, _)| node)), || {
                format!("{}: backwards the rows are others", shown())
            })?;
        }
        Ok(rows.len())
    }
}

/// The value called `list`, however deep.
fn find(value: &Value) -> Option<Value> {
    match value {
        Value::Object(fields) => fields.get("list").cloned().or_else(|| fields.values().find_map(find)),
        Value::Array(items) => items.iter().find_map(find),
        _ => None,
    }
}

/// Lists of lists and of the root that take no conditions.
async fn plain_lists(server: &Server, at: &str) -> Outcome<Vec<List>> {
    let first = async |query: &str| -> Outcome<String> {
        let rows = server.sql(query).await?;
        Ok(text(rows.first().and_then(|row| row.values().next()).ok_or_else(|| format!("`{query}` gives no row"))?))
    };
    let model = first("SELECT model_id FROM effective_inferences GROUP BY 1 ORDER BY count(*) DESC LIMIT 1").await?;
    let base = first("SELECT p FROM (SELECT unnest(parents) AS p FROM current_models) GROUP BY p ORDER BY count(*) DESC LIMIT 1")
        .await?;
    let updated = first("SELECT model_id FROM model_updates GROUP BY 1 ORDER BY count(*) DESC LIMIT 1").await?;
    let piece =
        first("SELECT contribution_id FROM effective_attributions GROUP BY 1 ORDER BY count(*), 1 LIMIT 1 OFFSET 200").await?;
    let traced = first("SELECT inference_id FROM effective_attributions GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1").await?;
    let judged = first("SELECT inference_id FROM feedback GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1").await?;
    let used = first(
        "SELECT p FROM (SELECT unnest(parents) AS p FROM effective_inferences) GROUP BY p ORDER BY count(*) DESC, p LIMIT 1",
    )
    .await?;
    let agent = first("SELECT agent_id FROM agent_actions GROUP BY 1 ORDER BY count(*), 1 LIMIT 1").await?;
    let owner = first("SELECT account FROM rewards GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1").await?;
    let validator = first("SELECT validator FROM reviews GROUP BY 1 ORDER BY count(*), 1 LIMIT 1").await?;
    let requester = first("SELECT requester FROM effective_inferences GROUP BY 1 ORDER BY count(*), 1 LIMIT 1").await?;
    let node = first("SELECT node FROM effective_inferences GROUP BY 1 ORDER BY count(*), 1 LIMIT 1").await?;
    let contributor = first("SELECT contributor FROM current_contributions GROUP BY 1 ORDER BY count(*), 1 LIMIT 1").await?;
    let modeller = first("SELECT owner FROM current_models GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1").await?;
    let net = first("SELECT datanet_id FROM current_contributions GROUP BY 1 ORDER BY count(*), 1 LIMIT 1").await?;
    let inference = |id: &str| format!("inference(inferenceId: {id:?}, asOf: {{cut: {at:?}}}) {{");
    let account = |of: &str| format!("account(address: {of:?}) {{");
    let mut lists = vec![
        List::plain(format!("model(modelId: {base:?}) {{"), "children", "id"),
        List::plain(format!("model(modelId: {updated:?}) {{"), "updates", "version at event { id }"),
        List::plain(format!("contribution(contributionId: {piece:?}, asOf: {{cut: {at:?}}}) {{"), "attributions", "inferenceId"),
        List::plain(format!("contribution(contributionId: {piece:?}) {{"), "reviews", "at event { id }"),
        List::plain(format!("{} attribution {{", inference(&traced)), "entries", "contributionId weight share"),
        List::plain(inference(&judged), "feedback", "at score actor { address } label"),
        List::plain(inference(&used), "children", "id"),
        List::plain(inference(&traced), "rewards", "role amount account { id } contribution { id } model { id }"),
        List::plain(format!("agent(agentId: {agent:?}, asOf: {{cut: {at:?}}}) {{"), "actions", "at action event { id }"),
        List::plain(format!("agent(agentId: {agent:?}, asOf: {{cut: {at:?}}}) {{"), "inferences", "id"),
        List::plain(account(&owner), "rewards", "epoch { number } role amount"),
        List::plain(account(&validator), "reviews", "at event { id }"),
        List::plain(account(&requester), "inferences(as: REQUESTER)", "id"),
        List::plain(account(&node), "inferences(as: NODE)", "id"),
        List::plain(account(&contributor), "contributions", "id"),
        List::plain(account(&modeller), "models", "id"),
        List::plain("epoch(number: 1) {", "rewards", "role account { id } amount"),
        List::plain(format!("datanet(datanetId: {net:?}, asOf: {{cut: {at:?}}}) {{"), "contributions", "id"),
        List::plain(
            format!("model(modelId: {model:?}, asOf: {{cut: {at:?}}}) {{"),
            "inferences(orderBy: {field: LATENCY, direction: DESC}, where: {fee: {gt: \"150000000000000\"}, latencyMicros: {lt: 900000}})",
            "id",
        ),
        List::plain("", "epochs", "id"),
        List::plain("", "batches(partition: 1)", "id"),
        List::plain("", "blobs", "id"),
        List::plain("", format!("agents(asOf: {{cut: {at:?}}})"), "id").both_ways(),
        List::plain(
            "",
            format!("events(asOf: {{cut: {at:?}}}, where: {{key: {{in: [{traced:?}, {agent:?}, {piece:?}]}}}})"),
            "id",
        )
        .both_ways(),
    ];
    for order in ["ADDRESS", "EARNED"] {
        for way in ["ASC", "DESC"] {
            lists.push(
                List::plain("", format!("accounts(orderBy: {{field: {order}, direction: {way}}})"), "id earned").both_ways(),
            );
        }
    }
    Ok(lists)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_list_is_walked_whole_while_events_are_written() -> Outcome {
    let mut server = Server::fresh(Options::quick(4)).await?;
    let world = worlds::flywheel()?;
    let seed = if long() { 7 } else { 3 };
    let mut chance = Chance::of(seed);
    let (settled, written) = world.epochs.split_at(1);
    send(&server, &settled[0], Sending::AsRecorded, &mut chance).await?;
    server.send(&more_events(&server).await?).await?.expect_code(0)?;
    wait(&server, "available", Duration::from_secs(120)).await?;
    settle(&server).await?;
    let at = text(&server.graphql("{ meta { cut } }", &json!({})).await?["meta"]["cut"]);
    let mut lists = plain_lists(&server, &at).await?;
    let values = Values::read(&server).await?;
    for n in 0..if long() { 300 } else { 24 } {
        let entity = &ENTITIES[n % ENTITIES.len()];
        let (filter, _) = condition(entity, &values, 2, &mut chance)?;
        let order = match chance.below(4) {
            0 => String::new(),
            _ => format!(
                ", orderBy: {{field: {}, direction: {}}}",
                chance.one_of(entity.ordered).0,
                chance.one_of(&["ASC", "DESC"])
            ),
        };
        lists.push(List {
            around: String::new(),
            field: format!("{}(asOf: {{cut: {at:?}}}, where: $where{order})", entity.list),
            rows: "id",
            backwards: true,
            // A page has at most 30 rows; a walk of thousands would tell nothing more.
            variables: json!({"where": {"and": [filter, narrowing(entity.id.0, &mut chance)]}}),
            declared: format!(", $where: {}", entity.condition_type()),
        });
    }
    let write = async {
        for lines in written.iter().flat_map(|epoch| epoch.lines.chunks(500)) {
            server.send(lines).await?.expect_code(0)?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Outcome::Ok(())
    };
    let walk = async {
        let mut rows = 0;
        for list in &lists {
            rows += list.check(&server, &mut chance).await?;
        }
        Outcome::Ok(rows)
    };
    // Writing goes on as long as the walks do.
    let rows = tokio::select! {
        rows = walk => rows?,
        written = async { write.await?; std::future::pending::<Outcome>().await } => return written,
    };
    eprintln!("{} lists with {rows} rows were walked while events were written, seed {seed}", lists.len());
    server.stop().await
}

/// What the recording has none or few of: updates of a model, acts of an agent, feedback, children of an inference.
async fn more_events(server: &Server) -> Outcome<Vec<String>> {
    wait(server, "sealed", Duration::from_secs(60)).await?;
    let rows = server.sql("SELECT * FROM effective_inferences ORDER BY inference_id LIMIT 1").await?;
    let known = rows.first().ok_or("no inference is recorded")?;
    let (id, model) = (&known["inference_id"], &known["model_id"]);
    let mut lines = Vec::new();
    for n in 0..45 {
        let hash = format!("0x{n:064x}");
        let kinds = [
            ("model.updated", json!({"model_id": model, "version": format!("v{}", n % 3), "weights_hash": hash})),
            ("agent.acted", json!({"agent_id": "walker", "action": "pay", "inferences": [id]})),
            ("feedback.recorded", json!({"inference_id": id, "actor": known["node"], "score": 0.5})),
            (
                "inference.completed",
                json!({
                    "inference_id": format!("child-{n}"), "model_id": model, "node": known["node"], "requester": known["requester"],
                    "agent_id": "walker", "parents": [id], "input_hash": hash, "output_hash": hash, "input_tokens": 1, "output_tokens": n % 4,
                    "latency_us": 5, "fee": "7",
                }),
            ),
        ];
        for (kind, data) in kinds {
            let event = json!({
                "specversion": "1.0", "id": format!("walk-{n}"), "source": "urn:walks", "type": format!("tributary.{kind}.v1"),
                "time": format!("2026-10-02T00:00:{:02}Z", n % 7), "data": data,
            });
            lines.push(event.to_string());
        }
    }
    Ok(lines)
}

/// A condition that about every sixteenth id meets.
fn narrowing(id: &str, chance: &mut Chance) -> Value {
    let digit = chance.one_of(&["0", "3", "7", "a", "e"]);
    json!({"or": [{id: {"startsWith": digit}}, {id: {"contains": format!("{digit}-")}}]})
}
