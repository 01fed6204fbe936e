//! Why a question was not answered.

use std::fmt;
use std::time::Duration;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;

/// What the asker must do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The question is wrong or not allowed: correct it.
    Reject,
    /// What was asked for does not exist.
    Missing,
    /// The question is too large for its limits: ask for less.
    Limit,
    /// Too busy, or a passing fault of the store: ask again later.
    Retry,
    /// Stored data contradicts itself: an operator must look.
    Corrupt,
    /// Our own fault.
    Internal,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $kind:ident;)*) => {
        /// The stable code of a failure; each is listed with cause and cure in docs/errors.md.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The code as answers carry it.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// The HTTP status of an answer with this code.
            pub fn status(self) -> u16 {
                match self { $(Code::$name => $status,)* }
            }

            /// What the asker must do.
            pub fn kind(self) -> Kind {
                match self { $(Code::$name => Kind::$kind,)* }
            }
        }
    };
}

codes! {
    /// The request body is not the JSON object that the route takes.
    BadRequest = "bad_request", 400, Reject;
    /// The SQL does not parse, names what does not exist, or does not type-check.
    BadSql = "bad_sql", 400, Reject;
    /// More than one statement, or none.
    OneStatement = "one_statement", 400, Reject;
    /// The SQL text has too many bytes, tokens or levels.
    SqlTooLarge = "sql_too_large", 400, Reject;
    /// The statement would write, or change or read something outside the tables.
    ReadOnly = "read_only", 403, Reject;
    /// A parameter is missing, superfluous, or of a type that cannot be bound.
    BadParams = "bad_params", 400, Reject;
    /// `as_of` does not name exactly one point, or the cut's text is no cut.
    BadAsOf = "bad_as_of", 400, Reject;
    /// The cut lies beyond what is indexed.
    CutAhead = "cut_ahead", 409, Retry;
    /// A value could not be computed: overflow, division by zero, a failed cast.
    Evaluation = "evaluation", 422, Reject;
    /// Two columns of the answer have one name, which the format cannot tell apart.
    DuplicateColumns = "duplicate_columns", 422, Reject;
    /// The format cannot hold a column's type.
    UnsupportedType = "unsupported_type", 422, Reject;
    /// None of the formats in `Accept` is offered.
    NotAcceptable = "not_acceptable", 406, Reject;
    /// The request body's content type is not `application/json`.
    UnsupportedMediaType = "unsupported_media_type", 415, Reject;
    /// The request body has too many bytes.
    RequestTooLarge = "request_too_large", 413, Reject;
    /// The query took longer than its limit.
    Timeout = "query_timeout", 422, Limit;
    /// The query needed more memory or disk than its limit.
    Memory = "query_memory", 422, Limit;
    /// The answer has more rows than its limit.
    Rows = "query_rows", 422, Limit;
    /// All places for queries, running and waiting, are taken.
    Busy = "busy", 503, Retry;
    /// The address is not 0x and 40 hexadecimal digits, or is the zero address.
    BadAddress = "bad_address", 400, Reject;
    /// The GraphQL request is not the JSON object, or the query string, that the route takes.
    BadGraphqlRequest = "bad_graphql_request", 400, Reject;
    /// The document does not parse, or does not fit the schema.
    BadGraphql = "bad_graphql", 400, Reject;
    /// A value given in a document or as a variable is not of its type.
    BadInput = "bad_input", 400, Reject;
    /// Several GraphQL requests in one.
    BatchRefused = "batch_refused", 400, Reject;
    /// The hash names no document that the server knows.
    PersistedQueryNotFound = "persisted_query_not_found", 404, Missing;
    /// Another method than the operation needs.
    MethodNotAllowed = "method_not_allowed", 405, Reject;
    /// The document has too many bytes, tokens or levels of brackets.
    DocumentTooLarge = "document_too_large", 400, Limit;
    /// The operation has too many levels of fields.
    TooDeep = "too_deep", 400, Limit;
    /// The operation asks for too many values.
    TooComplex = "too_complex", 400, Limit;
    /// The operation has too many aliases.
    TooManyAliases = "too_many_aliases", 400, Limit;
    /// `where` has too many conditions, levels or values.
    FilterTooLarge = "filter_too_large", 400, Limit;
    /// A subscription's filter names what does not exist, or too much.
    BadFilter = "bad_filter", 400, Reject;
    /// `first`, `last` or another number of things asked for is outside its range.
    BadPage = "bad_page", 400, Reject;
    /// A cursor is of another list, another order or another point, or none at all.
    BadCursor = "bad_cursor", 400, Reject;
    /// The arguments of `series` make no series.
    BadSeries = "bad_series", 400, Reject;
    /// The text of a search is too long.
    BadSearch = "bad_search", 400, Reject;
    /// Several events have the source and id.
    AmbiguousEvent = "ambiguous_event", 409, Reject;
    /// The answer has too many bytes.
    AnswerTooLarge = "answer_too_large", 422, Limit;
    /// A subscriber took too long to accept a message.
    SlowConsumer = "slow_consumer", 408, Retry;
    /// The epoch is not a number from 1.
    BadEpoch = "bad_epoch", 400, Reject;
    /// No such epoch is closed.
    EpochNotFound = "epoch_not_found", 404, Missing;
    /// The account has earned nothing up to the epoch.
    AccountNotFound = "account_not_found", 404, Missing;
    /// The store, the lake or the journal could not be read.
    Unavailable = "store_unavailable", 503, Retry;
    /// Stored data contradicts itself.
    Corrupt = "corrupt", 500, Corrupt;
    /// A fault of the engine itself.
    Internal = "internal", 500, Internal;
}

