//! `tributary verify`: recompute and compare; the first difference ends it with exit code 3.

use std::sync::Arc;

use clap::Args;
use tributary_schemas::event::EventType;
use tributary_schemas::ids::Epoch;
use tributary_settlement::verify::EventReport;
use tributary_settlement::{EventQuery, Report, Sources, VerifyRequest, verify};

use super::settle::failure;
use crate::exit::{Failure, Outcome};
use crate::progress::Bars;
use crate::wire::Record;

/// Arguments of `verify`.
#[derive(Args)]
pub struct Verify {
    /// Check the tables of this epoch alone, and of everything else what lies before it.
    #[arg(long)]
    epoch: Option<Epoch>,
    /// Check one event alone, from its bytes to its blob.
    #[arg(long, num_args = 2, value_names = ["SOURCE", "ID"], conflicts_with = "epoch")]
    event: Option<Vec<String>>,
    /// The event's type, where several share source and id.
    #[arg(long = "type", requires = "event", value_parser = parse_type)]
    event_type: Option<EventType>,
    /// The event's key, where several share source, id and type.
    #[arg(long, requires = "event")]
    key: Option<String>,
    #[command(flatten)]
    data: super::DataArguments,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Verify {
    /// Checks and says what was checked. Only reads, so that a copy that cannot be written to can be checked as well.
    pub async fn run(self) -> Outcome {
        let config = self.data.load()?;
        let record = Record::open_read_only(&config).await?;
        let sources = Sources {
            store: Arc::clone(&record.store),
            journal: Arc::clone(&record.journal),
            certificates: Arc::clone(&record.certificates),
            client: Arc::clone(&record.client),
            lake: Arc::clone(&record.lake),
            engine: Arc::clone(&record.engine),
        };
        let bars = Bars::new();
        let checked = verify(&sources, &self.request(), &bars).await;
        bars.finish();
        let report = checked.map_err(failure)?;
        if self.json {
            return super::print_json(&report);
        }
        match &report.event {
            Some(event) => print!("{}", render_event(event)),
            None => print!("{}", render(&report)),
        }
        Ok(())
    }

    fn request(&self) -> VerifyRequest {
        let event = self.event.as_ref().map(|named| EventQuery {
            source: named[0].clone(),
            id: named[1].clone(),
            event_type: self.event_type,
            key: self.key.clone(),
        });
        VerifyRequest { epoch: self.epoch, event }
    }
}

fn parse_type(text: &str) -> Result<EventType, String> {
    EventType::parse(text).ok_or_else(|| format!("`{text}` is no event type, such as tributary.inference.completed.v1"))
}

fn render(report: &Report) -> String {
    let mut text = format!(
        "deployment {}: no difference\n  {} batches of {} partitions with {} events: hashes, chain, Merkle roots\n  \
         {} lists of identities; {} gaps of the log, accepted by an operator\n  \
         {} blobs against their certificates and the batches\n  {} tables: every file hashed; {} rows against the batches\n  \
         {} settled inferences with {} reward lines: recomputed from the batches\n",
        report.deployment,
        report.batches,
        report.partitions,
        report.events,
        report.identity_lists,
        report.gaps,
        report.blobs,
        report.tables,
        report.rows,
        report.inferences,
        report.lines
    );
    if report.identities_forgotten > 0 {
        text += &format!(
            "  repetitions: {} events were searched for at less than the whole window, for want of memory\n",
            report.identities_forgotten
        );
    }
    for e in &report.epochs {
        text += &format!("  epoch {}: {} wei for {} inferences, root {:#x}\n", e.epoch, e.fees, e.inferences, e.root);
    }
    text
}

fn render_event(event: &EventReport) -> String {
    let mut text = format!("event of type {} with key {}: proved\n  leaf        {}\n", event.event_type, event.key, event.leaf);
    for sibling in &event.path {
        text += &format!("  sibling     {sibling}\n");
    }
    text += &format!(
        "  root        {} of batch {} of partition {}, event {}\n  header hash {}\n",
        event.root, event.seq, event.partition, event.ordinal, event.header_hash
    );
    text += &match &event.blob_id {
        Some(blob) => format!("  blob        {blob}, fetched and holding the batch\n"),
        None => "  blob        none yet: not certified\n".to_owned(),
    };
    if let Some(epoch) = event.epoch {
        text += &format!("  epoch       {epoch} is the first that covers it\n");
    }
    text
}

impl From<tributary_journal::JournalError> for Failure {
    /// Damage found on opening is a difference, the same as damage found by a check.
    fn from(error: tributary_journal::JournalError) -> Self {
        let code = error.code();
        let failure = match error.is_corrupt() {
            true => Self::Difference(error.to_string()),
            false => Self::failed("the journal cannot be opened", error),
        };
        failure.with_code(code)
    }
}
