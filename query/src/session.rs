//! A session: queries at one cut.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use chrono::DateTime;
use datafusion::common::config::ConfigNonZeroUsize;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{StreamExt, TryStreamExt};
use serde_json::Value;
use tributary_da::{BlobRecord, Blobs, ListedBlob};
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Epoch, Partition, Seq};

use crate::catalog::BaseTables;
use crate::engine::Engine;
use crate::error::QueryError;
use crate::functions::{Budget, OUTPUT_BYTES_MAX, literal_bytes};
use crate::guard::{Stop, guard};
use crate::limits::Limits;
use crate::point::Point;
use crate::running::{Running, Starting, Work};
use crate::sql_text::SqlText;
use crate::{lookup, params, readonly, statement};

/// What a session is asked.
enum Question {
    /// Text from outside, and values for its parameters.
    Asked(String, Vec<Value>),
    /// A query of our own making.
    Own(SqlText),
}

/// Queries at one cut. All queries of a session see the same rows.
#[derive(Clone)]
pub struct Session {
    engine: Arc<Engine>,
    base: Arc<BaseTables>,
    state: SessionState,
    limits: Limits,
    /// Memory and disk that several queries share; each has its own otherwise.
    shared: Option<Arc<RuntimeEnv>>,
}

impl Session {
    /// A session over the tables, with what it names in the state.
    pub(crate) fn new(engine: Arc<Engine>, base: Arc<BaseTables>, state: SessionState, limits: Limits) -> Self {
        Self { engine, base, state, limits, shared: None }
    }

    /// The cut.
    pub fn cut(&self) -> &Cut {
        self.base.cut()
    }

    /// The cut with the last epoch seen: named in another session, it gives the same rows.
    ///
    /// # Errors
    /// `store_unavailable`, `corrupt`.
    pub async fn point(&self) -> Result<Point, QueryError> {
        Ok(Point { cut: self.cut().clone(), epoch: Some(self.base.last_epoch().await?) })
    }

    /// The last epoch that the session sees; `None` if none is closed within its cut.
    ///
    /// # Errors
    /// `store_unavailable`, `corrupt`.
    pub async fn latest_epoch(&self) -> Result<Option<Epoch>, QueryError> {
        let last = self.base.last_epoch().await?;
        Ok(u64::try_from(last).ok().and_then(Epoch::new))
    }

    /// Plans and starts a query; the stream gives its rows. Dropping the stream ends the query.
    ///
    /// # Errors
    /// Here those of the text and the plan; from the stream, wrapped as external errors, those of running.
    pub async fn sql(&self, query: &str) -> Result<SendableRecordBatchStream, QueryError> {
        Ok(Box::pin(self.run(query, Vec::new()).await?))
    }

    /// All rows of a query, for answers known to be small.
    ///
    /// # Errors
    /// As [`Session::sql`].
    pub async fn collect(&self, query: &str) -> Result<Vec<RecordBatch>, QueryError> {
        Ok(self.run(query, Vec::new()).await?.try_collect().await?)
    }

    /// [`Session::sql`] with values for `$1`, `$2` …
    ///
    /// # Errors
    /// As [`Session::sql`].
    pub async fn run(&self, query: &str, params: Vec<Value>) -> Result<Running, QueryError> {
        let deadline = self.limits.deadline();
        let admission = self.engine.admission();
        let mut threads = self.engine.threads()?;
        let place = match (self.limits.time, admission.try_admit()) {
            (None, _) => admission.unlimited(),
            (Some(_), Some(place)) => place,
            // All places are taken, perhaps for long.
            (Some(_), None) if self.is_lookup(query, &params).await => {
                threads = self.engine.lookup_threads()?;
                self.engine.lookup_admission().admit(deadline).await?
            }
            (Some(_), None) => admission.admit(deadline).await?,
        };
        let stop = Stop::default();
        let work =
            Work { place, deadline, rows_max: self.limits.rows, metrics: self.engine.metrics().clone(), stop: stop.clone() };
        work.run(threads.handle(), self.clone().started(Question::Asked(query.to_owned(), params), stop)).await
    }

    /// Whether the question reads a few rows by their keys. One that is refused waits like the others to be told so.
    async fn is_lookup(&self, query: &str, params: &[Value]) -> bool {
        if !self.has_index() || query.len() > lookup::TEXT_BYTES_MAX {
            return false;
        }
        let Ok(threads) = self.engine.lookup_threads() else { return false };
        threads.spawn(self.clone().judged(query.to_owned(), params.to_vec())).await.unwrap_or(false)
    }

