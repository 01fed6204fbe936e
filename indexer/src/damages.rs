//! The partitions that stand still because what follows in them is damaged, so that the others need not.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tributary_journal::JournalError;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::Partition;

/// What is damaged, by partition. A damaged partition rests, then it is looked at again: a person may have been there.
#[derive(Debug, Default)]
pub(crate) struct Damages(Mutex<BTreeMap<Partition, Damage>>);

#[derive(Debug)]
struct Damage {
    error: String,
    rests_until: Instant,
}

impl Damages {
    /// Takes note of damage; the partition rests for so long.
    pub(crate) fn note(&self, partition: Partition, error: &JournalError, rest: Duration) {
        let (error, rests_until) = (error.to_string(), Instant::now() + rest);
        let before = self.0.lock().insert(partition, Damage { error: error.clone(), rests_until });
        if before.is_none_or(|before| before.error != error) {
            tracing::error!(%partition, error, "the partition is not indexed any further");
        }
    }

    /// Forgets the damage of partitions that were read on, which alone shows that they are mended.
    pub(crate) fn forget(&self, reached: &Cut) {
        self.0.lock().retain(|partition, _| reached.get(*partition).is_none());
    }

    /// Whether the partition is to be left alone now.
    pub(crate) fn rests(&self, partition: Partition) -> bool {
        self.0.lock().get(&partition).is_some_and(|damage| Instant::now() < damage.rests_until)
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// All of them, by partition.
    pub(crate) fn all(&self) -> Vec<(Partition, String)> {
        self.0.lock().iter().map(|(partition, damage)| (*partition, damage.error.clone())).collect()
    }
}
