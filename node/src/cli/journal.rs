//! `tributary journal`: decisions that only an operator can take.

use clap::{Args, Subcommand};
use tributary_journal::gap::{self, Accepted};
use tributary_journal::{Journal, JournalError};
use tributary_schemas::ids::{Offset, Partition};

use crate::exit::{Failure, Outcome};
use crate::wire;

/// Arguments of `journal`.
#[derive(Args)]
pub struct JournalCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Go on behind a gap between log and journal, for good: what is missing stays missing.
    AcceptGap(AcceptGap),
    /// List the gaps that were accepted.
    Gaps(Gaps),
}

#[derive(Args)]
struct AcceptGap {
    #[command(flatten)]
    data: super::DataArguments,
    /// The partition that stands still.
    #[arg(long, value_parser = parse_partition)]
    partition: Partition,
    /// Why, for those who read the record later.
    #[arg(long)]
    reason: String,
    /// The offset of the log to go on at [default: the first that leaves no record out].
    #[arg(long, value_parser = parse_offset)]
    from: Option<Offset>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Gaps {
    #[command(flatten)]
    data: super::DataArguments,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl JournalCommand {
    /// Runs the action.
    pub async fn run(self) -> Outcome {
        match self.action {
            Action::AcceptGap(command) => command.run().await,
            Action::Gaps(command) => command.run().await,
        }
    }
}

impl AcceptGap {
    async fn run(self) -> Outcome {
        let config = self.data.load()?;
        let genesis = wire::existing_genesis(&config).await?;
        let log = wire::event_log(&config, genesis.partitions).await?;
        let (journal, clock) = wire::journal_to_write(&config).await?;
        let wanted = (self.partition, self.from);
        let accepted = gap::accept(&journal, &*log.as_log(), &*clock, wanted, &self.reason).await.map_err(failure)?;
        if self.json {
            return super::print_json(&accepted);
        }
        println!("{}", told(&accepted));
        Ok(())
    }
}

impl Gaps {
    async fn run(self) -> Outcome {
        let config = self.data.load()?;
        let journal: std::sync::Arc<Journal> = wire::journal_to_read(&config).await?;
        let gaps = gap::list(&journal).await.map_err(failure)?;
        if self.json {
            return super::print_json(&serde_json::json!({ "gaps": gaps }));
        }
        gaps.iter().for_each(|accepted| println!("{}", told(accepted)));
        Ok(())
    }
}

fn told(accepted: &Accepted) -> String {
    let Accepted { partition, seq, journal_offset, next_offset, decision } = accepted;
    format!(
        "partition {partition}: batch {seq} goes on from offset {journal_offset} at {next_offset}: {}; found: {}",
        decision.reason, decision.found
    )
}

fn failure(error: JournalError) -> Failure {
    let code = error.code();
    let failure = match error {
        JournalError::Refused(reason) => Failure::Failed(reason),
        JournalError::Fenced { partition, seq } => {
            Failure::Failed(format!("batch {seq} of partition {partition} was written meanwhile: look at the partition again"))
        }
        corrupt @ JournalError::Corrupt { .. } => Failure::Difference(corrupt.to_string()),
        other => Failure::Failed(other.to_string()),
    };
    failure.with_code(code)
}

fn parse_partition(text: &str) -> Result<Partition, String> {
    text.parse().ok().and_then(Partition::new).ok_or_else(|| format!("`{text}` is no partition: a number from 0"))
}

fn parse_offset(text: &str) -> Result<Offset, String> {
    text.parse().ok().and_then(Offset::new).ok_or_else(|| format!("`{text}` is no offset: a number from 0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_its_code() {
        for (error, code) in [
            (JournalError::Refused("no gap".to_owned()), "journal_refused"),
            (JournalError::Closed, "journal_closed"),
            (JournalError::Retry { what: "event log".to_owned(), reason: "away".to_owned() }, "journal_unavailable"),
        ] {
            let failure = failure(error);
            assert!(matches!(&failure, Failure::Failed(text) if text.ends_with(&format!("[{code}]"))), "{failure}");
        }
        let damaged = failure(JournalError::Corrupt { object: "a batch".to_owned(), reason: "cut".to_owned() });
        assert!(matches!(&damaged, Failure::Difference(text) if text.ends_with("[journal_corrupt]")), "{damaged}");
    }
}
