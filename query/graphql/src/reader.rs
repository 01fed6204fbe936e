//! What a request reads from: one point of the record throughout, and others only where its text names them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use arrow::record_batch::RecordBatch;
use async_graphql::Context;
use tokio::sync::{Mutex, OnceCell};
use tributary_schemas::ids::{Partition, Seq};

use super::as_of::AsOfInput;
use super::batches::{Batches, OpenBatch};
use super::openings::Openings;
use super::records::Records;
use super::settings::Settings;
use super::waves::{Load, Waves};
use tributary_query::engine::{AsOf, Engine};
use tributary_query::error::{Code, QueryError};
use tributary_query::point::Point;
use tributary_query::session::Session;
use tributary_query::sql_text::SqlText;

/// More rows are not looked up by their keys.
const ROWS_BY_KEY_MAX: usize = 4_096;

/// What all readers of a request share.
pub(crate) struct Shared {
    pub(crate) engine: Arc<Engine>,
    pub(crate) waves: Arc<Waves>,
    batches: Arc<Batches>,
    openings: Arc<Openings>,
    records: Arc<Records>,
    version: String,
    plans: AtomicU64,
    moving: AtomicBool,
    named: AtomicBool,
    at_head: AtomicBool,
    bytes: AtomicUsize,
    bytes_max: usize,
    /// Numbers the readers.
    readers: AtomicU64,
}

/// What requests read and keep for each other.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) batches: Arc<Batches>,
    pub(crate) openings: Arc<Openings>,
    pub(crate) records: Arc<Records>,
}

/// One request and its readers.
pub(crate) struct Request {
    shared: Arc<Shared>,
    head: OnceCell<Arc<Reader>>,
    readers: Mutex<HashMap<Point, Arc<Reader>>>,
}

impl Request {
    pub(crate) fn new(engine: Arc<Engine>, kept: Kept, settings: &Settings) -> Self {
        let Kept { batches, openings, records } = kept;
        let shared = Shared {
            engine,
            waves: Arc::default(),
            batches,
            openings,
            records,
            version: settings.version.clone(),
            plans: AtomicU64::new(0),
            moving: AtomicBool::new(false),
            named: AtomicBool::new(false),
            at_head: AtomicBool::new(false),
            bytes: AtomicUsize::new(0),
            bytes_max: settings.answer_bytes_max,
            readers: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared), head: OnceCell::new(), readers: Mutex::default() }
    }

    /// The request that a field belongs to.
    pub(crate) fn of<'c>(context: &'c Context<'_>) -> &'c Self {
        context.data_unchecked::<Arc<Self>>()
    }

    pub(crate) fn waves(&self) -> &Arc<Waves> {
        &self.shared.waves
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.shared.engine
    }

    pub(crate) fn batches(&self) -> &Batches {
        &self.shared.batches
    }

    /// Queries planned so far.
    pub(crate) fn plans(&self) -> u64 {
        self.shared.plans.load(Ordering::Relaxed)
    }

    /// Whether the answer so far can never be another: it is of points that the text names, and no part of it is of what changes
    /// at a point, such as finality, or with the version, such as the schema.
    pub(crate) fn is_fixed(&self) -> bool {
        self.shared.named.load(Ordering::Relaxed)
            && !self.shared.moving.load(Ordering::Relaxed)
            && !self.shared.at_head.load(Ordering::Relaxed)
    }

    /// The reader at the head. The head is looked up once in a request.
    pub(crate) async fn head(&self) -> Result<Arc<Reader>, QueryError> {
        self.shared.at_head.store(true, Ordering::Relaxed);
        let open = || async {
            let session = self.shared.engine.session_at_head().await?.sharing()?;
            Ok::<_, QueryError>(self.keep(session).await?.1)
        };
        self.head.get_or_try_init(open).await.map(Arc::clone)
    }

    /// A reader at the head of this moment, for one answer of a subscription.
    pub(crate) async fn fresh(&self) -> Result<Arc<Reader>, QueryError> {
        let session = self.shared.engine.session_at_head().await?.sharing()?;
        let point = session.point().await?;
        Ok(Reader::new(&self.shared, session, point))
    }

    /// The reader at a point that the text names, or at the head.
    pub(crate) async fn at(&self, as_of: Option<&AsOfInput>) -> Result<Arc<Reader>, QueryError> {
        match as_of.map(AsOfInput::parse).transpose()? {
            None | Some(AsOf::Head) => self.head().await,
            Some(named) => {
                if matches!(named, AsOf::Available | AsOf::At(Point { epoch: None, .. })) {
                    self.shared.moving.store(true, Ordering::Relaxed);
                }
                self.at_point(&self.shared.engine.resolve(&named).await?).await
            }
        }
    }

    /// The reader at a point.
    pub(crate) async fn at_point(&self, point: &Point) -> Result<Arc<Reader>, QueryError> {
        self.shared.named.store(true, Ordering::Relaxed);
        if let Some(reader) = self.readers.lock().await.get(point) {
            return Ok(Arc::clone(reader));
        }
        let session = self.shared.engine.session(point.clone()).await?;
        // Memory is shared by all that a request reads, at whatever points.
        let other = self.readers.lock().await.values().next().cloned();
        let session = match other {
            Some(other) => session.sharing_with(&other.session),
            None => session.sharing()?,
        };
        let (exact, reader) = self.keep(session).await?;
        if exact != *point {
            self.readers.lock().await.insert(point.clone(), Arc::clone(&reader));
        }
        Ok(reader)
    }

    async fn keep(&self, session: Session) -> Result<(Point, Arc<Reader>), QueryError> {
        let point = session.point().await?;
        let reader = Reader::new(&self.shared, session, point.clone());
        let mut readers = self.readers.lock().await;
        Ok((point.clone(), Arc::clone(readers.entry(point).or_insert(reader))))
    }
}

