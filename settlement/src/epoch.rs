//! The job: closes an epoch, publishes its manifest, completes what an interrupted job left, recomputes a closed epoch.

use std::sync::Arc;
use std::time::Instant;

use object_store::ObjectStore;
use serde::Serialize;
use tributary_da::{Certificates, Manifests, names};
use tributary_indexer::lake::Lake;
use tributary_journal::Journal;
use tributary_query::{Engine, Session};
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Clock, Epoch};
use tributary_schemas::units::Hash;

use crate::compute::{Computed, Computer, Link};
use crate::error::SettlementError;
use crate::ledger::{Ceilings, EpochRow};
use crate::manifests::EpochManifests;
use crate::metrics::Metrics;
use crate::record::{EpochRecord, RULES_VERSION};
use crate::records::{EpochRecords, Written};
use crate::settings::Settings;
use crate::tables::read_epochs;

/// What to settle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SettleRequest {
    /// A closed epoch: recompute it. The next one, or none: close it.
    pub epoch: Option<Epoch>,
    /// Compute over what is certified and indexed now, without waiting for more, and write nothing.
    pub dry_run: bool,
}

/// What the job did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettleOutcome {
    /// Whether this job closed the epoch.
    pub closed: bool,
    /// The epoch it closed, or recomputed, or the latest; number 0 where none was closed yet. After a dry run the epoch
    /// that would be closed now.
    #[serde(flatten)]
    pub epoch: EpochRow,
    /// The certificate of its manifest as 0x text, from which alone everything up to the epoch can be rebuilt; `None` where no
    /// epoch is closed, and after a dry run.
    pub manifest: Option<String>,
}

/// The record that is settled: its store, and the stages over it.
#[derive(Clone)]
pub struct Stages {
    /// Everything lies here.
    pub store: Arc<dyn ObjectStore>,
    /// The sealed batches.
    pub journal: Arc<Journal>,
    /// What is certified.
    pub certificates: Arc<Certificates>,
    /// The tables.
    pub lake: Arc<Lake>,
    /// Reads them.
    pub engine: Arc<Engine>,
    /// Says when an epoch is closed.
    pub clock: Arc<dyn Clock>,
}

/// Settlement over one record.
pub struct Settlement {
    records: EpochRecords,
    journal: Arc<Journal>,
    certificates: Arc<Certificates>,
    computer: Computer,
    manifests: Option<EpochManifests>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    metrics: Metrics,
}

impl Settlement {
    /// A job over this record, which publishes manifests so. Nothing is read yet.
    pub fn new(stages: Stages, manifests: Manifests, settings: Settings) -> Self {
        let manifests = EpochManifests::new(manifests, Arc::clone(&stages.engine), settings.wait_max);
        Self { manifests: Some(manifests), ..Self::of_tables(stages, settings) }
    }

    /// A job that completes tables and publishes nothing: for a rebuild.
    pub(crate) fn of_tables(stages: Stages, settings: Settings) -> Self {
        let metrics = Metrics::default();
        let Stages { store, journal, certificates, lake, engine, clock } = stages;
        let computer = Computer {
            lake,
            engine,
            window: settings.window_inferences.max(1),
            lines_per_part: settings.lines_per_part.max(1),
            parts_kept_max: settings.parts_kept_max,
            metrics: metrics.clone(),
        };
        let records = EpochRecords::new(store, metrics.clone());
        Self { records, journal, certificates, computer, manifests: None, clock, settings, metrics }
    }

