//! The headers read last, so that a reader that goes forward sees each link checked without another request.

use std::collections::{HashMap, VecDeque};

use tributary_schemas::ids::{Partition, Seq};

use crate::header::Header;

/// How many headers are kept, of all partitions together.
const HEADERS_MAX: usize = 4096;

/// Headers by their place; the oldest gives way.
#[derive(Default)]
pub(super) struct HeaderCache {
    by_place: HashMap<(Partition, Seq), Header>,
    oldest_first: VecDeque<(Partition, Seq)>,
}

impl HeaderCache {
    pub(super) fn get(&self, partition: Partition, seq: Seq) -> Option<&Header> {
        self.by_place.get(&(partition, seq))
    }

    pub(super) fn insert(&mut self, header: Header) {
        let place = (header.partition, header.seq);
        if self.by_place.insert(place, header).is_none() {
            self.oldest_first.push_back(place);
        }
        if self.oldest_first.len() > HEADERS_MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.by_place.remove(&oldest);
        }
    }
}
