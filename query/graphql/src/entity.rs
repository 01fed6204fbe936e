//! Things that have an id of their own, found by it.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

use super::connection::Listed;
use super::listing::{KeyType, Listing, SortKey, Wide};
use super::reader::Reader;
use super::rows::rows;
use super::waves::Load;
use tributary_query::error::QueryError;
use tributary_query::sql_text::{SqlText, text};

/// A thing of the record with a text for its id.
pub(crate) trait Entity: Listed + 'static {
    /// The table, view or query of all of them, called `r`.
    const FROM: &'static str;
    /// What a value is read from.
    const COLUMNS: &'static str;
    /// The column of the id, in `r`.
    const ID: &'static str;
    /// What cursors know a list of them by.
    const LIST: &'static str;
    /// Whether a list of them is found by its keys before the rows are read.
    const IS_WIDE: bool = false;

    /// Its id.
    fn own_id(&self) -> &str;

    /// All of them, by id.
    fn listing() -> Listing {
        Listing {
            name: Self::LIST,
            columns: Self::COLUMNS.into(),
            from: SqlText::new(Self::FROM),
            filters: Vec::new(),
            owner: None,
            order: vec![SortKey::new(Self::ID, KeyType::Text)],
            wide: Self::IS_WIDE.then_some(Wide { from: Self::FROM, id: Self::ID }),
        }
    }
}

/// The key of a thing by its id.
pub(crate) struct ById<E> {
    pub(crate) id: String,
    entity: PhantomData<fn() -> E>,
}

impl<E> ById<E> {
    pub(crate) fn new(id: impl Into<String>) -> Self {
        Self { id: id.into(), entity: PhantomData }
    }
}

impl<E> Clone for ById<E> {
    fn clone(&self) -> Self {
        Self::new(self.id.clone())
    }
}

impl<E> PartialEq for ById<E> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl<E> Eq for ById<E> {}

impl<E> Hash for ById<E> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl<E: Entity> Load for ById<E> {
    type Value = E;

    async fn load(reader: Arc<Reader>, keys: Vec<Self>) -> Result<HashMap<Self, E>, QueryError> {
        let mut query = SqlText::new(format!("SELECT {} FROM {} WHERE {} IN (", E::COLUMNS, E::FROM, E::ID));
        query.bind_all(keys.iter().map(|key| text(&key.id))).push(")");
        let found = reader.ask(query.lookup()).await?;
        let entities = rows(&found).map(|row| E::read(&reader, row));
        entities.map(|entity| entity.map(|entity| (Self::new(entity.own_id()), entity))).collect()
    }
}

/// The thing with this id, if there is one.
pub(crate) async fn find<E: Entity>(reader: &Arc<Reader>, id: &str) -> Result<Option<E>, QueryError> {
    reader.get(ById::<E>::new(id)).await
}

/// The things with these ids, in this order; ids that nothing has are left out, and repeated ones come once.
pub(crate) async fn find_all<E: Entity>(reader: &Arc<Reader>, ids: &[String]) -> Result<Vec<E>, QueryError> {
    let mut seen = std::collections::HashSet::new();
    let distinct = ids.iter().filter(|id| seen.insert(id.as_str()));
    let found = futures::future::try_join_all(distinct.map(|id| find(reader, id))).await?;
    Ok(found.into_iter().flatten().collect())
}
