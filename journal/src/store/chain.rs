//! What makes a header the next one of its partition.

use super::batch_path;
use crate::error::JournalError;
use crate::genesis::Genesis;
use crate::header::Header;
use tributary_schemas::ids::Seq;

/// Whether a batch may come after this head, in this journal.
pub(super) fn check_follows(genesis: &Genesis, head: Option<&Header>, header: &Header) -> Result<(), JournalError> {
    let refused = |reason: String| {
        let (partition, seq) = (header.partition, header.seq);
        Err(JournalError::Refused(format!("batch {seq} of partition {partition} cannot be appended: {reason}")))
    };
    if header.deployment != genesis.deployment {
        return refused(format!("it belongs to deployment {}", header.deployment));
    }
    let expected = head.map_or(Seq::FIRST, |head| head.seq.next());
    if header.seq != expected {
        return refused(format!("the next is {expected}"));
    }
    check_link(head, header).or_else(|error| refused(error.to_string()))
}

/// Whether a header continues the one before it.
pub(super) fn check_link(previous: Option<&Header>, header: &Header) -> Result<(), JournalError> {
    let rules = match previous {
        None => vec![(header.previous_hash.is_zero(), "it does not begin the chain")],
        Some(previous) => vec![
            (header.previous_hash == previous.hash(), "its previous hash is not the hash of the header before it"),
            (header.first_offset == previous.next_offset, "its offsets do not go on where the batch before it ends"),
            (header.sealed_at >= previous.sealed_at, "it is sealed before the batch before it"),
        ],
    };
    match rules.iter().find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, reason)) => Err(JournalError::corrupt(batch_path(header.partition, header.seq).to_string(), reason)),
    }
}
