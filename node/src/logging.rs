//! Logs go to stderr: text on a terminal, JSON lines otherwise. Results go to stdout and never here.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging. `verbosity` counts `-v`: warnings, then information, then details. `TRIBUTARY_LOG` overrides it with
/// filter directives such as `tributary_journal=debug`.
pub fn init(verbosity: u8) {
    let level = match verbosity {
        0 => "warn",
        1 => {
            "warn,tributary=info,tributary_eventlog=info,tributary_journal=info,tributary_ingest=info,tributary_da=info,\
              tributary_indexer=info,tributary_query=info,tributary_settlement=info"
        }
        2 => {
            "info,tributary=debug,tributary_eventlog=debug,tributary_journal=debug,tributary_ingest=debug,\
              tributary_da=debug,tributary_indexer=debug,tributary_query=debug,tributary_settlement=debug"
        }
        _ => "debug",
    };
    // What the client library of Kafka says comes by callbacks, and is told with its level and place.
    let level = format!("{level},rdkafka=off,librdkafka=off");
    let filter = EnvFilter::try_from_env("TRIBUTARY_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // A line that cannot be written, as on a full disk, is dropped: telling of it on stderr would end the thread.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    if std::io::stderr().is_terminal() { builder.init() } else { builder.json().init() }
}
