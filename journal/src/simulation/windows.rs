//! Where a client that reads the log is, and whether what it reads next follows what it read before.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tributary_schemas::ids::{Offset, Partition};

/// For each partition where the next read goes on, and how many disturbances there had been when reading began.
#[derive(Default)]
pub(super) struct Windows(Mutex<BTreeMap<Partition, (Offset, u64)>>);

impl Windows {
    /// Whether a read at this offset would go on from before a disturbance. One at another offset begins anew.
    pub(super) fn are_disturbed(&self, partition: Partition, at: Offset, disturbances: u64) -> bool {
        self.0.lock().get(&partition).is_some_and(|(next, known)| *next == at && *known != disturbances)
    }

    /// A read that was not disturbed ended before this offset.
    pub(super) fn reach(&self, partition: Partition, next: Offset, disturbances: u64) {
        self.0.lock().insert(partition, (next, disturbances));
    }

    /// The next read begins anew.
    pub(super) fn close(&self, partition: Partition) {
        self.0.lock().remove(&partition);
    }
}
