//! What the index of places knows of one table at one cut: which batches hold a key, and which rows count.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use tributary_schemas::tables::Table;

use super::cut_filter::CutBounds;
use super::lake_table::FileSpan;
use super::place_test;
use crate::places::{EventPlace, Places, Rule, View};

/// More keys in one condition are not looked up.
const KEYS_MAX: usize = 4_096;
/// Nor are keys with more events in all: they are read like any rows.
const PLACES_MAX: usize = 32_768;

/// The index, for one table at one cut.
#[derive(Clone, Debug)]
pub(crate) struct ByPlace {
    places: Arc<Places>,
    table: Table,
    rule: Option<Rule>,
    bounds: CutBounds,
}

impl ByPlace {
    /// All rows of a table, or with a rule those that count.
    pub(crate) fn new(places: Arc<Places>, (table, rule): (Table, Option<Rule>), bounds: CutBounds) -> Self {
        Self { places, table, rule, bounds }
    }

    /// Whether the condition asks for certain keys.
    pub(crate) fn is_on_key(&self, condition: &Expr) -> bool {
        self.keys(condition).is_some()
    }

    fn keys(&self, condition: &Expr) -> Option<Vec<String>> {
        keys(condition, self.table.key_column()?)
    }

    /// The only places whose rows can pass the conditions; `None` if these ask for no certain keys.
    pub(crate) fn wanted(&self, conditions: &[Expr]) -> Option<Wanted> {
        let asked = conditions.iter().filter_map(|condition| self.keys(condition));
        let keys = asked.min_by_key(Vec::len).filter(|keys| keys.len() <= KEYS_MAX)?;
        let mut places = HashSet::new();
        for key in &keys {
            let of_key = self.places.read(|index| index.places_of(self.table, key));
            places.extend(of_key.into_iter().filter(|place| place.is_in(&self.bounds)));
            if places.len() > PLACES_MAX {
                return None;
            }
        }
        let batches = places.iter().map(|place| (place.partition(), place.seq())).collect();
        Some(Wanted { places: Arc::new(places), batches })
    }

    /// Whether the file may have rows that do not count.
    pub(crate) fn is_doubtful(&self, file: &FileSpan) -> bool {
        let Some(view) = self.view() else { return false };
        let span = file.partitions.zip(file.seqs);
        span.is_none_or(|(partitions, seqs)| self.places.read(|index| index.has_doubtful(view, partitions, seqs)))
    }

    fn view(&self) -> Option<View> {
        self.rule.map(|rule| (self.table, rule))
    }

    /// The test whether rows count, as an expression.
    pub(crate) fn test(&self) -> Option<Expr> {
        Some(place_test::counting(Arc::clone(&self.places), self.view()?, self.bounds.clone()))
    }
}

/// The keys that the condition asks for: `column = 'a'`, `column IN ('a', …)`, and `OR` of such.
fn keys(condition: &Expr, column: &str) -> Option<Vec<String>> {
    let is_column = |expr: &Expr| matches!(expr, Expr::Column(found) if found.name == column);
    let text = |expr: &Expr| match expr {
        Expr::Literal(value, _) => value.try_as_str().flatten().map(str::to_owned),
        _ => None,
    };
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) if is_column(left) => Some(vec![text(right)?]),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) if is_column(right) => Some(vec![text(left)?]),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let (mut all, more) = (keys(left, column)?, keys(right, column)?);
            all.extend(more);
            Some(all)
        }
        Expr::InList(InList { expr, list, negated: false }) if is_column(expr) => list.iter().map(text).collect(),
        _ => None,
    }
}

/// Places that rows are wanted of.
pub(crate) struct Wanted {
    places: Arc<HashSet<EventPlace>>,
    /// Their batches, by partition and sequence number.
    batches: BTreeSet<(i32, i64)>,
}

impl Wanted {
    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The test of rows as an expression.
    pub(crate) fn test(&self) -> Expr {
        place_test::among(Arc::clone(&self.places))
    }

    /// Whether one is in the batch.
    pub(crate) fn has_batch(&self, partition: i32, seq: i64) -> bool {
        self.batches.contains(&(partition, seq))
    }

    /// Whether one is among these partitions and batches, both ends included.
    pub(crate) fn any_in(&self, partitions: (i32, i32), seqs: (i64, i64)) -> bool {
        (partitions.0..=partitions.1).any(|p| self.batches.range((p, seqs.0)..=(p, seqs.1)).next().is_some())
    }

    /// Whether the file can hold one.
    pub(crate) fn can_be_in(&self, file: &FileSpan) -> bool {
        file.partitions.zip(file.seqs).is_none_or(|(partitions, seqs)| self.any_in(partitions, seqs))
    }
}