    /// What this job counts and times.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Closes the next epoch, unless nothing new is available; or recomputes the closed epoch that is asked for and
    /// compares it with its tables. Whatever an interrupted job left of closed epochs is completed first. When it returns,
    /// the rows are visible to queries, and the manifests of all closed epochs are certified. A dry run writes nothing and waits
    /// for nothing.
    ///
    /// # Errors
    /// `Late`: what was sealed when it began did not become available and indexed in time. `BackendNotAccepted`: some of it was
    /// certified by a backend whose word does not count. `Ceiling`: amounts above a configured ceiling. `ManifestPending`: the
    /// epoch is closed, but its manifest was not certified in time. `NoSuchEpoch`: neither closed nor the next. `Difference`: what
    /// is stored is not what follows from the batches. `Retry`: a store did not answer. After each of them it may be run again.
    pub async fn settle(&self, request: SettleRequest) -> Result<SettleOutcome, SettlementError> {
        let records = self.load().await?;
        let latest = records.last().map(|record| record.number);
        self.metrics.latest_epoch.set(latest.map_or(0, Epoch::as_i64));
        self.complete(&records, request.dry_run).await?;
        if !request.dry_run {
            self.publish_manifests(&records).await?;
        }
        let next = latest.map_or(Epoch::FIRST, Epoch::next);
        match request.epoch {
            Some(asked) if asked < next => self.recompute(&records, asked).await,
            Some(asked) if asked > next => Err(SettlementError::NoSuchEpoch { asked, latest }),
            _ => self.close(&records, request.dry_run).await,
        }
    }

    /// Writes the tables of closed epochs that lack them, in order; a job that died after its record left them out. Publishes
    /// nothing.
    ///
    /// # Errors
    /// As [`Self::settle`].
    pub async fn complete_closed(&self) -> Result<(), SettlementError> {
        let records = self.load().await?;
        self.complete(&records, false).await
    }

    /// All records. The tables are looked at first, since a record comes before its tables: so whatever other jobs do
    /// meanwhile, tables without a record are a difference.
    async fn load(&self) -> Result<Vec<EpochRecord>, SettlementError> {
        let written = self.computer.written().await?;
        let records = self.records.load().await?;
        if written > records.last().map(|record| record.number) {
            let what = format!("it has rows up to epoch {}, but records end before", written.map_or(0, Epoch::get));
            return Err(SettlementError::difference("table epochs", what));
        }
        Ok(records)
    }

    async fn complete(&self, records: &[EpochRecord], dry_run: bool) -> Result<(), SettlementError> {
        let written = self.computer.written().await?;
        for (i, record) in records.iter().enumerate().filter(|(_, record)| Some(record.number) > written) {
            if dry_run {
                let what = format!(
                    "epoch {} is closed, but its tables are incomplete; settle without a dry run completes them",
                    record.number
                );
                return Err(SettlementError::Refused(what));
            }
            let link = Link { record, previous: i.checked_sub(1).map(|before| &records[before]) };
            self.wait_indexed(&record.cut).await?;
            let computed = self.computer.compute(link, Ceilings::default()).await?;
            let root = computed.closed.row.root;
            if let Some(after) = records.get(i + 1).filter(|after| after.previous_root != root) {
                let what = format!("its root is {root:#x}, the record of epoch {} says {:#x}", after.number, after.previous_root);
                return Err(SettlementError::difference(format!("epoch {}", record.number), what));
            }
            tracing::info!(epoch = record.number.get(), "completing the tables of a closed epoch");
            self.computer.write(link, computed).await?;
        }
        Ok(())
    }

    async fn close(&self, records: &[EpochRecord], dry_run: bool) -> Result<SettleOutcome, SettlementError> {
        let previous = records.last();
        let last_cut = previous.map_or_else(Cut::empty, |previous| previous.cut.clone());
        let cut = match dry_run {
            true => self.cut_at_hand(&last_cut).await?,
            false => self.available_cut().await?,
        };
        if !cut.is_at_least(&last_cut) {
            let what = format!("the last epoch covers {last_cut}, but the journal ends at {cut}");
            return Err(SettlementError::difference("journal", what));
        }
        if cut == last_cut {
            return self.outcome(self.latest_row(previous).await?, dry_run).await;
        }
        self.check_backends(&last_cut, &cut).await?;
        self.wait_indexed(&cut).await?;
        let record = self.draft(cut, previous).await?;
        let link = Link { record: &record, previous };
        let Settings { max_fee, max_epoch_total, .. } = self.settings;
        let computed = self.computer.compute(link, Ceilings { max_fee, max_epoch_total }).await?;
        if dry_run {
            return Ok(SettleOutcome { closed: false, epoch: computed.closed.row, manifest: None });
        }
        self.commit(records, link, computed).await
    }

