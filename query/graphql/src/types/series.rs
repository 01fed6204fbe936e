//! Sums over time, for charts.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Enum, InputType, SimpleObject};
use datafusion::common::ScalarValue;
use tributary_schemas::ids::Timestamp;
use tributary_schemas::units;

use super::super::reader::Reader;
use super::super::rows::{Row, rows};
use super::super::scalars::DateTime;
use super::model_stats::mean_score;
use tributary_query::error::{Code, QueryError};
use tributary_query::sql_text::SqlText;

/// The most points of one series.
const POINTS_MAX: i64 = 20_000;
/// The most groups of one series.
const GROUPS_MAX: i32 = 100;

/// FEEDBACK is the mean score; REWARDS lies at the epoch's closedAt; everything else at the event's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum)]
pub enum Metric {
    /// How many
    Inferences,
    /// Wei
    Fees,
    /// Tokens
    OutputTokens,
    /// How many inferences have an attribution that counts, at its time
    Attributions,
    /// How many were submitted
    Contributions,
    /// The mean score, 0 without any
    Feedback,
    /// Wei
    Rewards,
    /// Microseconds: the least latency that half of the inferences do not exceed
    #[graphql(name = "LATENCY_P50")]
    LatencyP50,
    /// Microseconds: the least latency that 99 of 100 inferences do not exceed
    #[graphql(name = "LATENCY_P99")]
    LatencyP99,
}

/// How long an interval is. Days begin at midnight UTC, weeks on Monday
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum)]
pub enum Interval {
    Minute,
    Hour,
    Day,
    Week,
}

impl Interval {
    fn micros(self) -> i64 {
        1_000_000
            * match self {
                Self::Minute => 60,
                Self::Hour => 3_600,
                Self::Day => 86_400,
                Self::Week => 604_800,
            }
    }

    /// The beginning of an interval: for weeks a Monday.
    fn origin(self) -> i64 {
        if self == Self::Week { 4 * Self::Day.micros() } else { 0 }
    }

    /// The beginning of the interval that an instant lies in.
    fn floor(self, micros: i64) -> i64 {
        micros - (micros - self.origin()).rem_euclid(self.micros())
    }
}

/// What the values are told apart by. With DATANET an inference counts for every datanet that its attribution names
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Enum)]
pub enum SeriesGroup {
    Model,
    Datanet,
    Node,
    Agent,
    Role,
}

/// The value of an interval.
#[derive(Clone, Debug, SimpleObject)]
pub struct SeriesPoint {
    /// When the interval begins
    at: DateTime,
    /// Whose value it is, when values are told apart
    group: Option<String>,
    value: String,
}

/// What is asked for.
pub(crate) struct SeriesArgs {
    pub(crate) metric: Metric,
    pub(crate) interval: Interval,
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    pub(crate) group_by: Option<SeriesGroup>,
    pub(crate) top: i32,
}

/// The series: for each group, the greatest total first, every interval from `from` up to and without `to`.
pub(crate) async fn series(reader: &Arc<Reader>, args: &SeriesArgs) -> Result<Vec<SeriesPoint>, QueryError> {
    let bad = |message: String| QueryError::new(Code::BadSeries, message);
    let (from, to) = (args.from.micros(), args.to.micros());
    if from >= to {
        return Err(bad("`to` must lie behind `from`".to_owned()));
    }
    if !(1..=GROUPS_MAX).contains(&args.top) {
        return Err(bad(format!("`top` is {}: 1 to {GROUPS_MAX} are taken", args.top)));
    }
    let first = args.interval.floor(from);
    let intervals = (to - first).div_euclid(args.interval.micros()) + i64::from((to - first) % args.interval.micros() != 0);
    let groups = if args.group_by.is_some() { i64::from(args.top) } else { 1 };
    if intervals.saturating_mul(groups) > POINTS_MAX {
        return Err(bad(format!("the series would have {intervals} intervals in {groups} groups: {POINTS_MAX} points at most")));
    }
    let found = reader.ask(query(args, first)?).await?;
    let mut values: HashMap<(Option<String>, i64), String> = HashMap::new();
    let mut order: Vec<Option<String>> = Vec::new();
    for row in rows(&found) {
        let group = row.maybe_text("g")?.map(|name| shown(args.group_by, name));
        if order.last() != Some(&group) {
            order.push(group.clone());
        }
        values.insert((group, row.long("bin")?), value(args.metric, row)?);
    }
    if args.group_by.is_none() {
        order = vec![None];
    }
    let mut points = Vec::new();
    for group in order {
        for n in 0..intervals {
            let at = first + n * args.interval.micros();
            let value = values.remove(&(group.clone(), n)).unwrap_or_else(|| "0".to_owned());
            let at = Timestamp::from_micros(at).ok_or_else(|| bad("an interval begins before the year 0".to_owned()))?;
            points.push(SeriesPoint { at: DateTime(at), group: group.clone(), value });
        }
    }
    Ok(points)
}

fn shown(group_by: Option<SeriesGroup>, name: String) -> String {
    match group_by {
        Some(SeriesGroup::Node) => units::Address::parse_any_case(&name).map_or(name, |address| address.checksummed()),
        Some(SeriesGroup::Role) => name.to_uppercase(),
        _ => name,
    }
}

fn value(metric: Metric, row: Row<'_>) -> Result<String, QueryError> {
    match metric {
        Metric::Feedback => Ok(mean_score(row)?.to_string()),
        _ => row.text("value"),
    }
}