/// A question that was not answered: the code says why, the message on what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    /// The stable code.
    pub code: Code,
    /// What happened, on what; for people.
    pub message: String,
    /// How long to wait before asking again, where that is known.
    pub retry_after: Option<Duration>,
}

impl QueryError {
    /// An error of the code.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }

    /// What the asker must do.
    pub fn kind(&self) -> Kind {
        self.code.kind()
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code.as_str())
    }
}

impl std::error::Error for QueryError {}

impl From<QueryError> for DataFusionError {
    fn from(error: QueryError) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

/// A failure while a query runs.
impl From<DataFusionError> for QueryError {
    fn from(error: DataFusionError) -> Self {
        if let Some(own) = own_error(&error) {
            return own;
        }
        let root = error.find_root();
        if root.to_string().contains(SPILL_LIMIT_REACHED) {
            return Self::new(Code::Memory, "the query would spill more to disk than its limit");
        }
        let code = match root {
            DataFusionError::ResourcesExhausted(_) => Code::Memory,
            DataFusionError::ArrowError(arrow, _) => of_arrow(arrow),
            DataFusionError::Execution(_) => Code::Evaluation,
            DataFusionError::Plan(_)
            | DataFusionError::SchemaError(..)
            | DataFusionError::NotImplemented(_)
            | DataFusionError::Configuration(_)
            | DataFusionError::SQL(..) => Code::BadSql,
            DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => Code::Unavailable,
            DataFusionError::ParquetError(_) => Code::Corrupt,
            DataFusionError::External(source) if source.is::<object_store::Error>() || source.is::<std::io::Error>() => {
                Code::Unavailable
            }
            _ => Code::Internal,
        };
        Self::new(code, message_of(root))
    }
}

/// How the engine words it that a query has spilled as much as it may; the error's type does not tell it from a broken disk.
const SPILL_LIMIT_REACHED: &str = "used disk space during the spilling process has exceeded";

fn of_arrow(error: &ArrowError) -> Code {
    match error {
        ArrowError::DivideByZero
        | ArrowError::ArithmeticOverflow(_)
        | ArrowError::CastError(_)
        | ArrowError::ComputeError(_)
        | ArrowError::ParseError(_)
        | ArrowError::InvalidArgumentError(_)
        | ArrowError::OffsetOverflowError(_) => Code::Evaluation,
        ArrowError::NotYetImplemented(_) | ArrowError::SchemaError(_) => Code::BadSql,
        ArrowError::IoError(..) => Code::Unavailable,
        ArrowError::ParquetError(_) => Code::Corrupt,
        _ => Code::Internal,
    }
}

/// An error of this crate that travelled through the query engine.
fn own_error(error: &DataFusionError) -> Option<QueryError> {
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(current) = next {
        if let Some(own) = current.downcast_ref::<QueryError>() {
            return Some(own.clone());
        }
        next = current.source();
    }
    None
}

/// The engine's message, of bounded length.
fn message_of(error: &DataFusionError) -> String {
    let mut text = error.strip_backtrace();
    // The code says what kind of error it is.
    while let Some(rest) = KINDS.iter().find_map(|kind| text.strip_prefix(kind)) {
        text = rest.to_owned();
    }
    // A function of ours that refuses its arguments says why in its own words.
    if let Some((_, own)) = text.split_once("user-defined coercion failed with: Error during planning: ") {
        text = own.split(" No function matches").next().unwrap_or_default().to_owned();
    }
    match error {
        DataFusionError::SQL(parser, _) => {
            if let ParserError::ParserError(message) | ParserError::TokenizerError(message) = parser.as_ref() {
                text = format!("the text is no SQL: {message}");
            }
        }
        // The name of what is not known; its syntax tree follows.
        DataFusionError::NotImplemented(_) => text.truncate(text.find('{').unwrap_or(text.len())),
        _ => {}
    }
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

const MESSAGE_CHARS_MAX: usize = 1000;

/// What the engine puts before its messages.
const KINDS: &[&str] =
    &["Error during planning: ", "Execution error: ", "Schema error: ", "Arrow error: ", "External error: ", "SQL error: "];

impl From<tributary_indexer::Error> for QueryError {
    fn from(error: tributary_indexer::Error) -> Self {
        let code = match error.kind() {
            tributary_indexer::Kind::Retry | tributary_indexer::Kind::Closed => Code::Unavailable,
            tributary_indexer::Kind::Corrupt => Code::Corrupt,
            tributary_indexer::Kind::Reject => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<tributary_journal::JournalError> for QueryError {
    fn from(error: tributary_journal::JournalError) -> Self {
        let code = if error.is_corrupt() { Code::Corrupt } else { Code::Unavailable };
        Self::new(code, error.to_string())
    }
}

impl From<tributary_da::DaError> for QueryError {
    fn from(error: tributary_da::DaError) -> Self {
        let code = if error.is_damage() { Code::Corrupt } else { Code::Unavailable };
        Self::new(code, error.to_string())
    }
}
