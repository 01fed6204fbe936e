//! What a table is at one version: the replay of its log.

use std::collections::BTreeMap;

use deltalake_core::kernel::{Action, Add, Protocol, Remove};
use object_store::path::Path;

use crate::error::{Error, Result};
use crate::stats::{FileStats, RowRange};

/// A live data file of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LakeFile {
    /// Relative to the root of the store, such as `lake/events/part-….parquet`.
    pub path: Path,
    /// In bytes.
    pub size: u64,
    /// How many rows it holds.
    pub rows: u64,
    /// The coordinates it spans; `None` for the tables of settlement.
    pub range: Option<RowRange>,
}

/// A table at one version. Cheap to share; it never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The version of the log; −1 while the table does not exist.
    pub version: i64,
    /// The live files: those committed first (to the millisecond) first, then by the rows they span.
    pub files: Vec<LakeFile>,
    /// Per application id the last version it committed.
    pub txns: BTreeMap<String, i64>,
}

impl Snapshot {
    /// How many rows the table has.
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|f| f.rows).sum()
    }

    /// The versions that an application committed, in all its parts: those of the id itself, and of the id with `/` and the
    /// name of a part.
    pub fn versions_of(&self, application: &str) -> impl Iterator<Item = i64> {
        let is_of = move |id: &str| id.strip_prefix(application).is_some_and(|part| part.is_empty() || part.starts_with('/'));
        self.txns.iter().filter(move |(id, _)| is_of(id)).map(|(_, version)| *version)
    }
}

/// A live file with what the log says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LiveFile {
    pub(crate) name: String,
    pub(crate) stats: Option<String>,
    pub(crate) file: LakeFile,
}

/// When a file was committed (ms since 1970), the rows it spans, and its name: an order that any replay of the log finds,
/// from a checkpoint (which keeps none) as well as from the start.
type Order = (i64, Option<RowRange>, String);

/// The replayed log of one table.
#[derive(Clone, Debug)]
pub(crate) struct TableState {
    root: Path,
    table: &'static str,
    /// −1 before version 0 is committed.
    pub(crate) version: i64,
    /// The version of the latest checkpoint known of; −1 for none.
    pub(crate) checkpoint: i64,
    /// Live files in the order that snapshots give them in.
    live: BTreeMap<Order, LiveFile>,
    order_of: BTreeMap<String, Order>,
    /// Removed files and when (ms since 1970), until their retention has passed.
    pub(crate) removed: BTreeMap<String, i64>,
    pub(crate) txns: BTreeMap<String, i64>,
}

impl TableState {
    pub(crate) fn new(root: Path, table: &'static str) -> Self {
        Self {
            root,
            table,
            version: -1,
            checkpoint: -1,
            live: BTreeMap::new(),
            order_of: BTreeMap::new(),
            removed: BTreeMap::new(),
            txns: BTreeMap::new(),
        }
    }

    pub(crate) fn exists(&self) -> bool {
        self.version >= 0
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = &LiveFile> {
        self.live.values()
    }

    pub(crate) fn is_live(&self, name: &str) -> bool {
        self.order_of.contains_key(name)
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let files = self.live.values().map(|live| live.file.clone()).collect();
        Snapshot { version: self.version, files, txns: self.txns.clone() }
    }

    /// Applies the actions of the next version.
    pub(crate) fn apply(&mut self, version: i64, actions: Vec<Action>) -> Result<()> {
        for action in actions {
            match action {
                Action::Add(add) => self.add(&add)?,
                Action::Remove(remove) => self.remove(&remove),
                Action::Txn(txn) => {
                    self.txns.insert(txn.app_id, txn.version);
                }
                Action::Protocol(protocol) => self.check_protocol(&protocol)?,
                Action::Metadata(_) | Action::CommitInfo(_) | Action::Cdc(_) | Action::DomainMetadata(_) => {}
            }
        }
        self.version = version;
        Ok(())
    }

    pub(crate) fn add(&mut self, add: &Add) -> Result<()> {
        if add.deletion_vector.is_some() {
            return Err(self.unsupported("deletion vectors"));
        }
        let path = Path::parse(format!("{}/{}", self.root, add.path)).map_err(|e| Error::corrupt(&self.root, e))?;
        let stats = add.stats.as_deref().and_then(FileStats::parse);
        let (Some(stats), Ok(size)) = (stats, u64::try_from(add.size)) else {
            return Err(Error::corrupt(&path, "the log has no statistics of this file"));
        };
        let file = LakeFile { path, size, rows: stats.num_records, range: stats.range() };
        self.removed.remove(&add.path);
        let order = (add.modification_time, file.range, add.path.clone());
        if let Some(before) = self.order_of.insert(add.path.clone(), order.clone()) {
            self.live.remove(&before);
        }
        self.live.insert(order, LiveFile { name: add.path.clone(), stats: add.stats.clone(), file });
        Ok(())
    }

    pub(crate) fn remove(&mut self, remove: &Remove) {
        if let Some(order) = self.order_of.remove(&remove.path) {
            self.live.remove(&order);
        }
        self.removed.insert(remove.path.clone(), remove.deletion_timestamp.unwrap_or(0));
    }

    pub(crate) fn check_protocol(&self, protocol: &Protocol) -> Result<()> {
        self.check_versions(protocol.min_reader_version(), protocol.min_writer_version())
    }

    pub(crate) fn check_versions(&self, reader: i32, writer: i32) -> Result<()> {
        if reader > READER_VERSION || writer > WRITER_VERSION {
            return Err(self.unsupported(&format!("Delta protocol reader {reader}, writer {writer}")));
        }
        Ok(())
    }

    fn unsupported(&self, feature: &str) -> Error {
        Error::Unsupported { table: self.table, feature: feature.to_owned() }
    }
}

/// The reader version of the Delta protocol that tables are written with.
pub(crate) const READER_VERSION: i32 = 1;
/// The writer version of the Delta protocol that tables are written with.
pub(crate) const WRITER_VERSION: i32 = 2;
