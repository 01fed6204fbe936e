//! The tables and views that a query can name, all at one cut.

mod base;
mod batches;
mod blobs;
mod by_place;
mod cut_filter;
mod epochs;
mod lake_table;
mod place_test;
mod public;
mod seam;
mod selection;
mod sources;
mod store;

pub(crate) use base::{BaseTables, cut_of, lake_rows};
pub use blobs::hex;
pub(crate) use cut_filter::CutBounds;
pub(crate) use lake_table::LakeTable;
pub(crate) use public::{CATALOG, Catalog, PublicTables, SCHEMA};
pub(crate) use sources::Sources;
pub(crate) use store::LakeOnly;
