//! The independent auditor: reads a journal by its documents alone, and compares it with what was acknowledged.
//!
//! It knows nothing of the implementation: its own readers, its own hash of keys, its own tree. While a test runs it looks
//! at the objects again and again ([`Watching`]), for an object that was seen once must stay as it was.

mod batch;
mod census;
pub mod event;
mod genesis;
pub mod ledger;
pub mod murmur;
#[cfg(test)]
mod tests;
mod verdict;
mod watch;
mod watching;

use std::fs;
use std::path::{Path, PathBuf};

use batch::{Batch, Header};
use census::Census;
use event::{Event, Identity};
use genesis::Genesis;
use ledger::Ledger;
pub use verdict::{Counts, Gap, Verdict};
use watch::Watch;
pub use watching::Watching;

use crate::Outcome;

/// Audits the journal under a store.
pub struct Auditor {
    journal: PathBuf,
    watch: Watch,
}

impl Auditor {
    /// The auditor of a store, which may be empty yet.
    pub fn of(store: &Path) -> Self {
        let journal = store.join("journal");
        Self { watch: Watch::of(journal.clone()), journal }
    }

    /// Looks at every object, and remembers those that are new.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn scan(&mut self) -> Outcome {
        Ok(self.watch.scan(false)?)
    }

    /// Reads the whole journal, and compares it with what was sent and acknowledged.
    ///
    /// # Errors
    /// When the files cannot be read. What is wrong in them is in the verdict.
    pub fn audit(&mut self, ledger: &Ledger) -> Outcome<Verdict> {
        self.watch.scan(true)?;
        let mut verdict = Verdict::default();
        self.watch.violations().iter().for_each(|text| verdict.violation(text.clone()));
        (verdict.counts.objects, verdict.counts.scans) = self.watch.counts();
        let genesis = match Genesis::read(&fs::read(self.journal.join("genesis.json"))?) {
            Ok(genesis) => genesis,
            Err(why) => {
                verdict.violation(format!("journal/genesis.json: {why}"));
                return Ok(verdict);
            }
        };
        verdict.counts.partitions = genesis.partitions;
        self.check_folders(genesis, &mut verdict)?;
        let mut census = Census::new(ledger, genesis.partitions);
        for partition in 0..genesis.partitions {
            let reading = Reading { folder: self.folder(partition), partition, genesis };
            reading.read(&mut census, &mut verdict)?;
        }
        verdict.close(ledger, &census);
        Ok(verdict)
    }

    /// The events of a partition, in the order of its batches.
    ///
    /// # Errors
    /// When the files cannot be read, or one of them is no batch.
    pub fn events(&self, partition: u32) -> Outcome<Vec<Identity>> {
        let folder = self.folder(partition);
        let mut identities = Vec::new();
        for seq in numbers(&folder)? {
            let batch = Batch::read(&fs::read(path(&folder, seq))?)?;
            for bytes in batch.events()? {
                identities.push(Event::read(bytes)?.identity);
            }
        }
        Ok(identities)
    }

    fn folder(&self, partition: u32) -> PathBuf {
        self.journal.join(format!("p-{partition:05}"))
    }

    /// There are no batches of partitions that the deployment does not have.
    fn check_folders(&self, genesis: Genesis, verdict: &mut Verdict) -> Outcome {
        let known: Vec<PathBuf> = (0..genesis.partitions).map(|partition| self.folder(partition)).collect();
        for folder in watch::entries(&self.journal)?.into_iter().filter(|path| path.is_dir() && !known.contains(path)) {
            if !numbers(&folder)?.is_empty() {
                verdict.violation(format!("{} is no folder of a partition, and holds batches", folder.display()));
            }
        }
        Ok(())
    }
}

/// One partition, read from its first batch to its last.
struct Reading {
    folder: PathBuf,
    partition: u32,
    genesis: Genesis,
}

impl Reading {
    fn read(&self, census: &mut Census<'_>, verdict: &mut Verdict) -> Outcome {
        let mut before: Option<Header> = None;
        let mut expected = 0;
        for seq in numbers(&self.folder)? {
            if seq != expected {
                verdict.violation(format!("{} is missing, though batch {seq} exists", self.name(expected)));
                before = None;
            }
            expected = seq + 1;
            let read = Batch::read(&fs::read(path(&self.folder, seq))?);
            let checked = read.and_then(|batch| self.check(&batch, seq, before.as_ref()).map(|()| batch));
            match checked {
                Ok(batch) => {
                    self.take(&batch, census, verdict);
                    before = Some(batch.header);
                }
                Err(why) => {
                    verdict.violation(format!("{}: {why}", self.name(seq)));
                    before = None;
                }
            }
        }
        Ok(())
    }

    /// The batch lies where it says, and continues the one before.
    fn check(&self, batch: &Batch, seq: u64, before: Option<&Header>) -> Result<(), String> {
        let header = &batch.header;
        if (header.partition, header.seq) != (self.partition, seq) {
            return Err(format!("it says that it is batch {} of partition {}", header.seq, header.partition));
        }
        if header.deployment != self.genesis.deployment {
            return Err("it is of another deployment".to_owned());
        }
        before.map_or(Ok(()), |before| header.check_follows(before))
    }

    /// Takes the events of a batch in, or the gap that it records.
    fn take(&self, batch: &Batch, census: &mut Census<'_>, verdict: &mut Verdict) {
        let header = &batch.header;
        let name = self.name(header.seq);
        verdict.counts.takes(header);
        if header.is_gap {
            match batch.reason() {
                Ok(reason) => verdict.gaps.push(Gap::of(header, reason)),
                Err(why) => verdict.violation(format!("{name}: {why}")),
            }
        }
        let mut times = Vec::new();
        for (n, bytes) in batch.events().unwrap_or_default().into_iter().enumerate() {
            match Event::read(bytes) {
                Ok(event) => {
                    times.push(event.time_us);
                    let wrong = census.take(event, (self.partition, header.seq));
                    wrong.into_iter().for_each(|why| verdict.violation(format!("{name}: event {n}: {why}")));
                }
                Err(why) => verdict.violation(format!("{name}: event {n} is none: {why}")),
            }
        }
        let times = (times.iter().min().copied().unwrap_or(0), times.iter().max().copied().unwrap_or(0));
        if times != (header.time_min, header.time_max) {
            verdict.violation(format!("{name}: the times of its events are {times:?}, not what {header:?} says"));
        }
    }

    fn name(&self, seq: u64) -> String {
        format!("journal/p-{:05}/{seq:020}.batch", self.partition)
    }
}

/// Where a batch lies in the folder of its partition.
fn path(folder: &Path, seq: u64) -> PathBuf {
    folder.join(format!("{seq:020}.batch"))
}

/// The numbers of the batches in a folder, in ascending order. Other names are ignored.
fn numbers(folder: &Path) -> Outcome<Vec<u64>> {
    let number = |path: &PathBuf| {
        let digits = path.file_name()?.to_str()?.strip_suffix(".batch")?;
        (digits.len() == 20).then(|| digits.parse().ok()).flatten()
    };
    let mut numbers: Vec<u64> = watch::entries(folder)?.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}
