//! The engine, and a session of it at one cut.

use std::sync::{Arc, OnceLock};

use arrow::record_batch::RecordBatch;
use chrono::DateTime;
use datafusion::catalog::SchemaProvider;
use datafusion::common::config::ConfigNonZeroUsize;
use datafusion::execution::context::SessionConfig;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{SendableRecordBatchStream, SessionStateDefaults, TaskContext};
use datafusion::logical_expr::{AggregateUDF, LogicalPlan};
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;
use serde_json::Value;
use tokio::runtime::Runtime;
use tributary_da::{BlobRecord, Certificates};
use tributary_indexer::{Lake, Snapshot};
use tributary_journal::Journal;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Clock, Epoch, Partition, Seq};
use tributary_schemas::tables::Table;

use crate::catalog::{BaseTables, CATALOG, Catalog, LakeOnly, PublicTables, SCHEMA, Sources, cut_of};
use crate::checked_sum::CheckedSum;
use crate::claims::Trees;
use crate::error::{Code, QueryError};
use crate::functions::{self, BoundFunctions, OUTPUT_BYTES_MAX, literal_bytes};
use crate::guard::{Stop, guard};
use crate::limits::{Admission, Limits};
use crate::metrics::Metrics;
use crate::point::Point;
use crate::running::{Running, Work};
use crate::settings::Settings;
use crate::sql_text::SqlText;
use crate::tail::TailRows;
use crate::{params, readonly, statement};

/// Stack of a thread that runs queries. Parsing is bounded in depth, but a chain such as `a + b + c …` becomes a tree as deep as
/// it is long, which is walked, copied and dropped by recursion.
const STACK_BYTES: usize = 256 << 20;

/// A point of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AsOf {
    /// What is sealed now.
    Head,
    /// A cut, and the epochs seen from it.
    At(Point),
    /// The cut of a closed epoch.
    Epoch(Epoch),
    /// What is certified on DA.
    Available,
}

/// Answers questions about the record; one per process.
pub struct Engine {
    sources: Arc<Sources>,
    journal: Arc<Journal>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    metrics: Metrics,
    admission: Admission,
    /// What all queries share: the lake's store and the footers of its files.
    shared: Arc<RuntimeEnv>,
    /// Functions and rules; without tables.
    template: SessionState,
    /// Queries run on threads of their own, so that a long one delays no request. Started by the first.
    threads: OnceLock<Runtime>,
    /// The short queries of our own making run on others, which the system prefers: no asked query slows them down.
    lookups: OnceLock<Runtime>,
    pub(crate) trees: Trees,
}

