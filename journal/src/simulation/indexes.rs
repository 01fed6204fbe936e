//! Seen-indexes, which take too long to open for each world anew.

use tributary_schemas::ids::PartitionCount;

use super::world::{PARTITIONS_MAX, PROCESSES_MAX};
use crate::seen::SeenIndex;

/// Worlds until the indexes are made anew: what was deleted from one slows it down.
const WORLDS_MAX: u32 = 100;

/// An index for each process, used by one world after the other.
pub(crate) struct Indexes {
    all: Vec<SeenIndex>,
    worlds: u32,
    _folder: tempfile::TempDir,
}

impl Indexes {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let open = |number: usize| SeenIndex::open(&folder.path().join(number.to_string())).unwrap();
        Self { all: (0..PROCESSES_MAX).map(open).collect(), worlds: 0, _folder: folder }
    }

    /// The indexes, empty.
    pub(crate) fn fresh(&mut self) -> &[SeenIndex] {
        if self.worlds == WORLDS_MAX {
            *self = Self::new();
        }
        self.worlds += 1;
        self.all.iter().for_each(clear);
        &self.all
    }
}

/// Empties an index that nobody writes.
pub(super) fn clear(index: &SeenIndex) {
    for partition in PartitionCount::new(PARTITIONS_MAX).unwrap().partitions() {
        // Without a head there are no entries either.
        if index.head(partition).unwrap().is_some() {
            assert!(index.writer(partition).clear().unwrap(), "nobody else writes");
        }
    }
}
