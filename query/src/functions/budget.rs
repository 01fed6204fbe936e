//! What the values of functions take in one query.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use arrow::array::{Array, ArrayRef};
use datafusion::common::config::{ConfigEntry, ConfigExtension, ExtensionOptions};
use datafusion::common::{Result, config_err};
use parking_lot::Mutex;

use crate::error::{Code, QueryError};
use crate::guard::Stop;

/// The part of a budget that the values computed while planning may take: they become constants and stay until the query ends.
const PLANNED_PART: u64 = 4;
/// Charged values among which the dead ones are looked for at the least.
const SWEPT_FROM: usize = 256;

/// Bytes that the values of functions may take in a query at the same time. It travels with the options of the query's
/// session, which every call of a function is given.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: u64,
    stop: Stop,
    planned: AtomicBool,
    charged: Mutex<Charged>,
}

#[derive(Debug, Default)]
struct Charged {
    /// For the whole query.
    kept: u64,
    /// For as long as the values live.
    live: Vec<(Weak<dyn Array>, u64)>,
    bytes: u64,
    sweep_at: usize,
}

impl Charged {
    fn sweep(&mut self) {
        self.live.retain(|(array, _)| array.strong_count() > 0);
        self.bytes = self.live.iter().map(|(_, bytes)| bytes).sum();
        self.sweep_at = (2 * self.live.len()).max(SWEPT_FROM);
    }
}

impl Budget {
    /// A budget of so many bytes for a query that `stop` can end.
    pub(crate) fn new(max: u64, stop: Stop) -> Self {
        Self(Arc::new(Shared { max, stop, planned: AtomicBool::new(false), charged: Mutex::default() }))
    }

    /// From now on values are charged for as long as they live.
    pub(crate) fn planned(&self) {
        self.0.planned.store(true, Ordering::Release);
    }

    /// Fails once the query is over, so that nothing is computed for nobody.
    pub(super) fn check_wanted(&self) -> Result<()> {
        self.0.stop.check()
    }

    /// Charges a value for the whole query, if it is being planned; says whether it is.
    pub(super) fn keep_if_planning(&self, bytes: u64) -> Result<bool> {
        if self.0.planned.load(Ordering::Acquire) {
            return Ok(false);
        }
        let mut charged = self.0.charged.lock();
        if charged.kept.saturating_add(bytes) > self.0.max / PLANNED_PART {
            return Err(self.exhausted());
        }
        charged.kept += bytes;
        Ok(true)
    }

    /// Charges an array for as long as it lives.
    pub(super) fn charge(&self, array: &ArrayRef, bytes: u64) -> Result<()> {
        let mut charged = self.0.charged.lock();
        let fits = |charged: &Charged| charged.kept.saturating_add(charged.bytes).saturating_add(bytes) <= self.0.max;
        if !fits(&charged) || charged.live.len() >= charged.sweep_at {
            charged.sweep();
        }
        if !fits(&charged) {
            return Err(self.exhausted());
        }
        charged.live.push((Arc::downgrade(array), bytes));
        charged.bytes += bytes;
        Ok(())
    }

    fn exhausted(&self) -> datafusion::error::DataFusionError {
        let message = format!("the values of the query's functions take more than {} bytes", self.0.max);
        QueryError::new(Code::Memory, message).into()
    }
}

impl ConfigExtension for Budget {
    const PREFIX: &'static str = "tributary_budget";
}

/// No option that anybody could set or see: options are only the way by which a function learns whose call it is.
impl ExtensionOptions for Budget {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    /// The same budget: copies of the options belong to the same query.
    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _value: &str) -> Result<()> {
        config_err!("there is no option {key}")
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use arrow::array::Int64Array;

    use super::*;

    #[test]
    fn a_value_is_charged_while_it_lives_and_no_longer() {
        let budget = Budget::new(100, Stop::default());
        budget.planned();
        let first: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let second: ArrayRef = Arc::new(Int64Array::from(vec![2]));
        budget.charge(&first, 60).unwrap();
        assert!(budget.charge(&second, 60).is_err());
        drop(first);
        budget.charge(&second, 60).unwrap();
    }

    #[test]
    fn constants_take_a_quarter_at_most_and_are_never_given_back() {
        let budget = Budget::new(100, Stop::default());
        assert!(budget.keep_if_planning(20).unwrap());
        assert!(budget.keep_if_planning(20).is_err());
        budget.planned();
        assert!(!budget.keep_if_planning(20).unwrap());
        let array: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        assert!(budget.charge(&array, 81).is_err());
        budget.charge(&array, 80).unwrap();
    }

    #[test]
    fn nothing_is_computed_for_a_query_that_is_over() {
        let stop = Stop::default();
        let budget = Budget::new(100, stop.clone());
        budget.check_wanted().unwrap();
        stop.stop();
        assert!(budget.check_wanted().is_err());
    }
}
