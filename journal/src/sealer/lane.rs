//! One partition of the sealer: read, drop duplicates, seal, write, remember, release. In this order, for the
//! seen-index may hold only what is in the journal, and the log may forget only what is durable in it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tributary_eventlog::{LogError, LoggedRecord};
use tributary_schemas::ids::{Offset, Partition};

use super::candidate::{Candidate, Examined, Limits, Sealed, examine};
use super::{Shared, gaps};
use crate::background::blocking;
use crate::error::JournalError;
use crate::header::Header;
use crate::metrics::PartitionLabel;
use crate::seen::{self, SeenWriter};

/// How long a candidate that is neither full nor old rests before the log is read again: a few large reads instead of
/// one for each record.
const LINGER: Duration = Duration::from_millis(15);

/// How often the lag is told while there is some.
const TELL_LAG_EVERY: Duration = Duration::from_secs(1);

/// What to do after a turn.
pub(super) enum Turn {
    /// There is more to do at once.
    Again,
    /// Nothing is worth doing for this long.
    Rest(Duration),
    /// Nothing is left to do before a record lies at this offset.
    Idle { from: Offset },
}

/// The state of one partition between turns. Losing all of it (a future dropped half-way) loses nothing: it is read again.
pub(super) struct Lane {
    shared: Arc<Shared>,
    partition: Partition,
    /// What the work below continues.
    ready: Option<Ready>,
    work: Option<Work>,
    /// A batch that was offered and may or may not be written: it is offered again, byte for byte.
    in_hand: Option<Arc<Sealed>>,
    /// Whether work is taken out. If it still is when the next turn begins, an error or the end of a future has cut it off: it is
    /// gone, and so is the proof that the next read follows what was read before.
    is_out: bool,
    /// The list of identities that is being written.
    listing: Option<JoinHandle<()>>,
    /// When the lag was told last.
    lag_told: Option<Instant>,
}

/// The head that log and seen-index were compared with. A batch is made to follow this one, never a newer one that another
/// sealer of this process brought: its offsets would be sealed twice.
struct Ready {
    head: Option<Header>,
    /// Writes what is sealed next into the seen-index.
    seen: SeenWriter,
}

struct Work {
    candidate: Candidate,
    /// Read and decoded, but not yet part of the candidate.
    pending: VecDeque<Examined>,
}

impl Lane {
    pub(super) fn new(shared: Arc<Shared>, partition: Partition) -> Self {
        Self { shared, partition, ready: None, work: None, in_hand: None, is_out: false, listing: None, lag_told: None }
    }

    /// Takes what the log holds, and seals once if the candidate is full or old.
    pub(super) async fn turn(&mut self) -> Result<Turn, JournalError> {
        self.prepare().await?;
        if self.in_hand.is_some() {
            self.offer().await?;
            return Ok(Turn::Again);
        }
        self.fill().await?;
        if self.ready.is_none() {
            return Ok(Turn::Again);
        }
        let work = self.work();
        let Some(since) = work.candidate.since() else {
            let from = work.candidate.next_offset();
            self.tell_lag(0);
            return Ok(Turn::Idle { from });
        };
        let full = work.candidate.is_full();
        let left = self.shared.age_left(since);
        if !full && !left.is_zero() {
            return Ok(Turn::Rest(left.min(LINGER)));
        }
        self.seal().await?;
        Ok(Turn::Again)
    }

    /// Compares log and journal again before anything else is read: the partition may have been another's meanwhile.
    pub(super) fn forget(&mut self) {
        (self.ready, self.work, self.in_hand) = (None, None, None);
    }

    /// Seals whatever is there until everything before `target` is sealed.
    pub(super) async fn seal_up_to(&mut self, target: Offset) -> Result<(), JournalError> {
        // Each round moves the head: by its own batch, or by another sealer's.
        loop {
            self.prepare().await?;
            if self.sealed_up_to() >= target {
                return Ok(());
            }
            if self.in_hand.is_none() {
                self.fill().await?;
                if self.ready.is_none() {
                    continue;
                }
                if self.work().candidate.since().is_none() {
                    let reason = format!("the log said it holds the records before offset {target}, but gives none");
                    return Err(JournalError::corrupt(format!("partition {}", self.partition), reason));
                }
            }
            self.seal().await?;
        }
    }

    /// Seals what was read already, as before an orderly end.
    pub(super) async fn seal_in_hand(&mut self) -> Result<(), JournalError> {
        if self.in_hand.is_some() {
            self.offer().await?;
        }
        if self.ready.is_some() && self.work.as_ref().is_some_and(|work| work.candidate.since().is_some()) {
            self.seal().await?;
        }
        self.listed().await;
        Ok(())
    }

    fn sealed_up_to(&self) -> Offset {
        self.base().map_or(Offset::FIRST, |header| header.next_offset)
    }

    /// The header that the next batch follows.
    fn base(&self) -> Option<&Header> {
        self.ready.as_ref().and_then(|ready| ready.head.as_ref())
    }

