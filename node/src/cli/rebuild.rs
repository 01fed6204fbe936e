//! `tributary rebuild`: the lake and all epochs again, in another directory.

mod traces;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use object_store::ObjectStore;
use tributary_eventlog::embedded::EmbeddedLog;
use tributary_eventlog::{EventLog, LogError};
use tributary_journal::Journal;
use tributary_journal::storage::LocalStore;
use tributary_schemas::ids::{Clock, Offset, Partition, SystemClock};
use tributary_settlement::{RebuildReport, rebuild_from_da, rebuild_from_journal};

use super::settle::failure;
use crate::config::{Backend, Config};
use crate::exit::{Failure, Outcome};
use crate::progress::Bars;
use crate::wire::{self, Record};
use traces::Traces;

/// Arguments of `rebuild`.
#[derive(Args)]
pub struct Rebuild {
    /// What to rebuild from.
    #[arg(long, value_enum)]
    from: Source,
    /// The directory to rebuild into: new, or holding an unfinished rebuild of the same deployment; other files stay.
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// For --from da, the certificate of the manifest to begin with, as `settle` prints it; nothing that was certified later is
    /// rebuilt [default: the last manifest that the store has, and what was certified after it].
    #[arg(long, value_name = "CERT", value_parser = parse_certificate)]
    manifest: Option<Bytes>,
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
    /// Blobs alone, from the configured backend or from the archive in the store.
    Da,
}

impl Rebuild {
    /// Rebuilds, and compares roots on the way.
    pub async fn run(self) -> Outcome {
        if self.from == Source::Journal && self.manifest.is_some() {
            return Err(Failure::Usage("--manifest is for --from da".to_owned()));
        }
        let config = self.data.load()?;
        self.check_into(&config)?;
        let source = self.source(&config)?;
        let traces = Traces::before(&self.into);
        let lock = wire::take(&self.into)?;
        let report = match self.rebuild(&config, source).await {
            Ok(report) => report,
            Err(failure) => {
                traces.remove();
                return Err(failure);
            }
        };
        let copy = config_of_copy(config, &self.into);
        let record = Record::open(&copy, None).await?;
        begin_log(&self.into.join("log"), &record.journal).await?;
        if self.from == Source::Journal {
            publish_anew(&record, &copy).await?;
        }
        drop(lock);
        if self.json {
            return super::print_json(&report);
        }
        print!("{}", render(&report, &self.into));
        Ok(())
    }

    /// The store that is rebuilt from, and where it is. With a certificate there need not be one: the backend, or an archive, has the
    /// rest.
    fn source(&self, config: &Config) -> Result<(Arc<dyn ObjectStore>, String), Failure> {
        let folder = wire::store_directory(config)?;
        let needed = if self.from == Source::Journal { "journal" } else { "da" };
        if folder.join(needed).is_dir() {
            return Ok((wire::store_to_read(&folder)?, folder.display().to_string()));
        }
        if self.manifest.is_some() && config.da.backend()? != Backend::Local {
            return Ok((wire::no_store(), format!("{}, where there is no `da`", folder.display())));
        }
        let directory = self.named(config).display();
        Err(Failure::Failed(match self.from {
            Source::Journal => format!("{directory} is no data directory: it has no journal"),
            Source::Da => format!(
                "{directory} has no blobs (`da` in its store): name the data directory or the store that has them, or a backend in \
                 the configuration and the certificate of a manifest with --manifest"
            ),
        }))
    }

    async fn rebuild(&self, config: &Config, source: (Arc<dyn ObjectStore>, String)) -> Result<RebuildReport, Failure> {
        let target = LocalStore::open(self.into.join("store")).map_err(|e| Failure::failed("the target cannot be opened", e))?;
        let (clock, bars): (Arc<dyn Clock>, _) = (Arc::new(SystemClock), Bars::new());
        let rebuilt = match self.from {
            Source::Journal => rebuild_from_journal(source.0, target, clock, &bars).await,
            Source::Da => {
                let source = wire::blob_source(config, source, self.manifest.clone())?;
                rebuild_from_da(source, target, clock, &bars).await
            }
        };
        bars.finish();
        rebuilt.map_err(failure)
    }

