//! A small journal, made by hand: as it is, it passes; with each kind of damage, the damage is found.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use alloy_primitives::{B256, keccak256};

use super::event::{Content, Identity, Value};
use super::ledger::{Ledger, Sent};
use super::murmur::keys_of;
use super::{Auditor, Verdict, batch};
use crate::worlds;

const DEPLOYMENT: [u8; 16] = [0x11; 16];
const PARTITIONS: u32 = 2;
const TIME_US: i64 = 1_790_812_800_000_000;

/// A batch before it is written.
#[derive(Clone)]
struct Planned {
    deployment: [u8; 16],
    partition: u32,
    seq: u64,
    offsets: (u64, u64),
    events: Vec<Vec<u8>>,
    decision: Option<&'static str>,
    sealed_at: i64,
    zstd: bool,
    /// If it is to name another batch before it.
    previous: Option<B256>,
}

impl Planned {
    fn of(partition: u32, seq: u64, offsets: (u64, u64), events: Vec<Vec<u8>>) -> Self {
        let sealed_at = TIME_US + i64::try_from(seq).unwrap();
        let (deployment, decision, zstd, previous) = (DEPLOYMENT, None, false, None);
        Self { deployment, partition, seq, offsets, events, decision, sealed_at, zstd, previous }
    }

    /// The object, and its name in the chain.
    fn encode(&self, before: B256) -> (Vec<u8>, B256) {
        let framed = |event: &Vec<u8>| {
            let length = u32::try_from(event.len()).unwrap().to_be_bytes();
            [length.as_slice(), event.as_slice()].concat()
        };
        let raw: Vec<u8> = match self.decision {
            Some(text) => text.into(),
            None => self.events.iter().flat_map(framed).collect(),
        };
        let stored = if self.zstd { zstd::bulk::compress(&raw, 3).unwrap() } else { raw.clone() };
        let count = |number: usize| u32::try_from(number).unwrap().to_be_bytes();
        let time = if self.events.is_empty() { 0 } else { TIME_US };
        let events: Vec<&[u8]> = self.events.iter().map(Vec::as_slice).collect();
        let mut bytes = b"TRIB".to_vec();
        bytes.extend([1, u8::from(self.zstd), u8::from(self.decision.is_some()), 0]);
        bytes.extend(self.partition.to_be_bytes());
        bytes.extend(self.deployment);
        bytes.extend([self.seq, self.offsets.0, self.offsets.1].map(u64::to_be_bytes).concat());
        bytes.extend([count(self.events.len()), count(raw.len()), count(stored.len())].concat());
        bytes.extend([time, time, self.sealed_at].map(i64::to_be_bytes).concat());
        bytes.extend([7; 32]);
        bytes.extend(batch::root(&events).0);
        bytes.extend(keccak256(&stored).0);
        bytes.extend(self.previous.unwrap_or(before).0);
        let hash = keccak256(&bytes);
        bytes.extend(hash.0);
        bytes.extend(stored);
        (bytes, hash)
    }
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![(number << 3) | 2, u8::try_from(bytes.len()).unwrap()];
    field.extend_from_slice(bytes);
    field
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        bytes.push(if number == 0 { low } else { low | 0x80 });
        if number == 0 {
            return bytes;
        }
    }
}

/// Feedback of one score, in protobuf.
fn event(id: &str, key: &str) -> Vec<u8> {
    let data = [field(1, key.as_bytes()), field(2, &[9; 20]), vec![3 << 3, 4]].concat();
    let time = [vec![3 << 3], varint((TIME_US * 2).cast_unsigned())].concat();
    // Field 28 has a tag of two bytes.
    let tagged = [varint((28 << 3) | 2), vec![u8::try_from(data.len()).unwrap()], data].concat();
    [field(1, id.as_bytes()), field(2, b"urn:test"), time, field(4, b"dev"), tagged].concat()
}

fn identity(id: &str, key: &str) -> Identity {
    Identity::of("urn:test", "tributary.feedback.recorded.v1", id, key)
}

/// The batches, what was sent, and the files once they are written.
struct Journal {
    batches: Vec<Planned>,
    ledger: Ledger,
    store: tempfile::TempDir,
}

