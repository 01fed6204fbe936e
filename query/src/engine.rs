//! The engine: what all sessions share.
//!
//! An async function is compiled again in every crate that awaits it, with all that it calls. So what plans and reads is boxed here before
//! it leaves the crate.

use std::sync::{Arc, OnceLock};

use datafusion::catalog::SchemaProvider;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::context::SessionConfig;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::AggregateUDF;
use futures::future::{BoxFuture, FutureExt};
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tributary_da::Certificates;
use tributary_indexer::{Lake, Snapshot};
use tributary_journal::Journal;
use tributary_schemas::cut::Cut;
use tributary_schemas::ids::{Clock, Epoch, Timestamp};
use tributary_schemas::tables::Table;

use crate::catalog::{BaseTables, CATALOG, Catalog, LakeOnly, PublicTables, SCHEMA, Sources, cut_of};
use crate::checked_sum::CheckedSum;
use crate::claims::Trees;
use crate::error::{Code, QueryError};
use crate::functions::{self, BoundFunctions};
use crate::limits::{Admission, Limits};
use crate::metrics::Metrics;
use crate::places::{Origin, Places};
use crate::point::Point;
use crate::session::Session;
use crate::settings::Settings;
use crate::tail::TailRows;

/// Stack of a thread that runs queries. Parsing is bounded in depth, but a chain such as `a + b + c …` becomes a tree as deep as
/// it is long, which is walked, copied and dropped by recursion.
const STACK_BYTES: usize = 256 << 20;

/// The most threads that run asked queries.
const QUERY_THREADS_MAX: usize = 64;

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
    lookup_admission: Admission,
    /// What all queries share: the lake's store and the footers of its files.
    shared: Arc<RuntimeEnv>,
    /// Functions and rules; without tables.
    template: Arc<SessionState>,
    /// Queries run on threads of their own, so that a long one delays no request. Started by the first.
    threads: OnceLock<Runtime>,
    /// The short queries of our own making run on others, which the system prefers: no asked query slows them down.
    lookups: OnceLock<Runtime>,
    /// Until it is given up.
    places: Mutex<Option<Arc<Places>>>,
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
            lookup_admission: Admission::new(&settings, metrics.clone()),
            template: Arc::new(template(&settings, Arc::clone(&shared))),
            shared,
            threads: OnceLock::new(),
            lookups: OnceLock::new(),
            places: Mutex::new((settings.index_bytes_max > 0).then(|| Places::new(settings.index_bytes_max, metrics.clone()))),
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
            AsOf::Epoch(epoch) => self.end_of(*epoch).await,
        }
    }

    /// The point at which an epoch was closed.
    fn end_of(&self, epoch: Epoch) -> BoxFuture<'_, Result<Point, QueryError>> {
        let end = async move {
            let events = self.sources.lake.snapshot(Table::Events).await?;
            let at = (head_of(&events)?.into(), TailRows::default());
            let base = BaseTables::new(Arc::clone(&self.sources), at, events, Arc::clone(&self.template));
            let cut = base.closed_epochs().await?.cut_of(epoch).cloned();
            let cut = cut.ok_or_else(|| QueryError::new(Code::EpochNotFound, format!("epoch {epoch} is not closed")))?;
            Ok(Point { cut, epoch: Some(epoch.as_i64()) })
        };
        end.boxed()
    }

    /// A session at the point, with the limits of the settings on each of its queries.
    ///
    /// # Errors
    /// `cut_ahead` if not all of the cut can be read; `store_unavailable`, `corrupt`.
    pub async fn session(self: &Arc<Self>, point: impl Into<Point>) -> Result<Session, QueryError> {
        self.open(Some(point.into()), Limits::of(&self.settings)).await
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
        self.open(Some(cut.clone().into()), Limits::none()).await
    }

    fn open(self: &Arc<Self>, point: Option<Point>, limits: Limits) -> BoxFuture<'_, Result<Session, QueryError>> {
        self.opened(point, limits).boxed()
    }

    async fn opened(self: &Arc<Self>, point: Option<Point>, limits: Limits) -> Result<Session, QueryError> {
        let events = self.sources.lake.snapshot(Table::Events).await?;
        let indexed = head_of(&events)?;
        let at = match point {
            None => {
                let (cut, rows) = self.sources.tail.at_head(&indexed).await?;
                (cut.into(), rows)
            }
            Some(point) => {
                let rows = self.sources.tail.at_cut(&indexed, &point.cut).await?;
                (point, rows)
            }
        };
        let base = BaseTables::new(Arc::clone(&self.sources), at, Arc::clone(&events), Arc::clone(&self.template));
        // A session without limits is for settlement and repair: it goes by the views in SQL.
        let places = match limits.time {
            Some(_) => self.places_for(&base, &events).await?,
            None => None,
        };
        let base = Arc::new(base.with_places(places));
        let tables = PublicTables::new(Arc::clone(&base), Arc::clone(&self.template));
        let mut state = self.template.as_ref().clone();
        state.register_catalog_list(Arc::new(Catalog::new(Arc::new(tables) as Arc<dyn SchemaProvider>)));
        Ok(Session::new(Arc::clone(self), base, state, limits))
    }

    /// Begins to read what lookups are answered from, so that the first of them need not wait for it.
    pub async fn warm(self: &Arc<Self>) {
        if let Err(error) = self.session_at_head().await {
            tracing::debug!(%error, "nothing is read ahead of the first question");
        }
    }

    /// The index of places, if it covers the tables.
    async fn places_for(&self, base: &BaseTables, events: &Arc<Snapshot>) -> Result<Option<Arc<Places>>, QueryError> {
        let origin = Origin {
            sources: &self.sources,
            events,
            tail: base.tail(),
            reader: &self.template,
            threads: self.lookup_threads()?.handle(),
        };
        let Some(places) = self.places.lock().clone() else { return Ok(None) };
        let covering = places.covering(base.cut(), origin).await;
        if places.is_given_up() {
            *self.places.lock() = None;
        }
        Ok(covering)
    }

    /// The threads that run queries.
    pub(crate) fn threads(&self) -> Result<&Runtime, QueryError> {
        // One for every part of every query that may run, so that one deep in a long step keeps no other waiting.
        let threads = self.settings.threads.saturating_mul(self.settings.queries_max).min(QUERY_THREADS_MAX);
        threads_in(&self.threads, "query", threads, yield_to_others)
    }

    /// The threads that run queries of our own making.
    pub(crate) fn lookup_threads(&self) -> Result<&Runtime, QueryError> {
        threads_in(&self.lookups, "lookup", self.settings.threads, || {})
    }

    /// What all queries share of memory and disk.
    pub(crate) fn shared(&self) -> &RuntimeEnv {
        &self.shared
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// As many places more, for lookups while all others are taken.
    pub(crate) fn lookup_admission(&self) -> &Admission {
        &self.lookup_admission
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
    // Amounts have more digits than a float: what is written in digits is exact.
    options.sql_parser.parse_float_as_decimal = true;
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
