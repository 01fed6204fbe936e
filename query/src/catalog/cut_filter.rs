//! Which rows lie in a cut: decided by file where the file says enough, by row otherwise.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use tributary_schemas::cut::Cut;

/// How a file lies to a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Every row is in the cut.
    Inside,
    /// No row is in the cut.
    Outside,
    /// Rows must be looked at one by one.
    Across,
}

/// The cut as one slot per partition: the last sequence number included, −1 where there is none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CutBounds(Arc<[i64]>);

impl CutBounds {
    pub(crate) fn of(cut: &Cut) -> Self {
        let slots = cut.iter().map(|(partition, _)| partition.index() + 1).max().unwrap_or(0);
        let mut bounds = vec![-1; slots];
        for (partition, seq) in cut.iter() {
            bounds[partition.index()] = seq.as_i64();
        }
        Self(bounds.into())
    }

    fn last(&self, partition: i32) -> i64 {
        usize::try_from(partition).ok().and_then(|p| self.0.get(p)).copied().unwrap_or(-1)
    }

    /// Whether the batch is in the cut.
    pub(crate) fn covers(&self, partition: i32, seq: i64) -> bool {
        seq <= self.last(partition)
    }

    /// Where a file lies whose rows are of these partitions and sequence numbers, both ends included.
    pub(crate) fn place(&self, partitions: (i32, i32), seqs: (i64, i64)) -> Place {
        let lasts = (partitions.0..=partitions.1).map(|p| self.last(p));
        let (least, most) = lasts.fold((i64::MAX, -1), |(least, most), last| (least.min(last), most.max(last)));
        if seqs.1 <= least {
            Place::Inside
        } else if seqs.0 > most {
            Place::Outside
        } else {
            Place::Across
        }
    }
}

/// The row test `in_cut(_partition, _seq)` of one query's cut. Planned by the tables themselves; no query can name it.
#[derive(Debug)]
pub(crate) struct InCut {
    bounds: CutBounds,
    signature: Signature,
}

impl InCut {
    pub(crate) fn new(bounds: CutBounds) -> Self {
        Self { bounds, signature: Signature::exact(vec![DataType::Int32, DataType::Int64], Volatility::Immutable) }
    }
}

impl PartialEq for InCut {
    fn eq(&self, other: &Self) -> bool {
        self.bounds == other.bounds
    }
}

impl Eq for InCut {}

impl Hash for InCut {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bounds.hash(state);
    }
}

impl ScalarUDFImpl for InCut {
    fn name(&self) -> &str {
        "in_cut"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [partitions, seqs]: [ArrayRef; 2] = ColumnarValue::values_to_arrays(&args.args)?
            .try_into()
            .map_err(|_| internal_datafusion_err!("in_cut takes a partition and a sequence number"))?;
        let partitions = partitions.as_primitive::<Int32Type>();
        let seqs = seqs.as_primitive::<Int64Type>();
        let inside: BooleanArray = if partitions.null_count() + seqs.null_count() > 0 {
            partitions
                .iter()
                .zip(seqs.iter())
                .map(|(p, s)| Some(p.zip(s).is_some_and(|(p, s)| self.bounds.covers(p, s))))
                .collect()
        } else {
            let covered = partitions.values().iter().zip(seqs.values()).map(|(p, s)| self.bounds.covers(*p, *s));
            covered.collect::<Vec<bool>>().into()
        };
        Ok(ColumnarValue::Array(Arc::new(inside)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_is_placed_by_its_partitions_and_sequences() {
        let bounds = CutBounds::of(&"0:12,1:7".parse().unwrap());
        assert_eq!(bounds.place((0, 0), (0, 12)), Place::Inside);
        assert_eq!(bounds.place((0, 1), (0, 7)), Place::Inside);
        assert_eq!(bounds.place((0, 1), (0, 8)), Place::Across);
        assert_eq!(bounds.place((1, 1), (8, 9)), Place::Outside);
        assert_eq!(bounds.place((0, 1), (13, 20)), Place::Outside);
        assert_eq!(bounds.place((2, 5), (0, 0)), Place::Outside);
        assert_eq!(bounds.place((0, 2), (0, 0)), Place::Across);
        assert_eq!(CutBounds::of(&Cut::empty()).place((0, 0), (0, 0)), Place::Outside);
    }
}
