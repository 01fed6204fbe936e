//! placeholder
use clap::Args;
use crate::exit::Outcome;
#[derive(Args)]
pub struct Rebuild { }
impl Rebuild { pub async fn run(self) -> Outcome { Ok(()) } }
