//! An epoch as a pure function of its record and what its cut covers, and its tables.

use std::sync::Arc;
use std::time::Instant;

use tributary_indexer::lake::Lake;
use tributary_query::{Engine, Session};
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::Epoch;
use tributary_schemas::tables::Table;

use crate::allocate::{Due, Line};
use crate::due::{DueQuery, Take, each, read_registry, settle_due};
use crate::error::SettlementError;
use crate::ledger::{Ceilings, Closed, Cumulative, Tally};
use crate::metrics::Metrics;
use crate::parts::{APPLICATION, Part, Parts};
use crate::record::EpochRecord;
use crate::tables::{self, account, wei};

/// Computes epochs and writes their tables.
#[derive(Clone)]
pub(crate) struct Computer {
    pub(crate) lake: Arc<Lake>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) window: usize,
    pub(crate) lines_per_part: usize,
    pub(crate) parts_kept_max: usize,
    pub(crate) metrics: Metrics,
}

/// A computed epoch.
pub(crate) struct Computed {
    pub(crate) closed: Closed,
    /// Its lines; `None` if they were too many to be kept.
    parts: Option<Vec<Part>>,
}

/// The epoch to compute and the cut of the one before.
#[derive(Clone, Copy)]
pub(crate) struct Link<'a> {
    pub(crate) record: &'a EpochRecord,
    pub(crate) previous: Option<&'a EpochRecord>,
}

impl Computer {
    /// Computes the epoch at its cut, which must be indexed; the tables of the epochs before must be complete.
    pub(crate) async fn compute(&self, link: Link<'_>, ceilings: Ceilings) -> Result<Computed, SettlementError> {
        let began = Instant::now();
        let record = link.record;
        let session = self.engine.session_unlimited(&record.cut).await?;
        let before = cumulative_before(&session, record).await?;
        let parts = Parts::new(record.number, self.lines_per_part);
        let (tally, kept) = (Tally::new(before, ceilings), Some(Vec::new()));
        let mut keep = Keep { tally, parts, kept, kept_max: self.parts_kept_max };
        self.settle_all(&session, link, &mut keep).await?;
        let Keep { tally, parts, mut kept, .. } = keep;
        let closed = tally.close(record)?;
        if let Some(kept) = &mut kept {
            kept.push(parts.finish()?);
        }
        self.metrics.computed(began.elapsed());
        Ok(Computed { closed, parts: kept })
    }

    /// Writes the tables of a closed epoch, the row in `epochs` last. Doing it again, or by two jobs at once, changes
    /// nothing.
    pub(crate) async fn write(&self, link: Link<'_>, computed: Computed) -> Result<(), SettlementError> {
        let (epoch, closed) = (link.record.number, &computed.closed);
        match computed.parts {
            Some(parts) => {
                for part in parts {
                    part.write(&self.lake, epoch).await?;
                }
            }
            None => self.write_again(link, closed).await?,
        }
        let txn = [(APPLICATION.to_owned(), epoch.as_i64())];
        self.lake.append(Table::Rewards, tables::rewards(epoch, closed)?, &txn).await?;
        self.lake.append(Table::Cumulative, tables::cumulative(epoch, closed)?, &txn).await?;
        self.lake.append(Table::Epochs, tables::epoch(&closed.row)?, &txn).await?;
        self.metrics.epochs_written.inc();
        self.metrics.inferences.inc_by(closed.row.inferences);
        self.metrics.lines.inc_by(closed.lines);
        Ok(())
    }

    /// The last epoch whose tables are complete.
    pub(crate) async fn written(&self) -> Result<Option<Epoch>, SettlementError> {
        let snapshot = self.lake.snapshot(Table::Epochs).await?;
        Ok(snapshot.txns.get(APPLICATION).and_then(|version| u64::try_from(*version).ok()).and_then(Epoch::new))
    }

