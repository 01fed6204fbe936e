//! The tables of settlement against a replay of the batches.

use std::collections::BTreeMap;

use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use tributary_query::Session;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::Epoch;
use tributary_schemas::tables::Table;
use tributary_schemas::units::{Address, Hash};

use super::no_more::RowCounts;
use super::{Report, Sources};
use crate::allocate::{Line, Role};
use crate::compute::read_cumulative;
use crate::due::each;
use crate::epoch::read_row;
use crate::error::SettlementError;
use crate::invariant::Invariant;
use crate::ledger::{Cumulative, EpochRow};
use crate::progress::Progress;
use crate::record::EpochRecord;
use crate::replay::{FoldError, State, fold_range};
use crate::tables::{Columns, account, wei};

/// Replays epoch after epoch; compares the tables of the one asked for, or of all: S1, S2 and S3. Gives how many rows there
/// must be.
pub(super) async fn check(
    sources: &Sources,
    records: &[EpochRecord],
    only: Option<Epoch>,
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<RowCounts, SettlementError> {
    progress.stage("epochs", Some(records.len() as u64));
    let mut counts = RowCounts::default();
    let mut state = State::default();
    let mut earned = Cumulative::default();
    let mut cut = Cut::empty();
    let mut root = Hash::ZERO;
    for record in records {
        if record.previous_root != root {
            let what = format!("previous_root is {:#x}, recomputed it is {root:#x}", record.previous_root);
            return Err(Invariant::S3.broken(crate::records::path(record.number).to_string(), what));
        }
        fold_range(&mut state, &sources.journal, &cut, &record.cut).await.map_err(fold_failure)?;
        let compare = only.is_none_or(|only| only == record.number);
        let mut replayed = Replayed::default();
        let settled: Vec<Box<str>> = {
            let due = state.due(&cut);
            let session = if compare { Some(sources.engine.session_unlimited(&record.cut).await?) } else { None };
            let mut stored = match &session {
                Some(session) => Some(Stored::open(session, record.number).await?),
                None => None,
            };
            for id in due.ids() {
                let lines =
                    due.share(id, record.treasury, |due, lines| replayed.add(due.fee.get(), due.entries.is_some(), lines))?;
                if let Some(stored) = &mut stored {
                    report.lines += stored.compare(id, &replayed, lines).await?;
                }
            }
            if let Some(stored) = &mut stored {
                stored.end().await?;
            }
            due.ids().iter().map(|id| (*id).into()).collect()
        };
        replayed.accumulate(&mut earned, record.number)?;
        replayed.count(&earned, &mut counts);
        state.settle(settled);
        root = earned.tree().root();
        if compare {
            let session = sources.engine.session_unlimited(&record.cut).await?;
            compare_rewards(&session, record.number, &replayed).await?;
            compare_cumulative(&session, record.number, &earned).await?;
            report.epochs.push(compare_row(&session, record, &replayed, &earned).await?);
            report.inferences += replayed.inferences;
        }
        cut = record.cut.clone();
        progress.advance(1);
    }
    Ok(counts)
}

fn fold_failure(error: FoldError) -> SettlementError {
    match error {
        FoldError::Journal(error) => Invariant::J3.name_in(error.into()),
        FoldError::Batch(partition, seq, damage) => Invariant::J3.broken(super::chain::name(partition, seq), damage.to_string()),
        FoldError::Event(partition, seq, ordinal, error) => {
            Invariant::J3.broken(super::chain::name(partition, seq), format!("event {ordinal}: {error}"))
        }
    }
}

/// An epoch, added up by the replay; on its own, for the job adds up in another way.
#[derive(Default)]
struct Replayed {
    rewards: BTreeMap<(Address, Role), u128>,
    inferences: u64,
    unattributed: u64,
    lines: usize,
    fees: u128,
    /// Of the inference just added.
    fee: u128,
    attributed: bool,
}

/// A line as a table holds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct StoredLine {
    role: Role,
    contribution_id: Option<Box<str>>,
    model_id: Option<Box<str>>,
    account: Address,
    amount: u128,
}