/// The values of intervals that have any, numbered from the one that begins at `first`.
fn query(args: &SeriesArgs, first: i64) -> Result<SqlText, QueryError> {
    let (from, group) = points(args)?;
    let time = |micros: i64| ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()));
    let mut query = SqlText::new(format!("WITH points AS (SELECT p.t, p.v, {group} AS g FROM {from} WHERE p.t >= "));
    query.bind(time(args.from.micros())).push(" AND p.t < ").bind(time(args.to.micros()));
    if args.group_by.is_some() {
        query.push(&format!(" AND {group} IS NOT NULL"));
    }
    let weight = match args.metric {
        Metric::Fees | Metric::OutputTokens | Metric::Rewards => "sum(v)",
        _ => "count(*)",
    };
    query.push(&format!(
        "), tops AS (SELECT g AS top, {weight} AS weight FROM points GROUP BY g ORDER BY weight DESC, top LIMIT {}), \
         bins AS (SELECT (CAST(t AS BIGINT) - {first}) / {} AS bin, g, v FROM points) ",
        args.top,
        args.interval.micros()
    ));
    query.push(&match percentile(args.metric) {
        None => format!("SELECT b.bin, b.g, t.weight, {} FROM bins b ", aggregate(args.metric)),
        Some(_) => "SELECT b.bin, b.g, t.weight, CAST(min(b.v) AS VARCHAR) AS value FROM (SELECT bin, g, v, \
                    row_number() OVER (PARTITION BY bin, g ORDER BY v) AS n, count(*) OVER (PARTITION BY bin, g) AS all_of \
                    FROM bins) b "
            .to_owned(),
    });
    query.push("JOIN tops t ON t.top IS NOT DISTINCT FROM b.g ");
    if let Some(hundredths) = percentile(args.metric) {
        query.push(&format!("WHERE b.n * 100 >= b.all_of * {hundredths} "));
    }
    query.push("GROUP BY b.bin, b.g, t.weight ORDER BY t.weight DESC, b.g, b.bin");
    Ok(query)
}

fn percentile(metric: Metric) -> Option<u8> {
    match metric {
        Metric::LatencyP50 => Some(50),
        Metric::LatencyP99 => Some(99),
        _ => None,
    }
}

fn aggregate(metric: Metric) -> &'static str {
    match metric {
        Metric::Feedback => "sum(b.v) AS total, count(*) AS votes",
        Metric::Fees | Metric::OutputTokens | Metric::Rewards => "CAST(sum(b.v) AS VARCHAR) AS value",
        _ => "CAST(count(*) AS VARCHAR) AS value",
    }
}

/// Where the points `p` (their time `t` and value `v`) come from, and the expression of their group.
fn points(args: &SeriesArgs) -> Result<(String, String), QueryError> {
    let of_inferences = |value: &str| format!("(SELECT event_time AS t, {value} AS v, inference_id FROM effective_inferences) p");
    let points = match args.metric {
        Metric::Inferences => of_inferences("1"),
        Metric::Fees => of_inferences("fee"),
        Metric::OutputTokens => of_inferences("CAST(output_tokens AS DECIMAL(38, 0))"),
        Metric::LatencyP50 | Metric::LatencyP99 => of_inferences("latency_us"),
        Metric::Attributions => {
            "(SELECT DISTINCT event_time AS t, 1 AS v, inference_id FROM effective_attributions) p".to_owned()
        }
        Metric::Contributions => "(SELECT event_time AS t, 1 AS v, datanet_id FROM current_contributions) p".to_owned(),
        Metric::Feedback => "(SELECT event_time AS t, score AS v, inference_id FROM counted_feedback) p".to_owned(),
        Metric::Rewards => {
            "(SELECT e.closed_at AS t, l.amount AS v, l.inference_id, l.role, l.contribution_id FROM reward_lines l \
                            JOIN epochs e ON e.epoch = l.epoch) p"
                .to_owned()
        }
    };
    let inference = "JOIN effective_inferences i ON i.inference_id = p.inference_id";
    let named = "JOIN (SELECT DISTINCT a.inference_id, c.datanet_id FROM effective_attributions a \
                 JOIN current_contributions c ON c.contribution_id = a.contribution_id) d ON d.inference_id = p.inference_id";
    Ok(match (args.metric, args.group_by) {
        (_, None) => (points, "CAST(NULL AS VARCHAR)".to_owned()),
        (Metric::Contributions, Some(SeriesGroup::Datanet)) => (points, "p.datanet_id".to_owned()),
        (Metric::Rewards, Some(SeriesGroup::Role)) => (points, "p.role".to_owned()),
        (Metric::Rewards, Some(SeriesGroup::Datanet)) => {
            let through = "JOIN current_contributions c ON c.contribution_id = p.contribution_id AND p.role = 'contributor'";
            (format!("{points} {through}"), "c.datanet_id".to_owned())
        }
        (metric, Some(group)) if metric == Metric::Contributions || group == SeriesGroup::Role => {
            let (metric, group) = (metric.to_value(), group.to_value());
            let message = format!("{metric} is not grouped by {group}: CONTRIBUTIONS by DATANET alone, and only REWARDS by ROLE");
            return Err(QueryError::new(Code::BadSeries, message));
        }
        (_, Some(SeriesGroup::Datanet)) => (format!("{points} {named}"), "d.datanet_id".to_owned()),
        (_, Some(SeriesGroup::Model)) => (format!("{points} {inference}"), "i.model_id".to_owned()),
        (_, Some(SeriesGroup::Node)) => (format!("{points} {inference}"), "i.node".to_owned()),
        (_, Some(SeriesGroup::Agent | SeriesGroup::Role)) => (format!("{points} {inference}"), "i.agent_id".to_owned()),
    })
}
