//! Which rows of a list a connection shows.

use super::cursor::Cursor;
use super::listing::Listing;
use tributary_query::error::{Code, QueryError};
use tributary_query::point::Point;

/// Rows of a page when none are named.
const ROWS_DEFAULT: usize = 50;
/// The most rows of a page.
pub(crate) const ROWS_MAX: usize = 1000;

/// The arguments of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct PageArgs {
    pub(crate) first: Option<i32>,
    pub(crate) after: Option<String>,
    pub(crate) last: Option<i32>,
    pub(crate) before: Option<String>,
}

impl PageArgs {
    pub(crate) fn forward(first: Option<i32>, after: Option<String>) -> Self {
        Self { first, after, ..Self::default() }
    }
}

/// The rows wanted of an ordered list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Page {
    /// How many.
    pub(crate) limit: usize,
    /// Whether they are the last ones, read from behind.
    pub(crate) backward: bool,
    /// How many of them, from behind, if both `first` and `last` are given.
    pub(crate) trim: Option<usize>,
    pub(crate) after: Option<Cursor>,
    pub(crate) before: Option<Cursor>,
}

impl Page {
    /// # Errors
    /// `bad_page`, `bad_cursor`.
    pub(crate) fn parse(args: &PageArgs, listing: &Listing) -> Result<Self, QueryError> {
        let (first, last) = (rows("first", args.first)?, rows("last", args.last)?);
        let decode = |text: &Option<String>| text.as_deref().map(|text| Cursor::decode(listing, text)).transpose();
        let (after, before) = (decode(&args.after)?, decode(&args.before)?);
        if let (Some(after), Some(before)) = (&after, &before)
            && after.point != before.point
        {
            return Err(QueryError::new(Code::BadCursor, "`after` and `before` are of different points of the record"));
        }
        let (limit, backward, trim) = match (first, last) {
            (Some(first), last) => (first, false, last),
            (None, Some(last)) => (last, true, None),
            (None, None) => (ROWS_DEFAULT, false, None),
        };
        Ok(Self { limit, backward, trim, after, before })
    }

    /// The point at which the list was first read, when this is a later page.
    pub(crate) fn point(&self) -> Option<&Point> {
        self.after.as_ref().or(self.before.as_ref()).map(|cursor| &cursor.point)
    }
}

fn rows(name: &str, given: Option<i32>) -> Result<Option<usize>, QueryError> {
    let Some(given) = given else { return Ok(None) };
    match usize::try_from(given) {
        Ok(rows) if rows <= ROWS_MAX => Ok(Some(rows)),
        _ => Err(QueryError::new(Code::BadPage, format!("`{name}` is {given}: 0 to {ROWS_MAX} are taken"))),
    }
}
