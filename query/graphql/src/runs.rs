//! Lists that are known without a query: sealed batches, which a cut numbers, and blobs.

use std::sync::Arc;

use futures::future::try_join_all;
use tributary_da::ListedBlob;
use tributary_schemas::ids::{Partition, Seq};

use super::connection::{Connection, Listed};
use super::cursor::Cursor;
use super::global_id::Place;
use super::listing::{KeyType, Listing, SortKey};
use super::page::{Page, PageArgs};
use super::reader::{Reader, Request};
use super::rows::Row;
use super::types::blob::Blob;
use super::types::event::Batch;
use tributary_query::error::{Code, QueryError};
use tributary_query::sql_text::{SqlText, long};

impl Listed for Batch {
    const NAME: &'static str = "Batch";

    fn read(_: &Arc<Reader>, _: Row<'_>) -> Result<Self, QueryError> {
        Err(QueryError::new(Code::Internal, "batches are not read from rows"))
    }
}

impl Listed for Blob {
    const NAME: &'static str = "Blob";

    fn read(_: &Arc<Reader>, _: Row<'_>) -> Result<Self, QueryError> {
        Err(QueryError::new(Code::Internal, "blobs are not read from rows"))
    }
}

/// A list by partition and the number of the (first) batch.
fn listing(name: &'static str) -> Listing {
    Listing {
        name,
        columns: "".into(),
        from: SqlText::default(),
        filters: Vec::new(),
        owner: None,
        order: vec![SortKey::new("partition", KeyType::Long), SortKey::new("seq", KeyType::Long)],
        wide: None,
    }
}

/// The partition and batch after which a page begins.
fn position(cursor: &Cursor) -> Option<(Partition, Seq)> {
    let number = |at: usize| i64::try_from(cursor.values.get(at)?.clone()).ok();
    let partition = u32::try_from(number(0)?).ok().and_then(Partition::new)?;
    Some((partition, u64::try_from(number(1)?).ok().and_then(Seq::new)?))
}

/// The page's reader: that of its cursor, if it has one.
async fn reader_of(request: &Request, page: &Page) -> Result<Arc<Reader>, QueryError> {
    match page.point() {
        Some(point) => request.at_point(point).await,
        None => request.head().await,
    }
}

fn keys(partition: Partition, seq: Seq) -> Vec<datafusion::common::ScalarValue> {
    vec![long(partition.as_i32().into()), long(seq.as_i64())]
}

/// A page of the batches of the cut, by partition and number.
pub(crate) async fn batches(request: &Request, args: PageArgs, partition: Option<i32>) -> Result<Connection<Batch>, QueryError> {
    let listing = listing("batches");
    let page = Page::parse(&args, &listing)?;
    let reader = reader_of(request, &page).await?;
    let of_partition = |of: Partition| partition.is_none_or(|wanted| wanted == of.as_i32());
    let cut: Vec<(Partition, Seq)> = reader.point().cut.iter().filter(|(of, _)| of_partition(*of)).collect();
    let total = cut.iter().map(|(_, last)| last.as_i64() + 1).sum();
    let after = page.after.as_ref().and_then(position);
    let mut places = Vec::new();
    for (of, last) in cut {
        let mut next = match after {
            Some((partition, _)) if of < partition => continue,
            Some((partition, seq)) if of == partition => seq.next(),
            _ => Seq::FIRST,
        };
        while next <= last && places.len() <= page.limit {
            places.push(Place { partition: of, seq: next, ordinal: 0 });
            next = next.next();
        }
    }
    let found = try_join_all(places.iter().map(|place| Batch::at(&reader, *place))).await?;
    let rows = places.iter().map(|place| keys(place.partition, place.seq)).zip(found).collect();
    Connection::known(reader, listing, &page, (rows, total))
}

/// A page of the blobs that hold batches of the cut, by partition and first batch.
pub(crate) async fn blobs(request: &Request, args: PageArgs) -> Result<Connection<Blob>, QueryError> {
    let listing = listing("blobs");
    let page = Page::parse(&args, &listing)?;
    let reader = reader_of(request, &page).await?;
    reader.note_moving();
    let all = reader.session().blobs().await?;
    let total = i64::try_from(all.len()).unwrap_or(i64::MAX);
    let after = page.after.as_ref().and_then(position);
    let from = after.map_or(0, |(partition, first)| all.up_to(partition, first));
    let wanted = all.from(from).take(page.limit + 1);
    let blob = |listed: &ListedBlob| Blob { reader: Arc::clone(&reader), listed: *listed };
    let rows = wanted.map(|listed| (keys(listed.partition, listed.first_seq), blob(listed))).collect();
    Connection::known(Arc::clone(&reader), listing, &page, (rows, total))
}
