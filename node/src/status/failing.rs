//! What a sealer or publisher fails at, and for how long. Whatever it fails at it tries again, so that a moment is nothing; what lasts makes it not
//! ready.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tributary_eventlog::kafka::{Fault, Member};
use tributary_eventlog::{EventLog, Jitter, LogError};
use tributary_journal::sealer::Sealer;
use tributary_schemas::ids::Partition;

/// What fails for so long without a break makes a sealer or publisher not ready. docs/kafka.md and docs/eigenda.md say it too.
pub const UNREADY_AFTER: Duration = Duration::from_secs(30);
/// How often it is looked at: half of this to the whole.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Brokers,
    Group,
    Store,
    Partition(Partition),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Brokers => f.write_str("the brokers"),
            Self::Group => f.write_str("the group"),
            Self::Store => f.write_str("the store"),
            Self::Partition(partition) => write!(f, "partition {partition}"),
        }
    }
}

struct Since {
    since: Instant,
    error: String,
}

/// What fails now, and since when. Clones share it.
#[derive(Clone, Default)]
pub struct Failing(Arc<Mutex<BTreeMap<Part, Since>>>);

impl Failing {
    /// Looks again and again, for as long as it is polled.
    pub async fn watch(&self, log: &dyn EventLog, sealer: &Sealer, member: &Member, jitter: &Jitter) -> Infallible {
        loop {
            let failing = look(log, sealer, member.fault()).await;
            self.note(Instant::now(), failing);
            tokio::time::sleep(jitter.pause(LOOK_EVERY)).await;
        }
    }

    /// What has failed for [`UNREADY_AFTER`] without a break, line by line.
    pub fn lasting(&self, now: Instant) -> Vec<String> {
        let failing = self.0.lock();
        let lasting = failing.iter().filter(|(_, failed)| now.saturating_duration_since(failed.since) >= UNREADY_AFTER);
        lasting.map(|(part, failed)| format!("fails for more than {UNREADY_AFTER:?}, {part}: {}", failed.error)).collect()
    }

    /// What is not among these does not fail any more.
    pub(super) fn note(&self, now: Instant, failing: Vec<(Part, String)>) {
        let mut known = self.0.lock();
        let since = |part| known.get(&part).map_or(now, |failed: &Since| failed.since);
        let next = failing.into_iter().map(|(part, error)| (part, Since { since: since(part), error })).collect();
        *known = next;
    }
}

/// What fails at this moment, of what passes by itself. What stands still is told at once, and elsewhere.
async fn look(log: &dyn EventLog, sealer: &Sealer, refused: Option<Fault>) -> Vec<(Part, String)> {
    let journal = sealer.journal();
    let mut failing = Vec::new();
    // One partition stands for all: what fails at another is seen where it is sealed.
    if let Some(first) = journal.partitions().next() {
        let (answered, stored) = tokio::join!(log.bounds(first), journal.refresh(first));
        if let Err(LogError::Retry { reason }) = answered {
            failing.push((Part::Brokers, reason));
        }
        failing.extend(stored.err().filter(|error| error.is_retry()).map(|error| (Part::Store, error.to_string())));
    }
    failing.extend(refused.map(|fault| (Part::Group, fault.with_code())));
    for state in sealer.state().into_iter().filter(|state| !state.stopped) {
        failing.extend(state.error.map(|error| (Part::Partition(state.partition), error)));
    }
    failing
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::status::fake::{FakeLog, sealing};

    #[test]
    fn what_fails_counts_from_its_first_moment_on_and_not_any_more_once_it_has_passed() {
        let (failing, began) = (Failing::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        let brokers = |error: &str| vec![(Part::Brokers, error.to_owned())];
        failing.note(at(0), brokers("first"));
        failing.note(at(20), brokers("second"));
        assert!(failing.lasting(at(29)).is_empty());
        assert_eq!(failing.lasting(at(30)), ["fails for more than 30s, the brokers: second"]);
        failing.note(at(40), vec![(Part::Partition(Partition::new(2).unwrap()), "another".to_owned())]);
        assert!(failing.lasting(at(41)).is_empty(), "ready again");
        failing.note(at(50), brokers("third"));
        assert!(failing.lasting(at(79)).is_empty(), "it begins anew");
    }

    #[tokio::test]
    async fn a_sealer_is_not_ready_while_its_brokers_are_away_for_long_and_ready_again_afterwards() {
        let log = FakeLog::beginning_at(0);
        let (_folder, sealing) = sealing(&log).await;
        let (began, late) = (Instant::now(), Instant::now() + UNREADY_AFTER);
        let look_at = async |now| sealing.failing.note(now, look(&*log, &sealing.sealer, None).await);
        look_at(began).await;
        assert!(sealing.standing(late).is_empty());

        log.is_away.store(true, Ordering::Release);
        look_at(began).await;
        assert!(sealing.standing(began).is_empty(), "a moment is nothing");
        let unready = sealing.standing(late);
        assert!(unready.len() == 1 && unready[0].contains("the brokers: no broker answers"), "{unready:?}");

        log.is_away.store(false, Ordering::Release);
        look_at(late).await;
        assert!(sealing.standing(late).is_empty());
    }
}
