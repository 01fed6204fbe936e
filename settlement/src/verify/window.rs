//! J4: no two events within the window of the seen-index share an identity.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tributary_journal::Header;
use tributary_schemas::identity::Identity;
use tributary_schemas::ids::{Seq, Timestamp};

/// How many identities are held of the partition that is walked: what a hash table of 2^24 places takes without growing. A
/// place is 25 bytes (16 of the identity, 8 of the sequence number, 1 of the table), so it has at most 400 MiB, and half as
/// much again while it grows to that size. A window of more events forgets its oldest first.
pub(super) const IDENTITIES_MAX: usize = (1 << 24) / 8 * 7;

/// Room that is not worth tidying up.
const ROOM_MIN: usize = 1 << 16;

/// The identities of one partition, sealed within the window before the batch looked at last.
///
/// The window is that of the sealer: an event repeats an earlier one of its partition if that was sealed at or after
/// `sealed_at` − window. Beyond the window a repetition is right.
pub(super) struct Window {
    length: Duration,
    held_max: usize,
    /// The batch in which each identity was sealed last. Those before the oldest of `batches` are only not tidied up yet.
    sealed_in: HashMap<Identity, Seq>,
    /// The batches in the window, oldest first.
    batches: VecDeque<Held>,
    /// Events of `batches`.
    live: usize,
    /// `sealed_in` is tidied up before it outgrows this.
    room: usize,
    forgotten: u64,
}

struct Held {
    seq: Seq,
    sealed_at: Timestamp,
    events: usize,
}

/// An event whose identity was sealed before, within the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Repeated {
    /// The place of the second event in its batch.
    pub(super) ordinal: usize,
    /// The batch of the first.
    pub(super) first_in: Seq,
}

impl Window {
    /// The window of a partition of which no batch was looked at.
    pub(super) fn new(length: Duration, held_max: usize) -> Self {
        let (sealed_in, batches) = (HashMap::new(), VecDeque::new());
        Self { length, held_max, sealed_in, batches, live: 0, room: ROOM_MIN.min(held_max), forgotten: 0 }
    }

    /// Takes in the next batch of the partition, which was sealed no earlier than those before. Gives the first event in it
    /// that repeats another; that ends the check.
    pub(super) fn take(&mut self, header: &Header, identities: &[Identity]) -> Option<Repeated> {
        self.leave_before(header.sealed_at);
        self.make_room(identities.len());
        self.batches.push_back(Held { seq: header.seq, sealed_at: header.sealed_at, events: identities.len() });
        self.live += identities.len();
        let oldest = self.batches.front().map_or(header.seq, |held| held.seq);
        for (ordinal, identity) in identities.iter().enumerate() {
            if let Some(first_in) = self.sealed_in.insert(*identity, header.seq).filter(|seq| *seq >= oldest) {
                return Some(Repeated { ordinal, first_in });
            }
        }
        None
    }

    /// How many identities were forgotten although they were in the window, because there were too many.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Lets go of the batches that left the window.
    fn leave_before(&mut self, sealed_at: Timestamp) {
        let length = i64::try_from(self.length.as_micros()).unwrap_or(i64::MAX);
        let horizon = sealed_at.micros().saturating_sub(length);
        while self.batches.front().is_some_and(|held| held.sealed_at.micros() < horizon) {
            self.let_go();
        }
    }

    /// Makes room for so many identities. The table is walked only when it is full, and an eighth of it is free afterwards,
    /// so that each identity pays for a few steps of such walks.
    fn make_room(&mut self, more: usize) {
        if self.sealed_in.len() + more <= self.room {
            return;
        }
        while self.live + more > self.held_max / 8 * 7 && !self.batches.is_empty() {
            self.forgotten += self.let_go() as u64;
        }
        let oldest = self.batches.front().map(|held| held.seq);
        self.sealed_in.retain(|_, seq| oldest.is_some_and(|oldest| *seq >= oldest));
        self.room = (2 * (self.live + more)).max(ROOM_MIN).min(self.held_max);
    }