    fn judged(self, query: String, params: Vec<Value>) -> BoxFuture<'static, bool> {
        let judge = async move {
            let (state, _) = self.ready(&Stop::default());
            let plan = self.plan(&state, &query, &params).await.ok()?;
            Some(lookup::is_lookup(&state.optimize(&plan).ok()?))
        };
        judge.map(|is_lookup| is_lookup.unwrap_or(false)).boxed()
    }

    /// The session with memory and disk that all its queries share, within the limits of one query.
    ///
    /// # Errors
    /// `store_unavailable` if there is no folder to spill to.
    pub fn sharing(self) -> Result<Self, QueryError> {
        let shared = self.limits.runtime(self.engine.shared(), self.engine.settings())?;
        Ok(Self { shared: Some(shared), ..self })
    }

    /// The session with the memory and disk of another.
    pub fn sharing_with(self, other: &Self) -> Self {
        Self { shared: other.shared.clone(), ..self }
    }

    /// All rows of a query of our own making. It waits for no place: whoever asks has one.
    ///
    /// # Errors
    /// Those of running.
    pub async fn ask(&self, query: SqlText) -> Result<Vec<RecordBatch>, QueryError> {
        let stop = Stop::default();
        let work = Work {
            place: self.engine.admission().unlimited(),
            deadline: self.limits.deadline(),
            rows_max: self.limits.rows,
            metrics: self.engine.metrics().clone(),
            stop: stop.clone(),
        };
        let start = self.clone().started(Question::Own(query), stop);
        Ok(work.run(self.engine.lookup_threads()?.handle(), start).await?.try_collect().await?)
    }

    /// The blob that holds a batch of the cut, if its certificate is recorded.
    ///
    /// # Errors
    /// `store_unavailable`, `corrupt`.
    pub async fn blob_of(&self, partition: Partition, seq: Seq) -> Result<Option<ListedBlob>, QueryError> {
        Ok(self.base.blob_index().await?.blob_of(partition, seq).copied())
    }

    /// The records of blobs in their order, with their certificates; or why one could not be read: `store_unavailable`, `corrupt`.
    pub async fn blob_records(&self, blobs: Vec<ListedBlob>) -> Vec<Result<BlobRecord, QueryError>> {
        let records = self.base.certificates().records(blobs.into_iter());
        records.map(|record| record.map_err(QueryError::from)).collect().await
    }

    /// The blobs that hold batches of the cut, by partition and first batch.
    ///
    /// # Errors
    /// `store_unavailable`, `corrupt`.
    pub async fn blobs(&self) -> Result<&Arc<Blobs>, QueryError> {
        self.base.blob_index().await
    }

    /// The cut of the last epoch seen.
    ///
    /// # Errors
    /// `store_unavailable`, `corrupt`.
    pub async fn settled_cut(&self) -> Result<Cut, QueryError> {
        let Some(epoch) = self.latest_epoch().await? else { return Ok(Cut::empty()) };
        Ok(self.base.closed_epochs().await?.cut_of(epoch).cloned().unwrap_or_default())
    }

    /// Whether a closed epoch covers the batch.
    ///
    /// # Errors
    /// `store_unavailable`, `corrupt`.
    pub async fn is_settled(&self, partition: Partition, seq: Seq) -> Result<bool, QueryError> {
        Ok(self.settled_cut().await?.covers(partition, seq))
    }

    /// Whether rows are found by key without reading a table.
    pub fn has_index(&self) -> bool {
        self.base.has_places()
    }

    /// The engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// [`Self::start`] as a future that is made here, and not wherever it is awaited.
    fn started(self, question: Question, stop: Stop) -> Starting {
        async move { self.start(question, &stop).await }.boxed()
    }

    /// Parses, plans, judges and starts. Runs on the threads of queries, for it can take long.
    async fn start(&self, question: Question, stop: &Stop) -> Result<SendableRecordBatchStream, QueryError> {
        let (mut state, budget) = self.ready(stop);
        if self.has_index() && matches!(&question, Question::Own(query) if query.is_lookup()) {
            // A few rows are not worth dividing.
            state.config_mut().options_mut().execution.target_partitions = 1;
        }
        let plan = match question {
            Question::Asked(query, params) => self.plan(&state, &query, &params).await?,
            Question::Own(query) => query.plan(&state).await?,
        };
        let plan = state.optimize(&plan)?;
        shorten_batches(&mut state, literal_bytes(&plan)?)?;
        let physical = guard(state.query_planner().create_physical_plan(&plan, &state).await?, stop)?;
        budget.planned();
        let runtime = match &self.shared {
            Some(shared) => Arc::clone(shared),
            None => self.limits.runtime(self.engine.shared(), self.engine.settings())?,
        };
        let context = TaskContext::from(&state).with_runtime(runtime);
        Ok(execute_stream(physical, Arc::new(context))?)
    }

    /// What a query is planned with, and what the values of its functions may take, constants too.
    fn ready(&self, stop: &Stop) -> (SessionState, Budget) {
        let mut state = self.state.clone();
        let budget = self.limits.budget(stop);
        state.config_mut().options_mut().extensions.insert(budget.clone());
        let options = Arc::clone(state.config_options());
        let now = DateTime::from_timestamp_micros(self.engine.now().micros());
        let props = state.execution_props_mut();
        props.mark_start_execution(options);
        props.query_execution_start_time = now;
        (state, budget)
    }

    async fn plan(&self, state: &SessionState, query: &str, params: &[Value]) -> Result<LogicalPlan, QueryError> {
        let statement = statement::parse(query, self.engine.settings())?;
        readonly::check_statement(&statement)?;
        let plan = state.statement_to_plan(statement).await?;
        readonly::check(&plan)?;
        statement::check_depth(&plan)?;
        params::bind(plan, params)
    }
}

/// Constants of so many bytes are spread over the rows of a batch: with large ones a batch has fewer rows, so that they stay
/// within what a function may give.
fn shorten_batches(state: &mut SessionState, constants: u64) -> Result<(), QueryError> {
    let rows = usize::try_from(OUTPUT_BYTES_MAX / constants.max(1)).unwrap_or(usize::MAX).max(1);
    let execution = &mut state.config_mut().options_mut().execution;
    if rows < usize::from(execution.batch_size) {
        execution.batch_size = ConfigNonZeroUsize::try_new(rows)?;
    }
    Ok(())
}
