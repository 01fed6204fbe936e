//! Filters: conditions on one column, and how they combine.
//!
//! Every condition is true or false, never unknown: `not` and `ne` take also the rows that have no value.

use async_graphql::{Enum, InputObject};
use datafusion::common::ScalarValue;

use super::scalars::{Address, DateTime, Hash, Long, Wei};
use tributary_query::error::{Code, QueryError};
use tributary_query::sql_text::{SqlText, long, text};

/// The most conditions of one `where`, and the most levels of `and`, `or` and `not`.
const CONDITIONS_MAX: usize = 200;
const LEVELS_MAX: usize = 16;
/// The most values of one `in` or `notIn`.
const VALUES_MAX: usize = 1000;

/// Which way an order goes
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum OrderDirection {
    /// From the least
    Asc,
    /// From the greatest
    Desc,
}

impl OrderDirection {
    pub(crate) fn is_descending(self) -> bool {
        self == Self::Desc
    }
}

/// Conditions on a text; all that are set must hold
#[derive(Clone, Debug, Default, InputObject)]
pub struct StringFilter {
    pub(crate) eq: Option<String>,
    pub(crate) ne: Option<String>,
    pub(crate) r#in: Option<Vec<String>>,
    pub(crate) not_in: Option<Vec<String>>,
    pub(crate) starts_with: Option<String>,
    pub(crate) contains: Option<String>,
}

/// Conditions on a whole number; all that are set must hold
#[derive(Clone, Debug, Default, InputObject)]
pub struct LongFilter {
    eq: Option<Long>,
    ne: Option<Long>,
    r#in: Option<Vec<Long>>,
    gt: Option<Long>,
    gte: Option<Long>,
    lt: Option<Long>,
    lte: Option<Long>,
}

/// Conditions on an amount; all that are set must hold
#[derive(Clone, Debug, Default, InputObject)]
pub struct WeiFilter {
    eq: Option<Wei>,
    gt: Option<Wei>,
    gte: Option<Wei>,
    lt: Option<Wei>,
    lte: Option<Wei>,
}

/// Conditions on an instant; all that are set must hold
#[derive(Clone, Debug, Default, InputObject)]
pub struct TimeFilter {
    gt: Option<DateTime>,
    gte: Option<DateTime>,
    lt: Option<DateTime>,
    lte: Option<DateTime>,
}

/// Conditions on an address, given in any case; all that are set must hold
#[derive(Clone, Debug, Default, InputObject)]
pub struct AddressFilter {
    eq: Option<Address>,
    ne: Option<Address>,
    r#in: Option<Vec<Address>>,
    not_in: Option<Vec<Address>>,
}

/// Conditions on a hash, given in any case; all that are set must hold
#[derive(Clone, Debug, Default, InputObject)]
pub struct HashFilter {
    eq: Option<Hash>,
    r#in: Option<Vec<Hash>>,
}

/// A condition on a yes or no
#[derive(Clone, Debug, Default, InputObject)]
pub struct BooleanFilter {
    eq: Option<bool>,
}

/// What can be asked of one value, in any filter.
#[derive(Default)]
pub(crate) struct Conditions {
    pub(crate) eq: Option<ScalarValue>,
    pub(crate) ne: Option<ScalarValue>,
    pub(crate) within: Option<Vec<ScalarValue>>,
    pub(crate) without: Option<Vec<ScalarValue>>,
    pub(crate) compared: Vec<(&'static str, ScalarValue)>,
    pub(crate) starts_with: Option<String>,
    pub(crate) contains: Option<String>,
}

/// A filter on one value.
pub(crate) trait ValueFilter {
    fn conditions(&self) -> Conditions;
}

fn wei(amount: Wei) -> ScalarValue {
    ScalarValue::Decimal128(i128::try_from(amount.0).ok(), 38, 0)
}

fn time(at: DateTime) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(at.0.micros()), Some("UTC".into()))
}

/// An address as tables hold it.
pub(crate) fn address(address: Address) -> ScalarValue {
    text(address.0.to_string())
}

fn hash(hash: Hash) -> ScalarValue {
    text(format!("{:#x}", hash.0))
}

