//! Which epochs are closed, and at which cuts.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::Epoch;

use crate::error::{Code, QueryError};

/// The closed epochs in ascending order, with their cuts, as of one version of the table.
#[derive(Debug)]
pub(crate) struct ClosedEpochs {
    /// The version of the table `epochs` that was read.
    pub(crate) version: i64,
    epochs: Vec<(Epoch, Cut)>,
}

/// No epoch, before any version was read.
impl Default for ClosedEpochs {
    fn default() -> Self {
        Self { version: -1, epochs: Vec::new() }
    }
}

impl ClosedEpochs {
    /// From rows of `epoch, cut` in any order.
    ///
    /// # Errors
    /// `corrupt` if the rows are not epochs 1, 2, 3 … with cuts that only grow.
    pub(crate) fn from_rows(version: i64, rows: &[RecordBatch]) -> Result<Arc<Self>, QueryError> {
        let mut epochs = Vec::new();
        for batch in rows {
            for (epoch, cut) in batch.column(0).as_primitive::<Int64Type>().iter().zip(batch.column(1).as_string::<i32>()) {
                let epoch = epoch.and_then(|e| u64::try_from(e).ok()).and_then(Epoch::new);
                let cut = cut.and_then(|cut| cut.parse::<Cut>().ok());
                epochs.push(
                    epoch
                        .zip(cut)
                        .ok_or_else(|| QueryError::new(Code::Corrupt, "table epochs: a row is no epoch with its cut"))?,
                );
            }
        }
        epochs.sort_by_key(|(epoch, _)| *epoch);
        for (place, (epoch, _)) in (1..).zip(&epochs) {
            if epoch.get() != place {
                return Err(QueryError::new(
                    Code::Corrupt,
                    format!("table epochs: epoch {place} is missing or repeated, {epoch} is there"),
                ));
            }
        }
        if let Some(pair) = epochs.windows(2).find(|pair| !pair[1].1.is_at_least(&pair[0].1)) {
            return Err(QueryError::new(
                Code::Corrupt,
                format!("table epochs: the cut of epoch {} is behind the one before", pair[1].0),
            ));
        }
        Ok(Arc::new(Self { version, epochs }))
    }

    /// The cut of a closed epoch.
    pub(crate) fn cut_of(&self, epoch: Epoch) -> Option<&Cut> {
        let place = usize::try_from(epoch.get() - 1).ok()?;
        self.epochs.get(place).map(|(_, cut)| cut)
    }

    /// The last epoch whose cut the given one includes; 0 if there is none.
    pub(crate) fn last_within(&self, cut: &Cut) -> i64 {
        let within = self.epochs.partition_point(|(_, closed_at)| cut.is_at_least(closed_at));
        self.epochs[..within].last().map_or(0, |(epoch, _)| epoch.as_i64())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn rows(rows: &[(i64, &str)]) -> Vec<RecordBatch> {
        let epochs: ArrayRef = Arc::new(rows.iter().map(|(epoch, _)| Some(*epoch)).collect::<Int64Array>());
        let cuts: ArrayRef = Arc::new(rows.iter().map(|(_, cut)| Some(*cut)).collect::<StringArray>());
        vec![RecordBatch::try_from_iter([("epoch", epochs), ("cut", cuts)]).unwrap()]
    }

    #[test]
    fn an_epoch_is_seen_from_its_own_cut_on() {
        let closed = ClosedEpochs::from_rows(1, &rows(&[(2, "0:9,1:4"), (1, "0:5")])).unwrap();
        for (cut, last) in [("", 0), ("0:4,1:9", 0), ("0:5", 1), ("0:9,1:3", 1), ("0:9,1:4", 2), ("0:99,1:99", 2)] {
            assert_eq!(closed.last_within(&cut.parse().unwrap()), last, "{cut}");
        }
        assert_eq!(closed.cut_of(Epoch::new(2).unwrap()).unwrap().to_string(), "0:9,1:4");
        assert_eq!(closed.cut_of(Epoch::new(3).unwrap()), None);
    }

    #[test]
    fn epochs_with_a_gap_a_repetition_or_a_shrinking_cut_are_corrupt() {
        for bad in [
            &[(2, "0:5")][..],
            &[(1, "0:5"), (1, "0:5")],
            &[(1, "0:5"), (3, "0:6")],
            &[(1, "0:5"), (2, "0:4")],
            &[(1, "x")],
            &[(0, "")],
        ] {
            assert_eq!(ClosedEpochs::from_rows(1, &rows(bad)).unwrap_err().code, Code::Corrupt, "{bad:?}");
        }
    }
}