    /// The commit point: the record. Of two jobs one record wins, and both end with its epoch.
    async fn commit(
        &self,
        records: &[EpochRecord],
        link: Link<'_>,
        computed: Computed,
    ) -> Result<SettleOutcome, SettlementError> {
        match self.records.put(link.record).await? {
            Written::Won => {
                let row = computed.closed.row.clone();
                self.metrics.epochs_closed.inc();
                self.metrics.latest_epoch.set(link.record.number.as_i64());
                tracing::info!(epoch = row.epoch, cut = %row.cut, inferences = row.inferences, fees = row.fees, "closed an epoch");
                self.computer.write(link, computed).await?;
                let all: Vec<EpochRecord> = records.iter().chain([link.record]).cloned().collect();
                self.publish_manifests(&all).await?;
                Ok(SettleOutcome { closed: true, ..self.outcome(row.closed(), false).await? })
            }
            Written::Lost(theirs) => {
                self.metrics.epochs_lost.inc();
                let follows = theirs.check_follows(records.last());
                let name = crate::records::path(theirs.number).to_string();
                follows.map_err(|what| SettlementError::difference(name, what))?;
                let all: Vec<EpochRecord> = records.iter().cloned().chain([theirs]).collect();
                self.complete(&all, false).await?;
                self.publish_manifests(&all).await?;
                self.outcome(self.latest_row(all.last()).await?, false).await
            }
        }
    }

    /// The manifests of these epochs, as far as they are missing. Their tables must be complete.
    async fn publish_manifests(&self, records: &[EpochRecord]) -> Result<(), SettlementError> {
        match &self.manifests {
            Some(manifests) => manifests.complete(records).await,
            None => Ok(()),
        }
    }

    /// What is told of an epoch that was closed before, or of none.
    async fn outcome(&self, epoch: EpochRow, dry_run: bool) -> Result<SettleOutcome, SettlementError> {
        let manifest = match (&self.manifests, epoch.number()) {
            (Some(manifests), Some(number)) if !dry_run => manifests.certificate(number).await?,
            _ => None,
        };
        Ok(SettleOutcome { closed: false, epoch, manifest })
    }

    async fn recompute(&self, records: &[EpochRecord], asked: Epoch) -> Result<SettleOutcome, SettlementError> {
        let at = records.iter().position(|record| record.number == asked);
        let at = at.ok_or_else(|| SettlementError::Internal(format!("no record of epoch {asked}")))?;
        let link = Link { record: &records[at], previous: at.checked_sub(1).map(|before| &records[before]) };
        self.wait_indexed(&link.record.cut).await?;
        let computed = self.computer.compute(link, Ceilings::default()).await?.closed.row.closed();
        let stored = self.row_of(link.record).await?;
        if let Some((column, stored, computed)) = stored.difference(&computed) {
            let what = format!("{column} is {stored}, recomputed it is {computed}");
            return Err(SettlementError::difference(format!("table epochs, epoch {asked}"), what));
        }
        self.outcome(stored, false).await
    }

    /// Every blob of an epoch must be certified by a backend whose word counts here.
    async fn check_backends(&self, last: &Cut, cut: &Cut) -> Result<(), SettlementError> {
        let accepted = &self.settings.available_backends;
        let blobs = self.certificates.holding(last, cut).await?;
        match blobs.iter().find(|blob| !accepted.contains(blob.backend)) {
            Some(blob) => Err(SettlementError::BackendNotAccepted {
                object: names::certificate(blob.partition, blob.first_seq).to_string(),
                backend: blob.backend.to_owned(),
                accepted: accepted.iter().copied().collect::<Vec<_>>().join(", "),
            }),
            None => Ok(()),
        }
    }

