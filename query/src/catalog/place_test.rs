//! Tests of rows by the place of their event: whether they count, whether they are wanted. Planned by the tables themselves; no
//! query can name them.

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, col};
use parking_lot::Mutex;

use super::cut_filter::CutBounds;
use crate::places::{EventPlace, Index, KeyHash, Places, Standing, View};

/// The columns of a row's place.
pub(crate) const PLACE_COLUMNS: [&str; 3] = ["_partition", "_seq", "_ordinal"];
/// Answers kept per query about keys with several events.
const CHOICES_KEPT: usize = 4_096;

/// Whether the event of a row counts in the view at the cut.
pub(super) fn counting(places: Arc<Places>, view: View, bounds: CutBounds) -> Expr {
    expression(Which::Counting(Counting { places, view, bounds, chosen: Mutex::default() }))
}

/// Whether the event of a row is one of these.
pub(super) fn among(places: Arc<HashSet<EventPlace>>) -> Expr {
    expression(Which::Among(places))
}

fn expression(which: Which) -> Expr {
    let signature = Signature::exact(vec![DataType::Int32, DataType::Int64, DataType::Int32], Volatility::Immutable);
    let test = ScalarUDF::new_from_impl(PlaceTest { which, signature });
    test.call(PLACE_COLUMNS.iter().map(|name| col(*name)).collect())
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct PlaceTest {
    which: Which,
    signature: Signature,
}

#[derive(Debug)]
enum Which {
    Counting(Counting),
    Among(Arc<HashSet<EventPlace>>),
}

impl PartialEq for Which {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Counting(one), Self::Counting(other)) => {
                one.view == other.view && one.bounds == other.bounds && Arc::ptr_eq(&one.places, &other.places)
            }
            (Self::Among(one), Self::Among(other)) => one == other,
            _ => false,
        }
    }
}

impl Eq for Which {}

impl Hash for Which {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Counting(counting) => (counting.view, &counting.bounds).hash(state),
            Self::Among(places) => places.len().hash(state),
        }
    }
}

impl ScalarUDFImpl for PlaceTest {
    fn name(&self) -> &'static str {
        match &self.which {
            Which::Counting(_) => "counts",
            Which::Among(_) => "at",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns: [ArrayRef; 3] = ColumnarValue::values_to_arrays(&args.args)?
            .try_into()
            .map_err(|_| internal_datafusion_err!("a place is a partition, a sequence number and an ordinal"))?;
        let passed = match &self.which {
            Which::Counting(counting) => counting.of(&columns)?,
            Which::Among(places) => of_each(&columns, |place| places.contains(&place))?,
        };
        Ok(ColumnarValue::Array(Arc::new(passed)))
    }
}

/// What counts in one view at one cut.
#[derive(Debug)]
struct Counting {
    places: Arc<Places>,
    view: View,
    bounds: CutBounds,
    /// Which event of a key with several was chosen.
    chosen: Mutex<HashMap<KeyHash, Option<EventPlace>>>,
}

impl Counting {
    fn of(&self, columns: &[ArrayRef; 3]) -> Result<BooleanArray> {
        self.places.read(|index| {
            of_each(columns, |place| match index.standing(self.view, place) {
                Standing::Counts => true,
                Standing::DoesNotCount => false,
                Standing::Depends(key) => self.chosen(index, key) == Some(place),
            })
        })
    }

    fn chosen(&self, index: &Index, key: KeyHash) -> Option<EventPlace> {
        let mut known = self.chosen.lock();
        if let Some(chosen) = known.get(&key) {
            return *chosen;
        }
        if known.len() >= CHOICES_KEPT {
            known.clear();
        }
        let (table, rule) = self.view;
        let chosen = index.chosen(rule, table, key, &self.bounds);
        known.insert(key, chosen);
        chosen
    }
}

/// A test of places, for each row. Rows of one event lie side by side, so each place is tested once.
fn of_each([partitions, seqs, ordinals]: &[ArrayRef; 3], test: impl Fn(EventPlace) -> bool) -> Result<BooleanArray> {
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
