//! `tributary verify`: recompute and compare; the first difference ends it with exit code 3.

mod proof;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tributary_da::proof::Expected;
use tributary_schemas::event::EventType;
use tributary_schemas::ids::Epoch;
use tributary_schemas::units::{Hash, parse_hash};
use tributary_settlement::verify::{EventReport, Sample, Sampled};
use tributary_settlement::{EpochRow, EventQuery, Report, Sources, VerifyRequest, verify};

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
    /// Check one event alone, from its bytes to its blob; with --proof, take the proof of no other.
    #[arg(long, num_args = 2, value_names = ["SOURCE", "ID"], conflicts_with = "epoch")]
    event: Option<Vec<String>>,
    /// The event's type, where several share source and id.
    #[arg(long = "type", requires = "event", value_parser = parse_type)]
    event_type: Option<EventType>,
    /// The event's key, where several share source, id and type.
    #[arg(long, requires = "event")]
    key: Option<String>,
    /// Check what is small in full, and of batches, blobs, data files and epochs N each, drawn by chance.
    #[arg(long, value_name = "N", conflicts_with_all = ["epoch", "event"], value_parser = clap::value_parser!(u32).range(1..))]
    sample: Option<u32>,
    /// The seed of the draw, to draw the same again; one is made up and printed if none is named.
    #[arg(long, value_name = "SEED", requires = "sample")]
    seed: Option<u32>,
    /// Check the proof of an event that lies in a file (- for standard input); nothing else is read. Without --event any event's is taken.
    #[arg(
        long,
        value_name = "FILE",
        requires = "blob_id",
        conflicts_with_all = ["epoch", "sample", "data_dir", "config"]
    )]
    proof: Option<PathBuf>,
    /// The id of the blob to trust, for --proof: from elsewhere than the proof.
    #[arg(long, value_name = "ID", requires = "proof", value_parser = parse_blob_id)]
    blob_id: Option<Hash>,
    #[command(flatten)]
    data: super::DataArguments,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Verify {
    /// Checks and says what was checked. Only reads, so that a copy that cannot be written to can be checked as well.
    pub async fn run(self) -> Outcome {
        if let Some((file, blob_id)) = self.proof.as_deref().zip(self.blob_id) {
            return proof::check(file, &blob_id, self.expected().as_ref(), self.json);
        }
        let config = self.data.load()?;
        let record = Record::open_read_only(&config).await?;
        let sources = Sources {
            store: Arc::clone(&record.store),
            journal: Arc::clone(&record.journal),
            certificates: Arc::clone(&record.certificates),
            client: record.availability.witness(),
            committer: Arc::clone(&record.committer),
            lake: Arc::clone(&record.lake),
            engine: Arc::clone(&record.engine),
        };
        let request = self.request();
        if let Some(Sample { size, seed }) = request.sample {
            // A stderr that takes nothing is no reason to end.
            let _ = writeln!(io::stderr(), "drawing {size} of each kind: --sample {size} --seed {seed} draws the same again");
        }
        let bars = Bars::new();
        let checked = verify(&sources, &request, &bars).await;
        bars.finish();
        let report = checked.map_err(failure)?;
        if self.json {
            return super::print_json(&report);
        }
        match (&report.event, &report.sample) {
            (Some(event), _) => print!("{}{}", render_event(event), render_sources(&report)),
            (None, Some(sampled)) => print!("{}", render_sampled(&report, sampled)),
            (None, None) => print!("{}", render(&report)),
        }
        Ok(())
    }

    /// The event that a proof must be of, if one is named.
    fn expected(&self) -> Option<Expected> {
        self.event.as_ref().map(|named| Expected {
            source: named[0].clone(),
            id: named[1].clone(),
            event_type: self.event_type,
            key: self.key.clone(),
        })
    }

    fn request(&self) -> VerifyRequest {
        let event = self.event.as_ref().map(|named| EventQuery {
            source: named[0].clone(),
            id: named[1].clone(),
            event_type: self.event_type,
            key: self.key.clone(),
        });
        let sample = self.sample.map(|size| Sample { size, seed: self.seed.unwrap_or_else(rand::random) });
        VerifyRequest { epoch: self.epoch, event, sample }
    }
}

