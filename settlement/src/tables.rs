//! The rows of the tables that settlement writes, and how they are read back.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use tributary_schemas::ids::{Epoch, Timestamp};
use tributary_schemas::tables::Table;
use tributary_schemas::units::{Address, Hash, parse_hash};

use crate::allocate::{Due, Line};
use crate::error::SettlementError;
use crate::ledger::{AMOUNT_MAX, CLOSED, Closed, EpochRow};

/// Rows of one batch; memory for building is bounded by it.
const ROWS_PER_BATCH: usize = 65_536;

/// Collects the rows of `reward_lines` and `settled` while inferences are settled.
#[derive(Debug)]
pub struct LineRows {
    epoch: i64,
    lines: Vec<RecordBatch>,
    settled: Vec<RecordBatch>,
    line: LineColumns,
    inference: SettledColumns,
}

#[derive(Debug, Default)]
struct LineColumns {
    inference_id: Vec<Arc<str>>,
    account: Vec<Address>,
    role: Vec<&'static str>,
    amount: Vec<i128>,
    contribution_id: Vec<Option<Box<str>>>,
    model_id: Vec<Option<Box<str>>>,
}

#[derive(Debug, Default)]
struct SettledColumns {
    inference_id: Vec<Arc<str>>,
    fee: Vec<i128>,
    attributed: Vec<bool>,
}

impl LineRows {
    /// No rows yet.
    pub fn new(epoch: Epoch) -> Self {
        Self {
            epoch: epoch.as_i64(),
            lines: Vec::new(),
            settled: Vec::new(),
            line: LineColumns::default(),
            inference: SettledColumns::default(),
        }
    }

    /// The rows of one inference.
    ///
    /// # Errors
    /// `Internal` if Arrow refuses the columns.
    pub fn add(&mut self, due: &Due<'_>, lines: &[Line<'_>]) -> Result<(), SettlementError> {
        let id: Arc<str> = due.inference_id.into();
        for line in lines {
            let columns = &mut self.line;
            columns.inference_id.push(Arc::clone(&id));
            columns.account.push(line.account);
            columns.role.push(line.role.as_str());
            columns.amount.push(amount(line.amount)?);
            columns.contribution_id.push(line.contribution_id.map(Into::into));
            columns.model_id.push(line.model_id.map(Into::into));
        }
        self.inference.inference_id.push(id);
        self.inference.fee.push(amount(due.fee.get())?);
        self.inference.attributed.push(due.entries.is_some());
        if self.line.amount.len() >= ROWS_PER_BATCH {
            self.flush_lines()?;
        }
        if self.inference.fee.len() >= ROWS_PER_BATCH {
            self.flush_settled()?;
        }
        Ok(())
    }

    /// All rows: those of `reward_lines` and those of `settled`.
    ///
    /// # Errors
    /// `Internal` if Arrow refuses the columns.
    pub fn finish(mut self) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>), SettlementError> {
        self.flush_lines()?;
        self.flush_settled()?;
        Ok((self.lines, self.settled))
    }

    fn flush_lines(&mut self) -> Result<(), SettlementError> {
        let columns = std::mem::take(&mut self.line);
        if columns.amount.is_empty() {
            return Ok(());
        }
        let batch = rows(
            Table::RewardLines,
            vec![
                repeated(self.epoch, columns.amount.len()),
                Arc::new(StringArray::from_iter_values(&columns.inference_id)),
                addresses(columns.account.iter()),
                Arc::new(StringArray::from_iter_values(columns.role)),
                amounts(columns.amount)?,
                Arc::new(StringArray::from_iter(columns.contribution_id)),
                Arc::new(StringArray::from_iter(columns.model_id)),
            ],
        )?;
        self.lines.push(batch);
        Ok(())
    }

    fn flush_settled(&mut self) -> Result<(), SettlementError> {
        let columns = std::mem::take(&mut self.inference);
        if columns.fee.is_empty() {
            return Ok(());
        }
        let batch = rows(
            Table::Settled,
            vec![
                repeated(self.epoch, columns.fee.len()),
                Arc::new(StringArray::from_iter_values(&columns.inference_id)),
                amounts(columns.fee)?,
                Arc::new(BooleanArray::from(columns.attributed)),
            ],
        )?;
        self.settled.push(batch);
        Ok(())
    }
}

