//! What is remembered of recorded blobs: all but their certificates, which are many times as long and are read again where they are
//! wanted.

use std::collections::BTreeMap;
use std::sync::Arc;

use tributary_journal::genesis::DeploymentId;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Partition, Seq, Timestamp};
use tributary_schemas::units::Hash;

use crate::plan::Plan;
use crate::record::BlobRecord;
use crate::{eigenda, local};

/// Blobs that are held together: where somebody holds an earlier state, one that is added copies no more than these, and a pointer to
/// each of the chunks before.
const CHUNK: usize = 256;

/// A recorded blob without its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListedBlob {
    /// The name of the blob: keccak-256 of the certificate's bytes.
    pub blob_id: Hash,
    /// The deployment whose batches they are.
    pub deployment: DeploymentId,
    /// The one partition of the blob.
    pub partition: Partition,
    /// Its first batch.
    pub first_seq: Seq,
    /// Its last batch, included.
    pub last_seq: Seq,
    /// keccak-256 of the payload.
    pub content_hash: Hash,
    /// The length of the payload in bytes.
    pub payload_bytes: u64,
    /// The commitment to the payload's blob, 64 bytes: x, then y.
    pub commitment: [u8; 64],
    /// The backend that certified.
    pub backend: &'static str,
    /// When the backend took the payload.
    pub certified_at: Timestamp,
    /// Until when the backend promises to keep the payload; `None` is for ever.
    pub expires_at: Option<Timestamp>,
}

impl ListedBlob {
    /// What a record says, which is checked against its certificate when it is decoded.
    pub fn of(record: &BlobRecord) -> Self {
        let certificate = &record.certificate;
        let commitment = certificate.commitment.as_ref().try_into();
        Self {
            blob_id: record.blob_id,
            deployment: record.deployment,
            partition: record.partition,
            first_seq: record.first_seq,
            last_seq: record.last_seq,
            content_hash: certificate.content_hash,
            payload_bytes: certificate.payload_bytes,
            commitment: commitment.expect("the commitment is that of the certificate, which has 64 bytes"),
            backend: if certificate.is_billed() { eigenda::BACKEND } else { local::BACKEND },
            certified_at: certificate.certified_at,
            expires_at: certificate.expires_at,
        }
    }

    /// Whether it certifies exactly what was planned.
    pub fn carries_out(&self, plan: &Plan) -> bool {
        let place = (self.deployment, self.partition, self.first_seq, self.last_seq);
        place == (plan.deployment, plan.partition, plan.first_seq, plan.last_seq)
            && (self.content_hash, self.payload_bytes) == (plan.payload_hash, plan.payload_bytes)
    }

    /// Whether its dispersal was paid for, and its payload is forgotten some day.
    pub fn is_billed(&self) -> bool {
        self.backend != local::BACKEND
    }
}

/// The blobs of one partition from its first, without a gap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prefix {
    full: Vec<Arc<Vec<ListedBlob>>>,
    /// Fewer than fill a chunk.
    rest: Vec<ListedBlob>,
}

impl Prefix {
    pub(crate) fn len(&self) -> usize {
        self.full.len() * CHUNK + self.rest.len()
    }

    pub(crate) fn get(&self, at: usize) -> Option<&ListedBlob> {
        match self.full.get(at / CHUNK) {
            Some(chunk) => chunk.get(at % CHUNK),
            None => self.rest.get(at - self.full.len() * CHUNK),
        }
    }

    pub(crate) fn last(&self) -> Option<&ListedBlob> {
        self.get(self.len().checked_sub(1)?)
    }

