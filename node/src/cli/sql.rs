//! `tributary sql`: one query against a running server.

use std::io::{IsTerminal, Write};

use arrow::ipc::reader::StreamDecoder;
use clap::{Args, ValueEnum};
use futures::StreamExt;

use super::table::TablePrinter;
use crate::exit::{Failure, Outcome};
use crate::remote;

/// Arguments of `sql`.
#[derive(Args)]
pub struct Sql {
    /// The query.
    query: String,
    /// The server.
    #[arg(long, default_value = remote::DEFAULT_URL)]
    url: String,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// The same as --format json.
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
    Ndjson,
    Parquet,
}

impl Format {
    fn media_type(self) -> &'static str {
        match self {
            Self::Table => "application/vnd.apache.arrow.stream",
            Self::Csv => "text/csv",
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

impl Sql {
    /// Runs the query and prints its answer as it comes in.
    pub async fn run(self) -> Outcome {
        let format = if self.json { Format::Json } else { self.format };
        let client = remote::client()?;
        let body = serde_json::json!({ "query": self.query });
        let make = || client.post(remote::route(&self.url, "/v1/sql")).header("accept", format.media_type()).json(&body);
        let (response, _) = remote::persist(make).await?;
        let mut stream = remote::success(response).await?.bytes_stream();
        let mut printer = Printer::new(format);
        while let Some(bytes) = stream.next().await {
            printer.push(bytes.map_err(|e| Failure::failed("the answer broke off", e))?)?;
        }
        printer.finish()
    }
}

/// Prints the answer: text and Parquet as they come, rows as one table.
struct Printer {
    table: Option<(StreamDecoder, Option<TablePrinter>)>,
    ends_line: bool,
    binary: bool,
}

impl Printer {
    fn new(format: Format) -> Self {
        let table = (format == Format::Table).then(|| (StreamDecoder::new(), None));
        Self { table, ends_line: true, binary: format == Format::Parquet }
    }

    fn push(&mut self, bytes: bytes::Bytes) -> Outcome {
        let Some((decoder, printer)) = &mut self.table else {
            self.ends_line = bytes.last() == Some(&b'\n');
            return write(&bytes);
        };
        let mut buffer = arrow::buffer::Buffer::from(bytes);
        while !buffer.is_empty() {
            let decoded = decoder.decode(&mut buffer).map_err(|e| Failure::failed("the answer is not an Arrow stream", e))?;
            if let Some(batch) = decoded {
                let stdout = std::io::stdout();
                let printer = printer.get_or_insert_with(|| TablePrinter::new(&batch.schema(), stdout.is_terminal()));
                printer.push(&batch, &mut stdout.lock()).map_err(unprintable)?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Outcome {
        match &mut self.table {
            Some((decoder, printer)) => {
                let schema = decoder.schema();
                decoder.finish().map_err(|e| Failure::failed("the answer broke off", e))?;
                let empty = || schema.as_ref().map(|schema| TablePrinter::new(schema, false));
                match printer.take().or_else(empty) {
                    Some(printer) => printer.finish(&mut std::io::stdout().lock()).map_err(unprintable),
                    None => Ok(()),
                }
            }
            None if !self.ends_line && !self.binary => write(b"\n"),
            None => Ok(()),
        }
    }
}

fn unprintable(error: arrow::error::ArrowError) -> Failure {
    Failure::failed("the answer cannot be printed", error)
}

fn write(bytes: &[u8]) -> Outcome {
    std::io::stdout().write_all(bytes).map_err(|e| Failure::failed("stdout cannot be written", e))
}
