//! What an epoch adds up to: rewards, what every account has earned so far, the epoch's row.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use tributary_journal::merkle::{Tree, reward_leaf};
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Epoch, Timestamp};
use tributary_schemas::units::{Address, Hash};

use crate::allocate::{Due, Line, Role};
use crate::error::SettlementError;
use crate::record::EpochRecord;

/// The largest amount that tables hold: decimal(38, 0).
pub const AMOUNT_MAX: u128 = 10_u128.pow(38) - 1;

/// The status of an epoch whose root is nowhere on chain.
pub const CLOSED: &str = "CLOSED";

/// How many inferences an error names.
pub const NAMED_MAX: usize = 10;

/// What every account has earned up to an epoch; accounts that earned nothing are not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cumulative(BTreeMap<Address, u128>);

impl Cumulative {
    /// The accounts in the order of their bytes, each with an amount above 0.
    pub fn iter(&self) -> impl Iterator<Item = (&Address, u128)> {
        self.0.iter().map(|(account, amount)| (account, *amount))
    }

    /// How many accounts have earned something.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody has earned anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What an account has earned.
    pub fn of(&self, account: &Address) -> u128 {
        self.0.get(account).copied().unwrap_or_default()
    }

    /// Adds an amount and gives the new sum; `None`, with nothing added, if that is above [`AMOUNT_MAX`].
    pub fn add(&mut self, account: Address, amount: u128) -> Option<u128> {
        let sum = self.of(&account).checked_add(amount).filter(|sum| *sum <= AMOUNT_MAX)?;
        if sum > 0 {
            self.0.insert(account, sum);
        }
        Some(sum)
    }

    /// Everything that all accounts have earned together; `None` above [`AMOUNT_MAX`].
    pub fn total(&self) -> Option<u128> {
        self.0.values().try_fold(0_u128, |sum, amount| sum.checked_add(*amount)).filter(|sum| *sum <= AMOUNT_MAX)
    }

    /// The tree whose root is published. Leaf i is the i-th account in the order of their bytes.
    pub fn tree(&self) -> Tree {
        Tree::new(self.0.iter().map(|(account, amount)| reward_leaf(account, *amount)).collect())
    }
}

/// Ceilings above which nothing is closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// Of one inference's fee, in wei.
    pub max_fee: Option<u128>,
    /// Of an epoch's fees together, in wei.
    pub max_epoch_total: Option<u128>,
}

/// Some inferences by name, and how many more there are.
#[derive(Clone, Debug, Default)]
struct Named {
    ids: Vec<String>,
    more: u64,
}

impl Named {
    fn add(&mut self, inference_id: &str) {
        if self.ids.len() < NAMED_MAX {
            self.ids.push(inference_id.to_owned());
        } else {
            self.more += 1;
        }
    }

    fn ceiling(self, limit: String) -> SettlementError {
        SettlementError::Ceiling { limit, inferences: self.ids, more: self.more }
    }
}

/// Adds up an epoch while its inferences are settled.
#[derive(Clone, Debug)]
pub struct Tally {
    ceilings: Ceilings,
    rewards: BTreeMap<(Address, Role), u128>,
    cumulative: Cumulative,
    inferences: u64,
    unattributed: u64,
    lines: u64,
    fees: u128,
    over_fee: Named,
    over_amount: Named,
    /// The dearest inferences, for the errors about totals: (fee, id), ascending.
    dearest: Vec<(u128, String)>,
}

impl Tally {
    /// Begins an epoch after what was earned before it.
    pub fn new(before: Cumulative, ceilings: Ceilings) -> Self {
        Self {
            ceilings,
            rewards: BTreeMap::new(),
            cumulative: before,
            inferences: 0,
            unattributed: 0,
            lines: 0,
            fees: 0,
            over_fee: Named::default(),
            over_amount: Named::default(),
            dearest: Vec::new(),
        }
    }

