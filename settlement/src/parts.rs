//! The lines of an epoch in parts of bounded size, so that an epoch of any size fits the memory.
//!
//! Where a part ends is a function of the lines alone. So a job that completes what another began writes the same parts,
//! and the transaction of each part keeps it from being written twice.

use arrow::record_batch::RecordBatch;
use tributary_indexer::lake::Lake;
use tributary_schemas::ids::Epoch;
use tributary_schemas::tables::Table;

use crate::allocate::{Due, Line};
use crate::error::SettlementError;
use crate::tables::LineRows;

/// The application id of the transactions by which an epoch's rows are in a table completely; the version is the epoch.
pub const APPLICATION: &str = "settlement";

/// A part ends with this inference at the latest. Part of the rules of version 1, as is
/// [`crate::Settings::LINES_PER_PART`].
const INFERENCES_PER_PART: usize = 1_000_000;

/// Rows of `reward_lines` and `settled` of consecutive inferences.
#[derive(Clone, Debug)]
pub struct Part {
    index: u32,
    last: bool,
    lines: Vec<RecordBatch>,
    settled: Vec<RecordBatch>,
}

impl Part {
    /// Writes the rows, each table in one commit, unless they are there.
    ///
    /// # Errors
    /// Those of the lake.
    pub async fn write(self, lake: &Lake, epoch: Epoch) -> Result<(), SettlementError> {
        let mut txns = vec![(format!("{APPLICATION}/{}", self.index), epoch.as_i64())];
        if self.last {
            txns.push((APPLICATION.to_owned(), epoch.as_i64()));
        }
        for (table, rows) in [(Table::RewardLines, self.lines), (Table::Settled, self.settled)] {
            lake.append(table, rows, &txns).await?;
        }
        Ok(())
    }
}

/// Cuts lines into parts.
#[derive(Debug)]
pub struct Parts {
    epoch: Epoch,
    lines_max: usize,
    next: u32,
    rows: LineRows,
    lines: usize,
    inferences: usize,
}

impl Parts {
    /// The parts of this epoch; each ends with the inference that brings it to `lines_max` lines.
    pub fn new(epoch: Epoch, lines_max: usize) -> Self {
        Self { epoch, lines_max, next: 0, rows: LineRows::new(epoch), lines: 0, inferences: 0 }
    }

    /// Adds one inference; gives the part that it completes.
    ///
    /// # Errors
    /// `Internal` if Arrow refuses the rows.
    pub fn add(&mut self, due: &Due<'_>, lines: &[Line<'_>]) -> Result<Option<Part>, SettlementError> {
        self.rows.add(due, lines)?;
        self.lines += lines.len();
        self.inferences += 1;
        if self.lines < self.lines_max && self.inferences < INFERENCES_PER_PART {
            return Ok(None);
        }
        self.cut(false).map(Some)
    }

    /// The last part, which may be empty.
    ///
    /// # Errors
    /// `Internal` if Arrow refuses the rows.
    pub fn finish(mut self) -> Result<Part, SettlementError> {
        self.cut(true)
    }

    fn cut(&mut self, last: bool) -> Result<Part, SettlementError> {
        let (lines, settled) = std::mem::replace(&mut self.rows, LineRows::new(self.epoch)).finish()?;
        let index = self.next;
        self.next += 1;
        (self.lines, self.inferences) = (0, 0);
        Ok(Part { index, last, lines, settled })
    }
}
