//! Relay connections: one shape for every list.

use std::borrow::Cow;
use std::sync::Arc;

use async_graphql::{Object, OutputType, SimpleObject, TypeName};
use datafusion::common::ScalarValue;

use super::cursor::Cursor;
use super::listing::{CountOf, Listing, PageOf};
use super::page::{Page, PageArgs};
use super::reader::{Reader, Request};
use super::rows::{Row, rows};
use super::scalars::Long;
use tributary_query::error::QueryError;

/// A type whose values are rows of a list.
pub(crate) trait Listed: OutputType + Clone {
    /// Its name in the schema.
    const NAME: &'static str;

    /// Reads a row of the list's columns.
    fn read(reader: &Arc<Reader>, row: Row<'_>) -> Result<Self, QueryError>;
}

/// Whether there is more before and behind a page.
#[derive(Clone, Debug, SimpleObject)]
pub struct PageInfo {
    has_next_page: bool,
    has_previous_page: bool,
    start_cursor: Option<String>,
    end_cursor: Option<String>,
}

/// One row and where it is.
#[derive(Clone, SimpleObject)]
#[graphql(name_type)]
pub(crate) struct Edge<T: Listed> {
    /// Opaque; given as `after` or `before` it names this row, at the point of the record that the list was read at.
    cursor: String,
    node: T,
}

impl<T: Listed> TypeName for Edge<T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Edge", T::NAME).into()
    }
}

/// A page of a list.
pub(crate) struct Connection<T: Listed> {
    reader: Arc<Reader>,
    listing: Arc<Listing>,
    owner: Option<ScalarValue>,
    /// Where it is known without a query.
    total: Option<i64>,
    edges: Vec<Edge<T>>,
    has_next: bool,
    has_previous: bool,
}

impl<T: Listed> TypeName for Connection<T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Connection", T::NAME).into()
    }
}

#[Object(name_type)]
impl<T: Listed> Connection<T> {
    async fn edges(&self) -> Vec<Edge<T>> {
        self.edges.clone()
    }

    async fn nodes(&self) -> Vec<T> {
        self.edges.iter().map(|edge| edge.node.clone()).collect()
    }

    async fn page_info(&self) -> PageInfo {
        PageInfo {
            has_next_page: self.has_next,
            has_previous_page: self.has_previous,
            start_cursor: self.edges.first().map(|edge| edge.cursor.clone()),
            end_cursor: self.edges.last().map(|edge| edge.cursor.clone()),
        }
    }

    /// How many rows the list has, all pages together; counted when asked for
    async fn total_count(&self) -> Result<Long, QueryError> {
        if let Some(total) = self.total {
            return Ok(Long(total));
        }
        let key = CountOf { listing: Arc::clone(&self.listing), owner: self.owner.clone() };
        Ok(Long(self.reader.get(key).await?.unwrap_or(0)))
    }
}

impl<T: Listed> Connection<T> {
    /// A page of the rows of `owner`, or of all rows. A later page is read at the point of the first.
    ///
    /// # Errors
    /// `bad_page`, `bad_cursor`, and those of reading.
    pub(crate) async fn open(
        request: &Request,
        reader: &Arc<Reader>,
        (listing, owner): (Listing, Option<ScalarValue>),
        args: PageArgs,
    ) -> Result<Self, QueryError> {
        let page = Page::parse(&args, &listing)?;
        let reader = match page.point() {
            Some(point) if point != reader.point() => request.at_point(point).await?,
            _ => Arc::clone(reader),
        };
        let listing = Arc::new(listing);
        let key = PageOf { listing: Arc::clone(&listing), owner: owner.clone(), page: page.clone() };
        let found = reader.get(key).await?;
        let mut found_rows = Vec::new();
        for row in rows(found.as_slice()) {
            let values = (0..listing.order.len()).map(|n| row.scalar(&format!("_k{n}"))).collect::<Result<Vec<_>, _>>()?;
            found_rows.push((values, T::read(&reader, row)?));
        }
        Ok(Self { owner, ..Self::of_rows(reader, listing, &page, found_rows)? })
    }

    /// A page whose rows, one more than it has if there are more, and total are known.
    pub(crate) fn known(
        reader: Arc<Reader>,
        listing: Listing,
        page: &Page,
        (rows, total): (Vec<(Vec<ScalarValue>, T)>, i64),
    ) -> Result<Self, QueryError> {
        Ok(Self { total: Some(total), ..Self::of_rows(reader, Arc::new(listing), page, rows)? })
    }

    fn of_rows(
        reader: Arc<Reader>,
        listing: Arc<Listing>,
        page: &Page,
        rows: Vec<(Vec<ScalarValue>, T)>,
    ) -> Result<Self, QueryError> {
        let edge = |(values, node): (Vec<ScalarValue>, T)| {
            Ok::<_, QueryError>(Edge { cursor: Cursor::encode(&listing, reader.point(), &values)?, node })
        };
        let mut edges = rows.into_iter().map(edge).collect::<Result<Vec<_>, _>>()?;
        let more = edges.len() > page.limit;
        edges.truncate(page.limit);
        let (mut has_next, mut has_previous) = (more || page.before.is_some(), page.after.is_some());
        if page.backward {
            edges.reverse();
            (has_next, has_previous) = (page.before.is_some(), more || page.after.is_some());
        }
        if let Some(last) = page.trim
            && edges.len() > last
        {
            edges.drain(..edges.len() - last);
            has_previous = true;
        }
        Ok(Self { reader, listing, owner: None, total: None, edges, has_next, has_previous })
    }
}
