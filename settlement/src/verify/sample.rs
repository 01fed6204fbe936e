//! A check by sample: of what is small everything, of what is large a part that is drawn by chance.
//!
//! Records, headers, plans, certificates, manifests and the logs of tables grow with the number of batches and are checked in full. Batches,
//! blobs, data files and the tables of epochs grow with the events: of each kind as many are drawn as were asked for, and those
//! are checked as a full check would. A share *f* of damaged ones is overlooked with a chance of (1 − *f*)^*n*. What is not
//! looked at at all, the report says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use serde::Serialize;
use tributary_da::check::Depth;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Epoch, Partition, Seq};
use tributary_schemas::tables::Table;
use tributary_schemas::units::{Hash, keccak256};

use super::{Report, Sources, chain, manifests};
use crate::compute::read_cumulative;
use crate::epoch::read_row;
use crate::error::SettlementError;
use crate::invariant::Invariant;
use crate::ledger::EpochRow;
use crate::progress::Progress;
use crate::record::EpochRecord;

/// What no sample can tell: it follows from everything before it.
const NOT_CHECKED: [&str; 4] = [
    "repetitions of an event in another batch (J4)",
    "rewards against a replay of the batches (S1, S3)",
    "that an inference is settled once (S2)",
    "that tables hold nothing beyond batches and records",
];

/// How much is drawn, and by which chance: the same record and sample give the same draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// How many of each kind; all of them where there are no more.
    pub size: u32,
    /// What the draw follows from.
    pub seed: u32,
}

/// What a check by sample looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sampled {
    /// How many of each kind were asked for.
    pub size: u32,
    /// The seed: with it the same are drawn again.
    pub seed: u32,
    /// Batches that were recomputed, and whose rows were compared in every table; of all others the header.
    pub batches: Drawn,
    /// Blobs whose payload was fetched and compared; of all others plan and certificate.
    pub blobs: Drawn,
    /// Data files that were hashed; the logs that name them were in full.
    pub files: Drawn,
    /// Closed epochs whose root was recomputed from their rows of `cumulative`; of all others record and row were compared.
    pub epochs: Drawn,
    /// What was not checked.
    pub not_checked: [&'static str; 4],
}

/// So many of so many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Drawn {
    /// How many were looked at.
    pub checked: u64,
    /// How many there are.
    pub of: u64,
}

impl Sample {
    /// Draws: those whose names, hashed together with the seed, are the least.
    pub(crate) fn draw<T: Ord>(&self, all: impl IntoIterator<Item = T>, name: impl Fn(&T) -> String) -> (BTreeSet<T>, u64) {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let (mut least, mut of) = (BTreeMap::<Hash, T>::new(), 0);
        for one in all {
            of += 1;
            least.insert(keccak256(format!("{}|{}", self.seed, name(&one))), one);
            if least.len() > size {
                least.pop_last();
            }
        }
        (least.into_values().collect(), of)
    }
}

