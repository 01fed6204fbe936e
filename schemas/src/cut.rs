//! The cut: the only notion of "as of".

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::ids::{Partition, Seq};
use crate::refusal::excerpt;

/// A vector partition → sequence number of the last batch included. A partition without an entry contributes nothing.
///
/// As text: `0:12,1:7`, in ascending order of partition; the empty cut is the empty text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cut(BTreeMap<Partition, Seq>);

impl Cut {
    /// The cut that covers nothing.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The last batch included of this partition.
    pub fn get(&self, partition: Partition) -> Option<Seq> {
        self.0.get(&partition).copied()
    }

    /// Includes the partition up to and with `seq`.
    pub fn set(&mut self, partition: Partition, seq: Seq) {
        self.0.insert(partition, seq);
    }

    /// Whether the batch lies in the cut.
    pub fn covers(&self, partition: Partition, seq: Seq) -> bool {
        self.get(partition).is_some_and(|last| seq <= last)
    }

    /// Whether this cut includes everything that `other` includes.
    pub fn is_at_least(&self, other: &Cut) -> bool {
        other.0.iter().all(|(partition, seq)| self.covers(*partition, *seq))
    }

    /// The greatest cut that both include.
    pub fn meet(&self, other: &Cut) -> Cut {
        Cut(self.0.iter().filter_map(|(p, a)| other.get(*p).map(|b| (*p, (*a).min(b)))).collect())
    }

    /// The least cut that includes both.
    pub fn join(&self, other: &Cut) -> Cut {
        let mut joined = self.clone();
        for (partition, seq) in other.iter() {
            let slot = joined.0.entry(partition).or_insert(seq);
            *slot = (*slot).max(seq);
        }
        joined
    }

    /// The partitions with at least one batch, in ascending order, each with its last batch.
    pub fn iter(&self) -> impl Iterator<Item = (Partition, Seq)> + '_ {
        self.0.iter().map(|(p, s)| (*p, *s))
    }

    /// Whether nothing is covered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Partition, Seq)> for Cut {
    fn from_iter<I: IntoIterator<Item = (Partition, Seq)>>(items: I) -> Self {
        Cut(items.into_iter().collect())
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (partition, seq)) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{partition}:{seq}")?;
        }
        Ok(())
    }
}

/// A text that is no cut, its beginning quoted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a cut: write partition:sequence pairs in ascending order, such as 0:12,1:7")]
pub struct CutError(String);

impl FromStr for Cut {
    type Err = CutError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut cut = Cut::empty();
        let mut last = None;
        for pair in text.split(',').filter(|_| !text.is_empty()) {
            let parsed = pair.split_once(':').and_then(|(p, s)| {
                Some((
                    canonical(p).and_then(|p| u32::try_from(p).ok()).and_then(Partition::new)?,
                    canonical(s).and_then(Seq::new)?,
                ))
            });
            match parsed {
                Some((partition, seq)) if last < Some(partition) => {
                    last = Some(partition);
                    cut.set(partition, seq);
                }
                _ => return Err(CutError(excerpt(text).into_owned())),
            }
        }
        Ok(cut)
    }
}

/// Digits without a sign or leading zeros, so that every cut has exactly one text.
fn canonical(digits: &str) -> Option<u64> {
    let number: u64 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_read_back_from_its_text() {
        for text in ["", "0:0", "0:12,1:7,15:9223372036854775807"] {
            assert_eq!(text.parse::<Cut>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn text_that_is_no_cut_is_refused() {
        for text in ["x", "0", "0:1,", "1:1,0:1", "0:1,0:2", "0:-1", "00:1", "0:+1", "4294967296:1"] {
            assert!(text.parse::<Cut>().is_err(), "{text}");
        }
    }
}