impl Journal {
    /// Four batches: events a and b, then c, then one of duplicates alone, of one key in partition 0; event d in partition 1.
    fn small() -> Self {
        let [zero, one] = keys();
        let of = |id: &str| event(id, &zero);
        let batches = vec![
            Planned::of(0, 0, (0, 3), vec![of("a"), of("b")]),
            Planned { zstd: true, ..Planned::of(0, 1, (3, 60), (0..50).map(|n| of(&format!("c{n}"))).collect()) },
            Planned::of(0, 2, (60, 61), Vec::new()),
            Planned::of(1, 0, (0, 1), vec![event("d", &one)]),
        ];
        let mut ledger = Ledger::default();
        for (id, turn) in [("a".to_owned(), 1), ("b".to_owned(), 2)].into_iter().chain((0..50).map(|n| (format!("c{n}"), 3))) {
            send(&mut ledger, &id, &zero, turn);
        }
        send(&mut ledger, "d", &one, 1);
        Self { batches, ledger, store: tempfile::tempdir().unwrap() }
    }

    fn write(&self) {
        let journal = self.store.path().join("journal");
        std::fs::create_dir_all(&journal).unwrap();
        let (uuid, at) = ("11111111-1111-1111-1111-111111111111", "2026-10-01T00:00:00.000000Z");
        let hash = keccak256(format!("1|{uuid}|{PARTITIONS}|{at}"));
        let fields = format!("\"format\":1,\"deployment\":\"{uuid}\",\"partitions\":{PARTITIONS},\"created_at\":\"{at}\"");
        std::fs::write(journal.join("genesis.json"), format!("{{{fields},\"hash\":\"{hash:#x}\"}}\n")).unwrap();
        let mut last = (u32::MAX, B256::ZERO);
        for planned in &self.batches {
            let before = if last.0 == planned.partition { last.1 } else { B256::ZERO };
            let (bytes, hash) = planned.encode(before);
            let path = self.path(planned.partition, planned.seq);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
            last = (planned.partition, hash);
        }
    }

    fn path(&self, partition: u32, seq: u64) -> PathBuf {
        self.store.path().join(format!("journal/p-{partition:05}/{seq:020}.batch"))
    }

    fn audit(&self) -> Verdict {
        Auditor::of(self.store.path()).audit(&self.ledger).unwrap()
    }
}

fn keys() -> [String; 2] {
    [0, 1].map(|partition| keys_of("k", partition, PARTITIONS, 1).remove(0))
}

fn send(ledger: &mut Ledger, id: &str, key: &str, turn: u32) {
    let fields = [(1, Value::Bytes(key.into())), (2, Value::Bytes(vec![9; 20])), (3, Value::Number(4))];
    let content = Some(Content::of(TIME_US, &fields));
    ledger.sends(identity(id, key), Sent { content, sender: 1, turn, is_acknowledged: false });
    ledger.acknowledge(&identity(id, key));
}

/// What the auditor says of a journal that was planned otherwise.
fn planned_with(change: impl FnOnce(&mut Journal)) -> Verdict {
    let mut journal = Journal::small();
    change(&mut journal);
    journal.write();
    journal.audit()
}

fn says(verdict: &Verdict, text: &str) {
    let violations = &verdict.violations;
    assert!(violations.iter().any(|violation| violation.contains(text)), "`{text}` is not in {violations:#?}");
}

#[test]
fn a_correct_journal_passes_and_is_counted() {
    let verdict = planned_with(|_| {});
    verdict.expect_clean().unwrap();
    let counts = verdict.counts;
    assert_eq!((counts.batches, counts.empty, counts.events, counts.records), (4, 1, 53, 62));
    assert_eq!((counts.sent, counts.acknowledged, counts.unacknowledged, counts.objects), (53, 53, 0, 5));
}

#[test]
fn the_events_of_a_partition_are_given_in_the_order_of_its_batches() {
    let journal = Journal::small();
    journal.write();
    let auditor = Auditor::of(journal.store.path());
    let [zero, one] = keys();
    let ids = ["a".to_owned(), "b".to_owned()].into_iter().chain((0..50).map(|n| format!("c{n}")));
    assert_eq!(auditor.events(0).unwrap(), ids.map(|id| identity(&id, &zero)).collect::<Vec<_>>());
    assert_eq!(auditor.events(1).unwrap(), [identity("d", &one)]);
}

