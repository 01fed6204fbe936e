//! What the index of places knows of one table at one cut: which batches hold a key, and which rows count.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, col,
};
use parking_lot::Mutex;
use tributary_schemas::tables::Table;

use super::cut_filter::CutBounds;
use super::lake_table::FileSpan;
use crate::places::{EventPlace, KeyHash, Places, Rule, Standing, View};

/// More keys in one condition are not looked up.
const KEYS_MAX: usize = 4_096;
/// Nor are keys with more events in all: they are read like any rows.
const PLACES_MAX: usize = 32_768;
/// Answers kept per query about keys with several events.
const CHOICES_KEPT: usize = 4_096;
/// The columns of a row's place.
pub(crate) const PLACE_COLUMNS: [&str; 3] = ["_partition", "_seq", "_ordinal"];

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

    /// The column that holds the record key.
    fn key_column(&self) -> &'static str {
        match self.table {
            Table::Events => "key",
            Table::Datanets => "datanet_id",
            Table::Contributions | Table::Reviews => "contribution_id",
            Table::Models | Table::ModelUpdates => "model_id",
            Table::Policies => "scope",
            Table::AgentActions => "agent_id",
            Table::Grants => "producer_id",
            _ => "inference_id",
        }
    }

    /// Whether the condition asks for certain keys.
    pub(crate) fn is_on_key(&self, condition: &Expr) -> bool {
        keys(condition, self.key_column()).is_some()
    }

    /// The only places whose rows can pass the conditions; `None` if these ask for no certain keys.
    pub(crate) fn wanted(&self, conditions: &[Expr]) -> Option<Wanted> {
        let asked = conditions.iter().filter_map(|condition| keys(condition, self.key_column()));
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

    /// The test of rows as an expression.
    pub(crate) fn test(&self) -> Option<Expr> {
        let test = ScalarUDF::new_from_impl(self.counts()?);
        Some(test.call(PLACE_COLUMNS.iter().map(|name| col(*name)).collect()))
    }

    fn counts(&self) -> Option<Counts> {
        Some(Counts {
            places: Arc::clone(&self.places),
            view: self.view()?,
            bounds: self.bounds.clone(),
            chosen: Mutex::default(),
            signature: of_place(),
        })
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

    /// The test of rows as an expression.
    pub(crate) fn test(&self) -> Expr {
        let test = ScalarUDF::new_from_impl(At { places: Arc::clone(&self.places), signature: of_place() });
        test.call(PLACE_COLUMNS.iter().map(|name| col(*name)).collect())
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

/// The row test `counts(_partition, _seq, _ordinal)` of one view at one cut. Planned by the tables themselves; no query can name it.
struct Counts {
    places: Arc<Places>,
    view: View,
    bounds: CutBounds,
    /// Which event of a key with several was chosen.
    chosen: Mutex<HashMap<KeyHash, Option<EventPlace>>>,
    signature: Signature,
}

impl Counts {
    fn of(&self, partitions: &ArrayRef, seqs: &ArrayRef, ordinals: &ArrayRef) -> Result<BooleanArray> {
        of_each([partitions, seqs, ordinals], |place| self.counts(place))
    }

    fn counts(&self, place: EventPlace) -> bool {
        match self.places.read(|index| index.standing(self.view, place)) {
            Standing::Counts => true,
            Standing::DoesNotCount => false,
            Standing::Depends(key) => self.chosen(key) == Some(place),
        }
    }

    fn chosen(&self, key: KeyHash) -> Option<EventPlace> {
        let mut known = self.chosen.lock();
        if let Some(chosen) = known.get(&key) {
            return *chosen;
        }
        if known.len() >= CHOICES_KEPT {
            known.clear();
        }
        let (table, rule) = self.view;
        let chosen = self.places.read(|index| index.chosen(rule, table, key, &self.bounds));
        known.insert(key, chosen);
        chosen
    }
}

impl std::fmt::Debug for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Counts({:?})", self.view)
    }
}

impl PartialEq for Counts {
    fn eq(&self, other: &Self) -> bool {
        self.view == other.view && self.bounds == other.bounds && Arc::ptr_eq(&self.places, &other.places)
    }
}

impl Eq for Counts {}

impl Hash for Counts {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.view.hash(state);
        self.bounds.hash(state);
    }
}

impl ScalarUDFImpl for Counts {
    fn name(&self) -> &str {
        "counts"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [partitions, seqs, ordinals] = place_columns(&args)?;
        Ok(ColumnarValue::Array(Arc::new(self.of(&partitions, &seqs, &ordinals)?)))
    }
}

/// The row test `at(_partition, _seq, _ordinal)` of one lookup. Planned by the tables themselves; no query can name it.
#[derive(Debug)]
struct At {
    places: Arc<HashSet<EventPlace>>,
    signature: Signature,
}

impl PartialEq for At {
    fn eq(&self, other: &Self) -> bool {
        self.places == other.places
    }
}

impl Eq for At {}

impl Hash for At {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.places.len().hash(state);
    }
}

impl ScalarUDFImpl for At {
    fn name(&self) -> &'static str {
        "at"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [partitions, seqs, ordinals] = place_columns(&args)?;
        let here = of_each([&partitions, &seqs, &ordinals], |place| self.places.contains(&place))?;
        Ok(ColumnarValue::Array(Arc::new(here)))
    }
}

fn of_place() -> Signature {
    Signature::exact(vec![DataType::Int32, DataType::Int64, DataType::Int32], Volatility::Immutable)
}

fn place_columns(args: &ScalarFunctionArgs) -> Result<[ArrayRef; 3]> {
    let columns = ColumnarValue::values_to_arrays(&args.args)?.try_into();
    columns.map_err(|_| internal_datafusion_err!("a place is a partition, a sequence number and an ordinal"))
}

/// A test of places, for each row. Rows of one event lie side by side, so each place is tested once.
fn of_each([partitions, seqs, ordinals]: [&ArrayRef; 3], test: impl Fn(EventPlace) -> bool) -> Result<BooleanArray> {
    let partitions = partitions.as_primitive::<Int32Type>().values();
    let seqs = seqs.as_primitive::<Int64Type>().values();
    let ordinals = ordinals.as_primitive::<Int32Type>().values();
    let mut last = None;
    let mut passed = Vec::with_capacity(partitions.len());
    for ((partition, seq), ordinal) in partitions.iter().zip(seqs).zip(ordinals) {
        let here = (*partition, *seq, *ordinal);
        let yes = match last {
            Some((place, yes)) if place == here => yes,
            _ => {
                let place = EventPlace::new(*partition, *seq, *ordinal);
                test(place.ok_or_else(|| internal_datafusion_err!("a place that the index cannot hold is in it"))?)
            }
        };
        last = Some((here, yes));
        passed.push(yes);
    }
    Ok(passed.into())
}
