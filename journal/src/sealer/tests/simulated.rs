//! Seeds: whole worlds of processes, producers, a store and a log that fail, judged by an auditor that knows nothing of the
//! sealer. In one of four the log is damaged, and an operator decides that sealing goes on.
//!
//! `TRIBUTARY_SIMULATION_SEEDS=n` runs the first n seeds, `TRIBUTARY_SIMULATION_SEED=n` that one alone, and prints its trace.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use tributary_eventlog::{LoggedRecord, Record};
use tributary_schemas::ids::Timestamp;
use tributary_schemas::units::Hash;

use super::*;
use crate::batch::{Contents, SealedBatch};
use crate::header::Header;
use crate::simulation::Indexes;
use crate::simulation::auditor::{Evidence, audit};
use crate::simulation::planted::{self, Rule};
use crate::simulation::world::{self, Outcome, Tally};

/// Seeds of every run of the tests.
const SEEDS: u64 = 10_000;
/// Threads that run worlds; each world has one alone.
const THREADS: usize = 2;
/// Failed seeds that are told before the rest is left out.
const FAILURES_MAX: usize = 5;
/// Seeds within which a planted bug must be found.
const PLANTED_SEEDS: u64 = 500;
/// How often each kind of gap must occur in a full run, and be accepted, and events be sealed behind it.
const GAPS_MIN: u64 = 50;

fn of_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|number| number.parse().unwrap())
}

#[test]
fn the_same_seed_makes_the_same_world_and_another_seed_another() {
    let mut indexes = Indexes::new();
    let mut traces: Vec<Vec<String>> = Vec::new();
    for seed in 0..12 {
        let (once, again) = (world::run(seed, indexes.fresh()), world::run(seed, indexes.fresh()));
        let differ = once.trace.iter().zip(&again.trace).find(|(once, again)| once != again);
        assert_eq!(differ, None, "seed {seed}: the first line in which the traces differ");
        assert_eq!(once.trace.len(), again.trace.len(), "seed {seed}");
        assert_eq!((once.evidence.objects, once.tally), (again.evidence.objects, again.tally), "seed {seed}");
        assert!(once.trace.len() > 100, "seed {seed}: {} lines are no world", once.trace.len());
        traces.push(once.trace);
    }
    traces.sort();
    traces.dedup();
    assert_eq!(traces.len(), 12, "every seed has a world of its own");
}

#[test]
fn no_seed_breaks_a_promise_of_the_journal() {
    if let Some(seed) = of_environment("TRIBUTARY_SIMULATION_SEED") {
        return show(seed);
    }
    let (end, next) = (of_environment("TRIBUTARY_SIMULATION_SEEDS").unwrap_or(SEEDS), AtomicU64::new(0));
    let began = Instant::now();
    let found = std::thread::scope(|scope| {
        let threads = [(); THREADS].map(|()| scope.spawn(|| explore(&next, end)));
        threads.map(|thread| thread.join().unwrap())
    });
    let (mut tally, mut failures) = (Tally::default(), Vec::new());
    for (part, failed) in found {
        tally.add(&part);
        failures.extend(failed);
    }
    println!("seeds 0 to {}: {tally:?}, {:?}", end.saturating_sub(1), began.elapsed());
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    let lively = [tally.deaths, tally.ends, tally.holds, tally.fenced, tally.retries, tally.duplicates, tally.conflicts];
    assert!(end < 100 || lively.iter().all(|count| *count > 0), "every kind of mishap was met: {tally:?}");
    let gaps = tally.gaps.into_iter().chain([tally.accepted, tally.passed]);
    assert!(end < SEEDS || gaps.min() >= Some(GAPS_MIN), "gaps of every kind were met, accepted and left behind: {tally:?}");
}

/// Runs one world and prints what happened.
fn show(seed: u64) {
    let Outcome { trace, objections, tally, .. } = world::run(seed, Indexes::new().fresh());
    println!("{}\nseed {seed}: {} lines, {tally:?}", trace.join("\n"), trace.len());
    assert!(objections.is_empty(), "seed {seed}:\n{}", objections.join("\n"));
}