impl Engine {
    /// An engine over the lake's tables, the journal's headers and the recorded certificates.
    pub fn new(
        lake: Arc<Lake>,
        journal: Arc<Journal>,
        certificates: Arc<Certificates>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Arc<Self> {
        let metrics = Metrics::default();
        let store = LakeOnly::new(Arc::clone(lake.object_store()));
        let shared = RuntimeEnvBuilder::new()
            .with_object_store_registry(Arc::new(store))
            .with_metadata_cache_limit(settings.file_footers_max)
            .build_arc()
            .expect("a runtime environment without spilling touches nothing outside memory");
        Arc::new(Self {
            journal: Arc::clone(&journal),
            sources: Arc::new(Sources::new(lake, journal, certificates, &settings)),
            clock,
            admission: Admission::new(&settings, metrics.clone()),
            template: template(&settings, Arc::clone(&shared)),
            shared,
            threads: OnceLock::new(),
            lookups: OnceLock::new(),
            trees: Trees::new(settings.trees_cache_max),
            metrics,
            settings,
        })
    }

    /// The metrics, to be registered.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The sealed batches.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// The limits in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The cut up to which every table of events is complete now.
    ///
    /// # Errors
    /// `store_unavailable`, `corrupt`.
    pub async fn indexed(&self) -> Result<Cut, QueryError> {
        let events = self.sources.lake.snapshot(Table::Events).await?;
        head_of(&events)
    }

    /// The cut up to which everything sealed can be read now: what is indexed, and the tail beyond it.
    ///
    /// # Errors
    /// `store_unavailable`, `corrupt`.
    pub async fn head(&self) -> Result<Cut, QueryError> {
        Ok(self.sources.tail.at_head(&self.indexed().await?).await?.0)
    }

    /// The cut of everything certified on DA.
    ///
    /// # Errors
    /// `store_unavailable`, `corrupt`.
    pub async fn certified(&self) -> Result<Cut, QueryError> {
        Ok(self.sources.certificates.certified().await?)
    }

    /// The point that is named, now.
    ///
    /// # Errors
    /// `epoch_not_found`, `store_unavailable`, `corrupt`.
    pub async fn resolve(&self, as_of: &AsOf) -> Result<Point, QueryError> {
        match as_of {
            AsOf::Head => Ok(self.head().await?.into()),
            AsOf::At(point) => Ok(point.clone()),
            AsOf::Available => Ok(self.head().await?.meet(&self.sources.certificates.certified().await?).into()),
            AsOf::Epoch(epoch) => {
                let events = self.sources.lake.snapshot(Table::Events).await?;
                let at = (head_of(&events)?.into(), TailRows::default());
                let base = BaseTables::new(Arc::clone(&self.sources), at, events, self.template.clone());
                let cut = base.closed_epochs().await?.cut_of(*epoch).cloned();
                let cut = cut.ok_or_else(|| QueryError::new(Code::EpochNotFound, format!("epoch {epoch} is not closed")))?;
                Ok(Point { cut, epoch: Some(epoch.as_i64()) })
            }
        }
    }

    /// A session at the point, with the limits of the settings on each of its queries.
    ///
    /// # Errors
    /// `cut_ahead` if not all of the cut can be read; `store_unavailable`, `corrupt`.
    pub async fn session(self: &Arc<Self>, point: impl Into<Point>) -> Result<Session, QueryError> {
        self.open(Some(&point.into()), Limits::of(&self.settings)).await
    }

    /// A session at what is sealed now.
    ///
    /// # Errors
    /// `store_unavailable`, `corrupt`.
    pub async fn session_at_head(self: &Arc<Self>) -> Result<Session, QueryError> {
        self.open(None, Limits::of(&self.settings)).await
    }

    /// A session at the cut whose queries have no limit of time, memory or rows, and wait for nobody. One call of a function
    /// gives no more than in any other session.
    ///
    /// # Errors
    /// As [`Engine::session`].
    pub async fn session_unlimited(self: &Arc<Self>, cut: &Cut) -> Result<Session, QueryError> {
        self.open(Some(&cut.clone().into()), Limits::none()).await
    }

    async fn open(self: &Arc<Self>, point: Option<&Point>, limits: Limits) -> Result<Session, QueryError> {
        let events = self.sources.lake.snapshot(Table::Events).await?;
        let indexed = head_of(&events)?;
        let at = match point {
            None => {
                let (cut, rows) = self.sources.tail.at_head(&indexed).await?;
                (cut.into(), rows)
            }
            Some(point) => (point.clone(), self.sources.tail.at_cut(&indexed, &point.cut).await?),
        };
        let base = Arc::new(BaseTables::new(Arc::clone(&self.sources), at, events, self.template.clone()));
        let tables = PublicTables::new(Arc::clone(&base), &self.template);
        let mut state = self.template.clone();
        state.register_catalog_list(Arc::new(Catalog::new(Arc::new(tables) as Arc<dyn SchemaProvider>)));
        Ok(Session { engine: Arc::clone(self), base, state, limits, shared: None })
    }

    /// The threads that run queries.
    pub(crate) fn threads(&self) -> Result<&Runtime, QueryError> {
        threads_in(&self.threads, "query", self.settings.threads, yield_to_others)
    }

    /// The threads that run queries of our own making.
    pub(crate) fn lookup_threads(&self) -> Result<&Runtime, QueryError> {
        threads_in(&self.lookups, "lookup", self.settings.threads, || {})
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }
}

/// Threads are not waited for: what they run has no one left to read it.
impl Drop for Engine {
    fn drop(&mut self) {
        for threads in [self.threads.take(), self.lookups.take()].into_iter().flatten() {
            threads.shutdown_background();
        }
    }
}

/// How much lower the priority of asked queries is than that of everything else: a step of the system's own scale.
const NICENESS: i32 = 10;

/// Lowers the priority of the calling thread. Where the system does not allow it, queries merely share alike.
fn yield_to_others() {
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "the priority of query threads cannot be lowered");
    }
}

fn threads_in<'e>(
    cell: &'e OnceLock<Runtime>,
    name: &str,
    threads: usize,
    on_start: impl Fn() + Send + Sync + 'static,
) -> Result<&'e Runtime, QueryError> {
    if let Some(threads) = cell.get() {
        return Ok(threads);
    }
    let started = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.max(1))
        .thread_name(name)
        .thread_stack_size(STACK_BYTES)
        .on_thread_start(on_start)
        .enable_all()
        .build()
        .map_err(|error| QueryError::new(Code::Unavailable, format!("threads for queries cannot be started: {error}")))?;
    if let Err(surplus) = cell.set(started) {
        surplus.shutdown_background();
    }
    cell.get().ok_or_else(|| QueryError::new(Code::Internal, "the threads were just started"))
}

fn head_of(events: &Snapshot) -> Result<Cut, QueryError> {
    cut_of(events).ok_or_else(|| QueryError::new(Code::Corrupt, "table events: a transaction of the indexer makes no sense"))
}