impl Replayed {
    /// Adds an inference and gives its lines as the table should hold them, sorted.
    fn add(&mut self, fee: u128, attributed: bool, lines: &[Line<'_>]) -> Vec<StoredLine> {
        (self.fee, self.attributed) = (fee, attributed);
        self.inferences += 1;
        self.unattributed += u64::from(!attributed);
        self.fees += fee;
        self.lines += lines.len();
        for line in lines {
            *self.rewards.entry((line.account, line.role)).or_default() += line.amount;
        }
        let stored = |line: &Line<'_>| StoredLine {
            role: line.role,
            contribution_id: line.contribution_id.map(Into::into),
            model_id: line.model_id.map(Into::into),
            account: line.account,
            amount: line.amount,
        };
        let mut lines: Vec<StoredLine> = lines.iter().map(stored).collect();
        lines.sort_unstable();
        lines
    }

    /// Adds the epoch to what was earned before it. S1: it pays what was charged, to the wei.
    fn accumulate(&self, earned: &mut Cumulative, epoch: Epoch) -> Result<(), SettlementError> {
        let paid: u128 = self.rewards.values().sum();
        if paid != self.fees {
            let what = format!("its rewards add up to {paid} wei, its fees to {}", self.fees);
            return Err(Invariant::S1.broken(format!("epoch {epoch}"), what));
        }
        for ((account, _), amount) in &self.rewards {
            if earned.add(*account, *amount).is_none() {
                let what = format!("account {account} earned more than tables hold");
                return Err(Invariant::S3.broken(format!("epoch {epoch}"), what));
            }
        }
        Ok(())
    }

    fn count(&self, earned: &Cumulative, counts: &mut RowCounts) {
        let inferences = usize::try_from(self.inferences).unwrap_or(usize::MAX);
        let rows = [
            (Table::RewardLines, self.lines),
            (Table::Settled, inferences),
            (Table::Rewards, self.rewards.len()),
            (Table::Cumulative, earned.len()),
            (Table::Epochs, 1),
        ];
        for (table, rows) in rows {
            counts.add(table, rows);
        }
    }
}

/// The rows of `settled` and `reward_lines` of an epoch, read beside the replay in the order of the inferences.
struct Stored {
    epoch: Epoch,
    settled: Rows<(u128, bool)>,
    lines: Rows<StoredLine>,
}

impl Stored {
    async fn open(session: &Session, epoch: Epoch) -> Result<Self, SettlementError> {
        let settled = format!("SELECT inference_id, fee, attributed FROM settled WHERE epoch = {epoch} ORDER BY inference_id");
        let lines = format!(
            "SELECT inference_id, role, account, amount, contribution_id, model_id FROM reward_lines \
             WHERE epoch = {epoch} ORDER BY inference_id"
        );
        let settled = Rows::new(session.sql(&settled).await?, read_settled);
        let lines = Rows::new(session.sql(&lines).await?, read_lines);
        Ok(Self { epoch, settled, lines })
    }

    /// Compares the rows of one inference; gives how many lines it has.
    async fn compare(
        &mut self,
        inference_id: &str,
        replayed: &Replayed,
        expected: Vec<StoredLine>,
    ) -> Result<u64, SettlementError> {
        let epoch = self.epoch;
        let differs = |invariant: Invariant, table: &str, what: String| {
            Err(invariant.broken(format!("table {table}, epoch {epoch}, inference {inference_id:?}"), what))
        };
        let settled = self.settled.of(inference_id, "settled", epoch).await?;
        let (fee, attributed) = (replayed.fee, replayed.attributed);
        if settled != [(fee, attributed)] {
            let invariant = if settled.len() > 1 { Invariant::S2 } else { Invariant::S3 };
            let what = format!("it holds {settled:?}, the batches give fee {fee}, attributed {attributed}");
            return differs(invariant, "settled", what);
        }
        let mut found = self.lines.of(inference_id, "reward_lines", epoch).await?;
        found.sort_unstable();
        if found != expected {
            let extra = found.iter().find(|line| !expected.contains(line));
            let missing = expected.iter().find(|line| !found.contains(line));
            let what =
                format!("{} lines, the batches give {}; not given: {extra:?}, missing: {missing:?}", found.len(), expected.len());
            let paid = found.iter().try_fold(0_u128, |sum, line| sum.checked_add(line.amount));
            return differs(conserved(paid, fee), "reward_lines", what);
        }
        Ok(expected.len() as u64)
    }