/// Takes seed after seed until the end, or until enough have failed.
fn explore(next: &AtomicU64, end: u64) -> (Tally, Vec<String>) {
    let (mut indexes, mut tally, mut failures) = (Indexes::new(), Tally::default(), Vec::new());
    while failures.len() < FAILURES_MAX {
        let seed = next.fetch_add(1, Ordering::SeqCst);
        if seed >= end {
            break;
        }
        let objections = match catch_unwind(AssertUnwindSafe(|| world::run(seed, indexes.fresh()))) {
            Ok(outcome) => {
                tally.add(&outcome.tally);
                outcome.objections
            }
            Err(_) => {
                // What it left of the indexes is not known.
                indexes = Indexes::new();
                vec!["the world broke; what it said is above".to_owned()]
            }
        };
        if !objections.is_empty() {
            failures.push(failure(seed, &objections));
        }
    }
    (tally, failures)
}

fn failure(seed: u64, objections: &[String]) -> String {
    let again =
        format!("TRIBUTARY_SIMULATION_SEED={seed} cargo test --release -p tributary-journal --lib no_seed -- --nocapture");
    format!("seed {seed}:\n{}\nagain, with its trace: {again}", objections.join("\n"))
}

/// The objections to a sealer without this rule, in the first world that meets any.
fn objections_without(rule: Rule) -> String {
    let _planted = planted::without(rule);
    let mut indexes = Indexes::new();
    let mut objections = |seed| Some((seed, world::run(seed, indexes.fresh()).objections)).filter(|(_, all)| !all.is_empty());
    let Some((seed, all)) = (0..PLANTED_SEEDS).find_map(&mut objections) else {
        panic!("{PLANTED_SEEDS} seeds without {rule:?}, and no objection")
    };
    println!("without {rule:?}, seed {seed}:\n{}", all.join("\n"));
    all.join("\n")
}

#[test]
fn a_sealer_that_takes_a_name_that_is_taken_for_its_own_success_is_found() {
    objections_without(Rule::CompareBytes);
}

#[test]
fn a_sealer_that_keeps_the_identities_of_a_batch_that_lost_is_found() {
    let objections = objections_without(Rule::DropIdentities);
    let words = ["was recorded, but is not sealed", "holds other events than follow"];
    assert!(words.iter().any(|words| objections.contains(words)), "{objections}");
}

#[test]
fn a_sealer_that_keeps_what_it_read_to_follow_a_batch_that_lost_is_found() {
    objections_without(Rule::DropWork);
}

#[test]
fn a_sealer_that_does_not_take_in_what_the_winner_wrote_is_found() {
    let objections = objections_without(Rule::CatchUp);
    assert!(objections.contains("is sealed twice"), "{objections}");
}

#[test]
fn a_sealer_that_does_not_look_for_the_record_that_was_sealed_last_is_found() {
    let objections = objections_without(Rule::CompareLast);
    assert!(objections.contains("in another log"), "{objections}");
}

#[test]
fn a_sealer_that_reads_on_after_an_interruption_as_if_nothing_had_happened_is_found() {
    let objections = objections_without(Rule::CompareAgain);
    let words = ["in another log", "holds other events than follow"];
    assert!(words.iter().any(|words| objections.contains(words)), "{objections}");
}

/// The evidence of the first world that is as wanted, in which there is nothing to object to.
fn sound_evidence(is_wanted: impl Fn(&Evidence) -> bool) -> Evidence {
    let mut indexes = Indexes::new();
    let found = (0..2000).map(|seed| world::run(seed, indexes.fresh()).evidence).find(is_wanted).unwrap();
    assert_eq!(audit(&found), Vec::<String>::new());
    found
}