    /// Settles one inference.
    ///
    /// # Errors
    /// `Internal` if a sum does not fit 128 bits, which needs more than 2^32 inferences.
    pub fn add(&mut self, due: &Due<'_>, lines: &[Line<'_>]) -> Result<(), SettlementError> {
        let overflow = || SettlementError::Internal("the fees of the epoch do not fit 128 bits".to_owned());
        let fee = due.fee.get();
        self.inferences += 1;
        self.unattributed += u64::from(due.entries.is_none());
        self.lines += lines.len() as u64;
        self.fees = self.fees.checked_add(fee).ok_or_else(overflow)?;
        let mut over_amount = false;
        for line in lines {
            let reward = self.rewards.entry((line.account, line.role)).or_default();
            *reward = reward.checked_add(line.amount).ok_or_else(overflow)?;
            over_amount |= self.cumulative.add(line.account, line.amount).is_none();
        }
        if over_amount {
            self.over_amount.add(due.inference_id);
        }
        if self.ceilings.max_fee.is_some_and(|max| fee > max) {
            self.over_fee.add(due.inference_id);
        }
        self.remember_dearest(fee, due.inference_id);
        Ok(())
    }

    fn remember_dearest(&mut self, fee: u128, inference_id: &str) {
        let full = self.dearest.len() == NAMED_MAX;
        if full && self.dearest[0].0 >= fee {
            return;
        }
        if full {
            self.dearest.remove(0);
        }
        let at = self.dearest.partition_point(|(other, _)| *other < fee);
        self.dearest.insert(at, (fee, inference_id.to_owned()));
    }

    fn into_dearest(self) -> Named {
        Named {
            more: self.inferences.saturating_sub(self.dearest.len() as u64),
            ids: self.dearest.into_iter().rev().map(|(_, id)| id).collect(),
        }
    }

    /// Ends the epoch: checks the ceilings and conservation, and builds the tree.
    ///
    /// # Errors
    /// `Ceiling`, naming inferences; nothing may be closed then.
    pub fn close(self, record: &EpochRecord) -> Result<Closed, SettlementError> {
        let Ceilings { max_fee, max_epoch_total } = self.ceilings;
        if !self.over_fee.ids.is_empty() {
            let max = max_fee.expect("fees are named only above a ceiling");
            return Err(self.over_fee.ceiling(format!("fees above the ceiling settlement.max_fee of {max} wei")));
        }
        if let Some(max) = max_epoch_total.filter(|max| self.fees > *max) {
            let limit =
                format!("the epoch's fees of {} wei are above the ceiling settlement.max_epoch_total of {max} wei", self.fees);
            return Err(self.into_dearest().ceiling(limit));
        }
        if !self.over_amount.ids.is_empty() {
            return Err(self
                .over_amount
                .ceiling(format!("what an account earned is above the {AMOUNT_MAX} wei that tables hold")));
        }
        let Some(cumulative_total) = self.cumulative.total().filter(|_| self.fees <= AMOUNT_MAX) else {
            let limit = format!(
                "what all accounts earned together is above the {AMOUNT_MAX} wei that tables hold, though each account alone is \
                 not; {} wei of it are the fees of this epoch, the rest is in `cumulative` of the epoch before. The dearest \
                 inferences of this epoch are named",
                self.fees
            );
            return Err(self.into_dearest().ceiling(limit));
        };
        let paid: u128 = self.rewards.values().sum();
        assert_eq!(paid, self.fees, "the rewards of epoch {} add up to its fees", record.number);
        let row = EpochRow {
            epoch: record.number.get(),
            cut: record.cut.clone(),
            closed_at: record.closed_at,
            treasury: record.treasury,
            rules_version: record.rules_version,
            inferences: self.inferences,
            unattributed: self.unattributed,
            fees: self.fees,
            accounts: self.cumulative.len() as u64,
            cumulative_total,
            root: self.cumulative.tree().root(),
            status: None,
            transaction: None,
        };
        Ok(Closed { row, rewards: self.rewards, cumulative: self.cumulative, lines: self.lines })
    }
}