    fn let_go(&mut self) -> usize {
        let events = self.batches.pop_front().map_or(0, |held| held.events);
        self.live -= events;
        events
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tributary_journal::{Contents, DeploymentId, SealedBatch};
    use tributary_schemas::ids::{Offset, Partition};
    use tributary_schemas::units::Hash;

    use super::*;

    const WINDOW: Duration = Duration::from_micros(100);

    /// Walks batches of a chain, each sealed at an instant and holding identities by number.
    fn walk(window: &mut Window, batches: &[(i64, &[u32])]) -> Option<Repeated> {
        let mut previous = None;
        for (sealed_at, numbers) in batches {
            let sealed_at = Timestamp::from_micros(*sealed_at).unwrap();
            let contents = Contents {
                deployment: DeploymentId([7; 16]),
                partition: Partition::new(0).unwrap(),
                next_offset: previous.as_ref().map_or(Offset::FIRST, |header: &Header| header.next_offset).next(),
                previous,
                last_record_hash: Hash::ZERO,
                times: (sealed_at, sealed_at),
                sealed_at,
                events: Vec::new(),
            };
            let header = SealedBatch::seal(contents).unwrap().header;
            let identities: Vec<Identity> = numbers.iter().map(|number| Identity(u128::from(*number).to_be_bytes())).collect();
            let repeated = window.take(&header, &identities);
            if repeated.is_some() {
                return repeated;
            }
            previous = Some(header);
        }
        None
    }

    fn repeated(ordinal: usize, first_in: u64) -> Option<Repeated> {
        Some(Repeated { ordinal, first_in: Seq::new(first_in).unwrap() })
    }

    #[test]
    fn an_identity_is_repeated_up_to_the_end_of_the_window_and_free_after_it() {
        for (second, expected) in [(0, repeated(1, 0)), (100, repeated(1, 0)), (101, None)] {
            let mut window = Window::new(WINDOW, 1_000);
            assert_eq!(walk(&mut window, &[(0, &[1, 2]), (second, &[3, 2])]), expected, "{second}");
        }
    }

    #[test]
    fn an_identity_is_repeated_within_its_own_batch() {
        assert_eq!(walk(&mut Window::new(WINDOW, 1_000), &[(0, &[1]), (5, &[2, 3, 2])]), repeated(2, 1));
    }

    #[test]
    fn an_identity_that_came_again_after_the_window_counts_from_then_on() {
        let batches: [(i64, &[u32]); 3] = [(0, &[1]), (150, &[1]), (250, &[1])];
        assert_eq!(walk(&mut Window::new(WINDOW, 1_000), &batches), repeated(0, 1));
    }

    #[test]
    fn more_identities_than_can_be_held_push_the_oldest_out_and_are_counted() {
        let mut window = Window::new(WINDOW, 16);
        let batches: [(i64, &[u32]); 4] =
            [(0, &[1, 2, 3, 4, 5, 6]), (1, &[7, 8, 9, 10, 11, 12]), (2, &[13, 14, 15, 16, 17]), (3, &[1])];
        assert_eq!(walk(&mut window, &batches), None);
        assert_eq!(window.forgotten(), 6);
        assert!(window.sealed_in.len() <= 16);
    }

    #[test]
    fn a_long_walk_with_a_short_window_holds_no_more_than_the_window_needs() {
        let mut window = Window::new(WINDOW, IDENTITIES_MAX);
        let numbers: Vec<Vec<u32>> = (0..60).map(|batch| (batch * 10_000..(batch + 1) * 10_000).collect()).collect();
        let batches: Vec<(i64, &[u32])> = (0..).step_by(60).zip(numbers.iter().map(Vec::as_slice)).collect();
        assert_eq!(walk(&mut window, &batches), None);
        assert_eq!((window.live, window.forgotten()), (20_000, 0));
        assert!(window.sealed_in.len() <= ROOM_MIN, "{}", window.sealed_in.len());
    }
}
