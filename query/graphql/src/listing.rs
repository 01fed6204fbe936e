//! Pages of ordered rows: found by seeking behind a cursor, never by counting rows off.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{FieldRef, Schema};
use arrow::error::ArrowError;
use datafusion::common::ScalarValue;

use super::cursor::Cursor;
use super::page::Page;
use super::reader::Reader;
use super::rows::{Row, rows};
use super::waves::Load;
use tributary_query::error::{Code, QueryError};
use tributary_query::sql_text::{SqlText, text};
use tributary_schemas::units::keccak256;

/// So many rows are not worth reading on several threads.
const FEW_ROWS: usize = 8;

/// The type of a sort key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum KeyType {
    Text,
    Long,
    Wei,
    Time,
}

/// What rows are ordered by. A key is never null, and all keys of an order together tell every two rows apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SortKey {
    pub(crate) expr: &'static str,
    pub(crate) key_type: KeyType,
    pub(crate) descending: bool,
}

impl SortKey {
    pub(crate) const fn new(expr: &'static str, key_type: KeyType) -> Self {
        Self { expr, key_type, descending: false }
    }

    pub(crate) const fn directed(self, descending: bool) -> Self {
        Self { descending, ..self }
    }
}

/// Rows in an order. In `from` the table is called `r`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Listing {
    /// What cursors know the list by.
    pub(crate) name: &'static str,
    pub(crate) columns: Cow<'static, str>,
    pub(crate) from: SqlText,
    pub(crate) filters: Vec<SqlText>,
    /// The column that says whose rows they are, where they belong to something.
    pub(crate) owner: Option<&'static str>,
    pub(crate) order: Vec<SortKey>,
    /// Where rows are found by their id, if they are so wide that a page is first found by its keys and then read.
    pub(crate) wide: Option<Wide>,
}

/// The table or view of rows that are found by id, called `r`, and the column of the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Wide {
    pub(crate) from: &'static str,
    pub(crate) id: &'static str,
}

impl Listing {
    /// The list with nothing of its rows but their ids, called `_id`.
    fn narrow(&self) -> Option<(Self, Wide)> {
        let wide = self.wide?;
        Some((Self { columns: wide.id_as().into(), wide: None, ..self.clone() }, wide))
    }

    /// Orders by `key` before the id, or by the id alone. Ties are broken by the id in ascending order.
    pub(crate) fn sort_by(&mut self, key: Option<SortKey>, descending: bool) {
        match key {
            Some(key) => self.order.insert(0, key.directed(descending)),
            None => self.order.iter_mut().for_each(|id| id.descending = descending),
        }
    }

    /// Tells cursors of other lists and orders apart from those of this one.
    pub(crate) fn fingerprint(&self) -> u32 {
        let keys = self.order.iter().map(|key| format!("|{} {}", key.expr, key.descending));
        let hash = keccak256(keys.fold(self.name.to_owned(), |all, key| all + &key));
        u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
    }

    fn conditions(&self, owners: &[ScalarValue], page: Option<&Page>) -> SqlText {
        let mut all = self.filters.clone();
        if let Some(owner) = self.owner {
            let mut of = SqlText::new(owner);
            match owners {
                [only] => of.push(" = ").bind(only.clone()),
                many => of.push(" IN (").bind_all(many.iter().cloned()).push(")"),
            };
            all.push(of);
        }
        if let Some(page) = page {
            all.extend(page.after.iter().map(|cursor| self.beyond(cursor, false)));
            all.extend(page.before.iter().map(|cursor| self.beyond(cursor, true)));
        }
        let mut condition = SqlText::default();
        if !all.is_empty() {
            condition.push(" WHERE ").join(&all, " AND ");
        }
        condition
    }

    /// Rows that come behind the cursor's, or before it.
    fn beyond(&self, cursor: &Cursor, before: bool) -> SqlText {
        let mut ways = Vec::new();
        for (n, key) in self.order.iter().enumerate() {
            let mut way: Vec<SqlText> = (0..n)
                .map(|equal| SqlText::with(format!("{} = ?", self.order[equal].expr), cursor.values[equal].clone()))
                .collect();
            let sign = if key.descending == before { ">" } else { "<" };
            way.push(SqlText::with(format!("{} {sign} ?", key.expr), cursor.values[n].clone()));
            let mut all = SqlText::default();
            all.join(&way, " AND ");
            ways.push(all);
        }
        let mut any = SqlText::default();
        any.join(&ways, " OR ");
        any
    }

    /// `expr AS _k0, …` and `expr ASC, …`; turned round for a page read from behind.
    fn keys(&self) -> String {
        self.order.iter().enumerate().map(|(n, key)| format!(", {} AS _k{n}", key.expr)).collect()
    }

