//! From the text of a request to its answer.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::parser::parse_query;
use async_graphql::parser::types::{ExecutableDocument, OperationType};
use async_graphql::{EmptyMutation, PathSegment, Response, ServerError, Variables};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, StreamExt};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tributary_da::Committer;

use super::batches::Batches;
use super::document::{self, Shape};
use super::kept;
use super::metrics::Metrics;
use super::nulls;
use super::openings::Openings;
use super::query_root::Query;
use super::reader::{Kept, Request};
use super::records::Records;
use super::root;
use super::settings::Settings;
use super::subscription::Subscription;
use super::variables::Inputs;
use super::waves::Driver;
use tributary_query::cache::Cache;
use tributary_query::engine::Engine;
use tributary_query::error::{Code, QueryError};
use tributary_query::limits::{Admission, Place};

pub(crate) type Schema = async_graphql::Schema<Query, EmptyMutation, Subscription>;

/// The schema with nothing in it that runs.
fn schema() -> Schema {
    Schema::build(Query, EmptyMutation, Subscription).register_output_type::<super::query_root::Node>().finish()
}

/// The schema in the schema language.
pub fn sdl() -> String {
    schema().sdl()
}

/// A request as clients send it, in whatever transport.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// The document; it may be left out where `extensions` names it by its hash.
    pub query: Option<String>,
    /// Which of its operations is meant, if it has several.
    pub operation_name: Option<String>,
    /// The values of its variables, by name.
    pub variables: Map<String, Value>,
    /// `persistedQuery` is read, the rest is not.
    pub extensions: Map<String, Value>,
}

/// An answer.
pub struct Answer {
    /// `data`, `errors` and `extensions`.
    pub body: Value,
    /// Why the request was not run at all.
    pub refused: Option<QueryError>,
    /// Whether the same request will never get another answer.
    pub fixed: bool,
    /// Queries planned for it.
    pub plans: u64,
    /// Where a subscription goes on behind this answer.
    pub cursor: Option<String>,
}

/// A request that passed all checks.
pub struct Checked {
    document: ExecutableDocument,
    variables: Variables,
    written: Written,
    /// What kind of operation it is.
    pub(crate) kind: OperationType,
}

/// What a client wrote, by which the executor's answer is put right.
#[derive(Clone)]
struct Written {
    text: Arc<str>,
    operation_name: Option<String>,
    /// Whether selections of it can come out empty.
    kept: bool,
    /// Whether its answers say where to go on.
    is_followed: bool,
}

/// Answers GraphQL requests.
pub struct Graphql {
    pub(crate) engine: Arc<Engine>,
    kept: Kept,
    metrics: Metrics,
    schema: Schema,
    shape: Arc<Shape>,
    inputs: Inputs,
    admission: Admission,
    persisted: Cache<[u8; 32], Arc<str>>,
    /// Says when subscriptions must end.
    closing: watch::Sender<bool>,
    /// Places for clients that follow subscriptions.
    pub(crate) subscribers: Arc<Semaphore>,
    pub(crate) settings: Settings,
}

impl Graphql {
    /// An interface over the engine. The committer has the points for the proofs that headers are in their blobs.
    pub fn new(engine: Arc<Engine>, committer: Arc<Committer>, settings: Settings) -> Arc<Self> {
        let schema = schema();
        let sdl = schema.sdl();
        let metrics = engine.metrics().clone();
        let batches = Batches::new(Arc::clone(engine.journal()), settings.batches_cache_max);
        let (at_once, bytes) = (settings.openings_at_once_max, settings.openings_cache_max);
        let openings = Openings::new(Arc::clone(engine.journal()), committer, at_once, bytes);
        Arc::new(Self {
            kept: Kept { batches: Arc::new(batches), openings: Arc::new(openings), records: Arc::new(Records::new()) },
            closing: watch::Sender::new(false),
            metrics: Metrics::default(),
            shape: Arc::new(Shape::of(&sdl)),
            inputs: Inputs::of(&sdl),
            schema,
            admission: Admission::with(settings.requests_max, settings.requests_waiting_max, metrics),
            subscribers: Arc::new(Semaphore::new(settings.subscribers_max.min(Semaphore::MAX_PERMITS))),
            persisted: Cache::new(settings.persisted_max),
            engine,
            settings,
        })
    }

