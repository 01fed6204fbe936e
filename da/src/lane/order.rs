//! In which order the certificates of one partition are recorded: in that of the sequence, whichever arrives first.

use tokio::sync::watch;
use tributary_schemas::ids::Seq;

use super::stretch::Ended;

/// Whose certificate is recorded next.
pub(super) struct Order(watch::Sender<Turn>);

#[derive(Debug)]
struct Turn {
    /// The first batch that has no recorded certificate.
    next: Seq,
    /// The blob that begins here is not recorded any more, and so is none after it.
    end: Option<Seq>,
}

impl Order {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(Turn { next: Seq::FIRST, end: None }))
    }

    /// What is recorded ends before this batch.
    pub(super) fn begin(&self, next: Seq) {
        self.0.send_modify(|turn| turn.next = next);
    }

    /// Whether all before this batch is recorded.
    pub(super) fn is_at(&self, first: Seq) -> bool {
        self.0.borrow().next == first
    }

    /// Returns once all before this batch is recorded.
    ///
    /// # Errors
    /// [`Ended::Stopped`] if that will not happen any more.
    pub(super) async fn reach(&self, first: Seq) -> Result<(), Ended> {
        let mut turns = self.0.subscribe();
        let decided = turns.wait_for(|turn| turn.next == first || turn.end.is_some_and(|end| end < first)).await;
        let turn = decided.expect("the sender is this order's own, which is borrowed meanwhile");
        match turn.next == first {
            true => Ok(()),
            false => Err(Ended::Stopped),
        }
    }

    /// The blob from `first` on is recorded, and what comes next begins with `next`.
    pub(super) fn pass(&self, first: Seq, next: Seq) {
        self.0.send_modify(|turn| {
            assert_eq!(turn.next, first, "certificates are recorded in the order of the sequence");
            turn.next = next;
        });
    }

    /// The blob from here on is not recorded, so none after it is.
    pub(super) fn end(&self, first: Seq) {
        self.0.send_modify(|turn| turn.end = Some(turn.end.map_or(first, |end| end.min(first))));
    }
}