    fn order_by(&self, backward: bool, name: impl Fn(usize) -> String) -> String {
        let word = |key: &SortKey| if key.descending == backward { "ASC" } else { "DESC" };
        self.order.iter().enumerate().map(|(n, key)| format!("{} {}", name(n), word(key))).collect::<Vec<_>>().join(", ")
    }

    /// The rows of one owner, or of all, and one more than the page has.
    fn one(&self, owners: &[ScalarValue], page: &Page) -> SqlText {
        let mut query = SqlText::new(format!("SELECT {}{} FROM ", self.columns, self.keys()));
        query.append(&self.from).append(&self.conditions(owners, Some(page)));
        query.push(&format!(" ORDER BY {} LIMIT {}", self.order_by(page.backward, |n| format!("_k{n}")), page.limit + 1));
        query
    }

    /// The same for many owners at once.
    fn many(&self, owners: &[ScalarValue], owner: &str, page: &Page) -> SqlText {
        let by = self.order_by(page.backward, |n| self.order[n].expr.to_owned());
        let mut query = SqlText::new(format!(
            "SELECT * FROM (SELECT {}{}, {owner} AS _owner, row_number() OVER (PARTITION BY {owner} ORDER BY {by}) AS _rank FROM ",
            self.columns,
            self.keys()
        ));
        query.append(&self.from).append(&self.conditions(owners, Some(page)));
        query.push(&format!(") WHERE _rank <= {} ORDER BY _owner, _rank", page.limit + 1));
        query
    }
}

/// The key of a page of one owner's rows.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct PageOf {
    pub(crate) listing: Arc<Listing>,
    pub(crate) owner: Option<ScalarValue>,
    pub(crate) page: Page,
}

impl Load for PageOf {
    type Value = RecordBatch;

    async fn load(reader: Arc<Reader>, keys: Vec<Self>) -> Result<HashMap<Self, RecordBatch>, QueryError> {
        let mut groups: HashMap<(Arc<Listing>, Page), Vec<Self>> = HashMap::new();
        for key in keys {
            groups.entry((Arc::clone(&key.listing), key.page.clone())).or_default().push(key);
        }
        let groups = groups.into_values().map(|keys| load_pages(&reader, keys));
        Ok(futures::future::try_join_all(groups).await?.into_iter().flatten().collect())
    }
}

/// Pages that differ in nothing but whose rows they have.
async fn load_pages(reader: &Reader, keys: Vec<PageOf>) -> Result<Vec<(PageOf, RecordBatch)>, QueryError> {
    let Some(first) = keys.first() else { return Ok(Vec::new()) };
    let rows_max = keys.len().saturating_mul(first.page.limit + 1);
    if let (true, Some((narrow, wide))) = (reader.finds_by_key(rows_max), first.listing.narrow()) {
        let columns = first.listing.columns.clone();
        let (listing, narrow) = (Arc::clone(&first.listing), Arc::new(narrow));
        let keys = keys.into_iter().map(|key| PageOf { listing: Arc::clone(&narrow), ..key }).collect();
        let found = Box::pin(load_pages(reader, keys)).await?;
        let found = wide.widen(reader, &columns, found).await?;
        return Ok(found.into_iter().map(|(key, rows)| (PageOf { listing: Arc::clone(&listing), ..key }, rows)).collect());
    }
    let (listing, page) = (&first.listing, &first.page);
    let owners: Vec<ScalarValue> = keys.iter().filter_map(|key| key.owner.clone()).collect();
    let (Some(owner), [_, _, ..]) = (listing.owner, owners.as_slice()) else {
        let found = whole(&reader.ask(listing.one(&owners, page)).await?)?;
        return Ok(keys.into_iter().zip(found).collect());
    };
    let Some(found) = whole(&reader.ask(listing.many(&owners, owner, page)).await?)? else { return Ok(Vec::new()) };
    let mut by_owner: HashMap<ScalarValue, PageOf> = keys.into_iter().filter_map(|key| Some((key.owner.clone()?, key))).collect();
    let mut pages = Vec::new();
    let mut start = 0;
    let owners: Vec<ScalarValue> =
        rows(std::slice::from_ref(&found)).map(|row| row.scalar("_owner")).collect::<Result<_, _>>()?;
    for end in 1..=owners.len() {
        if end == owners.len() || owners[end] != owners[start] {
            if let Some(key) = by_owner.remove(&plain(&owners[start])) {
                pages.push((key, found.slice(start, end - start)));
            }
            start = end;
        }
    }
    Ok(pages)
}

impl Wide {
    fn id_as(self) -> String {
        format!("{} AS _id", self.id)
    }