/// Whether no log was damaged, and partition 0 has a few batches.
fn is_rich(evidence: &Evidence) -> bool {
    let batches = batches(evidence);
    let last = batches.last().map_or(0, |batch| batch.header.events);
    let is_whole = evidence.logs.iter().all(|logs| logs.len() == 1 && logs[0].lost_before == 0);
    is_whole && batches.len() >= 4 && last > 0 && batches[0].header.events > 0 && evidence.logs[0][0].records.len() >= 20
}

/// The records of partition 0 in its first log.
fn records(evidence: &mut Evidence) -> &mut Vec<LoggedRecord> {
    &mut evidence.logs[0][0].records
}

fn batch_name(number: usize) -> String {
    format!("journal/p-00000/{number:020}.batch")
}

/// The batches of partition 0.
fn batches(evidence: &Evidence) -> Vec<SealedBatch> {
    let names = (0..).map(batch_name);
    names.map_while(|name| evidence.objects.get(&name)).map(|bytes| SealedBatch::decode(bytes.clone()).unwrap()).collect()
}

/// Puts another header before the body of the last batch of partition 0.
fn forge(evidence: &mut Evidence, change: impl FnOnce(&mut Header)) {
    let all = batches(evidence);
    let last = all.last().unwrap();
    let mut header = last.header.clone();
    change(&mut header);
    evidence.objects.insert(batch_name(all.len() - 1), [&header.encode()[..], &last.body()].concat().into());
}

/// Seals the first event of partition 0 once more.
fn seal_again(evidence: &mut Evidence) {
    let all = batches(evidence);
    let (logged, event) = (records(evidence), all[0].events().unwrap()[0].clone());
    let again = LoggedRecord { offset: Offset::new(logged.len() as u64).unwrap(), ..logged[0].clone() };
    logged.push(again.clone());
    let previous = all.last().unwrap().header.clone();
    let contents = Contents {
        deployment: previous.deployment,
        partition: previous.partition,
        next_offset: again.offset.next(),
        last_record_hash: again.hash(),
        times: (previous.sealed_at, previous.sealed_at),
        sealed_at: previous.sealed_at,
        events: vec![event],
        previous: Some(previous),
    };
    evidence.objects.insert(batch_name(all.len()), SealedBatch::seal(contents).unwrap().encoded);
}

/// Exchanges two records of one key that are the first of their identities.
fn exchange_two(evidence: &mut Evidence) {
    let mut first_of_key: BTreeMap<Bytes, (usize, String)> = BTreeMap::new();
    let records = records(evidence);
    let pair = records.iter().enumerate().find_map(|(place, record)| {
        let id = protobuf::decode(&record.value).unwrap().draft.id;
        let (first, first_id) = first_of_key.entry(record.key.clone()).or_insert((place, id.clone()));
        (*first_id != id).then_some((*first, place))
    });
    let (one, other) = pair.unwrap();
    let (value_of_one, value_of_other) = (records[one].value.clone(), records[other].value.clone());
    (records[one].value, records[other].value) = (value_of_other, value_of_one);
}

fn unknown() -> Record {
    event("k0", "of-nobody", 1)
}

/// Has the log of partition 0 cut off and filled again behind its first batch, but for the last record of it, unknown to
/// everybody.
fn replace_unseen(evidence: &mut Evidence) {
    let end = usize::try_from(batches(evidence)[0].header.next_offset.get()).unwrap();
    let mut after = evidence.logs[0][0].clone();
    after.held_from = BTreeSet::from([0]);
    let mut before = after.clone();
    before.records.truncate(end);
    after.records[end - 1].value = unknown().value;
    evidence.logs[0] = vec![before, after];
}

