//! The sizes that every door and every reader agrees on.

/// The most bytes of JSON one event has.
pub const EVENT_JSON_MAX: usize = 256 * 1024;

/// The most bytes one request has, after decompression.
pub const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The most events one request has.
pub const REQUEST_EVENTS_MAX: usize = 10_000;

/// The most bytes an accepted event has as protobuf. Names and numbers are shorter in protobuf than in JSON, so the JSON
/// limit and what the door adds (producer, accepted_at) stay below it.
pub const EVENT_PROTOBUF_MAX: usize = 400 * 1024;

/// The most characters of a CloudEvents `id`.
pub const ID_CHARS_MAX: usize = 128;

/// The most characters of a CloudEvents `source`.
pub const SOURCE_CHARS_MAX: usize = 256;

/// The most bytes of an attribute that is kept as it came: `dataschema`, `traceparent`, `tracestate`, `sig`, `signer` and the
/// values of extensions.
pub const ATTRIBUTE_BYTES_MAX: usize = 8 * 1024;

/// The most extension attributes of an event besides the named ones.
pub const EXTENSIONS_MAX: usize = 8;

/// The most characters of an extension's name. CloudEvents asks for at most 20, but does not require it.
pub const EXTENSION_NAME_CHARS_MAX: usize = 64;

/// The most parents of a registered model.
pub const MODEL_PARENTS_MAX: usize = 8;

/// The most datanets that a model names.
pub const MODEL_DATANETS_MAX: usize = 64;

/// The most inferences whose output an inference used.
pub const INFERENCE_PARENTS_MAX: usize = 16;

/// The most entries of an attribution; the least is one.
pub const ATTRIBUTION_ENTRIES_MAX: usize = 4096;

/// The most inferences of one agent action.
pub const ACTION_INFERENCES_MAX: usize = 64;

/// How far before now the time of a live event may lie, in microseconds: 7 days.
pub const LIVE_PAST_MICROS: i64 = 7 * 24 * 3600 * 1_000_000;

/// How far after now the time of a live event may lie, in microseconds: 5 minutes.
pub const LIVE_FUTURE_MICROS: i64 = 5 * 60 * 1_000_000;

/// The most characters of a producer's text that a message or a field path repeats.
pub const EXCERPT_CHARS_MAX: usize = 64;