/// The rows of `rewards`.
///
/// # Errors
/// `Internal` if Arrow refuses the columns.
pub fn rewards(epoch: Epoch, closed: &Closed) -> Result<Vec<RecordBatch>, SettlementError> {
    let all: Vec<_> = closed.rewards.iter().collect();
    let batch = |chunk: &[(&(Address, crate::allocate::Role), &u128)]| {
        rows(
            Table::Rewards,
            vec![
                repeated(epoch.as_i64(), chunk.len()),
                addresses(chunk.iter().map(|((account, _), _)| account)),
                Arc::new(StringArray::from_iter_values(chunk.iter().map(|((_, role), _)| role.as_str()))),
                amounts(chunk.iter().map(|(_, of)| amount(**of)).collect::<Result<_, _>>()?)?,
            ],
        )
    };
    all.chunks(ROWS_PER_BATCH).map(batch).collect()
}

/// The rows of `cumulative`.
///
/// # Errors
/// `Internal` if Arrow refuses the columns.
pub fn cumulative(epoch: Epoch, closed: &Closed) -> Result<Vec<RecordBatch>, SettlementError> {
    let all: Vec<_> = closed.cumulative.iter().collect();
    let batch = |chunk: &[(&Address, u128)]| {
        rows(
            Table::Cumulative,
            vec![
                repeated(epoch.as_i64(), chunk.len()),
                addresses(chunk.iter().map(|(account, _)| *account)),
                amounts(chunk.iter().map(|(_, of)| amount(*of)).collect::<Result<_, _>>()?)?,
            ],
        )
    };
    all.chunks(ROWS_PER_BATCH).map(batch).collect()
}

/// The row of `epochs`.
///
/// # Errors
/// `Internal` if a number does not fit its column.
pub fn epoch(row: &EpochRow) -> Result<Vec<RecordBatch>, SettlementError> {
    let bigint = |number: u64| -> Result<ArrayRef, SettlementError> {
        let number = i64::try_from(number).map_err(|_| SettlementError::Internal("a count is above 2^63".to_owned()))?;
        Ok(Arc::new(Int64Array::from(vec![number])))
    };
    let text = |text: String| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let rules = i32::try_from(row.rules_version).map_err(|_| SettlementError::Internal("rules version above 2^31".to_owned()))?;
    let closed_at = TimestampMicrosecondArray::from(vec![row.closed_at.micros()]).with_timezone("UTC");
    let columns = vec![
        bigint(row.epoch)?,
        text(row.cut.to_string()),
        Arc::new(closed_at),
        text(row.treasury.to_string()),
        Arc::new(Int32Array::from(vec![rules])),
        bigint(row.inferences)?,
        bigint(row.unattributed)?,
        amounts(vec![amount(row.fees)?])?,
        bigint(row.accounts)?,
        amounts(vec![amount(row.cumulative_total)?])?,
        text(format!("{:#x}", row.root)),
    ];
    Ok(vec![rows(Table::Epochs, columns)?])
}

fn rows(table: Table, columns: Vec<ArrayRef>) -> Result<RecordBatch, SettlementError> {
    Ok(RecordBatch::try_new(table.schema(), columns)?)
}

fn repeated(number: i64, count: usize) -> ArrayRef {
    Arc::new(Int64Array::from_value(number, count))
}

fn addresses<'a>(accounts: impl Iterator<Item = &'a Address>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(accounts.map(Address::to_string)))
}

fn amounts(values: Vec<i128>) -> Result<ArrayRef, SettlementError> {
    Ok(Arc::new(Decimal128Array::from(values).with_precision_and_scale(38, 0)?))
}

fn amount(wei: u128) -> Result<i128, SettlementError> {
    let fits = i128::try_from(wei).ok().filter(|_| wei <= AMOUNT_MAX);
    fits.ok_or_else(|| SettlementError::Internal(format!("{wei} wei is above what tables hold")))
}

/// Reads columns of an answer by name, whatever physical text type the engine chose for them.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a>(pub &'a RecordBatch);

