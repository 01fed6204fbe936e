//! `tributary status`: how far the record is, and a wait until what was accepted is that far.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;
use reqwest::Client;
use serde::{Deserialize, Serialize};

use crate::exit::{Failure, Outcome};
use crate::status::publishing::PublishingReport;
use crate::status::{Stage, StatusReport};
use crate::{progress, remote};

/// How often the server is asked while waiting.
const POLL: Duration = Duration::from_millis(100);

/// Arguments of `status`.
#[derive(Args)]
pub struct Status {
    /// The server.
    #[arg(long, default_value = remote::DEFAULT_URL)]
    url: String,
    /// Return only when every offset accepted before now is that far.
    #[arg(long, value_enum, value_name = "STAGE")]
    wait: Option<Stage>,
    /// How long to wait at most, such as 60s, 500ms or 5m.
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    timeout: Duration,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What was asked answers.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Report {
    /// A server that does it all.
    Whole(StatusReport),
    /// A publisher.
    Publishing(PublishingReport),
}

impl Report {
    /// How far each partition is. To a publisher nothing is accepted that is not sealed.
    fn progress(&self) -> Cow<'_, StatusReport> {
        match self {
            Self::Whole(report) => Cow::Borrowed(report),
            Self::Publishing(report) => Cow::Owned(report.as_status()),
        }
    }

    fn can_tell(&self, stage: Stage) -> Outcome {
        match self {
            Self::Publishing(_) if stage == Stage::Indexed => {
                Err(Failure::Usage("a publisher does not know what is indexed: ask the server that indexes".to_owned()))
            }
            _ => Ok(()),
        }
    }
}

impl Status {
    /// Prints the report, after the wait if one is asked for.
    pub async fn run(self) -> Outcome {
        let client = remote::client()?;
        let mut report = self.fetch(&client).await?;
        if let Some(stage) = self.wait {
            report = self.wait_for(&client, report, stage).await?;
        }
        if self.json {
            return super::print_json(&report);
        }
        match &report {
            Report::Whole(report) => print!("{}", render(report)),
            Report::Publishing(report) => print!("{}", report.render()),
        }
        Ok(())
    }

    async fn fetch(&self, client: &Client) -> Result<Report, Failure> {
        let (answer, _) = remote::persist_to_end(|| client.get(remote::route(&self.url, "/v1/status"))).await?;
        serde_json::from_slice(&answer.success()?).map_err(|e| Failure::failed("the answer is not a status report", e))
    }

    async fn wait_for(&self, client: &Client, first: Report, stage: Stage) -> Result<Report, Failure> {
        first.can_tell(stage)?;
        let goal: BTreeMap<u32, u64> = first.progress().partitions.iter().map(|p| (p.partition, p.next_offset)).collect();
        let started = Instant::now();
        let spinner = progress::spinner("waiting");
        let mut report = first;
        loop {
            if let Some(reason) = dead_end(&report.progress(), &goal, stage) {
                spinner.finish_and_clear();
                return Err(Failure::Failed(reason));
            }
            let missing = missing(&report.progress(), &goal, stage);
            if missing == 0 {
                spinner.finish_and_clear();
                return Ok(report);
            }
            if started.elapsed() >= self.timeout {
                spinner.finish_and_clear();
                return Err(Failure::Failed(timed_out(&report.progress(), stage, missing, self.timeout)));
            }
            spinner.set_message(format!("{missing} offsets to go"));
            tokio::time::sleep(POLL.min(self.timeout)).await;
            report = self.fetch(client).await?;
        }
    }
}

/// How many of the offsets below the goal are not at the stage yet.
fn missing(report: &StatusReport, goal: &BTreeMap<u32, u64>, stage: Stage) -> u64 {
    report.partitions.iter().map(|p| goal.get(&p.partition).map_or(0, |g| g.saturating_sub(p.reached(stage)))).sum()
}

/// Why the goal cannot be reached without an operator, if so: a stage on the way to it stands still before it, or the log
/// ends before what is sealed, so that its offsets say nothing about the journal.
fn dead_end(report: &StatusReport, goal: &BTreeMap<u32, u64>, stage: Stage) -> Option<String> {
    let way: &[Stage] = match stage {
        Stage::Sealed => &[Stage::Sealed],
        Stage::Available => &[Stage::Sealed, Stage::Available],
        Stage::Indexed => &[Stage::Sealed, Stage::Indexed],
    };
    report.partitions.iter().find_map(|p| {
        let goal = goal.get(&p.partition)?;
        let behind = p.next_offset < p.sealed_offset;
        way.iter().find(|on_way| p.stopped.contains(on_way) && (behind || p.reached(**on_way) < *goal))?;
        let error = p.error.as_deref().unwrap_or("without a reason");
        Some(format!("partition {} stands still until its cause is mended: {error}", p.partition))
    })
}