    /// Ends all subscriptions, now and from now on: the server is about to stop, and their clients resume elsewhere.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Returns once subscriptions must end.
    pub(crate) async fn closed(&self) {
        let mut closing = self.closing.subscribe();
        // The sender lives as long as this interface.
        drop(closing.wait_for(|closing| *closing).await);
    }

    /// The metrics, to be registered.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn request(&self) -> Arc<Request> {
        Arc::new(Request::new(Arc::clone(&self.engine), self.kept.clone(), &self.settings))
    }

    /// Judges a request without running it.
    ///
    /// # Errors
    /// Those of the document, and `persisted_query_not_found`.
    pub fn check(&self, ask: Ask) -> Result<Checked, QueryError> {
        let text = self.text_of(&ask)?;
        let mut document = document::parse(&text, &self.settings)?;
        let variables = Variables::from_json(Value::Object(ask.variables));
        let operation = document::operation(&document, ask.operation_name.as_deref())?;
        document::check(&self.shape, &self.settings, (&document, operation), &variables)?;
        self.inputs.check((&document, operation), &variables)?;
        let kind = operation.ty;
        if kind == OperationType::Subscription {
            root::settle(&mut document, ask.operation_name.as_deref())?;
        }
        let kept = kept::keep(&mut document);
        let is_followed = kind == OperationType::Subscription;
        let written = Written { text, operation_name: ask.operation_name, kept, is_followed };
        Ok(Checked { document, variables, written, kind })
    }

    /// The document, which the request may name by its hash.
    fn text_of(&self, ask: &Ask) -> Result<Arc<str>, QueryError> {
        let Some(persisted) = ask.extensions.get("persistedQuery") else {
            let missing = || QueryError::new(Code::BadGraphqlRequest, "`query` is missing");
            return ask.query.as_deref().map(Arc::from).ok_or_else(missing);
        };
        let bad = |message: &str| QueryError::new(Code::BadGraphqlRequest, format!("extensions.persistedQuery: {message}"));
        if persisted.get("version").and_then(Value::as_u64) != Some(1) {
            return Err(bad("version 1 is taken"));
        }
        let hash = persisted.get("sha256Hash").and_then(Value::as_str).and_then(digest_of);
        let hash = hash.ok_or_else(|| bad("sha256Hash is 64 hexadecimal digits"))?;
        let Some(text) = &ask.query else {
            let missing = || QueryError::new(Code::PersistedQueryNotFound, "PersistedQueryNotFound");
            return self.persisted.get(&hash).ok_or_else(missing);
        };
        if <[u8; 32]>::from(Sha256::digest(text)) != hash {
            return Err(bad("sha256Hash is not that of the query"));
        }
        let text: Arc<str> = text.as_str().into();
        if text.len() <= self.settings.document_bytes_max {
            self.persisted.put(hash, Arc::clone(&text), 1);
        }
        Ok(text)
    }

    /// Runs a query.
    pub fn run(&self, checked: Checked) -> BoxFuture<'_, Answer> {
        self.answer(checked).boxed()
    }

    async fn answer(&self, checked: Checked) -> Answer {
        let began = Instant::now();
        let deadline = began + self.settings.request_timeout;
        let _place: Place = match self.admission.admit(Some(deadline)).await {
            Ok(place) => place,
            Err(error) => return Answer::refused(error),
        };
        let request = self.request();
        let written = checked.written.clone();
        let run = Driver::new(Arc::clone(request.waves())).run(self.schema.execute(prepared(checked, &request)));
        let Ok(response) = tokio::time::timeout_at(deadline, run).await else {
            let limit: Duration = self.settings.request_timeout;
            return Answer::refused(QueryError::new(Code::Timeout, format!("the request took longer than {limit:?}")));
        };
        let fixed = response.errors.is_empty() && request.is_fixed();
        self.metrics.seconds.observe(began.elapsed().as_secs_f64());
        #[allow(clippy::cast_precision_loss)] // a few
        self.metrics.plans.observe(request.plans() as f64);
        Answer { fixed, plans: request.plans(), ..Answer::of(response, &written, &self.shape) }
    }

    /// Runs a subscription; its answers come until it or its reader ends.
    pub fn follow(&self, checked: Checked) -> BoxStream<'static, Answer> {
        let request = self.request();
        let (written, shape) = (checked.written.clone(), Arc::clone(&self.shape));
        let answers = self.schema.execute_stream(prepared(checked, &request));
        let answers = Driver::new(Arc::clone(request.waves())).run_stream(Box::pin(answers));
        answers.map(move |response| Answer::of(response, &written, &shape)).boxed()
    }
}