    pub(crate) fn push(&mut self, blob: ListedBlob) {
        self.rest.push(blob);
        if self.rest.len() == CHUNK {
            self.full.push(Arc::new(std::mem::take(&mut self.rest)));
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ListedBlob> {
        self.full.iter().flat_map(|chunk| chunk.iter()).chain(&self.rest)
    }

    /// How many of the first ones are so; behind the first that is not, none is.
    pub(crate) fn partition_point(&self, mut is_so: impl FnMut(&ListedBlob) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.get(middle).is_some_and(&mut is_so) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }
}

/// Blobs of every partition, each from its first without a gap; by partition and sequence. Cheap to copy.
#[derive(Clone, Debug, Default)]
pub struct Blobs {
    /// With how many of each prefix count.
    prefixes: Vec<(Partition, Arc<Prefix>, usize)>,
}

impl Blobs {
    pub(crate) fn of(known: &BTreeMap<Partition, Arc<Prefix>>) -> Self {
        let prefixes = known.iter().map(|(partition, prefix)| (*partition, Arc::clone(prefix), prefix.len()));
        Self { prefixes: prefixes.collect() }
    }

    /// Those of them that hold a batch of the cut.
    #[must_use]
    pub fn within(mut self, cut: &Cut) -> Self {
        for (partition, prefix, count) in &mut self.prefixes {
            let last = cut.get(*partition);
            *count = last.map_or(0, |last| prefix.partition_point(|blob| blob.first_seq <= last)).min(*count);
        }
        self
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.prefixes.iter().map(|(_, _, count)| count).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them, from the one at this place on.
    pub fn from(&self, at: usize) -> impl Iterator<Item = &ListedBlob> {
        let mut skip = at;
        self.prefixes.iter().flat_map(move |(_, prefix, count)| {
            let begin = skip.min(*count);
            skip -= begin;
            (begin..*count).filter_map(|at| prefix.get(at))
        })
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &ListedBlob> {
        self.from(0)
    }

    /// How many lie at or before this partition and first batch.
    pub fn up_to(&self, partition: Partition, first: Seq) -> usize {
        let count = |(of, prefix, count): &(Partition, Arc<Prefix>, usize)| match (*of).cmp(&partition) {
            std::cmp::Ordering::Less => *count,
            std::cmp::Ordering::Equal => prefix.partition_point(|blob| blob.first_seq <= first).min(*count),
            std::cmp::Ordering::Greater => 0,
        };
        self.prefixes.iter().map(count).sum()
    }

    /// The one that holds a batch.
    pub fn blob_of(&self, partition: Partition, seq: Seq) -> Option<&ListedBlob> {
        let at = self.prefixes.binary_search_by_key(&partition, |(of, _, _)| *of).ok()?;
        let (_, prefix, count) = &self.prefixes[at];
        let place = prefix.partition_point(|blob| blob.last_seq < seq);
        prefix.get(place).filter(|blob| place < *count && blob.first_seq <= seq)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn seq(number: u64) -> Seq {
        Seq::new(number).unwrap()
    }

    fn partition(number: u32) -> Partition {
        Partition::new(number).unwrap()
    }

    /// Of three batches.
    fn blob(of: u32, number: u64) -> ListedBlob {
        ListedBlob {
            blob_id: Hash::ZERO,
            deployment: DeploymentId([1; 16]),
            partition: partition(of),
            first_seq: seq(3 * number),
            last_seq: seq(3 * number + 2),
            content_hash: Hash::ZERO,
            payload_bytes: number,
            commitment: [0; 64],
            backend: local::BACKEND,
            certified_at: Timestamp::from_micros(0).unwrap(),
            expires_at: None,
        }
    }

    fn prefix(of: u32, count: u64) -> Prefix {
        let mut prefix = Prefix::default();
        (0..count).for_each(|number| prefix.push(blob(of, number)));
        prefix
    }

    #[test]
    fn what_is_remembered_of_a_blob_is_small() {
        assert!(size_of::<ListedBlob>() <= 264, "{}", size_of::<ListedBlob>());
    }

    #[test]
    fn a_prefix_is_searched_like_a_slice_whatever_its_length() {
        for count in [0, 1, 255, 256, 257, 511, 512, 700] {
            let prefix = prefix(0, count);
            assert_eq!((prefix.len() as u64, prefix.iter().count() as u64), (count, count));
            assert_eq!((prefix.get(prefix.len()), prefix.get(prefix.len() + 300)), (None, None));
            assert_eq!(prefix.last().map(|last| last.payload_bytes), count.checked_sub(1));
            for wanted in
                (0..=count).filter(|wanted| wanted % 7 == 0 || wanted % 256 < 2 || wanted % 256 == 255 || *wanted == count)
            {
                let found = prefix.partition_point(|blob| blob.payload_bytes < wanted);
                assert_eq!(found as u64, wanted, "of {count}");
                assert_eq!(prefix.get(found).map(|blob| blob.payload_bytes), Some(wanted).filter(|wanted| *wanted < count));
            }
        }
    }

    #[test]
    fn what_is_added_later_is_not_seen_by_who_asked_before() {
        let mut known = BTreeMap::from([(partition(0), Arc::new(prefix(0, 300)))]);
        let before = Blobs::of(&known);
        Arc::make_mut(known.get_mut(&partition(0)).unwrap()).push(blob(0, 300));
        assert_eq!((before.len(), Blobs::of(&known).len()), (300, 301));
        assert_eq!(before.blob_of(partition(0), seq(900)), None);
        assert_eq!(Blobs::of(&known).blob_of(partition(0), seq(900)), Some(&blob(0, 300)));
    }

    #[test]
    fn blobs_are_found_by_batch_by_place_and_within_a_cut() {
        let known = [(0, 2), (1, 0), (2, 600)].map(|(of, count)| (partition(of), Arc::new(prefix(of, count))));
        let all = Blobs::of(&known.into_iter().collect());
        assert_eq!((all.len(), all.iter().count()), (602, 602));
        assert_eq!(all.from(1).next(), Some(&blob(0, 1)));
        assert_eq!(all.from(300).next(), Some(&blob(2, 298)));
        assert_eq!(all.from(602).next(), None);
        assert_eq!(all.blob_of(partition(2), seq(1000)), Some(&blob(2, 333)));
        for nowhere in [(0, 6), (1, 0), (2, 1800), (3, 0)] {
            assert_eq!(all.blob_of(partition(nowhere.0), seq(nowhere.1)), None, "{nowhere:?}");
        }
        let places = [(0, 0, 1), (0, 3, 2), (0, 9, 2), (1, 0, 2), (2, 0, 3), (2, 1797, 602), (3, 0, 602)];
        for (of, first, count) in places {
            assert_eq!(all.up_to(partition(of), seq(first)), count, "{of} {first}");
        }
        // A blob of which one batch is in the cut is in it.
        let cut: Cut = "0:2,2:3".parse().unwrap();
        let within = all.within(&cut);
        assert_eq!(within.iter().copied().collect::<Vec<_>>(), [blob(0, 0), blob(2, 0), blob(2, 1)]);
        assert_eq!((within.blob_of(partition(2), seq(5)), within.blob_of(partition(2), seq(6))), (Some(&blob(2, 1)), None));
        assert_eq!(within.up_to(partition(2), seq(1797)), 3);
        assert!(within.within(&Cut::empty()).is_empty());
    }
}