/// Checks as far as a sample goes. `whole` are the batches that there are.
pub(super) async fn check(
    sources: &Sources,
    sample: Sample,
    (records, whole): (&[EpochRecord], &Cut),
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<(), SettlementError> {
    chain::check_headers(sources, whole, progress, report).await?;
    let all = whole.iter().flat_map(|(partition, last)| chain::places(partition, last));
    let (batches, of) = sample.draw(all, |(partition, seq)| chain::name(*partition, *seq));
    chain::check_some(sources, &batches, progress, report).await?;
    let mut sampled = Sampled {
        size: sample.size,
        seed: sample.seed,
        batches: drawn(batches.len(), of),
        blobs: Drawn::default(),
        files: Drawn::default(),
        epochs: Drawn::default(),
        not_checked: NOT_CHECKED,
    };
    sampled.blobs = check_blobs(sources, sample, records, progress, report).await?;
    sampled.files = check_tables(sources, sample, (records, &batches), progress, report)
        .await
        .map_err(|error| Invariant::T1.name_in(error))?;
    let (epochs, roots) =
        check_epochs(sources, sample, records, progress, report).await.map_err(|error| Invariant::S3.name_in(error))?;
    sampled.epochs = epochs;
    report.sample = Some(sampled);
    let manifests = manifests::check(sources, (records, &roots), true, progress, report).await;
    manifests.map_err(|error| Invariant::D3.name_in(error))?;
    Ok(())
}

fn drawn(checked: usize, of: u64) -> Drawn {
    Drawn { checked: checked as u64, of }
}

/// D1 of all blobs, D2 of those drawn.
async fn check_blobs(
    sources: &Sources,
    sample: Sample,
    records: &[EpochRecord],
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<Drawn, SettlementError> {
    let blobs = sources.certificates.blobs().await.map_err(|error| Invariant::D1.name_in(error.into()))?;
    let firsts = blobs.iter().map(|blob| (blob.partition, blob.first_seq));
    let name = |(partition, first): &(Partition, Seq)| tributary_da::names::certificate(*partition, *first).to_string();
    let (whole, of) = sample.draw(firsts, name);
    super::check_availability(sources, records, Depth::Only(whole), progress, report)
        .await
        .map_err(|error| Invariant::D1.name_in(error))?;
    Ok(Drawn { checked: report.blobs, of })
}

/// T1 as far as logs say it, and of the batches drawn; the bytes of every log, and of the data files drawn.
async fn check_tables(
    sources: &Sources,
    sample: Sample,
    (records, batches): (&[EpochRecord], &BTreeSet<(Partition, Seq)>),
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<Drawn, SettlementError> {
    progress.stage("files of the lake", Some(Table::ALL.len() as u64));
    let mut files = Vec::new();
    for table in Table::ALL {
        let live = sources.lake.snapshot(*table).await?;
        files.extend(live.files.iter().map(|file| file.path.to_string()));
    }
    let (files, of) = sample.draw(files, |path: &String| path.clone());
    for table in Table::ALL {
        let found = sources.lake.check_digests_of(*table, &|path| files.contains(path)).await?;
        if let Some(difference) = found.into_iter().next() {
            return Err(super::of_file(*table).broken(difference.object.to_string(), difference.problem));
        }
        progress.advance(1);
    }
    progress.stage("tables of events", Some(batches.len() as u64));
    let indexed = sources.engine.indexed().await?;
    super::check_not_ahead(sources, &indexed).await?;
    super::check_last_commits(sources, records, &indexed).await?;
    let batches = batches.iter().filter(|(partition, seq)| indexed.covers(*partition, *seq)).copied().collect();
    let compared = tributary_indexer::check::compare_some(&sources.journal, &sources.lake, batches).await;
    report.rows = compared.map_err(super::lake_failure)?.rows;
    Ok(drawn(files.len(), of))
}

/// S3 as far as records and rows say it: each row of `epochs` against its record and the record after it; of the epochs drawn the
/// root over their rows of `cumulative`. Gives the roots of all as well, as their rows say them.
async fn check_epochs(
    sources: &Sources,
    sample: Sample,
    records: &[EpochRecord],
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<(Drawn, Vec<Hash>), SettlementError> {
    progress.stage("epochs", Some(records.len() as u64));
    let (epochs, of) = sample.draw(records.iter().map(|record| record.number), Epoch::to_string);
    let mut roots: Vec<Hash> = Vec::new();
    for record in records {
        let root = roots.last().copied().unwrap_or(Hash::ZERO);
        if record.previous_root != root {
            let what = format!("previous_root is {:#x}, the row of the epoch before says {root:#x}", record.previous_root);
            return Err(Invariant::S3.broken(crate::records::path(record.number).to_string(), what));
        }
        let session = sources.engine.session_unlimited(&record.cut).await?;
        let Some(row) = read_row(&session, record.number).await? else {
            let what = "the epoch is closed, but its row is missing; `settle` completes it";
            return Err(Invariant::S3.broken(row_name(record.number), what));
        };
        let of_record = (&record.cut, record.closed_at, record.treasury, record.rules_version);
        if of_record != (&row.cut, row.closed_at, row.treasury, row.rules_version) {
            return Err(Invariant::S3.broken(row_name(record.number), "it differs from the record of the epoch"));
        }
        roots.push(row.root);
        if epochs.contains(&record.number) {
            let earned = read_cumulative(&session, record.number).await?;
            let total = earned.total();
            let found = EpochRow {
                accounts: earned.len() as u64,
                cumulative_total: total.ok_or_else(|| too_much(record.number))?,
                root: earned.tree().root(),
                ..row.clone()
            };
            if let Some((column, expected, found)) = found.difference(&row) {
                let what = format!("{column} is {found}, by the rows of cumulative it is {expected}");
                return Err(Invariant::S3.broken(row_name(record.number), what));
            }
            report.epochs.push(row);
        }
        progress.advance(1);
    }
    Ok((drawn(epochs.len(), of), roots))
}

fn row_name(epoch: impl Display) -> String {
    format!("table epochs, epoch {epoch}")
}

fn too_much(epoch: Epoch) -> SettlementError {
    Invariant::S3.broken(format!("table cumulative, epoch {epoch}"), "it adds up to more than tables hold")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(size: u32, seed: u32, of: u64) -> Vec<u64> {
        let (drawn, all) = Sample { size, seed }.draw(0..of, u64::to_string);
        assert_eq!(all, of);
        drawn.into_iter().collect()
    }

    #[test]
    fn the_same_seed_draws_the_same_and_another_seed_others() {
        assert_eq!(draw(20, 7, 1_000), draw(20, 7, 1_000));
        assert_ne!(draw(20, 7, 1_000), draw(20, 8, 1_000));
        assert_eq!(draw(20, 7, 1_000).len(), 20);
        assert_eq!(draw(20, 7, 5), [0, 1, 2, 3, 4]);
        assert_eq!(draw(3, 7, 0), [0_u64; 0]);
    }

    #[test]
    fn every_one_is_drawn_as_often_as_any_other() {
        let mut often = [0; 10];
        for seed in 0..5_000 {
            draw(2, seed, 10).into_iter().for_each(|one| often[usize::try_from(one).unwrap_or(0)] += 1);
        }
        // 1,000 expected, with a standard deviation of 28.
        assert!(often.iter().all(|times| (850..1_150).contains(times)), "{often:?}");
    }
}