fn compared<T: Copy>(pairs: [(&'static str, Option<T>); 4], value: fn(T) -> ScalarValue) -> Vec<(&'static str, ScalarValue)> {
    pairs.into_iter().filter_map(|(sign, given)| Some((sign, value(given?)))).collect()
}

impl ValueFilter for StringFilter {
    fn conditions(&self) -> Conditions {
        let all = |list: &Option<Vec<String>>| list.as_ref().map(|list| list.iter().map(text).collect());
        Conditions {
            eq: self.eq.as_ref().map(text),
            ne: self.ne.as_ref().map(text),
            within: all(&self.r#in),
            without: all(&self.not_in),
            starts_with: self.starts_with.clone(),
            contains: self.contains.clone(),
            compared: Vec::new(),
        }
    }
}

impl ValueFilter for LongFilter {
    fn conditions(&self) -> Conditions {
        let value = |number: Long| long(number.0);
        Conditions {
            eq: self.eq.map(value),
            ne: self.ne.map(value),
            within: self.r#in.as_ref().map(|list| list.iter().copied().map(value).collect()),
            compared: compared([(">", self.gt), (">=", self.gte), ("<", self.lt), ("<=", self.lte)], value),
            ..Conditions::default()
        }
    }
}

impl ValueFilter for WeiFilter {
    fn conditions(&self) -> Conditions {
        Conditions {
            eq: self.eq.map(wei),
            compared: compared([(">", self.gt), (">=", self.gte), ("<", self.lt), ("<=", self.lte)], wei),
            ..Conditions::default()
        }
    }
}

impl ValueFilter for TimeFilter {
    fn conditions(&self) -> Conditions {
        let compared = compared([(">", self.gt), (">=", self.gte), ("<", self.lt), ("<=", self.lte)], time);
        Conditions { compared, ..Conditions::default() }
    }
}

impl ValueFilter for AddressFilter {
    fn conditions(&self) -> Conditions {
        let all = |list: &Option<Vec<Address>>| list.as_ref().map(|list| list.iter().copied().map(address).collect());
        Conditions {
            eq: self.eq.map(address),
            ne: self.ne.map(address),
            within: all(&self.r#in),
            without: all(&self.not_in),
            ..Conditions::default()
        }
    }
}

impl ValueFilter for HashFilter {
    fn conditions(&self) -> Conditions {
        let within = self.r#in.as_ref().map(|list| list.iter().copied().map(hash).collect());
        Conditions { eq: self.eq.map(hash), within, ..Conditions::default() }
    }
}

/// A list of conditions under construction, all of which must hold.
#[derive(Default)]
pub(crate) struct All {
    pieces: Vec<SqlText>,
}

impl All {
    /// The conditions on a column that always has a value.
    pub(crate) fn on<F: ValueFilter>(&mut self, column: &str, filter: Option<&F>) -> Result<&mut Self, QueryError> {
        self.add(column, filter, false)
    }

    /// The conditions on a column that may be null.
    pub(crate) fn on_nullable<F: ValueFilter>(&mut self, column: &str, filter: Option<&F>) -> Result<&mut Self, QueryError> {
        self.add(column, filter, true)
    }

    fn add<F: ValueFilter>(&mut self, column: &str, filter: Option<&F>, nullable: bool) -> Result<&mut Self, QueryError> {
        let Some(filter) = filter else { return Ok(self) };
        let (holds, fails) = pieces(column, &filter.conditions())?;
        let (has_value, no_value) = (format!("{column} IS NOT NULL AND "), format!("{column} IS NULL OR "));
        let guarded = |piece: SqlText, guard: &str| match nullable {
            true => {
                let mut guarded = SqlText::new(guard);
                guarded.append(&piece);
                guarded
            }
            false => piece,
        };
        self.pieces.extend(holds.into_iter().map(|piece| guarded(piece, &has_value)));
        self.pieces.extend(fails.into_iter().map(|piece| guarded(piece, &no_value)));
        Ok(self)
    }

    /// The conditions on the items of a list: that one of them passes, or, for `ne` and `notIn`, that none is what they name.
    /// `owners` is a query of the rows that have such an item, but for the condition on `item`, which comes at its end.
    pub(crate) fn on_items(&mut self, id: &str, owners: &str, filter: Option<&StringFilter>) -> Result<&mut Self, QueryError> {
        let Some(filter) = filter else { return Ok(self) };
        let mut conditions = filter.conditions();
        let (ne, without) = (conditions.ne.take(), conditions.without.take());
        let (holds, _) = pieces("item", &conditions)?;
        if !holds.is_empty() {
            let mut has = SqlText::new(format!("{id} IN ({owners} WHERE "));
            has.join(&holds, " AND ").push(")");
            self.pieces.push(has);
        }
        let names = Conditions { eq: ne, within: without, ..Conditions::default() };
        for named in pieces("item", &names)?.0 {
            let mut has_not = SqlText::new(format!("{id} NOT IN ({owners} WHERE "));
            has_not.append(&named).push(")");
            self.pieces.push(has_not);
        }
        Ok(self)
    }

    /// Membership in the ids that a query gives.
    pub(crate) fn on_membership(&mut self, id: &str, ids: &str, filter: Option<&BooleanFilter>) -> &mut Self {
        if let Some(BooleanFilter { eq: Some(wanted) }) = filter {
            let word = if *wanted { "IN" } else { "NOT IN" };
            self.pieces.push(SqlText::new(format!("{id} {word} ({ids})")));
        }
        self
    }
}

/// The conditions that rows with a value must pass, and those that rows without one pass too.
fn pieces(column: &str, conditions: &Conditions) -> Result<(Vec<SqlText>, Vec<SqlText>), QueryError> {
    let (mut holds, mut fails) = (Vec::new(), Vec::new());
    let list = |values: &[ScalarValue], word: &str, none: &str| {
        if values.len() > VALUES_MAX {
            return Err(too_large(&format!("a list has {} values, at most {VALUES_MAX} are taken", values.len())));
        }
        if values.is_empty() {
            return Ok(SqlText::new(none));
        }
        let mut piece = SqlText::new(format!("{column} {word} ("));
        piece.bind_all(values.iter().cloned()).push(")");
        Ok(piece)
    };
    holds.extend(conditions.eq.iter().map(|value| SqlText::with(format!("{column} = ?"), value.clone())));
    for (sign, value) in &conditions.compared {
        holds.push(SqlText::with(format!("{column} {sign} ?"), value.clone()));
    }
    if let Some(values) = &conditions.within {
        holds.push(list(values, "IN", "false")?);
    }
    holds.extend(conditions.starts_with.iter().map(|start| SqlText::with(format!("starts_with({column}, ?)"), text(start))));
    holds.extend(conditions.contains.iter().map(|part| SqlText::with(format!("contains({column}, ?)"), text(part))));
    fails.extend(conditions.ne.iter().map(|value| SqlText::with(format!("{column} <> ?"), value.clone())));
    if let Some(values) = &conditions.without {
        fails.push(list(values, "NOT IN", "true")?);
    }
    Ok((holds, fails))
}

/// A `where` with its `and`, `or` and `not`.
pub(crate) trait Where: Sized {
    /// The conditions of its own fields.
    fn own(&self, all: &mut All) -> Result<(), QueryError>;

    fn and(&self) -> Option<&[Self]>;
    fn or(&self) -> Option<&[Self]>;
    fn not(&self) -> Option<&Self>;

    /// All of it as conditions that must hold.
    ///
    /// # Errors
    /// `filter_too_large`.
    fn conditions(&self) -> Result<Vec<SqlText>, QueryError> {
        let mut count = 0;
        conditions_of(self, 0, &mut count)
    }
}

fn conditions_of<W: Where>(filter: &W, level: usize, count: &mut usize) -> Result<Vec<SqlText>, QueryError> {
    if level > LEVELS_MAX {
        return Err(too_large(&format!("`where` nests more than {LEVELS_MAX} levels of and, or and not")));
    }
    let mut all = All::default();
    filter.own(&mut all)?;
    *count += all.pieces.len();
    for each in filter.and().unwrap_or_default() {
        all.pieces.extend(conditions_of(each, level + 1, count)?);
    }
    if let Some(ways) = filter.or() {
        let ways = ways.iter().map(|way| Ok(conjunction(&conditions_of(way, level + 1, count)?)));
        let mut any = SqlText::default();
        any.join(&ways.collect::<Result<Vec<_>, QueryError>>()?, " OR ");
        all.pieces.push(if any.is_empty() { SqlText::new("false") } else { any });
    }
    if let Some(not) = filter.not() {
        let mut piece = SqlText::new("NOT (");
        piece.append(&conjunction(&conditions_of(not, level + 1, count)?)).push(")");
        all.pieces.push(piece);
    }
    *count += 1;
    if *count > CONDITIONS_MAX {
        return Err(too_large(&format!("`where` has more than {CONDITIONS_MAX} conditions")));
    }
    Ok(all.pieces)
}

fn conjunction(pieces: &[SqlText]) -> SqlText {
    if pieces.is_empty() {
        return SqlText::new("true");
    }
    let mut all = SqlText::default();
    all.join(pieces, " AND ");
    all
}

fn too_large(message: &str) -> QueryError {
    QueryError::new(Code::FilterTooLarge, message)
}

/// Implements the combining part of a `where` type.
macro_rules! combine {
    () => {
        fn and(&self) -> Option<&[Self]> {
            self.and.as_deref()
        }
        fn or(&self) -> Option<&[Self]> {
            self.or.as_deref()
        }
        fn not(&self) -> Option<&Self> {
            self.not.as_deref()
        }
    };
}
pub(crate) use combine;