fn parse_type(text: &str) -> Result<EventType, String> {
    EventType::parse(text).ok_or_else(|| format!("`{text}` is no event type, such as tributary.inference.completed.v1"))
}

fn parse_blob_id(text: &str) -> Result<Hash, String> {
    parse_hash(text).map_err(|error| format!("it {error}"))
}

fn render(report: &Report) -> String {
    let mut text = format!(
        "deployment {}: no difference\n  {} batches of {} partitions with {} events: hashes, chain, Merkle roots\n  \
         {} lists of identities; {} gaps of the log, accepted by an operator\n  \
         {} blobs against their certificates and the batches\n  {} tables: every file hashed; {} rows against the batches\n  \
         {} settled inferences with {} reward lines: recomputed from the batches\n  \
         {} manifests against the records of their epochs\n",
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
        report.lines,
        report.manifests
    );
    if report.identities_forgotten > 0 {
        text += &format!(
            "  repetitions: {} events were searched for at less than the whole window, for want of memory\n",
            report.identities_forgotten
        );
    }
    text + &render_sources(report) + &render_epochs(report)
}

/// Where payloads are from, if not from the backend; and what is still to be published.
fn render_sources(report: &Report) -> String {
    let (archived, unpublished) = (&report.from_archive, report.epochs_without_manifest);
    let mut text = match archived.blobs_from_archive {
        0 => String::new(),
        _ => format!("  {archived}\n"),
    };
    if unpublished > 0 {
        text += &format!("  {unpublished} closed epochs have no whole manifest yet: `tributary settle` completes them\n");
    }
    text
}

fn render_epochs(report: &Report) -> String {
    let line =
        |e: &EpochRow| format!("  epoch {}: {} wei for {} inferences, root {:#x}\n", e.epoch, e.fees, e.inferences, e.root);
    report.epochs.iter().map(line).collect()
}

fn render_sampled(report: &Report, sampled: &Sampled) -> String {
    let Sampled { size, seed, batches, blobs, files, epochs, not_checked } = sampled;
    let mut text = format!(
        "deployment {}: no difference in a sample of {size} of each kind, seed {seed}\n  {} headers of {} partitions: hashes, \
         chain; {} gaps of the log, accepted by an operator\n  {} of {} batches with {} events: hashes, Merkle roots, {} rows in \
         the tables\n  {} of {} blobs fetched and compared with the batches; of all: plan, certificate, no gap and no overlap\n  \
         {} of {} data files hashed; the logs of all tables\n  {} of {} epochs: the root over what every account has earned; of \
         all: record and row\n  {} manifests against the records of their epochs\n  not checked:\n",
        report.deployment,
        batches.of,
        report.partitions,
        report.gaps,
        batches.checked,
        batches.of,
        report.events,
        report.rows,
        blobs.checked,
        blobs.of,
        files.checked,
        files.of,
        epochs.checked,
        epochs.of,
        report.manifests
    );
    for what in not_checked {
        text += &format!("    {what}\n");
    }
    text + &render_sources(report) + &render_epochs(report)
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
    if let Some(proof) = &event.proof {
        let symbols = proof.proof.opening.blob_symbols;
        text +=
            &format!("  opening     the header is in the commitment to its {symbols} symbols; --json prints the whole proof\n");
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_report_says_what_was_in_the_archive_alone_and_which_manifests_are_still_to_come() {
        let quiet = render(&Report { blobs: 4, manifests: 2, ..Report::default() });
        assert!(!quiet.contains("archive") && !quiet.contains("settle`"), "{quiet}");
        let from_archive = tributary_da::FromArchive {
            blobs_from_archive: 4,
            blobs_expired: 1,
            archive_reason: Some("the proxy is away".to_owned()),
        };
        let report = Report { blobs: 4, from_archive, epochs_without_manifest: 2, ..Report::default() };
        let text = render(&report);
        let line =
            "  4 payloads of blobs and manifests from the archive alone, 1 of them for they have expired, the others: the proxy";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("  2 closed epochs have no whole manifest yet: `tributary settle` completes them\n"), "{text}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["blobs_from_archive"], &json["blobs_expired"]), (&4.into(), &1.into()), "{json}");
        assert_eq!(
            (&json["archive_reason"], &json["epochs_without_manifest"]),
            (&"the proxy is away".into(), &2.into()),
            "{json}"
        );
    }
}
