//! The engine, and a session of it at one cut.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use tributary_da::Certificates;
use tributary_indexer::lake::Lake;
use tributary_journal::Journal;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::Clock;

use crate::error::QueryError;
use crate::settings::Settings;

/// Answers questions about the record; one per process.
pub struct Engine {
    _p: (),
}

impl Engine {
    /// An engine over the lake's tables, the journal's headers and the recorded certificates.
    pub fn new(_lake: Arc<Lake>, _journal: Arc<Journal>, _certificates: Arc<Certificates>, _clock: Arc<dyn Clock>, _settings: Settings) -> Arc<Self> {
        panic!("not built yet")
    }

    /// The cut up to which every table of events is complete now.
    pub async fn head(&self) -> Result<Cut, QueryError> {
        panic!("not built yet")
    }

    /// A session at the cut, with the limits of the settings on each of its queries.
    pub async fn session(self: &Arc<Self>, _cut: &Cut) -> Result<Session, QueryError> {
        panic!("not built yet")
    }

    /// A session at the cut whose queries have no limit of time, memory or rows, and wait for nobody.
    pub async fn session_unlimited(self: &Arc<Self>, _cut: &Cut) -> Result<Session, QueryError> {
        panic!("not built yet")
    }
}

/// Queries at one cut. All queries of a session see the same rows.
pub struct Session {
    _p: (),
}

impl Session {
    /// The cut.
    pub fn cut(&self) -> &Cut {
        panic!("not built yet")
    }

    /// Plans and starts a query; the stream gives its rows. Dropping the stream ends the query.
    pub async fn sql(&self, _query: &str) -> Result<SendableRecordBatchStream, QueryError> {
        panic!("not built yet")
    }

    /// All rows of a query, for answers known to be small.
    pub async fn collect(&self, _query: &str) -> Result<Vec<RecordBatch>, QueryError> {
        panic!("not built yet")
    }
}