fn timed_out(report: &StatusReport, stage: Stage, missing: u64, timeout: Duration) -> String {
    let reasons: Vec<String> =
        report.partitions.iter().filter_map(|p| p.error.as_ref().map(|e| format!("; partition {}: {e}", p.partition))).collect();
    format!("{missing} accepted offsets are not {stage} after {timeout:?}{}", reasons.concat())
}

fn render(report: &StatusReport) -> String {
    let mut text = format!("deployment {}  version {}\n", report.deployment, report.version);
    text += "partition       accepted         sealed      available        indexed            lag  sealed at\n";
    for p in &report.partitions {
        text += &format!(
            "{:>9} {:>14} {:>14} {:>14} {:>14} {:>14}  {}\n",
            p.partition,
            p.next_offset,
            p.sealed_offset,
            p.available_offset,
            p.indexed_offset,
            p.lag,
            p.sealed_at.as_deref().unwrap_or("-")
        );
        if let Some(error) = &p.error {
            let how = if p.stopped.is_empty() { "is tried again" } else { "stands still" };
            text += &format!("          {how}: {error}\n");
        }
    }
    match &report.latest_epoch {
        Some(e) => text += &format!("epoch {}: {} inferences, {} wei, root {}\n", e.epoch, e.inferences, e.fees, e.root),
        None => text += "no epoch is closed\n",
    }
    text
}

/// Parses a number with the unit ms, s, m or h; without a unit it is seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let wrong = || format!("`{text}` is not a duration such as 60s, 500ms, 5m or 1h");
    let number: u64 = text[..split].parse().map_err(|_| wrong())?;
    let millis = match &text[split..] {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::PartitionStatus;

    fn report(sealed: u64, indexed: u64, stopped: Vec<Stage>) -> StatusReport {
        let partition = PartitionStatus {
            partition: 0,
            next_offset: 10,
            sealed_offset: sealed,
            available_offset: 0,
            indexed_offset: indexed,
            lag: 10 - sealed,
            sealed_seq: None,
            available_seq: None,
            indexed_seq: None,
            settled_seq: None,
            sealed_at: None,
            error: (!stopped.is_empty()).then(|| "not here: the cause".to_owned()),
            stopped,
        };
        let text = String::new;
        let (deployment, cut, available_cut, version) = (text(), text(), text(), text());
        StatusReport { deployment, cut, available_cut, partitions: vec![partition], latest_epoch: None, version }
    }

    #[test]
    fn a_wait_ends_early_only_for_a_stage_that_stands_still_on_the_way_to_its_goal() {
        let goal = BTreeMap::from([(0, 10)]);
        let ends = |report: &StatusReport, stage| dead_end(report, &goal, stage).is_some_and(|why| why.contains("the cause"));
        let publishing = report(5, 5, vec![Stage::Available]);
        assert!(ends(&publishing, Stage::Available));
        assert!(!ends(&publishing, Stage::Sealed) && !ends(&publishing, Stage::Indexed));
        let sealing = report(5, 5, vec![Stage::Sealed]);
        assert!([Stage::Sealed, Stage::Available, Stage::Indexed].iter().all(|stage| ends(&sealing, *stage)));
        let sealed_before = report(10, 5, vec![Stage::Sealed]);
        assert!(!ends(&sealed_before, Stage::Indexed), "all of the goal is sealed, so indexing goes on");
        assert!(!ends(&report(5, 5, Vec::new()), Stage::Indexed));
        let mut log_behind = report(10, 10, vec![Stage::Sealed]);
        log_behind.partitions[0].next_offset = 3;
        assert!(ends(&log_behind, Stage::Sealed), "offsets of a log that lost its records say nothing");
    }

    #[test]
    fn a_duration_has_a_unit_or_is_in_seconds() {
        assert_eq!(parse_duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("7"), Ok(Duration::from_secs(7)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for text in ["", "s", "1d", "-1s", "1.5s", "99999999999999999999h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
