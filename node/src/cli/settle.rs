//! `tributary settle`: a job that closes one epoch, prints it and ends.

use clap::Args;
use tributary_schemas::ids::Epoch;
use tributary_settlement::{SettleOutcome, SettleRequest, SettlementError};

use crate::exit::{Failure, Outcome};
use crate::progress;
use crate::wire::{self, Record};

/// Arguments of `settle`.
#[derive(Args)]
pub struct Settle {
    /// A closed epoch to recompute and print, or the next one to close.
    #[arg(long)]
    epoch: Option<Epoch>,
    /// Compute over what is available and indexed now; wait for nothing, write nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    data: super::DataArguments,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Settle {
    /// Settles. Running it again, or twice at once, is harmless.
    pub async fn run(self) -> Outcome {
        let config = self.data.load()?;
        // A configuration that cannot settle is refused before anything is touched.
        let settings = wire::settlement_settings(&config)?;
        let spinner = progress::spinner("settling");
        let record = match self.dry_run {
            true => Record::open_read_only(&config).await?,
            false => wire::record_for_job(&config).await?,
        };
        let request = SettleRequest { epoch: self.epoch, dry_run: self.dry_run };
        let outcome = record.settlement(&config, settings).settle(request).await;
        spinner.finish_and_clear();
        let outcome = outcome.map_err(failure)?;
        if self.json {
            return super::print_json(&outcome);
        }
        print!("{}", render(&outcome, self.dry_run));
        Ok(())
    }
}

/// A difference is exit code 3; everything else has not been done.
pub fn failure(error: SettlementError) -> Failure {
    let text = format!("{error} [{}]", error.code());
    match error {
        SettlementError::Difference(_) => Failure::Difference(text),
        _ => Failure::Failed(text),
    }
}

fn render(outcome: &SettleOutcome, dry_run: bool) -> String {
    let e = &outcome.epoch;
    let state = match (outcome.closed, dry_run, e.epoch) {
        (_, _, 0) => return "no epoch is closed, and nothing is there to settle\n".to_owned(),
        (true, ..) => "closed now",
        (false, true, _) => "not closed: a dry run",
        (false, false, _) => "closed before",
    };
    let mut text = format!(
        "epoch {} ({state})\n  inferences       {} ({} unattributed)\n  fees             {} wei\n  accounts         {}\n  \
         cumulative total {} wei\n  cut              {}\n  root             {:#x}\n",
        e.epoch, e.inferences, e.unattributed, e.fees, e.accounts, e.cumulative_total, e.cut, e.root
    );
    if let Some(manifest) = &outcome.manifest {
        text += &format!("  manifest         {manifest}\n");
    }
    text
}