#[test]
fn the_auditor_objects_to_every_kind_of_damage() {
    let damages: [(&str, Damage); 18] = [
        ("batch 1 of partition 0 is missing", |e| drop(e.objects.remove(&batch_name(1)))),
        ("is sealed up to", |e| drop(e.objects.remove(&batch_name(batches(e).len() - 1)))),
        ("batch 1 of partition 0 is none", |e| drop(e.objects.insert(batch_name(1), Bytes::from_static(b"TRIB")))),
        ("lies in the wrong place", |e| drop(e.objects.insert(batch_name(1), batches(e)[0].encoded.clone()))),
        ("has no known name", |e| drop(e.objects.insert("journal/p-00000/1.batch".to_owned(), Bytes::new()))),
        ("the genesis record is another", |e| drop(e.objects.insert("journal/genesis.json".to_owned(), Bytes::new()))),
        ("is sealed before the batch before it", |e| forge(e, |header| header.sealed_at = Timestamp::from_micros(0).unwrap())),
        ("has not the hash of the batch before it", |e| forge(e, |header| header.previous_hash = Hash::repeat_byte(1))),
        ("has not the hash of the last record", |e| forge(e, |header| header.last_record_hash = Hash::repeat_byte(1))),
        ("holds something else than its header says", |e| forge(e, |header| header.root = Hash::repeat_byte(1))),
        ("is sealed twice", seal_again),
        ("is sealed after an event of its key", exchange_two),
        ("not sealed with the content that was recorded first", |e| {
            let first = batches(e)[0].events().unwrap()[0].clone();
            let draft = protobuf::decode(&first).unwrap().draft;
            let record = records(e).iter_mut().find(|record| record.value == first).unwrap();
            record.value = event(draft.key(), &draft.id, 99).value;
        }),
        ("is sealed in partition 0, but was not recorded there", |e| {
            let first = batches(e)[0].events().unwrap()[0].clone();
            let id = protobuf::decode(&first).unwrap().draft.id;
            records(e).retain(|record| protobuf::decode(&record.value).unwrap().draft.id != id);
        }),
        ("was acknowledged, but is not in the journal", |e| e.ledger.acknowledge(&[unknown()])),
        ("was never offered", |e| e.ledger.offered.clear()),
        ("goes on in another log", replace_unseen),
        ("is changed", |e| e.changes.push("an object is changed".to_owned())),
    ];
    object_to_each(&sound_evidence(is_rich), &damages);
}

type Damage = fn(&mut Evidence);

fn object_to_each(sound: &Evidence, damages: &[(&str, Damage)]) {
    for (words, damage) in damages {
        let mut evidence = sound.clone();
        damage(&mut evidence);
        let objections = audit(&evidence);
        assert!(objections.iter().any(|objection| objection.contains(*words)), "{words}: {objections:#?}");
    }
}

/// The first decision about partition 0: its reason, the first offset that the log held, and the offset at which it goes on.
fn decision(evidence: &Evidence) -> Option<(String, usize, usize)> {
    let batch = batches(evidence).into_iter().find(|batch| batch.header.gap)?;
    let decision = batch.decision().unwrap()?;
    let [earliest, next] = [decision.log_earliest, batch.header.next_offset.get()].map(|at| usize::try_from(at).unwrap());
    Some((decision.reason, earliest, next))
}

#[test]
fn the_auditor_objects_to_decisions_that_nobody_made_and_to_those_that_leave_something_out() {
    let leaves_some_behind = |evidence: &Evidence| decision(evidence).is_some_and(|(_, earliest, next)| earliest < next);
    let damages: [(&str, Damage); 4] = [
        ("records a gap that nobody decided on", |e| e.ledger.looks.clear()),
        ("leaves out event of-nobody of key k0, which the log held", |e| {
            let (reason, earliest, _) = decision(e).unwrap();
            let log = e.ledger.looks[&reason].log;
            e.logs[0][log].records[earliest].value = unknown().value;
        }),
        ("does not say what the log held", |e| {
            let (reason, _, next) = decision(e).unwrap();
            let log = e.ledger.looks[&reason].log;
            e.logs[0][log].held_from.clear();
            e.logs[0][log].records.truncate(next);
        }),
        ("was recorded, but is not sealed", |e| {
            let last = e.logs[0].last_mut().unwrap();
            let offset = Offset::new(last.records.len() as u64).unwrap();
            last.records.push(LoggedRecord { offset, key: unknown().key, value: unknown().value });
        }),
    ];
    object_to_each(&sound_evidence(leaves_some_behind), &damages);
}
