//! `tributary config`: the effective configuration. Secrets are printed as `***`.

use clap::{Args, Subcommand};

use crate::exit::Outcome;

/// Arguments of `config`.
#[derive(Args)]
pub struct Configuration {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Print the effective configuration.
    Print(Options),
    /// Check it and say nothing more than whether it is valid.
    Check(Options),
}

#[derive(Args)]
struct Options {
    #[command(flatten)]
    data: super::DataArguments,
    /// Print JSON instead of TOML.
    #[arg(long)]
    json: bool,
}

impl Configuration {
    /// Prints or checks.
    pub fn run(&self) -> Outcome {
        match &self.action {
            Action::Print(options) => {
                let config = options.data.load()?.redacted();
                if options.json {
                    return super::print_json(&config);
                }
                print!("{}", config.to_toml());
                Ok(())
            }
            Action::Check(options) => {
                options.data.load()?;
                if options.json {
                    return super::print_json(&serde_json::json!({"valid": true}));
                }
                println!("the configuration is valid");
                Ok(())
            }
        }
    }
}
