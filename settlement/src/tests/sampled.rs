//! What a check by sample looks at, and what it finds.

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use tributary_journal::Header;
use tributary_journal::store::batch_path;

use super::stack::Stack;
use super::world::edge;
use crate::verify::{Drawn, Sample};
use crate::{Report, SettlementError, Silent, VerifyRequest, verify};

async fn settled(number: u32) -> Stack {
    let stack = Stack::new(3).await;
    for events in &edge(number).epochs {
        stack.take(events).await;
        stack.settle().await.unwrap();
    }
    stack
}

/// By a process that knows nothing but the store.
async fn sample(stack: &Stack, size: u32, seed: u32) -> Result<Report, SettlementError> {
    let fresh = Stack::open(stack.store.clone(), None).await;
    let request = VerifyRequest { sample: Some(Sample { size, seed }), ..VerifyRequest::default() };
    verify(&fresh.sources(), &request, &Silent).await
}

async fn objects(stack: &Stack, prefix: &str) -> Vec<Path> {
    let listed = stack.store.list(Some(&Path::from(prefix)));
    let mut paths: Vec<Path> = listed.map_ok(|object| object.location).try_collect().await.unwrap();
    paths.sort();
    paths
}

/// Flips a bit; gives the bytes as they were.
async fn flip(stack: &Stack, path: &Path, at: usize) -> Bytes {
    let good = stack.store.get(path).await.unwrap().bytes().await.unwrap();
    let mut bad = good.to_vec();
    bad[at] ^= 0x10;
    stack.store.put(path, bad.into()).await.unwrap();
    good
}

async fn mend(stack: &Stack, path: &Path, good: Bytes) {
    stack.store.put(path, good.into()).await.unwrap();
}

fn named(error: &SettlementError) -> &str {
    match error {
        SettlementError::Difference(difference) => &difference.object,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_of_everything_recomputes_all_batches_blobs_files_and_roots() {
    let stack = settled(9).await;
    let whole = stack.verify().await.unwrap();
    let report = sample(&stack, u32::MAX, 1).await.unwrap();
    let sampled = report.sample.clone().unwrap();
    for Drawn { checked, of } in [sampled.batches, sampled.blobs, sampled.files, sampled.epochs] {
        assert!(checked == of && of > 2, "{sampled:?}");
    }
    let counts = |report: &Report| (report.batches, report.events, report.identity_lists, report.blobs, report.rows, report.gaps);
    assert_eq!(counts(&report), counts(&whole));
    assert_eq!(report.epochs, whole.epochs);
    assert_eq!((report.inferences, report.lines), (0, 0), "nothing was replayed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_draws_as_many_as_it_is_asked_for_and_the_same_by_the_same_seed() {
    let stack = settled(6).await;
    let report = sample(&stack, 2, 7).await.unwrap();
    assert_eq!(report, sample(&stack, 2, 7).await.unwrap());
    let sampled = report.sample.clone().unwrap();
    assert_eq!((sampled.size, sampled.seed), (2, 7));
    for Drawn { checked, of } in [sampled.batches, sampled.blobs, sampled.files, sampled.epochs] {
        assert!(checked == 2 && of > 2, "{sampled:?}");
    }
    assert_eq!((report.batches, report.blobs, report.epochs.len()), (2, 2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_checked_in_full_is_found_damaged_by_the_least_sample() {
    let stack = settled(4).await;
    let mut looked_at = 0;
    for (prefix, end) in [
        ("journal/p-", ".batch"),
        ("da/plans", ".json"),
        ("da/certs", ".json"),
        ("settlement", ".json"),
        ("lake/events/_delta_log", ".json"),
        ("lake/epochs/_delta_log", ".json"),
    ] {
        let (folder, _) = prefix.rsplit_once("/p-").unwrap_or((prefix, ""));
        let paths = objects(&stack, folder).await.into_iter();
        for path in paths.filter(|path| path.as_ref().starts_with(prefix) && path.as_ref().ends_with(end)) {
            // In a batch, its header.
            let good = flip(&stack, &path, 100).await;
            let opened = tributary_journal::Journal::open(stack.store.clone(), None, stack.clock.clone()).await;
            if opened.is_ok() {
                let found = sample(&stack, 1, 3).await.expect_err(path.as_ref());
                assert!(named(&found).contains(path.as_ref()), "{path}: {found}");
            }
            mend(&stack, &path, good).await;
            looked_at += 1;
        }
    }
    assert!(looked_at > 25, "{looked_at}");
    sample(&stack, 1, 3).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_payload_is_found_without_being_drawn() {
    let stack = settled(4).await;
    for path in objects(&stack, "da/blobs").await {
        let good = stack.store.get(&path).await.unwrap().bytes().await.unwrap();
        stack.store.delete(&path).await.unwrap();
        let found = sample(&stack, 1, 3).await.unwrap_err();
        assert!(named(&found).contains(path.as_ref()), "{path}: {found}");
        mend(&stack, &path, good).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_body_or_payload_is_found_if_it_is_drawn() {
    let stack = settled(9).await;
    let heads = stack.journal.heads();
    let all = heads.iter().flat_map(|(partition, last)| crate::verify::places(partition, last)).collect::<Vec<_>>();
    let name = |place: &(_, _)| batch_path(place.0, place.1).to_string();
    let blobs = stack.certificates.blobs().await.unwrap();
    let firsts = blobs.iter().map(|blob| (blob.partition, blob.first_seq)).collect::<Vec<_>>();
    let certificate = |place: &(_, _)| tributary_da::names::certificate(place.0, place.1).to_string();
    let (mut found, mut overlooked) = (0, 0);
    for seed in 0..12 {
        let drawing = Sample { size: 3, seed };
        let (batches, _) = drawing.draw(all.clone(), name);
        let (drawn_blobs, _) = drawing.draw(firsts.clone(), certificate);
        // The first that is drawn, and the first that is not.
        let batch = |is_drawn: bool| *all.iter().find(|place| batches.contains(place) == is_drawn).unwrap();
        let blob = |is_drawn: bool| firsts.iter().position(|first| drawn_blobs.contains(first) == is_drawn).unwrap();
        for is_drawn in [true, false] {
            let place = batch(is_drawn);
            let held = drawn_blobs.iter().any(|first| {
                let blob = blobs.iter().find(|blob| (blob.partition, blob.first_seq) == *first).unwrap();
                blob.partition == place.0 && (blob.first_seq..=blob.last_seq).contains(&place.1)
            });
            let payload = tributary_da::names::payload(&blobs.from(blob(is_drawn)).next().unwrap().commitment);
            for (path, at, must) in [(batch_path(place.0, place.1), Header::BYTES, is_drawn || held), (payload, 700, is_drawn)] {
                let good = flip(&stack, &path, at).await;
                let checked = sample(&stack, 3, seed).await;
                assert_eq!(checked.is_err(), must, "{path}, seed {seed}: {checked:?}");
                (found, overlooked) = (found + u32::from(must), overlooked + u32::from(!must));
                mend(&stack, &path, good).await;
            }
        }
    }
    assert!(found >= 24 && overlooked >= 12, "{found}, {overlooked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_data_file_is_found_by_a_sample_of_all() {
    let stack = settled(4).await;
    let files = objects(&stack, "lake").await.into_iter().filter(|path| path.as_ref().ends_with(".parquet"));
    for path in files.step_by(3) {
        let good = flip(&stack, &path, 50).await;
        let found = sample(&stack, u32::MAX, 1).await.unwrap_err();
        assert!(named(&found).contains(path.as_ref()), "{path}: {found}");
        mend(&stack, &path, good).await;
    }
}