    /// Computes the lines a second time and writes them part by part.
    async fn write_again(&self, link: Link<'_>, closed: &Closed) -> Result<(), SettlementError> {
        let record = link.record;
        let session = self.engine.session_unlimited(&record.cut).await?;
        let before = cumulative_before(&session, record).await?;
        let tally = Tally::new(before, Ceilings::default());
        let parts = Parts::new(record.number, self.lines_per_part);
        let mut write = Write { tally, parts, lake: &self.lake, epoch: record.number };
        self.settle_all(&session, link, &mut write).await?;
        let Write { tally, parts, .. } = write;
        let again = tally.close(record)?;
        if let Some((column, first, second)) = closed.row.difference(&again.row) {
            let what = format!("computed twice, {column} is {first} and then {second}");
            return Err(SettlementError::difference(format!("epoch {}", record.number), what));
        }
        parts.finish()?.write(&self.lake, record.number).await
    }

    async fn settle_all(&self, session: &Session, link: Link<'_>, take: &mut impl Take) -> Result<(), SettlementError> {
        let registry = read_registry(session).await?;
        let none = Cut::empty();
        let query = DueQuery {
            epoch: link.record.number,
            previous: link.previous.map_or(&none, |previous| &previous.cut),
            treasury: link.record.treasury,
            window: self.window,
        };
        settle_due(session, &registry, query, take).await
    }
}

/// What every account had earned before this epoch, checked against the root that the record gives of it.
async fn cumulative_before(session: &Session, record: &EpochRecord) -> Result<Cumulative, SettlementError> {
    let Some(previous) = record.number.previous() else { return Ok(Cumulative::default()) };
    let cumulative = read_cumulative(session, previous).await?;
    let root = cumulative.tree().root();
    if root != record.previous_root {
        let what =
            format!("the root of its rows is {root:#x}, the record of epoch {} says {:#x}", record.number, record.previous_root);
        return Err(SettlementError::difference(format!("table cumulative, epoch {previous}"), what));
    }
    Ok(cumulative)
}

/// The rows of `cumulative` of one epoch.
pub(crate) async fn read_cumulative(session: &Session, epoch: Epoch) -> Result<Cumulative, SettlementError> {
    let mut cumulative = Cumulative::default();
    each(session, &format!("SELECT account, cumulative FROM cumulative WHERE epoch = {epoch}"), |columns| {
        let (accounts, amounts) = (columns.texts("account")?, columns.amounts("cumulative")?);
        for (text, amount) in accounts.iter().flatten().zip(amounts.iter().flatten()) {
            let of = account("cumulative.account", text)?;
            let amount = wei("cumulative.cumulative", amount)?;
            if amount == 0 || cumulative.of(&of) > 0 || cumulative.add(of, amount).is_none() {
                let what = "each account has one row, with an amount above 0";
                return Err(SettlementError::difference(format!("table cumulative, epoch {epoch}, account {of}"), what));
            }
        }
        Ok(())
    })
    .await?;
    Ok(cumulative)
}

/// Adds up, and keeps the lines while they are few.
struct Keep {
    tally: Tally,
    parts: Parts,
    kept: Option<Vec<Part>>,
    kept_max: usize,
}

impl Take for Keep {
    async fn take(&mut self, due: &Due<'_>, lines: &[Line<'_>]) -> Result<(), SettlementError> {
        self.tally.add(due, lines)?;
        let Some(kept) = &mut self.kept else { return Ok(()) };
        if let Some(part) = self.parts.add(due, lines)? {
            kept.push(part);
            if kept.len() > self.kept_max {
                self.kept = None;
            }
        }
        Ok(())
    }
}

/// Adds up, and writes the lines part by part.
struct Write<'a> {
    tally: Tally,
    parts: Parts,
    lake: &'a Lake,
    epoch: Epoch,
}

impl Take for Write<'_> {
    async fn take(&mut self, due: &Due<'_>, lines: &[Line<'_>]) -> Result<(), SettlementError> {
        self.tally.add(due, lines)?;
        if let Some(part) = self.parts.add(due, lines)? {
            part.write(self.lake, self.epoch).await?;
        }
        Ok(())
    }
}
