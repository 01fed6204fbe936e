//! Where the rows of tables come from, for all queries of an engine.

use std::sync::Arc;

use parking_lot::Mutex;
use tributary_da::Certificates;
use tributary_indexer::Lake;
use tributary_journal::Journal;

use super::batches::Headers;
use super::epochs::ClosedEpochs;
use crate::settings::Settings;
use crate::tail::Tail;

/// The lake, the headers of the journal and the certificates, with what is remembered of them between queries.
pub(crate) struct Sources {
    pub(crate) lake: Arc<Lake>,
    pub(crate) headers: Arc<Headers>,
    pub(crate) tail: Tail,
    pub(crate) certificates: Arc<Certificates>,
    /// The closed epochs as last read.
    pub(crate) closed: Mutex<Arc<ClosedEpochs>>,
}

impl Sources {
    pub(crate) fn new(lake: Arc<Lake>, journal: Arc<Journal>, certificates: Arc<Certificates>, settings: &Settings) -> Self {
        let headers = Arc::new(Headers::new(Arc::clone(&journal), settings.headers_cache_max));
        let tail = Tail::new(journal, settings.tail_bytes_max);
        Self { lake, headers, tail, certificates, closed: Mutex::default() }
    }
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sources")
    }
}