/// An epoch, added up.
#[derive(Clone, Debug)]
pub struct Closed {
    /// Its row in `epochs`.
    pub row: EpochRow,
    /// Its rows in `rewards`, in the order of accounts and roles; every amount is above 0.
    pub rewards: BTreeMap<(Address, Role), u128>,
    /// Its rows in `cumulative`.
    pub cumulative: Cumulative,
    /// How many rows it has in `reward_lines`.
    pub lines: u64,
}

/// A row of `epochs`. As JSON its fields are named as the columns of the view, amounts being strings; `status` and
/// `transaction` are null where no epoch was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EpochRow {
    /// Which epoch; 0 before the first was closed.
    pub epoch: u64,
    /// What it covers.
    #[serde(serialize_with = "text")]
    pub cut: Cut,
    /// When it was closed.
    #[serde(serialize_with = "text")]
    pub closed_at: Timestamp,
    /// Who got what the protocol earned.
    #[serde(serialize_with = "text")]
    pub treasury: Address,
    /// By which rules.
    pub rules_version: u32,
    /// How many inferences were settled.
    pub inferences: u64,
    /// How many of them had no attribution that counts.
    pub unattributed: u64,
    /// Their fees together, in wei.
    #[serde(serialize_with = "text")]
    pub fees: u128,
    /// How many accounts have earned something so far.
    pub accounts: u64,
    /// What all of them have earned so far, in wei.
    #[serde(serialize_with = "text")]
    pub cumulative_total: u128,
    /// The root of the tree over them.
    #[serde(serialize_with = "text_of_hash")]
    pub root: Hash,
    /// Whether it is closed, and what became of its root on chain; `None` before it is closed.
    pub status: Option<&'static str>,
    /// The transaction that published its root.
    pub transaction: Option<String>,
}

impl EpochRow {
    /// What there is before the first epoch: number 0, nothing covered, nothing earned.
    pub fn before_first(record_born_at: Timestamp, treasury: Address, rules_version: u32) -> Self {
        Self {
            epoch: 0,
            cut: Cut::empty(),
            closed_at: record_born_at,
            treasury,
            rules_version,
            inferences: 0,
            unattributed: 0,
            fees: 0,
            accounts: 0,
            cumulative_total: 0,
            root: Hash::ZERO,
            status: None,
            transaction: None,
        }
    }

    /// The same row, of an epoch that is closed.
    pub fn closed(self) -> Self {
        Self { status: Some(CLOSED), ..self }
    }

    /// The epoch, `None` before the first.
    pub fn number(&self) -> Option<Epoch> {
        Epoch::new(self.epoch)
    }

    /// The first column in which another row differs: its name, the value here, the value there.
    pub fn difference(&self, other: &Self) -> Option<(&'static str, String, String)> {
        let columns: [Column; 11] = [
            ("epoch", |row| row.epoch.to_string()),
            ("cut", |row| row.cut.to_string()),
            ("closed_at", |row| row.closed_at.to_string()),
            ("treasury", |row| row.treasury.to_string()),
            ("rules_version", |row| row.rules_version.to_string()),
            ("inferences", |row| row.inferences.to_string()),
            ("unattributed", |row| row.unattributed.to_string()),
            ("fees", |row| row.fees.to_string()),
            ("accounts", |row| row.accounts.to_string()),
            ("cumulative_total", |row| row.cumulative_total.to_string()),
            ("root", |row| format!("{:#x}", row.root)),
        ];
        let differs = |(name, of): &Column| (of(self) != of(other)).then(|| (*name, of(self), of(other)));
        columns.iter().find_map(differs)
    }
}

/// A column: its name and its value as text.
type Column = (&'static str, fn(&EpochRow) -> String);

fn text<T: std::fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn text_of_hash<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{hash:#x}"))
}

#[cfg(test)]
mod tests;