    /// Notes what is sealed, and waits until all of it is certified, so that a partition that lags behind does not leave
    /// registrations out.
    async fn available_cut(&self) -> Result<Cut, SettlementError> {
        let began = Instant::now();
        let sealed = self.journal.refresh_all().await?;
        let deadline = tokio::time::Instant::now() + self.settings.wait_max;
        let certified = self.certificates.wait_for(&sealed, deadline).await?;
        assert!(certified.is_at_least(&sealed), "waited until {sealed} is certified, got {certified}");
        self.metrics.waited(began.elapsed());
        Ok(sealed)
    }

    /// What is certified and indexed now. It covers the last epoch, unless its tables of events were thrown away.
    async fn cut_at_hand(&self, last: &Cut) -> Result<Cut, SettlementError> {
        let indexed = self.computer.engine.indexed().await?;
        let reached = self.certificates.certified().await?.meet(&indexed);
        match reached.is_at_least(last) {
            true => Ok(reached),
            false => Err(SettlementError::Late { stage: "indexed", wanted: last.clone(), reached }),
        }
    }

    async fn wait_indexed(&self, cut: &Cut) -> Result<(), SettlementError> {
        let began = Instant::now();
        let deadline = tokio::time::Instant::now() + self.settings.wait_max;
        loop {
            let reached = self.computer.engine.indexed().await?;
            if reached.is_at_least(cut) {
                self.metrics.waited(began.elapsed());
                return Ok(());
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(SettlementError::Late { stage: "indexed", wanted: cut.clone(), reached });
            }
            tokio::time::sleep(self.settings.poll_every).await;
        }
    }

    async fn draft(&self, cut: Cut, previous: Option<&EpochRecord>) -> Result<EpochRecord, SettlementError> {
        let now = self.clock.now();
        let root = match previous {
            Some(previous) => self.row_of(previous).await?.root,
            None => Hash::ZERO,
        };
        Ok(EpochRecord {
            number: previous.map_or(Epoch::FIRST, |previous| previous.number.next()),
            cut,
            treasury: self.settings.treasury,
            rules_version: RULES_VERSION,
            closed_at: previous.map_or(now, |previous| previous.closed_at.max(now)),
            previous_hash: previous.map_or(Hash::ZERO, EpochRecord::hash),
            previous_root: root,
        })
    }

    async fn latest_row(&self, latest: Option<&EpochRecord>) -> Result<EpochRow, SettlementError> {
        match latest {
            Some(record) => self.row_of(record).await,
            None => {
                let born = self.journal.genesis().created_at;
                Ok(EpochRow::before_first(born, self.settings.treasury, RULES_VERSION))
            }
        }
    }

    async fn row_of(&self, record: &EpochRecord) -> Result<EpochRow, SettlementError> {
        let session = self.computer.engine.session_unlimited(&record.cut).await?;
        let row = read_row(&session, record.number).await?;
        row.ok_or_else(|| SettlementError::difference("table epochs", format!("it has no row for epoch {}", record.number)))
    }
}

/// The row of an epoch, if its tables are complete.
pub(crate) async fn read_row(session: &Session, epoch: Epoch) -> Result<Option<EpochRow>, SettlementError> {
    let mut rows = Vec::new();
    for batch in session.collect(&format!("SELECT * FROM epochs WHERE epoch = {epoch}")).await? {
        rows.extend(read_epochs(&batch)?);
    }
    if rows.len() > 1 {
        return Err(SettlementError::difference("table epochs", format!("it has {} rows for epoch {epoch}", rows.len())));
    }
    Ok(rows.pop())
}