    /// Adds the columns to pages of ids.
    async fn widen(
        self,
        reader: &Reader,
        columns: &str,
        pages: Vec<(PageOf, RecordBatch)>,
    ) -> Result<Vec<(PageOf, RecordBatch)>, QueryError> {
        let ids = pages.iter().flat_map(|(_, page)| rows(std::slice::from_ref(page)).map(|row| row.text("_id")));
        let ids: BTreeSet<String> = ids.collect::<Result<_, _>>()?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = SqlText::new(format!("SELECT {} AS _id, {columns} FROM {} WHERE {} IN (", self.id, self.from, self.id));
        let are_few = ids.len() <= FEW_ROWS;
        query.bind_all(ids.into_iter().map(text)).push(")");
        let query = if are_few { query.lookup() } else { query };
        let lost = || QueryError::new(Code::Internal, "a row of a list is not found by its id");
        let found = whole(&reader.ask(query).await?)?.ok_or_else(lost)?;
        let at: HashMap<String, u64> = rows(std::slice::from_ref(&found))
            .zip(0..)
            .map(|(row, at)| Ok((row.text("_id")?, at)))
            .collect::<Result<_, QueryError>>()?;
        let widened = |(key, page): (PageOf, RecordBatch)| {
            let place = |row: Row<'_>| at.get(&row.text("_id")?).copied().ok_or_else(lost);
            let places: UInt64Array = rows(std::slice::from_ref(&page)).map(place).collect::<Result<Vec<_>, _>>()?.into();
            Ok((key, beside(&page, &take_record_batch(&found, &places).map_err(broken)?)?))
        };
        pages.into_iter().map(widened).collect()
    }
}

/// The columns of both, without the ids.
fn beside(left: &RecordBatch, right: &RecordBatch) -> Result<RecordBatch, QueryError> {
    let of = |batch: &RecordBatch| {
        let fields = batch.schema().fields().iter().cloned().zip(batch.columns().iter().cloned()).collect::<Vec<_>>();
        fields.into_iter().filter(|(field, _)| field.name() != "_id")
    };
    let (fields, columns): (Vec<FieldRef>, Vec<ArrayRef>) = of(left).chain(of(right)).unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(broken)
}

fn broken(error: ArrowError) -> QueryError {
    QueryError::new(Code::Internal, error.to_string())
}

/// All rows in one; `None` without any.
fn whole(batches: &[RecordBatch]) -> Result<Option<RecordBatch>, QueryError> {
    let Some(first) = batches.first() else { return Ok(None) };
    let all = concat_batches(&first.schema(), batches);
    Ok(Some(all.map_err(broken)?))
}

/// Texts in the form that keys have.
fn plain(value: &ScalarValue) -> ScalarValue {
    match value {
        ScalarValue::Utf8View(text) | ScalarValue::LargeUtf8(text) => ScalarValue::Utf8(text.clone()),
        other => other.clone(),
    }
}

/// The key of how many rows an owner has in all.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct CountOf {
    pub(crate) listing: Arc<Listing>,
    pub(crate) owner: Option<ScalarValue>,
}

impl Load for CountOf {
    type Value = i64;

    async fn load(reader: Arc<Reader>, keys: Vec<Self>) -> Result<HashMap<Self, i64>, QueryError> {
        let mut groups: HashMap<Arc<Listing>, Vec<Self>> = HashMap::new();
        for key in keys {
            groups.entry(Arc::clone(&key.listing)).or_default().push(key);
        }
        let groups = groups.into_values().map(|keys| load_counts(&reader, keys));
        Ok(futures::future::try_join_all(groups).await?.into_iter().flatten().collect())
    }
}

async fn load_counts(reader: &Reader, keys: Vec<CountOf>) -> Result<Vec<(CountOf, i64)>, QueryError> {
    let Some(first) = keys.first() else { return Ok(Vec::new()) };
    let listing = &first.listing;
    let owners: Vec<ScalarValue> = keys.iter().filter_map(|key| key.owner.clone()).collect();
    let by = listing.owner.map_or(String::new(), |owner| format!("{owner} AS _owner, "));
    let mut query = SqlText::new(format!("SELECT {by}count(*) AS _count FROM "));
    query.append(&listing.from).append(&listing.conditions(&owners, None));
    if let Some(owner) = listing.owner {
        query.push(&format!(" GROUP BY {owner}"));
    }
    let found = reader.ask(query).await?;
    let mut counts: HashMap<Option<ScalarValue>, i64> = HashMap::new();
    for row in rows(&found) {
        let owner = listing.owner.map(|_| row.scalar("_owner")).transpose()?;
        counts.insert(owner.as_ref().map(plain), row.long("_count")?);
    }
    Ok(keys.into_iter().map(|key| (key.clone(), counts.get(&key.owner).copied().unwrap_or(0))).collect())
}
