//! A backend whose dispersals wait at a gate until each is let through.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use tributary_schemas::ids::Timestamp;
use tributary_schemas::units::{Hash, keccak256};

use crate::{Certificate, DaClient, DaError, Wanted, blob};

/// What is waited for comes within this, or not at all.
const AT_MOST: Duration = Duration::from_secs(20);

/// A blob: its partition and its first batch.
pub(super) type Place = (u32, u64);

/// What becomes of a dispersal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Certified,
    /// For good.
    Rejected,
    /// Its outcome is unknown.
    Lost,
    /// By a fault of the program.
    Panics,
}

#[derive(Default)]
struct State {
    /// Those at the gate.
    waiting: Vec<Place>,
    most: usize,
    came: Vec<Place>,
    cut_off: Vec<Place>,
    verdicts: BTreeMap<Place, Verdict>,
    is_open: bool,
}

pub(super) struct Gate {
    behind: Arc<dyn DaClient>,
    state: watch::Sender<State>,
}

/// A dispersal at the gate, which leaves when it ends or is cut off.
struct Waiting<'a> {
    state: &'a watch::Sender<State>,
    place: Place,
    has_ended: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.state.send_modify(|state| {
            let at = state.waiting.iter().position(|place| *place == self.place).unwrap();
            state.waiting.remove(at);
            state.cut_off.extend((!self.has_ended).then_some(self.place));
        });
    }
}

impl Gate {
    pub(super) fn new(behind: Arc<dyn DaClient>) -> Arc<Self> {
        Arc::new(Self { behind, state: watch::Sender::new(State::default()) })
    }

    /// Lets the next dispersal of this blob through, with this end.
    pub(super) fn ends(&self, place: Place, verdict: Verdict) {
        self.state.send_modify(|state| state.verdicts.extend([(place, verdict)]));
    }

    /// Lets all through from now on; each takes a little longer or shorter.
    pub(super) fn open(&self) {
        self.state.send_modify(|state| state.is_open = true);
    }

    /// Waits until exactly so many dispersals are at the gate: those, in the order in which they came.
    pub(super) async fn waiting(&self, count: usize) -> Vec<Place> {
        let mut states = self.state.subscribe();
        let reached = states.wait_for(|state| state.waiting.len() == count);
        let state = tokio::time::timeout(AT_MOST, reached).await.map(|state| state.unwrap().waiting.clone());
        state.unwrap_or_else(|_| panic!("{:?} wait, not {count}", self.state.borrow().waiting))
    }

    /// The most that were at the gate at once.
    pub(super) fn most(&self) -> usize {
        self.state.borrow().most
    }

    /// All that ever came, in their order.
    pub(super) fn came(&self) -> Vec<Place> {
        self.state.borrow().came.clone()
    }

    /// Those whose dispersal nobody waited for any more.
    pub(super) fn cut_off(&self) -> Vec<Place> {
        self.state.borrow().cut_off.clone()
    }

    fn arrives(&self, place: Place) -> Waiting<'_> {
        self.state.send_modify(|state| {
            state.waiting.push(place);
            state.came.push(place);
            state.most = state.most.max(state.waiting.len());
        });
        Waiting { state: &self.state, place, has_ended: false }
    }

    async fn verdict(&self, place: Place) -> Verdict {
        let mut states = self.state.subscribe();
        let is_open = states.wait_for(|state| state.is_open || state.verdicts.contains_key(&place)).await.unwrap().is_open;
        if is_open {
            let drawn = keccak256([place.0.to_be_bytes().as_slice(), &place.1.to_be_bytes()].concat());
            for _ in 0..drawn[0] % 32 {
                tokio::task::yield_now().await;
            }
        }
        let mut verdict = None;
        self.state.send_modify(|state| verdict = state.verdicts.remove(&place));
        verdict.unwrap_or(Verdict::Certified)
    }
}

#[async_trait]
impl DaClient for Gate {
    fn backend(&self) -> &'static str {
        self.behind.backend()
    }

    async fn disperse(&self, payload: Bytes) -> Result<Certificate, DaError> {
        let first = blob::decode(&payload).unwrap().remove(0).header;
        let mut waiting = self.arrives((first.partition.get(), first.seq.get()));
        let verdict = self.verdict(waiting.place).await;
        let certified = self.behind.disperse(payload).await;
        waiting.has_ended = true;
        match verdict {
            Verdict::Certified => certified,
            Verdict::Rejected => Err(DaError::reject("payload", "it is refused for good")),
            Verdict::Lost => Err(DaError::unknown("payload", "the answer is lost")),
            Verdict::Panics => panic!("a fault of the backend's client"),
        }
    }

    async fn under_way(&self, content_hash: &Hash) -> Result<Option<Timestamp>, DaError> {
        self.behind.under_way(content_hash).await
    }

    async fn retrieve(&self, wanted: &Wanted) -> Result<Bytes, DaError> {
        self.behind.retrieve(wanted).await
    }
}
