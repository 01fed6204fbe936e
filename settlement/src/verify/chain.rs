//! The chain of every partition: each batch's own hashes, its link to the one before, its root over its events.

use tributary_journal::{Header, SealedBatch};
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Partition, Seq};
use tributary_schemas::protobuf;

use super::{Report, Sources};
use crate::error::SettlementError;
use crate::progress::Progress;

/// Checks every batch that the cut covers.
pub(super) async fn check(
    sources: &Sources,
    cut: &Cut,
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<(), SettlementError> {
    progress.stage("batches", Some(cut.iter().map(|(_, last)| last.get() + 1).sum()));
    for (partition, last) in cut.iter() {
        let mut previous: Option<Header> = None;
        for seq in (0..=last.get()).filter_map(Seq::new) {
            let batch = sources.journal.read(partition, seq).await?;
            let (header, at) = check_batch(sources, batch, previous.as_ref(), (partition, seq))
                .await
                .map_err(|what| SettlementError::difference(name(partition, seq), what))?;
            report.batches += 1;
            report.events += at;
            previous = Some(header);
            progress.advance(1);
        }
    }
    Ok(())
}

pub(super) fn name(partition: Partition, seq: Seq) -> String {
    tributary_journal::store::batch_path(partition, seq).to_string()
}

async fn check_batch(
    sources: &Sources,
    batch: SealedBatch,
    previous: Option<&Header>,
    (partition, seq): (Partition, Seq),
) -> Result<(Header, u64), String> {
    let genesis = sources.journal.genesis().clone();
    check_link(&batch.header, previous, (partition, seq))?;
    if batch.header.deployment != genesis.deployment {
        return Err("it belongs to another deployment".to_owned());
    }
    let checked = tokio::task::spawn_blocking(move || -> Result<(Header, u64), String> {
        batch.verify_root().map_err(|damage| damage.to_string())?;
        for (ordinal, bytes) in batch.events().map_err(|damage| damage.to_string())?.iter().enumerate() {
            let event = protobuf::decode(bytes).map_err(|error| format!("event {ordinal}: {error}"))?;
            if genesis.partitions.partition_of(event.draft.key().as_bytes()) != batch.header.partition {
                return Err(format!("event {ordinal} has a key of another partition"));
            }
        }
        Ok((batch.header.clone(), u64::from(batch.header.events)))
    });
    checked.await.map_err(|_| "checking it was interrupted".to_owned())?
}

/// Whether a header continues the one before it.
pub(super) fn check_link(header: &Header, previous: Option<&Header>, at: (Partition, Seq)) -> Result<(), String> {
    let hash = previous.map(Header::hash).unwrap_or_default();
    let offset = previous.map_or(0, |previous| previous.next_offset.get());
    let rules = [
        ((header.partition, header.seq) == at, "it is the batch of another place"),
        (header.previous_hash == hash, "previous_hash is not the hash of the batch before"),
        (header.first_offset.get() == offset, "its first offset is not where the batch before ends"),
        (previous.is_none_or(|previous| previous.sealed_at <= header.sealed_at), "it was sealed before the batch before"),
    ];
    rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, broken)| Err((*broken).to_owned()))
}
