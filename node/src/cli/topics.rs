//! `tributary topics`: the topic of the deployment, made and checked.

use clap::{Args, Subcommand};
use serde::Serialize;
use tributary_eventlog::kafka::{self, Finding};

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
    /// Absent where the topic was looked at before there is a deployment.
    deployment: Option<String>,
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
    code: &'static str,
    cure: &'static str,
}

impl Topics {
    /// Creates or checks.
    pub async fn run(self) -> Outcome {
        match self.action {
            Action::Create(options) => options.create().await,
            Action::Check(options) => options.check().await,
        }
    }
}

impl Options {
    async fn create(&self) -> Outcome {
        let config = self.data.load()?;
        let settings = wire::required_settings(&config)?;
        let topic = config.kafka.topic.as_str();
        if wire::found_genesis(&config).await?.is_none() {
            // A deployment is for good: it is born only once a broker has said that its topic can be made, or is as it must be.
            let plan = config.kafka.plan(wire::partitions_of_new(&config)?);
            if !kafka::rehearse(&settings, plan).await? {
                let findings = kafka::check(&settings, plan).await?;
                if !findings.is_empty() {
                    let partitions = plan.partitions.get();
                    let report = Report { topic, deployment: None, partitions, created: false, findings: Vec::new() };
                    return self.report(report, findings);
                }
            }
        }
        let genesis = wire::genesis_or_new(&config).await?;
        let plan = config.kafka.plan(genesis.partitions);
        let created = kafka::create(&settings, plan).await?;
        let findings = kafka::check_when_known(&settings, plan).await?;
        let (deployment, partitions) = (Some(genesis.deployment.to_string()), genesis.partitions.get());
        self.report(Report { topic, deployment, partitions, created, findings: Vec::new() }, findings)
    }

    async fn check(&self) -> Outcome {
        let config = self.data.load()?;
        let settings = wire::required_settings(&config)?;
        let genesis = wire::existing_genesis(&config).await?;
        let findings = kafka::check_when_known(&settings, config.kafka.plan(genesis.partitions)).await?;
        let (deployment, partitions) = (Some(genesis.deployment.to_string()), genesis.partitions.get());
        let topic = config.kafka.topic.as_str();
        self.report(Report { topic, deployment, partitions, created: false, findings: Vec::new() }, findings)
    }

    /// Prints, and fails if the topic is not as it must be.
    fn report(&self, report: Report<'_>, findings: Vec<Finding>) -> Outcome {
        let (topic, partitions, created) = (report.topic, report.partitions, report.created);
        let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
        if self.json {
            super::print_json(&Report { findings: findings.into_iter().map(Found::from).collect(), ..report })?;
        } else if let Some(deployment) = &report.deployment {
            if created {
                println!("topic {topic} was created with {partitions} partitions for deployment {deployment}");
            } else if lines.is_empty() {
                println!("topic {topic} is as deployment {deployment} needs it, with {partitions} partitions");
            }
        }
        match lines.is_empty() {
            true => Ok(()),
            false => Err(Failure::Difference(format!("topic {topic} is not as it must be: {}", lines.join("; ")))),
        }
    }
}

impl From<Finding> for Found {
    fn from(finding: Finding) -> Self {
        let (code, cure) = (finding.code(), finding.cure());
        let Finding { property, found, wanted, why } = finding;
        Self { property, found, wanted, why, code, cure }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cli::DataArguments;

    /// A configuration in a folder, with these brokers.
    fn options(folder: &std::path::Path, bootstrap: &str) -> Options {
        let config = folder.join("tributary.toml");
        let store = folder.join("store");
        let text = format!(
            "[data]\ndir = {:?}\n[store]\nurl = \"file://{}\"\n[kafka]\nbootstrap = \"{bootstrap}\"\n",
            folder.join("data"),
            store.display()
        );
        std::fs::write(&config, text).unwrap();
        Options { data: DataArguments { data_dir: None, config: Some(config) }, json: false }
    }

    #[tokio::test]
    async fn no_deployment_is_born_before_a_broker_is_reached() {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path(), "127.0.0.1:1");
        let text = options.create().await.unwrap_err().to_string();
        assert!(text.contains("`kafka.bootstrap` (127.0.0.1:1)") && text.ends_with("[kafka_unreachable]"), "{text}");
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["tributary.toml"], "nothing is left behind");
    }

    #[test]
    fn a_finding_is_reported_with_its_code_and_its_cure() {
        let finding = || Finding { property: "retention.ms", found: "1".to_owned(), wanted: "2 or more".to_owned(), why: "so" };
        let found = serde_json::to_value(Found::from(finding())).unwrap();
        assert_eq!(found["code"], "kafka_topic_setting");
        assert!(found["cure"].as_str().unwrap().contains("`kafka.retention_ms`"), "{found}");
        let folder = tempfile::tempdir().unwrap();
        let report = Report { topic: "events", deployment: None, partitions: 4, created: false, findings: Vec::new() };
        let failed = options(folder.path(), "127.0.0.1:1").report(report, vec![finding()]).unwrap_err();
        assert!(matches!(&failed, Failure::Difference(text) if text.contains("[kafka_topic_setting]")), "{failed}");
    }
}