    fn work(&mut self) -> &mut Work {
        let from = self.sealed_up_to();
        self.work.get_or_insert_with(|| Work { candidate: Candidate::new(from), pending: VecDeque::new() })
    }

    /// After a start, a lost race or a failure: checks the log for gaps and brings the seen-index up to the head.
    async fn prepare(&mut self) -> Result<(), JournalError> {
        let shared = self.shared.clone();
        // Ends when the head stands still; each round it has moved.
        loop {
            if std::mem::take(&mut self.is_out) {
                self.ready = None;
            }
            let head = shared.journal.head(self.partition);
            if self.ready.as_ref().is_some_and(|ready| ready.head == head) {
                return Ok(());
            }
            (self.ready, self.work, self.in_hand) = (None, None, None);
            self.check_partitions()?;
            if let Err(error) = gaps::check(&*shared.log, self.partition, head.as_ref()).await {
                // Another process may have sealed and released what looks like a gap from here.
                if error.is_corrupt() && shared.journal.refresh(self.partition).await? != head {
                    continue;
                }
                return Err(error);
            }
            let seen = seen::catch_up(&shared.seen, &shared.journal, self.partition, shared.settings.seen_window).await?;
            self.ready = Some(Ready { head, seen });
        }
    }

    fn check_partitions(&self) -> Result<(), JournalError> {
        let (logged, born) = (self.shared.log.partition_count(), self.shared.journal.genesis().partitions);
        if logged == born {
            return Ok(());
        }
        let (logged, born) = (logged.get(), born.get());
        Err(JournalError::Refused(format!("the event log has {logged} partitions, but the deployment was born with {born}")))
    }

    /// Reads until the candidate is full or the log has no more. Finds itself not ready any more when the log has forgotten
    /// what it was about to read.
    async fn fill(&mut self) -> Result<(), JournalError> {
        self.work();
        // Each round takes at least one record or fills the candidate, whose records are limited.
        while let Some(mut work) = self.work.take_if(|work| !work.candidate.is_full()) {
            self.is_out = true;
            let read = if work.pending.is_empty() { self.read(work.candidate.next_offset()).await } else { Ok(Vec::new()) };
            let records = match read {
                // What was taken before it is sealed first.
                Err(error) if error.is_corrupt() && work.candidate.since().is_some() => {
                    work.candidate.close();
                    (self.work, self.is_out) = (Some(work), false);
                    return Ok(());
                }
                read => read?,
            };
            if records.is_empty() && work.pending.is_empty() {
                (self.work, self.is_out) = (self.ready.is_some().then_some(work), false);
                return Ok(());
            }
            let (shared, partition, base) = (self.shared.clone(), self.partition, self.base().cloned());
            self.work = Some(blocking(move || work.advance(&shared, partition, base, records)).await?);
            self.is_out = false;
        }
        Ok(())
    }

    async fn read(&mut self, from: Offset) -> Result<Vec<LoggedRecord>, JournalError> {
        match self.shared.log.read(self.partition, from, self.shared.settings.read_bytes_max).await {
            Ok(records) => Ok(records),
            #[cfg(test)]
            Err(LogError::Interrupted { .. }) if self.reads_on() => self.read_on(from).await,
            Err(LogError::OutOfRange { .. } | LogError::Interrupted { .. }) => {
                // A gap, or another sealer's doing: preparing again tells which.
                self.ready = None;
                Ok(Vec::new())
            }
            Err(error) => Err(JournalError::log(self.partition, error)),
        }
    }

    /// Makes a batch of the candidate and offers it.
    async fn seal(&mut self) -> Result<(), JournalError> {
        if self.in_hand.is_none() {
            let Some(work) = self.work.take() else { return Ok(()) };
            self.is_out = true;
            let (previous, deployment) = (self.base().cloned(), self.shared.journal.genesis().deployment);
            let (partition, now) = (self.partition, self.shared.clock.now());
            let candidate = work.candidate;
            let sealed = blocking(move || candidate.seal(deployment, partition, previous, now)).await?;
            (self.in_hand, self.is_out) = (sealed.map(Arc::new), false);
            self.work = self
                .in_hand
                .as_ref()
                .map(|sealed| Work { candidate: Candidate::new(sealed.batch.header.next_offset), pending: work.pending });
        }
        self.offer().await
    }

    /// Writes the batch in hand. Won: index, log and metrics follow. Lost: it is dropped with its identities, and the next
    /// turn goes on from what the winner wrote. In doubt, which includes a future dropped half-way: it stays in hand.
    async fn offer(&mut self) -> Result<(), JournalError> {
        let Some(sealed) = self.in_hand.clone() else { return Ok(()) };
        let label = PartitionLabel(self.partition);
        let began = Instant::now();
        match self.shared.journal.append(&sealed.batch).await {
            Ok(()) => {
                self.shared.metrics.seal_seconds.get_or_create(&label).observe(began.elapsed().as_secs_f64());
                self.in_hand = None;
                self.won(&sealed).await
            }
            Err(JournalError::Fenced { seq, .. }) => {
                tracing::info!(partition = %self.partition, %seq, "another sealer wrote the batch");
                self.shared.metrics.fenced.get_or_create(&label).inc();
                #[cfg(test)]
                if let Some(rule) = crate::simulation::planted::missing() {
                    return self.lose_without(rule, &sealed).await;
                }
                (self.ready, self.work, self.in_hand) = (None, None, None);
                self.shared.journal.refresh(self.partition).await.map(|_| ())
            }
            Err(error) => {
                if !error.is_retry() {
                    (self.ready, self.work, self.in_hand) = (None, None, None);
                }
                Err(error)
            }
        }
    }