/// The time zone of `now()` and of every instant that names none.
const TIME_ZONE: &str = "UTC";

/// Functions, rules and options of every query, without tables, file formats and table factories. Functions that take a lambda
/// are left out: what its body gives for each item of a list cannot be bounded.
fn template(settings: &Settings, shared: Arc<RuntimeEnv>) -> SessionState {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true)
        .with_target_partitions(settings.threads.max(1));
    let options = config.options_mut();
    options.explain.show_sizes = false;
    options.execution.time_zone = Some(TIME_ZONE.to_owned());
    let scalars = functions::all(options);
    let of_tables = SessionStateDefaults::default_table_functions().into_iter().map(|f| (f.name().to_owned(), f));
    let mut aggregates = SessionStateDefaults::default_aggregate_functions();
    aggregates.push(Arc::new(AggregateUDF::from(CheckedSum::default())));
    SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(shared)
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .with_scalar_functions(scalars)
        .with_analyzer_rule(Arc::new(BoundFunctions))
        .with_aggregate_functions(aggregates)
        .with_window_functions(SessionStateDefaults::default_window_functions())
        .with_table_functions(of_tables.collect())
        .build()
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

/// What a session is asked.
enum Question<'q> {
    /// Text from outside, and values for its parameters.
    Asked(&'q str, &'q [Value]),
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
        let place = match self.limits.time {
            Some(_) => admission.admit(deadline).await?,
            None => admission.unlimited(),
        };
        let (session, query) = (self.clone(), query.to_owned());
        let stop = Stop::default();
        let work = Work { place, deadline, rows_max: self.limits.rows, metrics: self.engine.metrics.clone(), stop: stop.clone() };
        let start = async move { session.start(Question::Asked(&query, &params), &stop).await };
        work.run(self.engine.threads()?.handle(), start).await
    }

    /// The session with memory and disk that all its queries share, within the limits of one query.
    ///
    /// # Errors
    /// `store_unavailable` if there is no folder to spill to.
    pub fn sharing(self) -> Result<Self, QueryError> {
        let shared = self.limits.runtime(&self.engine.shared, &self.engine.settings)?;
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
            metrics: self.engine.metrics.clone(),
            stop: stop.clone(),
        };
        let session = self.clone();
        let start = async move { session.start(Question::Own(query), &stop).await };
        Ok(work.run(self.engine.lookup_threads()?.handle(), start).await?.try_collect().await?)
    }

    /// The blob that holds a batch of the cut, if its certificate is recorded.
    ///
    /// # Errors
    /// `store_unavailable`, `corrupt`.
    pub async fn blob_of(&self, partition: Partition, seq: Seq) -> Result<Option<BlobRecord>, QueryError> {
        Ok(self.base.blob_index().await?.blob_of(partition, seq).cloned())
    }

    /// The blobs that hold batches of the cut, by partition and first batch.
    ///
    /// # Errors
    /// `store_unavailable`, `corrupt`.
    pub async fn blobs(&self) -> Result<&[BlobRecord], QueryError> {
        Ok(self.base.blob_index().await?.all())
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

    /// The engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Parses, plans, judges and starts. Runs on the threads of queries, for it can take long.
    async fn start(&self, question: Question<'_>, stop: &Stop) -> Result<SendableRecordBatchStream, QueryError> {
        let mut state = self.state.clone();
        let budget = self.limits.budget(stop);
        state.config_mut().options_mut().extensions.insert(budget.clone());
        let options = Arc::clone(state.config_options());
        let now = DateTime::from_timestamp_micros(self.engine.clock.now().micros());
        let props = state.execution_props_mut();
        props.mark_start_execution(options);
        props.query_execution_start_time = now;
        let plan = match question {
            Question::Asked(query, params) => self.plan(&state, query, params).await?,
            Question::Own(query) => query.plan(&state).await?,
        };
        let plan = state.optimize(&plan)?;
        shorten_batches(&mut state, literal_bytes(&plan)?)?;
        let physical = guard(state.query_planner().create_physical_plan(&plan, &state).await?, stop)?;
        budget.planned();
        let runtime = match &self.shared {
            Some(shared) => Arc::clone(shared),
            None => self.limits.runtime(&self.engine.shared, &self.engine.settings)?,
        };
        let context = TaskContext::from(&state).with_runtime(runtime);
        Ok(execute_stream(physical, Arc::new(context))?)
    }

    async fn plan(&self, state: &SessionState, query: &str, params: &[Value]) -> Result<LogicalPlan, QueryError> {
        let statement = statement::parse(query, &self.engine.settings)?;
        readonly::check_statement(&statement)?;
        let plan = state.statement_to_plan(statement).await?;
        readonly::check(&plan)?;
        statement::check_depth(&plan)?;
        params::bind(plan, params)
    }
}
