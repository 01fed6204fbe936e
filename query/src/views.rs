//! The views: what counts among the events of a cut, and epochs with their status.
//!
//! Every view is SQL over the tables. Order within a key is order in its partition: `at` is a row's place there, its batch
//! and its place in the batch as one number, so that "first" and "latest" are `min` and `max` of a number.

use std::sync::LazyLock;

use tributary_schemas::tables::Table;

use crate::places::Rule;

/// A view: its name and the query behind it.
#[derive(Debug)]
pub struct View {
    /// The name that queries use.
    pub name: &'static str,
    /// SQL over the tables.
    pub sql: String,
    /// The same by the index of places: what it shows of which table.
    pub(crate) by_place: Option<(Table, Rule)>,
}

/// Above every ordinal: a batch has at most 900,000 bytes of events, and an event at least one.
const ORDINALS: u32 = 1 << 20;

/// All views, in the order of the interface's description.
pub static VIEWS: LazyLock<Vec<View>> = LazyLock::new(|| {
    let view = |name, sql, by_place| View { name, sql, by_place };
    let first = |name, table: Table, key| view(name, first(table.name(), key), Some((table, Rule::First)));
    let latest = |name, table: Table, key| view(name, latest(table.name(), key), Some((table, Rule::Latest)));
    let counted = |name, table: Table, key| view(name, counted(table.name(), key), Some((table, Rule::Identities)));
    vec![
        view("epochs", "SELECT *, 'CLOSED' AS status, CAST(NULL AS VARCHAR) AS transaction FROM epochs".to_owned(), None),
        first("current_datanets", Table::Datanets, "datanet_id"),
        first("current_models", Table::Models, "model_id"),
        first("current_contributions", Table::Contributions, "contribution_id"),
        latest("current_reviews", Table::Reviews, "contribution_id"),
        latest("current_policies", Table::Policies, "scope"),
        first("effective_inferences", Table::Inferences, "inference_id"),
        view("effective_attributions", effective_attributions(), Some((Table::Attributions, Rule::Attribution))),
        counted("counted_reviews", Table::Reviews, "contribution_id"),
        counted("counted_model_updates", Table::ModelUpdates, "model_id"),
        counted("counted_feedback", Table::Feedback, "inference_id"),
        counted("counted_agent_actions", Table::AgentActions, "agent_id"),
    ]
});

/// The view of this name.
pub fn view(name: &str) -> Option<&'static View> {
    VIEWS.iter().find(|view| view.name == name)
}

fn at(alias: &str) -> String {
    format!("({alias}._seq * {ORDINALS} + {alias}._ordinal)")
}

/// The rows of `table` whose place is the one chosen for their key. The choice is the small side, so it is joined first.
fn chosen(table: &str, key: &str, choice: &str) -> String {
    let at = at("r");
    format!("SELECT r.* FROM ({choice}) c RIGHT SEMI JOIN {table} r ON c.{key} = r.{key} AND c.at = {at}")
}

/// The first row of each key. A repeated identity cannot be the first.
fn first(table: &str, key: &str) -> String {
    let at = at("f");
    chosen(table, key, &format!("SELECT f.{key}, min({at}) AS at FROM {table} f GROUP BY f.{key}"))
}

/// The first row of each identity: a repeated event does not count again. (The identity's type is the table's.)
fn counted(table: &str, key: &str) -> String {
    chosen(table, key, &identities(table, key))
}

/// The place of the first row of each identity.
fn identities(table: &str, key: &str) -> String {
    let at = at("f");
    format!("SELECT f.{key}, min({at}) AS at FROM {table} f GROUP BY f.{key}, f.source, f.event_id")
}

/// The latest row of each key among the first rows of each identity. (The identity's type is the table's.)
fn latest(table: &str, key: &str) -> String {
    let firsts = identities(table, key);
    chosen(table, key, &format!("SELECT l.{key}, max(l.at) AS at FROM ({firsts}) l GROUP BY l.{key}"))
}

/// The rows of the first attribution of each inference among those that count. Which event that is, is found in `events`,
/// one row each, not in the many rows of `attributions`.
fn effective_attributions() -> String {
    let event_at = at("e");
    let inference_at = at("i");
    // Of one identity only the first event counts, whoever repeats it: a stranger's attribution does not become the node's
    // by the node sending it again. All of one identity lie in one partition, so the least position is the first.
    let traced = "e.type = 'tributary.attribution.traced.v1'";
    let identities =
        format!("SELECT e.key, min({event_at}) AS at FROM events e WHERE {traced} GROUP BY e.key, e.source, e.event_id");
    let attributions = format!(
        "SELECT e.key AS inference_id, e.producer, f.at FROM ({identities}) f JOIN events e \
         ON f.key = e.key AND f.at = {event_at} WHERE {traced}"
    );
    let firsts = format!("SELECT i.inference_id, min({inference_at}) AS at FROM inferences i GROUP BY i.inference_id");
    let inferences = format!(
        "SELECT i.inference_id, i.producer FROM ({firsts}) f JOIN inferences i \
         ON f.inference_id = i.inference_id AND f.at = {inference_at}"
    );
    let tracers = format!(
        "SELECT g.producer_id FROM ({}) g WHERE g.revoked IS NOT TRUE AND array_has(g.roles, 'tracer')",
        latest("grants", "producer_id")
    );
    let choice = format!(
        "SELECT a.inference_id, min(a.at) AS at FROM ({inferences}) i JOIN ({attributions}) a ON i.inference_id = a.inference_id \
         LEFT JOIN ({tracers}) t ON a.producer = t.producer_id \
         WHERE a.producer = i.producer OR t.producer_id IS NOT NULL GROUP BY a.inference_id"
    );
    chosen("attributions", "inference_id", &choice)
}