    async fn won(&mut self, sealed: &Arc<Sealed>) -> Result<(), JournalError> {
        self.count(sealed);
        self.list_identities(sealed.clone()).await;
        // Until the index holds the batch, no candidate may be compared with it.
        let Some(Ready { seen, .. }) = self.ready.take() else { return Ok(()) };
        let header = sealed.batch.header.clone();
        let horizon = seen::horizon(header.sealed_at, self.shared.settings.seen_window);
        let (writer, recorded) = (seen.clone(), sealed.clone());
        match blocking(move || writer.record(&recorded.batch.header, &recorded.entries, horizon)).await {
            Ok(true) => self.ready = Some(Ready { head: Some(header.clone()), seen }),
            // Another sealer of this process brought the index up to date meanwhile: preparing again sees how far.
            Ok(false) => self.work = None,
            Err(error) => {
                self.work = None;
                return Err(error);
            }
        }
        // Best effort: the next release covers this one too.
        if let Err(error) = self.shared.log.release(self.partition, header.next_offset).await {
            tracing::warn!(partition = %self.partition, %error, "sealed records could not be released");
        }
        // Where the log ends is a question to a remote one: asked now and then.
        if self.lag_told.is_none_or(|told| told.elapsed() >= TELL_LAG_EVERY)
            && let Ok(bounds) = self.shared.log.bounds(self.partition).await
        {
            self.tell_lag(bounds.next.get().saturating_sub(header.next_offset.get()));
        }
        Ok(())
    }

    /// Has the list of the batch's identities written, while the next batch is made.
    async fn list_identities(&mut self, sealed: Arc<Sealed>) {
        self.listed().await;
        let (journal, label) = (self.shared.journal.clone(), PartitionLabel(self.partition));
        self.listing = Some(tokio::spawn(async move {
            if let Err(error) = journal.put_ids(&sealed.batch.header, &sealed.entries).await {
                tracing::debug!(partition = %label.0, %error, "the list of identities is not written");
                journal.metrics().ids_errors.get_or_create(&label).inc();
            }
        }));
    }

    /// Waits for the list that is being written.
    async fn listed(&mut self) {
        if let Some(listing) = self.listing.take() {
            // One that broke is told by the counter of errors, or was cut off by the end of the process.
            let _ = listing.await;
        }
    }

    fn tell_lag(&mut self, lag: u64) {
        let label = PartitionLabel(self.partition);
        self.shared.metrics.lag.get_or_create(&label).set(i64::try_from(lag).unwrap_or(i64::MAX));
        self.lag_told = Some(Instant::now());
    }

    fn count(&self, sealed: &Sealed) {
        let (metrics, label) = (&self.shared.metrics, PartitionLabel(self.partition));
        metrics.batches.get_or_create(&label).inc();
        metrics.events.get_or_create(&label).inc_by(u64::from(sealed.batch.header.events));
        metrics.bytes.get_or_create(&label).inc_by(sealed.batch.encoded.len() as u64);
        metrics.duplicates.get_or_create(&label).inc_by(sealed.duplicates);
        metrics.conflicts.get_or_create(&label).inc_by(sealed.conflicts);
    }
}

impl Work {
    /// Decodes the records and takes what the candidate has room for.
    fn advance(
        mut self,
        shared: &Shared,
        partition: Partition,
        base: Option<Header>,
        records: Vec<LoggedRecord>,
    ) -> Result<Self, JournalError> {
        match examine(partition, self.candidate.next_offset(), records) {
            Ok(examined) => self.pending.extend(examined),
            // What was taken before it is sealed first.
            Err(_) if self.candidate.since().is_some() => self.candidate.close(),
            Err(error) => return Err(error),
        }
        // The batch is sealed now or later, and never before the one it follows.
        let now = shared.clock.now();
        let sealed_at = base.map_or(now, |header| header.sealed_at.max(now));
        let horizon = seen::horizon(sealed_at, shared.settings.seen_window);
        let limits = Limits {
            bytes: shared.settings.batch_bytes_max.min(crate::batch::BODY_BYTES_MAX) as usize,
            records: shared.settings.batch_records_max,
        };
        let lookup = |identities: &[_]| shared.seen.lookup(partition, identities, horizon);
        self.candidate.take(&mut self.pending, &lookup, limits, now)?;
        Ok(self)
    }
}

#[cfg(test)]
mod planted;