impl Columns<'_> {
    fn column(&self, name: &str, to: &DataType) -> Result<ArrayRef, SettlementError> {
        let found = self.0.column_by_name(name).ok_or_else(|| SettlementError::Internal(format!("no column `{name}`")))?;
        if found.data_type() == to { Ok(Arc::clone(found)) } else { Ok(cast(found, to)?) }
    }

    /// A column of texts.
    ///
    /// # Errors
    /// `Internal` if there is no such column or it holds something else; so for all of these.
    pub fn texts(&self, name: &str) -> Result<StringArray, SettlementError> {
        Ok(self.column(name, &DataType::Utf8)?.as_string::<i32>().clone())
    }

    /// A column of integers.
    pub fn integers(&self, name: &str) -> Result<Int64Array, SettlementError> {
        Ok(self.column(name, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
    }

    /// A column of amounts.
    pub fn amounts(&self, name: &str) -> Result<Decimal128Array, SettlementError> {
        Ok(self.column(name, &DataType::Decimal128(38, 0))?.as_primitive::<Decimal128Type>().clone())
    }

    /// A column of truth values.
    pub fn booleans(&self, name: &str) -> Result<BooleanArray, SettlementError> {
        Ok(self.column(name, &DataType::Boolean)?.as_boolean().clone())
    }

    /// A column of lists of texts, row by row.
    pub fn lists(&self, name: &str) -> Result<Vec<Vec<Box<str>>>, SettlementError> {
        let element = Arc::new(arrow::datatypes::Field::new("element", DataType::Utf8, true));
        let lists = self.column(name, &DataType::List(element))?;
        let texts = |list: Option<ArrayRef>| {
            let list = list.map(|list| list.as_string::<i32>().iter().flatten().map(Into::into).collect());
            list.unwrap_or_default()
        };
        Ok(lists.as_list::<i32>().iter().map(texts).collect())
    }

    /// A column of instants.
    pub fn instants(&self, name: &str) -> Result<Vec<Timestamp>, SettlementError> {
        let to = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let column = self.column(name, &to)?;
        let instant = |micros: &i64| Timestamp::from_micros(*micros).ok_or_else(|| bad(name, "is outside the years 0 to 9999"));
        column.as_primitive::<TimestampMicrosecondType>().values().iter().map(instant).collect()
    }
}

/// An amount as tables hold it.
///
/// # Errors
/// `Difference` if it is negative.
pub fn wei(name: &str, value: i128) -> Result<u128, SettlementError> {
    u128::try_from(value).map_err(|_| bad(name, "is negative"))
}

/// An account as tables hold it.
///
/// # Errors
/// `Difference` if it is no address in lower case.
pub fn account(name: &str, text: &str) -> Result<Address, SettlementError> {
    let parsed = Address::parse_any_case(text).ok().filter(|address| address.to_string() == text);
    parsed.ok_or_else(|| bad(name, &format!("holds {text:?}, which is no address in lower case")))
}

fn bad(name: &str, what: &str) -> SettlementError {
    SettlementError::difference(format!("column {name}"), what)
}

/// The rows of `epochs` in an answer.
///
/// # Errors
/// `Difference` if a value is not of its column's kind.
pub fn read_epochs(batch: &RecordBatch) -> Result<Vec<EpochRow>, SettlementError> {
    let columns = Columns(batch);
    let (cut, treasury, root) = (columns.texts("cut")?, columns.texts("treasury")?, columns.texts("root")?);
    let (fees, total) = (columns.amounts("fees")?, columns.amounts("cumulative_total")?);
    let closed_at = columns.instants("closed_at")?;
    let [number, rules, inferences, unattributed, accounts] =
        ["epoch", "rules_version", "inferences", "unattributed", "accounts"].map(|name| columns.integers(name));
    let (number, rules, inferences) = (number?, rules?, inferences?);
    let (unattributed, accounts) = (unattributed?, accounts?);
    let count = |name: &str, value: i64| u64::try_from(value).map_err(|_| bad(name, "is negative"));
    let row = |i: usize| -> Result<EpochRow, SettlementError> {
        Ok(EpochRow {
            epoch: count("epochs.epoch", number.value(i))?,
            cut: cut.value(i).parse().map_err(|_| bad("epochs.cut", "holds no cut"))?,
            closed_at: closed_at[i],
            treasury: account("epochs.treasury", treasury.value(i))?,
            rules_version: u32::try_from(rules.value(i)).map_err(|_| bad("epochs.rules_version", "is out of range"))?,
            inferences: count("epochs.inferences", inferences.value(i))?,
            unattributed: count("epochs.unattributed", unattributed.value(i))?,
            fees: wei("epochs.fees", fees.value(i))?,
            accounts: count("epochs.accounts", accounts.value(i))?,
            cumulative_total: wei("epochs.cumulative_total", total.value(i))?,
            root: root_of(root.value(i))?,
            status: Some(CLOSED),
            transaction: None,
        })
    };
    (0..batch.num_rows()).map(row).collect()
}

fn root_of(text: &str) -> Result<Hash, SettlementError> {
    let parsed = parse_hash(text).ok().filter(|hash| format!("{hash:#x}") == text);
    parsed.ok_or_else(|| bad("epochs.root", "holds no hash in lower case"))
}