fn prepared(checked: Checked, request: &Arc<Request>) -> async_graphql::Request {
    let mut prepared = async_graphql::Request::new("").variables(checked.variables).data(Arc::clone(request));
    if let Some(name) = checked.written.operation_name {
        prepared = prepared.operation_name(name);
    }
    prepared.set_parsed_query(checked.document);
    prepared
}

fn digest_of(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

impl Answer {
    /// Nothing was run.
    pub fn refused(error: QueryError) -> Self {
        let body = json!({ "errors": [own_error(&error)] });
        Self { body, refused: Some(error), fixed: false, plans: 0, cursor: None }
    }

    fn of(response: Response, written: &Written, shape: &Shape) -> Self {
        let mut errors: Vec<Value> = response.errors.iter().map(error).collect();
        // Validation tells some twice.
        errors.dedup();
        // What fails before anything is run has no place in the answer.
        let unrun = !errors.is_empty() && response.errors.iter().all(|error| error.path.is_empty());
        if unrun && response.data == async_graphql::Value::Null {
            let first = &response.errors[0];
            let refused = first.source::<QueryError>().cloned();
            let refused = refused.unwrap_or_else(|| QueryError::new(Code::BadGraphql, first.message.clone()));
            return Self { body: json!({ "errors": errors }), refused: Some(refused), fixed: false, plans: 0, cursor: None };
        }
        let mut data = response.data.into_json().unwrap_or(Value::Null);
        if written.kept {
            kept::strip(&mut data);
        }
        let cursor = if written.is_followed { root::take_cursor(&mut data) } else { None };
        if !errors.is_empty()
            && let Ok(document) = parse_query(&written.text)
        {
            let paths = response.errors.iter().filter(|error| !error.path.is_empty()).map(|error| error.path.as_slice());
            nulls::put(&mut data, shape, (&document, written.operation_name.as_deref()), paths);
        }
        let body = if errors.is_empty() { json!({ "data": data }) } else { json!({ "data": data, "errors": errors }) };
        Self { body, refused: None, fixed: false, plans: 0, cursor }
    }
}

/// An error of ours as clients see it.
pub(crate) fn own_error(error: &QueryError) -> Value {
    // The protocol of persisted queries has its own word.
    let code = if error.code == Code::PersistedQueryNotFound { "PERSISTED_QUERY_NOT_FOUND" } else { error.code.as_str() };
    json!({ "message": error.message, "extensions": { "code": code } })
}

/// An error of a field, or of validation.
fn error(error: &ServerError) -> Value {
    let mut shown = match error.source::<QueryError>() {
        Some(own) => own_error(own),
        None => {
            let code = if error.path.is_empty() { Code::BadGraphql } else { Code::BadInput };
            json!({ "message": error.message, "extensions": { "code": code.as_str() } })
        }
    };
    if !error.locations.is_empty() {
        let place = |at: &async_graphql::Pos| json!({ "line": at.line, "column": at.column });
        shown["locations"] = error.locations.iter().map(place).collect();
    }
    if !error.path.is_empty() {
        let segment = |segment: &PathSegment| match segment {
            PathSegment::Field(name) => json!(name),
            PathSegment::Index(at) => json!(at),
        };
        shown["path"] = error.path.iter().map(segment).collect();
    }
    shown
}
