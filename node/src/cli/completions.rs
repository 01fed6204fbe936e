//! `tributary completions`: what a shell needs to complete the command line.

use clap::{Args, CommandFactory};

use crate::exit::Outcome;

/// Arguments of `completions`.
#[derive(Args)]
pub struct Completions {
    /// The shell.
    shell: clap_complete::Shell,
}

impl Completions {
    /// Prints the script.
    pub fn run(&self) -> Outcome {
        clap_complete::generate(self.shell, &mut super::Arguments::command(), "tributary", &mut std::io::stdout());
        Ok(())
    }
}