    /// What the source was named by.
    fn named<'a>(&self, config: &'a Config) -> &'a Path {
        if config.store.url.is_empty() { &config.data.dir } else { Path::new(&config.store.url) }
    }

    /// The target may lie inside the data directory, but must not be it.
    fn check_into(&self, config: &Config) -> Outcome {
        // What does not exist yet is no source.
        let same = |a: &Path, b: &Path| a.canonicalize().ok().zip(b.canonicalize().ok()).is_some_and(|(a, b)| a == b);
        match same(&config.data.dir, &self.into) || same(&wire::store_directory(config)?, &self.into.join("store")) {
            true => Err(Failure::Usage(format!("--into {} is what is rebuilt from: name another", self.into.display()))),
            false => Ok(()),
        }
    }
}

fn parse_certificate(text: &str) -> Result<Bytes, String> {
    let bytes = tributary_da::parse_hex(&text.to_ascii_lowercase())?;
    match bytes.is_empty() {
        true => Err("it is empty".to_owned()),
        false => Ok(bytes),
    }
}

/// A rebuilt directory is a copy: nobody is paid for it.
fn config_of_copy(mut config: Config, into: &Path) -> Config {
    config.data.dir = into.to_owned();
    config.store.url.clear();
    "local".clone_into(&mut config.da.backend);
    config.da.failover_backend.clear();
    config.da.paused = false;
    config
}

/// A certificate belongs to the store that its blob lies in: what came from a journal is published again, blobs and manifests.
async fn publish_anew(record: &Record, config: &Config) -> Outcome {
    let published = record.publisher(config).publish_available().await;
    published.map_err(|e| Failure::failed("publishing what was rebuilt", e))?;
    record.publish_manifests(config).await.map_err(failure)
}

/// The rebuilt directory gets a log that goes on where its journal ends, so that `dev` can be started on it. One that is
/// there already was made by an earlier rebuild that was cut off later; a folder alone is none.
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
    let (from, against) = match report.blobs {
        Some(blobs) => (format!("{blobs} blobs fetched and checked against their certificates\n  "), "their manifests"),
        None => (String::new(), "the tables of the source"),
    };
    let mut text = format!(
        "rebuilt deployment {} into {}\n  {from}{} batches with {} events copied and checked\n  {} rows in {} tables\n  {} of {} \
         epochs compared with {against}: equal\n",
        report.deployment,
        into.display(),
        report.batches,
        report.events,
        report.rows,
        report.tables,
        report.compared,
        report.epochs.len()
    );
    if let Some(archived) = report.from_archive.as_ref().filter(|archived| archived.blobs_from_archive > 0) {
        text += &format!("  {archived}\n");
    }
    if let Some(unpublished @ 1..) = report.epochs_without_manifest {
        text += &format!(
            "  {unpublished} epochs that are closed there are not among them, for want of a whole manifest: `tributary settle` there \
             completes it\n"
        );
    }
    for e in &report.epochs {
        text += &format!("  epoch {}: {} wei for {} inferences, root {:#x}\n", e.epoch, e.fees, e.inferences, e.root);
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tributary_da::{DaClient, LocalDa};

    use super::*;

    #[tokio::test]
    async fn a_certificate_whose_payload_is_nowhere_is_no_difference_and_leaves_no_trace_of_the_rebuild() {
        let folder = tempfile::tempdir().unwrap();
        let (file, into) = (folder.path().join("eigenda.toml"), folder.path().join("new/again"));
        std::fs::write(&file, "[da]\nbackend = \"eigenda\"\nproxy_url = \"http://127.0.0.1:1\"\n").unwrap();
        let local = LocalDa::new(wire::no_store(), Arc::new(SystemClock));
        let certificate = local.disperse(Bytes::from_static(b"a manifest")).await.unwrap();
        let rebuild = Rebuild {
            from: Source::Da,
            into: into.clone(),
            manifest: Some(certificate.bytes),
            data: super::super::DataArguments { data_dir: Some(folder.path().join("nowhere")), config: Some(file.clone()) },
            json: true,
        };
        let failure = rebuild.run().await.unwrap_err();
        let text = failure.to_string();
        assert_eq!(failure.code(), crate::exit::FAILED, "{text}");
        assert!(text.ends_with("[settlement_unavailable]"), "{text}");
        assert!(text.contains("the payload da/blobs/0x") && text.contains("the archive does not have it"), "{text}");
        assert!(text.contains("nowhere/store, where there is no `da`"), "{text}");
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [file]);
    }
}
