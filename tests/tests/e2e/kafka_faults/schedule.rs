//! Which faults happen, and when: everything follows from the seed.

use std::time::Duration;

use tributary_tests::chance::Chance;
use tributary_tests::services::SESSION_TIMEOUT;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An ingest service is killed, and started again.
    KillIngest,
    /// An ingest service is asked to stop, and started again.
    StopIngest,
    /// A sealer is killed, and started again.
    KillSealer,
    /// A sealer is paused past its session, and resumed as a zombie.
    PauseSealer,
    /// One more sealer comes, and is asked to stop: two rebalances.
    ExtraSealer,
    /// A broker is killed, and started again.
    KillBroker,
    /// All brokers are killed, and started again.
    KillAllBrokers,
    /// The store fails and is slow.
    StoreFaults,
}

const KINDS: [Kind; 8] = [
    Kind::KillIngest,
    Kind::StopIngest,
    Kind::KillSealer,
    Kind::PauseSealer,
    Kind::ExtraSealer,
    Kind::KillBroker,
    Kind::KillAllBrokers,
    Kind::StoreFaults,
];

/// The longest time between the beginnings of two faults.
const AFTER_MAX: Duration = Duration::from_secs(5);

/// One fault.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// How long after the beginning of the one before.
    pub after: Duration,
    /// What happens.
    pub kind: Kind,
    /// To which of several it happens, or how badly.
    pub pick: u64,
    /// How long it lasts before things are put right again.
    pub lasts: Duration,
}

/// So many faults: every kind comes, the rest are of chance.
pub fn schedule(count: usize, chance: &mut Chance) -> Vec<Fault> {
    let mut kinds = KINDS.to_vec();
    while kinds.len() < count {
        kinds.push(*chance.one_of(&KINDS));
    }
    chance.shuffle(&mut kinds);
    let fault = |kind| {
        let (least, more) = lasts(kind);
        Fault { after: chance.up_to(AFTER_MAX), kind, pick: chance.below(1_000), lasts: least + chance.up_to(more) }
    };
    kinds.into_iter().map(fault).collect()
}

/// How long a fault lasts at least, and how much longer it may.
fn lasts(kind: Kind) -> (Duration, Duration) {
    let seconds = |least, more| (Duration::from_secs(least), Duration::from_secs(more));
    match kind {
        Kind::KillIngest | Kind::KillSealer => seconds(0, 2),
        Kind::StopIngest => seconds(0, 0),
        Kind::PauseSealer => (SESSION_TIMEOUT + Duration::from_secs(1), Duration::from_secs(2)),
        Kind::KillBroker => seconds(0, 5),
        Kind::KillAllBrokers => seconds(0, 3),
        Kind::ExtraSealer | Kind::StoreFaults => seconds(3, 5),
    }
}
