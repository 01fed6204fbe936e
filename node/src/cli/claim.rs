//! `tributary claim`: what to send to the contract.

use clap::Args;
use tributary_schemas::ids::Epoch;
use tributary_schemas::units::Address;

use crate::exit::{Failure, Outcome};
use crate::wire::Record;

/// Arguments of `claim`.
#[derive(Args)]
pub struct Claim {
    /// The account, in any case.
    #[arg(value_parser = |text: &str| Address::parse_any_case(text))]
    address: Address,
    /// The epoch; the latest if none is named.
    #[arg(long)]
    epoch: Option<Epoch>,
    #[command(flatten)]
    data: super::DataArguments,
    /// Print one JSON object, which is the only form there is.
    #[arg(long)]
    json: bool,
}

impl Claim {
    /// Prints the claim and its proof as JSON.
    pub async fn run(self) -> Outcome {
        let config = self.data.load()?;
        let record = Record::open_read_only(&config).await?;
        let claim = tributary_query::claim(&record.engine, self.address, self.epoch).await;
        super::print_json(&claim.map_err(|e| Failure::Failed(e.to_string()))?)
    }
}