    /// S2: nothing may be left, for what is not due now is settled in another epoch.
    async fn end(&mut self) -> Result<(), SettlementError> {
        let left = [("settled", self.settled.next_id().await?), ("reward_lines", self.lines.next_id().await?)];
        for (table, id) in left {
            if let Some(id) = id {
                let object = format!("table {table}, epoch {}, inference {id:?}", self.epoch);
                return Err(Invariant::S2.broken(object, "it is not due in this epoch"));
            }
        }
        Ok(())
    }
}

/// What amounts break that differ from the replayed ones: S1 if they do not even add up to the fees.
fn conserved(paid: Option<u128>, fees: u128) -> Invariant {
    if paid == Some(fees) { Invariant::S3 } else { Invariant::S1 }
}

/// Rows, each with its inference.
type Keyed<R> = Vec<(Box<str>, R)>;

type Read<R> = fn(Columns<'_>) -> Result<Keyed<R>, SettlementError>;

/// Rows with their inference, in the order of the inferences.
struct Rows<R> {
    stream: SendableRecordBatchStream,
    read: Read<R>,
    waiting: std::collections::VecDeque<(Box<str>, R)>,
}

impl<R> Rows<R> {
    fn new(stream: SendableRecordBatchStream, read: Read<R>) -> Self {
        Self { stream, read, waiting: std::collections::VecDeque::new() }
    }

    async fn fill(&mut self) -> Result<(), SettlementError> {
        while self.waiting.is_empty() {
            let Some(batch) = self.stream.next().await else { return Ok(()) };
            self.waiting.extend((self.read)(Columns(&batch?))?);
        }
        Ok(())
    }

    async fn next_id(&mut self) -> Result<Option<&str>, SettlementError> {
        self.fill().await?;
        Ok(self.waiting.front().map(|(id, _)| &**id))
    }

    /// All rows of this inference; one before it is too much.
    async fn of(&mut self, inference_id: &str, table: &str, epoch: Epoch) -> Result<Vec<R>, SettlementError> {
        let mut rows = Vec::new();
        while let Some(id) = self.next_id().await? {
            if id > inference_id {
                break;
            }
            if id < inference_id {
                let object = format!("table {table}, epoch {epoch}, inference {id:?}");
                return Err(Invariant::S2.broken(object, "it is not due in this epoch, or has rows twice"));
            }
            rows.extend(self.waiting.pop_front().map(|(_, row)| row));
        }
        Ok(rows)
    }
}

fn read_settled(columns: Columns<'_>) -> Result<Keyed<(u128, bool)>, SettlementError> {
    let (ids, fees, attributed) = (columns.texts("inference_id")?, columns.amounts("fee")?, columns.booleans("attributed")?);
    let row = |i: usize| Ok((ids.value(i).into(), (wei("settled.fee", fees.value(i))?, attributed.value(i))));
    (0..columns.0.num_rows()).map(row).collect()
}

fn role(table: &str, text: &str) -> Result<Role, SettlementError> {
    Role::parse(text).ok_or_else(|| SettlementError::difference(format!("table {table}"), format!("it holds the role {text:?}")))
}

fn read_lines(columns: Columns<'_>) -> Result<Keyed<StoredLine>, SettlementError> {
    let (ids, roles, accounts) = (columns.texts("inference_id")?, columns.texts("role")?, columns.texts("account")?);
    let (amounts, contributions) = (columns.amounts("amount")?, columns.texts("contribution_id")?);
    let models = columns.texts("model_id")?;
    let text = |column: &arrow::array::StringArray, i: usize| column.iter().nth(i).flatten().map(Into::into);
    let row = |i: usize| {
        let line = StoredLine {
            role: role("reward_lines", roles.value(i))?,
            contribution_id: text(&contributions, i),
            model_id: text(&models, i),
            account: account("reward_lines.account", accounts.value(i))?,
            amount: wei("reward_lines.amount", amounts.value(i))?,
        };
        Ok((ids.value(i).into(), line))
    };
    (0..columns.0.num_rows()).map(row).collect()
}

async fn compare_rewards(session: &Session, epoch: Epoch, replayed: &Replayed) -> Result<(), SettlementError> {
    let expected = &replayed.rewards;
    let mut found: BTreeMap<(Address, Role), u128> = BTreeMap::new();
    each(session, &format!("SELECT account, role, amount FROM rewards WHERE epoch = {epoch}"), |columns| {
        let (accounts, roles, amounts) = (columns.texts("account")?, columns.texts("role")?, columns.amounts("amount")?);
        for i in 0..columns.0.num_rows() {
            let key = (account("rewards.account", accounts.value(i))?, role("rewards", roles.value(i))?);
            if found.insert(key, wei("rewards.amount", amounts.value(i))?).is_some() {
                let object = format!("table rewards, epoch {epoch}, account {}, role {}", key.0, key.1);
                return Err(Invariant::S3.broken(object, "it has two rows"));
            }
        }
        Ok(())
    })
    .await?;
    let keys = expected.keys().chain(found.keys());
    match keys.filter(|key| expected.get(*key) != found.get(*key)).min() {
        Some(key) => {
            let object = format!("table rewards, epoch {epoch}, account {}, role {}", key.0, key.1);
            let what = format!("it holds {:?}, the batches give {:?}", found.get(key), expected.get(key));
            let paid = found.values().try_fold(0_u128, |sum, amount| sum.checked_add(*amount));
            Err(conserved(paid, replayed.fees).broken(object, what))
        }
        None => Ok(()),
    }
}

async fn compare_cumulative(session: &Session, epoch: Epoch, expected: &Cumulative) -> Result<(), SettlementError> {
    let found = read_cumulative(session, epoch).await?;
    let accounts = expected.iter().chain(found.iter()).map(|(account, _)| account);
    match accounts.filter(|account| expected.of(account) != found.of(account)).min() {
        Some(account) => {
            let what = format!("it holds {}, the batches give {}", found.of(account), expected.of(account));
            Err(Invariant::S3.broken(format!("table cumulative, epoch {epoch}, account {account}"), what))
        }
        None => Ok(()),
    }
}

async fn compare_row(
    session: &Session,
    record: &EpochRecord,
    replayed: &Replayed,
    earned: &Cumulative,
) -> Result<EpochRow, SettlementError> {
    let object = format!("table epochs, epoch {}", record.number);
    let Some(found) = read_row(session, record.number).await? else {
        let what = "the epoch is closed, but its row is missing; `settle` completes it";
        return Err(Invariant::S3.broken(object, what));
    };
    let expected = EpochRow {
        epoch: record.number.get(),
        cut: record.cut.clone(),
        closed_at: record.closed_at,
        treasury: record.treasury,
        rules_version: record.rules_version,
        inferences: replayed.inferences,
        unattributed: replayed.unattributed,
        fees: replayed.fees,
        accounts: earned.len() as u64,
        cumulative_total: earned.iter().map(|(_, amount)| amount).sum(),
        root: earned.tree().root(),
        status: found.status,
        transaction: found.transaction.clone(),
    };
    match expected.difference(&found) {
        Some((column, expected, found)) => {
            Err(Invariant::S3.broken(object, format!("{column} is {found}, recomputed it is {expected}")))
        }
        None => Ok(found),
    }
}
