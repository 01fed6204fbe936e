//! `tributary rebuild`: the lake and all epochs again, in another directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use tributary_eventlog::embedded::EmbeddedLog;
use tributary_eventlog::{EventLog, LogError};
use tributary_journal::Journal;
use tributary_journal::storage::LocalStore;
use tributary_schemas::ids::{Clock, Offset, Partition, SystemClock};
use tributary_settlement::{RebuildReport, rebuild_from_journal};

use super::settle::failure;
use crate::config::Config;
use crate::exit::{Failure, Outcome};
use crate::progress::Bars;
use crate::wire::{self, Record};

/// Arguments of `rebuild`.
#[derive(Args)]
pub struct Rebuild {
    /// What to rebuild from.
    #[arg(long, value_enum)]
    from: Source,
    /// The directory to rebuild into: new, or holding an unfinished rebuild of the same deployment; other files stay.
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// The manifest to begin with, for --from da.
    #[arg(long, value_name = "CERT")]
    manifest: Option<String>,
    #[command(flatten)]
    data: super::DataArguments,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Source {
    /// The journal and the epoch records of the data directory.
    Journal,
    /// Blobs alone.
    Da,
}

impl Rebuild {
    /// Rebuilds, and compares roots on the way.
    pub async fn run(self) -> Outcome {
        if self.from == Source::Da || self.manifest.is_some() {
            return Err(Failure::Failed(
                "this version publishes no epoch manifests yet, so blobs alone do not hold the epoch records: use --from journal"
                    .to_owned(),
            ));
        }
        let config = self.data.load()?;
        let source = wire::store_directory(&config)?;
        if !source.join("journal").is_dir() {
            return Err(Failure::Failed(format!("{} is no data directory: it has no journal", self.named(&config).display())));
        }
        self.check_into(&config.data.dir)?;
        let lock = wire::take(&self.into)?;
        let source = wire::store_to_read(&source)?;
        let target = LocalStore::open(self.into.join("store")).map_err(|e| Failure::failed("the target cannot be opened", e))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let bars = Bars::new();
        let rebuilt = rebuild_from_journal(source, target, clock, &bars).await;
        bars.finish();
        let report = rebuilt.map_err(failure)?;
        let mut rebuilt_config = config;
        rebuilt_config.data.dir.clone_from(&self.into);
        rebuilt_config.store.url.clear();
        // A rebuilt directory is a copy: nobody is paid for it.
        "local".clone_into(&mut rebuilt_config.da.backend);
        rebuilt_config.da.failover_backend.clear();
        let record = Record::open(&rebuilt_config, None).await?;
        begin_log(&self.into.join("log"), &record.journal).await?;
        let published = record.publisher(&rebuilt_config).publish_available().await;
        published.map_err(|e| Failure::failed("publishing what was rebuilt", e))?;
        drop(lock);
        if self.json {
            return super::print_json(&report);
        }
        print!("{}", render(&report, &self.into));
        Ok(())
    }

    /// What the source was named by.
    fn named<'a>(&self, config: &'a Config) -> &'a Path {
        if config.store.url.is_empty() { &config.data.dir } else { Path::new(&config.store.url) }
    }

    /// The target may lie inside the data directory, but must not be it.
    fn check_into(&self, source: &Path) -> Outcome {
        let same = match (source.canonicalize(), self.into.canonicalize()) {
            (Ok(source), Ok(into)) => source == into,
            _ => false, // a target that does not exist yet is no source
        };
        match same {
            true => Err(Failure::Usage(format!("--into {} is what is rebuilt from: name another", self.into.display()))),
            false => Ok(()),
        }
    }
}

/// The rebuilt directory gets a log that goes on where its journal ends, so that `dev` can be started on it. One that is
/// there already was made by an earlier rebuild that was cut off later; a folder alone is none.
///
/// Its batches are published anew by the caller: a certificate belongs to the store that its blob lies in.
async fn begin_log(directory: &Path, journal: &Journal) -> Outcome {
    let next = |p| journal.head(p).map_or(Offset::FIRST, |head| head.next_offset);
    let starts: Vec<_> = journal.partitions().map(|p| (p, next(p))).collect();
    let settings = tributary_eventlog::Settings::default();
    let count = journal.genesis().partitions;
    match EmbeddedLog::create_at(directory, count, &starts, settings.clone()).await {
        Ok(log) => log.close().await,
        Err(LogError::Exists { .. }) => {
            let failed = |e: LogError| Failure::failed("the log that an earlier rebuild made cannot be opened", e);
            let log = EmbeddedLog::open(directory, count, settings).await.map_err(failed)?;
            let reaches = check_reaches(&log, &starts).await;
            log.close().await;
            reaches.map_err(|what| Failure::Failed(format!("the log in {}: {what}", directory.display())))?;
        }
        Err(error) => return Err(Failure::failed("the log cannot be made", error)),
    }
    Ok(())
}

/// A log that ends before its journal does stops every partition: the source grew between two rebuilds into one directory.
async fn check_reaches(log: &EmbeddedLog, starts: &[(Partition, Offset)]) -> Result<(), String> {
    for (partition, start) in starts {
        let next = log.bounds(*partition).await.map_err(|e| e.to_string())?.next;
        if next < *start {
            let what = format!("partition {partition} ends at offset {next}, but the rebuilt journal at {start}");
            return Err(format!("{what}: the source grew since the first attempt; rebuild into an empty directory"));
        }
    }
    Ok(())
}

fn render(report: &RebuildReport, into: &Path) -> String {
    let mut text = format!(
        "rebuilt deployment {} into {}\n  {} batches with {} events copied and checked\n  {} rows in {} tables\n  {} of {} epochs \
         compared with the tables of the source: equal\n",
        report.deployment,
        into.display(),
        report.batches,
        report.events,
        report.rows,
        report.tables,
        report.compared,
        report.epochs.len()
    );
    for e in &report.epochs {
        text += &format!("  epoch {}: {} wei for {} inferences, root {:#x}\n", e.epoch, e.fees, e.inferences, e.root);
    }
    text
}