/// Reads at one point.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    session: Session,
    point: Point,
    number: u64,
}

impl Reader {
    fn new(shared: &Arc<Shared>, session: Session, point: Point) -> Arc<Self> {
        let number = shared.readers.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { shared: Arc::clone(shared), session, point, number })
    }

    /// Its number in the request: no other reader has it, also after this one is gone.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The point: a cut and the last epoch seen.
    pub(crate) fn point(&self) -> &Point {
        &self.point
    }

    /// The last epoch seen, 0 for none.
    pub(crate) fn epoch(&self) -> i64 {
        self.point.epoch.unwrap_or(0)
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.shared.engine
    }

    /// What the server calls its version.
    pub(crate) fn version(&self) -> &str {
        &self.shared.version
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Says that the answer has a part that changes at a point.
    pub(crate) fn note_moving(&self) {
        self.shared.moving.store(true, Ordering::Relaxed);
    }

    /// Counts the bytes of a large part of the answer.
    ///
    /// # Errors
    /// `answer_too_large` when all of them together are too many.
    pub(crate) fn count_bytes(&self, bytes: usize) -> Result<(), QueryError> {
        let before = self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.shared.bytes_max {
            let message = format!("the answer has more than {} bytes: ask for fewer events at a time", self.shared.bytes_max);
            return Err(QueryError::new(Code::AnswerTooLarge, message));
        }
        Ok(())
    }

    /// Begins the next answer of a subscription.
    pub(crate) fn begin_answer(&self) {
        self.shared.bytes.store(0, Ordering::Relaxed);
    }

    /// Whether so many rows are best found by their keys.
    pub(crate) fn finds_by_key(&self, rows: usize) -> bool {
        rows <= ROWS_BY_KEY_MAX && self.session.has_index()
    }

    /// The rows of a query.
    pub(crate) async fn ask(&self, query: SqlText) -> Result<Vec<RecordBatch>, QueryError> {
        self.shared.plans.fetch_add(1, Ordering::Relaxed);
        self.session.ask(query).await
    }

    /// The value of a key, loaded with the others that the request waits for.
    pub(crate) async fn get<K: Load>(self: &Arc<Self>, key: K) -> Result<Option<K::Value>, QueryError> {
        self.shared.waves.get(self, key).await
    }

    /// The records of blobs.
    pub(crate) fn records(&self) -> &Records {
        &self.shared.records
    }

    /// The openings of headers.
    pub(crate) fn openings(&self) -> &Openings {
        &self.shared.openings
    }

    /// A sealed batch of the cut, opened.
    pub(crate) async fn batch(&self, partition: Partition, seq: Seq) -> Result<Arc<OpenBatch>, QueryError> {
        self.shared.batches.open(partition, seq).await
    }
}
