//! What an operator decides about settlement.

use std::collections::BTreeSet;
use std::time::Duration;

use tributary_da::{eigenda, local};
use tributary_schemas::units::Address;

/// The settings of the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who gets what the protocol earns, in epochs closed from now on. It goes into each epoch's record.
    pub treasury: Address,
    /// The most that one inference may cost, in wei; off when absent.
    pub max_fee: Option<u128>,
    /// The most that one epoch may share out, in wei; off when absent.
    pub max_epoch_total: Option<u128>,
    /// How long the job waits for the certified cut, and again for the indexed cut, to cover what was sealed when it
    /// began; and again for the manifest to be certified.
    pub wait_max: Duration,
    /// How often it looks while it waits for the indexed cut.
    pub poll_every: Duration,
    /// How many inferences are looked up at a time with their attributions; bounds the memory of a large epoch.
    pub window_inferences: usize,
    /// A part of an epoch ends with the inference that brings it to so many lines; bounds what is written in one commit. All
    /// jobs over one store must use the same number: where parts end decides which of them a job that died has written.
    pub lines_per_part: usize,
    /// The backends of data availability whose word counts: a blob of another one closes no epoch.
    pub available_backends: BTreeSet<&'static str>,
    /// How many parts are kept in memory between computing an epoch and writing it; a larger epoch is computed a second time
    /// instead.
    pub parts_kept_max: usize,
}

impl Settings {
    /// The treasury of `dev`, and of commands run on a data directory.
    pub const DEV_TREASURY: &str = "0x00000000000000000000000000000000000fee01";

    /// Where the parts of an epoch end by the rules of version 1. Another default would cut an epoch that an older program
    /// left half written in other places.
    pub const LINES_PER_PART: usize = 250_000;

    /// The defaults with this treasury: no ceilings, every backend.
    pub fn new(treasury: Address) -> Self {
        Self {
            treasury,
            max_fee: None,
            max_epoch_total: None,
            wait_max: Duration::from_secs(60),
            poll_every: Duration::from_millis(20),
            window_inferences: 100_000,
            lines_per_part: Self::LINES_PER_PART,
            available_backends: BTreeSet::from([local::BACKEND, eigenda::BACKEND]),
            parts_kept_max: 3,
        }
    }
}
