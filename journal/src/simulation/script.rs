//! What the seed of a world decides, and the record of what came of it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::distr::uniform::{SampleRange, SampleUniform};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

/// The most lines of a trace. A world that needs more turns in circles: from then on no call is answered.
const LINES_MAX: usize = 60_000;
/// The longest that a request is on its way after its sender gave up, in milliseconds.
const LATE_MILLIS_MAX: u64 = 1_500;

/// One for each world, shared by all in it. Every decision is drawn from one source, so that the seed and the order of the
/// calls make the world; and the order follows from the decisions.
#[derive(Debug)]
pub(crate) struct Script {
    chance: Mutex<StdRng>,
    born: Instant,
    /// Faults per thousand writes.
    faults: AtomicU32,
    /// Whether time passes between a call and its answer. Without, a late request is late by turns of the runtime only.
    timed: bool,
    /// Whether calls and answers are on their way for hardly any time.
    calm: AtomicBool,
    trace: Mutex<Vec<String>>,
    objections: Mutex<Vec<String>>,
    under_way: AtomicUsize,
}

impl Script {
    /// For a test that runs in real time.
    pub(super) fn untimed(seed: u64) -> Arc<Self> {
        Self::new(seed, false)
    }

    /// For a world, whose runtime must stand still but for its timers.
    pub(super) fn timed(seed: u64) -> Arc<Self> {
        Self::new(seed, true)
    }

    fn new(seed: u64, timed: bool) -> Arc<Self> {
        Arc::new(Self {
            chance: Mutex::new(StdRng::seed_from_u64(seed)),
            born: Instant::now(),
            faults: AtomicU32::new(0),
            timed,
            calm: AtomicBool::new(false),
            trace: Mutex::default(),
            objections: Mutex::default(),
            under_way: AtomicUsize::new(0),
        })
    }

    /// When the world began.
    pub(super) fn born(&self) -> Instant {
        self.born
    }

    pub(super) fn draw<T: SampleUniform>(&self, range: impl SampleRange<T>) -> T {
        self.chance.lock().random_range(range)
    }

    /// True once in `times`.
    pub(super) fn one_in(&self, times: u32) -> bool {
        let drawn: u32 = self.draw(0..times);
        drawn == 0
    }

    /// A length of time with both ends in milliseconds.
    pub(super) fn millis(&self, range: impl SampleRange<u64>) -> Duration {
        Duration::from_millis(self.draw(range))
    }

    pub(super) fn set_faults(&self, per_thousand: u32) {
        self.faults.store(per_thousand, Ordering::SeqCst);
    }

    /// From now on nothing fails and hardly anything takes time.
    pub(super) fn calm_down(&self) {
        self.set_faults(0);
        self.calm.store(true, Ordering::SeqCst);
    }

    /// `None`: no fault. Else which of `kinds`. A call of a kind that fails half as often as writes has a `share` of 2.
    pub(super) fn fault(&self, share: u32, kinds: u8) -> Option<u8> {
        let (drawn, per_thousand): (u32, u32) = (self.draw(0..1000), self.faults.load(Ordering::SeqCst) / share);
        (drawn < per_thousand).then(|| self.draw(0..kinds))
    }

    /// How long a call or an answer is on its way.
    pub(super) fn travel(&self) -> Duration {
        if self.calm.load(Ordering::SeqCst) {
            return self.millis(0..=1);
        }
        let kind: u32 = self.draw(0..100);
        match kind {
            0..60 => Duration::ZERO,
            60..90 => self.millis(1..=3),
            90..99 => self.millis(4..=30),
            _ => self.millis(100..=600),
        }
    }

    /// Passes the time for which a request is on its way after its sender gave up.
    pub(super) async fn be_late(&self) {
        for _ in 0..self.draw(0..60) {
            tokio::task::yield_now().await;
        }
        if self.timed {
            tokio::time::sleep(self.millis(0..=LATE_MILLIS_MAX)).await;
        }
    }

    /// Counts something that goes on although nobody waits for it, until it is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        UnderWay(self.clone())
    }

    /// Whether nothing goes on that nobody waits for.
    pub(super) fn is_quiet(&self) -> bool {
        self.under_way.load(Ordering::SeqCst) == 0
    }

    /// Adds a line to the trace.
    pub(super) fn note(&self, who: &str, what: fmt::Arguments<'_>) {
        let mut trace = self.trace.lock();
        if trace.len() < LINES_MAX {
            trace.push(format!("{:>6} {who} {what}", self.born.elapsed().as_millis()));
        }
    }

    /// Whether the trace is full.
    pub(super) fn is_over(&self) -> bool {
        self.trace.lock().len() >= LINES_MAX
    }

    /// Says that something happened that must not happen. Said twice it counts once.
    pub(super) fn object(&self, objection: String) {
        let mut objections = self.objections.lock();
        if !objections.contains(&objection) {
            objections.push(objection);
        }
    }

    /// Takes the trace out, at the end.
    pub(super) fn trace(&self) -> Vec<String> {
        std::mem::take(&mut *self.trace.lock())
    }

    pub(super) fn objections(&self) -> Vec<String> {
        self.objections.lock().clone()
    }
}

/// Something that goes on although nobody waits for it.
pub(super) struct UnderWay(Arc<Script>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}
