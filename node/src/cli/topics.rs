//! `tributary topics`: the topic of the deployment, made and checked.

use clap::{Args, Subcommand};
use serde::Serialize;
use tributary_eventlog::LogError;
use tributary_eventlog::kafka::{self, Finding, Settings, TopicPlan};

use crate::config::Config;
use crate::exit::{Failure, Outcome};
use crate::wire;

/// Arguments of `topics`.
#[derive(Args)]
pub struct Topics {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Create the deployment, if there is none yet, and its topic.
    Create(Options),
    /// Compare the topic with what the deployment needs; exit 3 if something differs.
    Check(Options),
}

#[derive(Args)]
struct Options {
    #[command(flatten)]
    data: super::DataArguments,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Report<'a> {
    topic: &'a str,
    deployment: String,
    partitions: u32,
    created: bool,
    findings: Vec<Found>,
}

#[derive(Serialize)]
struct Found {
    property: &'static str,
    found: String,
    wanted: String,
    why: &'static str,
}

impl Topics {
    /// Creates or checks.
    pub async fn run(self) -> Outcome {
        match self.action {
            Action::Create(options) => {
                let config = options.data.load()?;
                let settings = wire::required_settings(&config)?;
                let genesis = wire::genesis_or_new(&config).await?;
                let plan = config.kafka.plan(genesis.partitions);
                let created = kafka::create(&settings, plan).await.map_err(failed)?;
                options.report(&config, &settings, (genesis.deployment.to_string(), plan), created).await
            }
            Action::Check(options) => {
                let config = options.data.load()?;
                let settings = wire::required_settings(&config)?;
                let genesis = wire::existing_genesis(&config).await?;
                let plan = config.kafka.plan(genesis.partitions);
                options.report(&config, &settings, (genesis.deployment.to_string(), plan), false).await
            }
        }
    }
}

impl Options {
    /// Checks, prints, and fails if the topic is not as it must be.
    async fn report(
        &self,
        config: &Config,
        settings: &Settings,
        (deployment, plan): (String, TopicPlan),
        created: bool,
    ) -> Outcome {
        let findings = kafka::check_when_known(settings, plan).await.map_err(failed)?;
        let (topic, partitions) = (config.kafka.topic.as_str(), plan.partitions.get());
        let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
        if self.json {
            let findings = findings.into_iter().map(Found::from).collect();
            super::print_json(&Report { topic, deployment, partitions, created, findings })?;
        } else if created {
            println!("topic {topic} was created with {partitions} partitions for deployment {deployment}");
        } else if lines.is_empty() {
            println!("topic {topic} is as deployment {deployment} needs it, with {partitions} partitions");
        }
        match lines.is_empty() {
            true => Ok(()),
            false => Err(Failure::Difference(format!("topic {topic} is not as it must be: {}", lines.join("; ")))),
        }
    }
}

impl From<Finding> for Found {
    fn from(finding: Finding) -> Self {
        let Finding { property, found, wanted, why } = finding;
        Self { property, found, wanted, why }
    }
}

fn failed(error: LogError) -> Failure {
    Failure::Failed(error.to_string())
}
