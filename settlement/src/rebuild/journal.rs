//! From the journal and the records of epochs.

use std::sync::Arc;

use object_store::ObjectStore;
use tributary_journal::{Journal, Settings as JournalSettings};
use tributary_schemas::ids::{Clock, Seq};

use super::{RebuildReport, Rebuilt, check_target, put_record, records_of};
use crate::error::SettlementError;
use crate::ledger::EpochRow;
use crate::progress::Progress;
use crate::record::EpochRecord;

/// From the journal and the records of `source` into `target`, which is empty or holds an unfinished rebuild of the same
/// deployment. `source` is only read. Genesis, batches and records are the same objects, byte for byte; the tables are
/// equal as multisets. Data availability is not carried over: the target's batches are in no blob yet.
///
/// # Errors
/// `Refused`: the target holds another deployment, or there is no journal to rebuild from. `Difference`: the source is
/// damaged, or a recomputed root is not the recorded one. `Retry`: a store did not answer; begin again with the same target.
pub async fn rebuild_from_journal(
    source: Arc<dyn ObjectStore>,
    target: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    progress: &dyn Progress,
) -> Result<RebuildReport, SettlementError> {
    let from = Journal::open(Arc::clone(&source), None, Arc::clone(&clock)).await?;
    let records = records_of(&source).load().await?;
    check_target(&target).await?;
    let into = Journal::adopt(Arc::clone(&target), from.genesis().clone(), JournalSettings::default()).await?;
    let mut report = RebuildReport::begun(from.genesis());
    copy_batches(&from, &into, progress, &mut report).await?;
    let copies = records_of(&target);
    for record in &records {
        put_record(&copies, record).await?;
    }
    let rebuilt = Rebuilt::open(target, into, Arc::clone(&clock));
    rebuilt.build_tables(&records, progress, &mut report).await?;
    report.compared = compare_with(Rebuilt::open(source, from, clock), &records, &report.epochs).await?;
    Ok(report)
}

async fn copy_batches(
    from: &Journal,
    into: &Journal,
    progress: &dyn Progress,
    report: &mut RebuildReport,
) -> Result<(), SettlementError> {
    let heads = from.heads();
    progress.stage("batches", Some(heads.iter().map(|(_, last)| last.get() + 1).sum()));
    for (partition, last) in heads.iter() {
        for seq in (0..=last.get()).filter_map(Seq::new) {
            let batch = from.read(partition, seq).await?;
            report.batches += 1;
            report.events += u64::from(batch.header.events);
            let (batch, root) = tokio::task::spawn_blocking(move || {
                let root = batch.verify_root();
                (batch, root)
            })
            .await
            .map_err(|_| SettlementError::Closed)?;
            root.map_err(|damage| {
                let name = tributary_journal::store::batch_path(partition, seq).to_string();
                SettlementError::difference(name, damage.to_string())
            })?;
            into.append(&batch).await?;
            progress.advance(1);
        }
    }
    Ok(())
}

/// Compares with the rows of the source, as far as it has readable ones: a lost lake is a reason to rebuild, not against it.
async fn compare_with(source: Rebuilt, records: &[EpochRecord], rebuilt: &[EpochRow]) -> Result<u64, SettlementError> {
    let mut compared = 0;
    for (record, rebuilt) in records.iter().zip(rebuilt) {
        let stored = match source.row_of(record).await {
            Ok(stored) => stored,
            Err(error) => {
                tracing::warn!(epoch = record.number.get(), %error, "the source has no readable row to compare with");
                continue;
            }
        };
        if let Some((column, rebuilt, stored)) = rebuilt.difference(&stored) {
            let what = format!("{column} is {stored} in the source, rebuilt it is {rebuilt}");
            return Err(SettlementError::difference(format!("table epochs, epoch {}", record.number), what));
        }
        compared += 1;
    }
    Ok(compared)
}