#[test]
fn every_damage_of_the_chain_is_found() {
    type Change = fn(&mut Journal);
    let changes: [(&str, Change); 11] = [
        ("c7 k", |j| drop(j.batches[1].events.remove(7))),
        ("is in batch 0 of partition 0 already", |j| j.batches[1].events[0] = event("a", &keys()[0])),
        ("was never sent", |j| j.batches[1].events[0] = event("x", &keys()[0])),
        ("belongs to partition 1", |j| j.batches[0].events[0] = event("d", &keys()[1])),
        ("of request 1 of sender 1 comes after its request 2", |j| j.batches[0].events.reverse()),
        ("previous_hash does not continue batch 0", |j| j.batches[1].previous = Some(B256::repeat_byte(1))),
        ("first_offset does not continue batch 0", |j| j.batches[1].offsets.0 = 4),
        ("the field next_offset breaks its rule", |j| j.batches[2].offsets.1 = 60),
        ("the field events breaks its rule", |j| j.batches[0].offsets.1 = 1),
        ("sealed_at does not continue batch 0", |j| j.batches[1].sealed_at = 0),
        ("it is of another deployment", |j| j.batches[3].deployment = [2; 16]),
    ];
    for (text, change) in changes {
        says(&planned_with(change), text);
    }
}

#[test]
fn an_event_that_says_something_else_than_what_was_sent_is_found() {
    let verdict = planned_with(|journal| {
        let event = &mut journal.batches[0].events[0];
        let at = event.len() - 1;
        event[at] = 6;
    });
    says(&verdict, "says something else");
}

#[test]
fn a_missing_object_and_a_flipped_bit_anywhere_are_found() {
    let journal = Journal::small();
    journal.write();
    let path = journal.path(0, 1);
    let whole = std::fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(5) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&path, flipped).unwrap();
        says(&journal.audit(), "00000000000000000001.batch");
    }
    std::fs::remove_file(&path).unwrap();
    says(&journal.audit(), "00000000000000000001.batch is missing, though batch 2 exists");
}

#[test]
fn an_object_that_changed_or_vanished_since_it_was_seen_is_found_even_if_the_chain_is_whole() {
    let mut journal = Journal::small();
    journal.write();
    let mut auditor = Auditor::of(journal.store.path());
    auditor.scan().unwrap();
    // Another sealer's batch under the same number.
    let last = journal.batches.iter_mut().find(|batch| batch.partition == 1).unwrap();
    last.sealed_at += 1;
    journal.write();
    let verdict = auditor.audit(&journal.ledger).unwrap();
    says(&verdict, "00000000000000000000.batch was changed");
    assert_eq!(verdict.violations.len(), 1, "{:#?}", verdict.violations);
    std::fs::remove_file(journal.path(0, 2)).unwrap();
    says(&auditor.audit(&journal.ledger).unwrap(), "00000000000000000002.batch was there and is gone");
}

#[test]
fn what_an_accepted_gap_cost_is_named_and_allowed_in_its_partition_alone() {
    let with_gap = |journal: &mut Journal| {
        let [zero, one] = keys();
        let gap = Planned { decision: Some("{\"reason\":\"the disk broke\"}"), ..Planned::of(0, 3, (61, 5), Vec::new()) };
        journal.batches.insert(3, gap);
        journal.batches.insert(4, Planned::of(0, 4, (5, 6), vec![event("e", &zero)]));
        send(&mut journal.ledger, "e", &zero, 5);
        send(&mut journal.ledger, "lost", &zero, 4);
        (zero, one)
    };
    let verdict = planned_with(|journal| drop(with_gap(journal)));
    verdict.expect_clean().unwrap();
    assert_eq!(verdict.lost.into_iter().collect::<Vec<_>>(), [identity("lost", &keys()[0])]);
    let gap = &verdict.gaps[0];
    assert_eq!((gap.partition, gap.seq, gap.first_offset, gap.next_offset), (0, 3, 61, 5));
    assert_eq!(gap.reason, "the disk broke");
    let verdict = planned_with(|journal| {
        let (_, one) = with_gap(journal);
        send(&mut journal.ledger, "lost too", &one, 2);
    });
    says(&verdict, "was acknowledged and is not in partition 1");
}

#[test]
fn a_damaged_genesis_record_is_found() {
    let journal = Journal::small();
    journal.write();
    let path = journal.store.path().join("journal/genesis.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"partitions\":2", "\"partitions\":3")).unwrap();
    says(&journal.audit(), "journal/genesis.json");
}

/// The bytes of the example in docs/journal.md.
fn documented_example() -> Vec<u8> {
    let page = std::fs::read_to_string(worlds::root().join("docs/journal.md")).unwrap();
    let block = page.split("### An example").nth(1).unwrap().split("```").nth(1).unwrap();
    let digits: String = block.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn the_documented_example_is_read_and_its_root_is_what_its_events_give() {
    let batch = batch::Batch::read(&documented_example()).unwrap();
    assert_eq!(batch.events().unwrap(), [b"one".as_slice(), b"two".as_slice()]);
    assert_eq!((batch.header.partition, batch.header.first_offset, batch.header.next_offset), (3, 0, 3));
}
