//! Publishers on a backend that is paid, killed before and after every step, and two at once: each batch comes under one certificate, and
//! what was sent beyond that is known.

use std::time::Duration;

use tributary_tests::chance::{Chance, named_seed};
use tributary_tests::eigenda::{Proxy, SMALL};
use tributary_tests::forwarder::{Forwarder, Hold};
use tributary_tests::patience::Patience;
use tributary_tests::publishers::{Publishers, Sealed};
use tributary_tests::services::Service;
use tributary_tests::storefault::{Moment, StoreFaults};
use tributary_tests::{Outcome, blobs, crowd, ensure, long, worlds};

/// A step of a test takes no longer.
const SOON: Duration = Duration::from_secs(60);
/// How long a payload may take that is not held.
const PUT_TIMEOUT_MS: &str = "15000";
/// The same where another publisher's end is waited for: as long, and a tenth.
const WAITED_PUT_TIMEOUT_MS: &str = "4000";
/// Blobs of a few batches, so that there are several of each partition.
const BLOB_BYTES_MAX: &str = "16000";
/// Blobs of a batch or two, so that there are many.
const FEW_BYTES_MAX: &str = "4000";

/// The symbols that the smallest blob is billed for.
const LEAST_SYMBOLS: u64 = 4096;

/// Where a publisher dies.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// At the write of an object whose path matches.
    Write(Moment, &'static str),
    /// While a payload is on its way.
    Under(Hold),
}

/// A death, and what it costs.
#[derive(Clone, Copy, Debug)]
struct Case {
    death: Death,
    /// Payloads that reach the proxy beyond one for each blob.
    extra: u64,
    /// Attempts of which nobody knows how they ended.
    unknown: u64,
    /// Certificates that arrived and were used by the next publisher.
    found: u64,
    /// Whether the next publisher has another name. Then it waits for the end of the attempt.
    renamed: bool,
}

const PLAN: &str = "*/da/plans/*";
const ARCHIVE: &str = "*/da/blobs/*";
const SENT: &str = "*/da/outbox/*.sent.json";
const CERTIFIED: &str = "*/da/outbox/*.certified.json";
const RECORDED: &str = "*/da/certs/*";

const fn at(moment: Moment, path: &'static str, extra: u64, unknown: u64, found: u64) -> Case {
    Case { death: Death::Write(moment, path), extra, unknown, found, renamed: false }
}

const fn under(hold: Hold, extra: u64) -> Case {
    Case { death: Death::Under(hold), extra, unknown: 1, found: 0, renamed: false }
}

/// Every step of publishing.
const CASES: [Case; 12] = [
    at(Moment::Before, PLAN, 0, 0, 0),
    at(Moment::After, PLAN, 0, 0, 0),
    at(Moment::Before, ARCHIVE, 0, 0, 0),
    at(Moment::After, ARCHIVE, 0, 0, 0),
    at(Moment::Before, SENT, 0, 0, 0),
    at(Moment::After, SENT, 0, 1, 0),
    under(Hold::Request, 0),
    under(Hold::Answer, 1),
    at(Moment::Before, CERTIFIED, 1, 1, 0),
    at(Moment::After, CERTIFIED, 0, 0, 1),
    at(Moment::Before, RECORDED, 0, 0, 1),
    at(Moment::After, RECORDED, 0, 0, 0),
];

/// Dies at the `number`-th such step, and another publisher goes on. The first has one blob under way at a time, so that it is known what its
/// death costs.
async fn dies_and_is_replaced(sealed: &Sealed, proxy: &str, case: Case, number: u64) -> Outcome {
    let between = Forwarder::start(proxy).await?;
    let place = sealed.copy(between.url())?;
    let faults = StoreFaults::build(place.folder(), &place.store()).await?;
    let put_timeout = if case.renamed { WAITED_PUT_TIMEOUT_MS } else { PUT_TIMEOUT_MS };
    let settings = |name| [("DA__PUBLISHER", name), ("DA__PUT_TIMEOUT_MS", put_timeout), ("DA__BLOB_BYTES_MAX", BLOB_BYTES_MAX)];
    let one_by_one = [settings("one").as_slice(), &[("DA__BLOBS_IN_FLIGHT_MAX", "1")]].concat();
    match case.death {
        Death::Write(moment, path) => {
            let mut first = place.publisher("first", &one_by_one, faults.deadly(moment, path, number))?;
            first.start_to_die(SOON).await?;
        }
        Death::Under(hold) => {
            let mut first = place.publisher("first", &one_by_one, Vec::new())?;
            between.hold_nth(hold, number);
            first.start().await?;
            between.held(SOON).await?;
            first.kill().await?;
            between.discard();
        }
    }
    let mut second = place.publisher("second", &settings(if case.renamed { "two" } else { "one" }), Vec::new())?;
    second.start().await?;
    place.available(&second).await?;
    let counted = Counted::of(&second).await?;
    second.stop(SOON).await?;

    let blobs = checked(&place).await?;
    ensure(blobs >= number, || format!("there are only {blobs} blobs"))?;
    let expected = Counted { unknown: case.unknown, found: case.found, again: case.unknown };
    ensure(counted == expected, || format!("it counts {counted:?}, not {expected:?}"))?;
    let said = blobs::outbox(&place.store())?;
    ensure(said.get("unknown").copied().unwrap_or(0) == case.unknown, || format!("the outbox says {said:?}"))?;
    bills(&place, blobs, case.unknown).await?;
    let puts = between.puts();
    ensure(puts == blobs + case.extra, || {
        format!("{puts} payloads reached the proxy for {blobs} blobs, {} more expected", case.extra)
    })
}

/// What a publisher counts of what it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    unknown: u64,
    found: u64,
    again: u64,
}

impl Counted {
    async fn of(publisher: &Service) -> Outcome<Self> {
        Ok(Self {
            unknown: publisher.metric("tributary_da_possibly_paid_total").await?,
            found: publisher.metric("tributary_da_certificates_found_total").await?,
            again: publisher.metric("tributary_da_puts_again_total").await?,
        })
    }
}

/// What `da cost` says: each blob is of the smallest size that is billed, and each attempt of which nobody knows may be billed too.
async fn bills(place: &Publishers, blobs: u64, unknown: u64) -> Outcome {
    let report = place.run(&["da", "cost", "--json"]).await?.expect_code(0)?.json()?;
    let (recorded, price) = (&report["recorded"], report["price_wei_per_symbol"].as_u64().unwrap_or(0));
    let numbers = ["blobs", "symbols_billed", "attempts_possibly_billed", "symbols_possibly_billed", "unbilled"];
    let found = numbers.map(|name| recorded[name].as_u64().unwrap_or(u64::MAX));
    ensure(found == [blobs, blobs * LEAST_SYMBOLS, unknown, unknown * LEAST_SYMBOLS, 0], || {
        format!("of {blobs} blobs: {report}")
    })?;
    let wei = (blobs * LEAST_SYMBOLS * price).to_string();
    ensure(price > 0 && recorded["wei"] == wei.as_str(), || format!("{wei} wei is wrong: {report}"))
}

/// How many blobs are recorded, once all is found to be as it must be.
async fn checked(place: &Publishers) -> Outcome<u64> {
    let blobs = blobs::tile(&place.store())?;
    place.run(&["verify", "--json"]).await?.expect_code(0)?;
    Ok(blobs.len() as u64)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_killed_before_or_after_any_step_leaves_no_gap_and_what_it_cost_is_known() -> Outcome {
    let folder = tempfile::tempdir()?;
    let Some(proxy) = Proxy::start(folder.path(), &SMALL).await? else { return Ok(()) };
    let sealed = std::sync::Arc::new(Sealed::of(&worlds::edge(5)?, 1).await?);
    let open = CASES.iter().filter(|case| case.unknown > 0).map(|case| Case { renamed: true, ..*case });
    let cases: Vec<Case> = CASES.into_iter().chain(open).collect();
    let numbers = if long() { 1..=3 } else { 2..=2 };
    crowd::run_all(numbers.flat_map(|number| cases.iter().map(move |case| (*case, number))).map(|(case, number)| {
        let (sealed, url) = (std::sync::Arc::clone(&sealed), proxy.url());
        async move {
            let run = dies_and_is_replaced(&sealed, &url, case, number).await;
            run.map_err(|error| format!("{case:?} at its number {number}: {error}").into())
        }
    }))
    .await
}

/// Dies at a step while several blobs are under way, and starts again: how many attempts of unknown outcome that left.
async fn dies_with_several_under_way(sealed: &Sealed, proxy: &str, (moment, path, number): (Moment, &str, u64)) -> Outcome<u64> {
    let between = Forwarder::start(proxy).await?;
    let place = sealed.copy(between.url())?;
    let faults = StoreFaults::build(place.folder(), &place.store()).await?;
    let settings = [("DA__PUBLISHER", "one"), ("DA__BLOB_BYTES_MAX", FEW_BYTES_MAX)];
    let mut first = place.publisher("first", &settings, faults.deadly(moment, path, number))?;
    first.start_to_die(SOON).await?;
    let mut next = 0;
    for blob in blobs::recorded(&place.store())? {
        ensure(blob.first_seq == next, || format!("{blob:?} is recorded, and what comes before it is not"))?;
        next = blob.last_seq + 1;
    }
    place.run(&["verify", "--json"]).await?.expect_code(0)?;
    let mut second = place.publisher("second", &settings, Vec::new())?;
    second.start().await?;
    place.available(&second).await?;
    let counted = Counted::of(&second).await?;
    second.stop(SOON).await?;
    let (blobs, puts) = (checked(&place).await?, between.puts());
    let said = blobs::outbox(&place.store())?;
    let (sent, certified) = (said.get("sent").copied().unwrap_or(0), said.get("certified").copied().unwrap_or(0));
    ensure((sent, certified) == (blobs + counted.unknown, blobs), || format!("of {blobs} blobs the outbox says {said:?}"))?;
    ensure(counted.again == counted.unknown, || format!("it counts {counted:?}"))?;
    ensure((blobs..=blobs + counted.unknown).contains(&puts), || {
        format!("{puts} payloads reached the proxy for {blobs} blobs, and it counts {counted:?}")
    })?;
    Ok(counted.unknown)
}

/// Where it dies then.
const STEPS: [(Moment, &str, u64); 6] = [
    (Moment::After, PLAN, 4),
    (Moment::After, SENT, 4),
    (Moment::Before, CERTIFIED, 2),
    (Moment::After, CERTIFIED, 2),
    (Moment::Before, RECORDED, 1),
    (Moment::After, RECORDED, 2),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_killed_with_several_blobs_under_way_leaves_no_gap_and_pays_again_for_what_had_no_end_alone() -> Outcome {
    let folder = tempfile::tempdir()?;
    let Some(proxy) = Proxy::start(folder.path(), &SMALL).await? else { return Ok(()) };
    proxy.set("PutLatency", "500ms").await?;
    let sealed = Sealed::of(&worlds::edge(5)?, 1).await?;
    let mut most = 0;
    for step in STEPS {
        let unknown = dies_with_several_under_way(&sealed, &proxy.url(), step).await;
        let unknown = unknown.map_err(|error| format!("{step:?}: {error}"))?;
        println!("{step:?}: {unknown} attempts of unknown outcome");
        most = most.max(unknown);
    }
    ensure(most > 1, || "there was never more than one under way, so this proved nothing".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_publishers_at_once_pay_for_each_blob_once() -> Outcome {
    let folder = tempfile::tempdir()?;
    let Some(proxy) = Proxy::start(folder.path(), &SMALL).await? else { return Ok(()) };
    // So that they meet.
    proxy.set("PutLatency", "3s").await?;
    let sealed = Sealed::of(&worlds::edge(5)?, 4).await?;
    let between = Forwarder::start(&proxy.url()).await?;
    let place = sealed.copy(between.url())?;
    let settings = [("DA__BLOB_BYTES_MAX", BLOB_BYTES_MAX)];
    let mut one = place.publisher("one", &settings, Vec::new())?;
    let mut two = place.publisher("two", &settings, Vec::new())?;
    let (a, b) = tokio::join!(one.start(), two.start());
    a.and(b)?;
    place.available(&one).await?;
    place.available(&two).await?;
    let mut waits = 0;
    for publisher in [&mut one, &mut two] {
        let counted = Counted::of(publisher).await?;
        ensure(counted.unknown + counted.again == 0, || publisher.describe(&format!("it counts {counted:?}")))?;
        waits += publisher.metric("tributary_da_waits_total").await?;
        publisher.stop(SOON).await?;
    }
    let (blobs, puts) = (checked(&place).await?, between.puts());
    ensure(puts == blobs, || format!("{puts} payloads reached the proxy for {blobs} blobs"))?;
    ensure(waits > 0, || "they never met, so this proved nothing".to_owned())
}

/// Kills publishers at random, of which two run at a time.
async fn survives(sealed: &Sealed, proxy: &str, seed: u64) -> Outcome {
    let mut chance = Chance::of(seed);
    let between = Forwarder::start(proxy).await?;
    let place = sealed.copy(between.url())?;
    let settings = [("DA__PUT_TIMEOUT_MS", "2000"), ("DA__BLOB_BYTES_MAX", "4000")];
    let mut running = Vec::new();
    for name in ["one", "two"] {
        let mut publisher = place.publisher(name, &settings, Vec::new())?;
        publisher.start().await?;
        running.push(publisher);
    }
    for _ in 0..4 {
        tokio::time::sleep(chance.up_to(Duration::from_millis(300))).await;
        let at = usize::try_from(chance.below(2))?;
        running[at].kill().await?;
        running[at].start().await?;
    }
    for publisher in &running {
        place.available(publisher).await?;
    }
    for publisher in &mut running {
        publisher.stop(SOON).await?;
    }
    let (blobs, puts) = (checked(&place).await?, between.puts());
    let said = blobs::outbox(&place.store())?;
    let unknown = said.get("unknown").copied().unwrap_or(0);
    ensure((blobs..=blobs + unknown).contains(&puts), || {
        format!("{puts} payloads reached the proxy for {blobs} blobs, and the outbox says {said:?}")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_killed_at_random_leave_no_gap_and_pay_no_more_than_is_known() -> Outcome {
    let folder = tempfile::tempdir()?;
    let Some(proxy) = Proxy::start(folder.path(), &SMALL).await? else { return Ok(()) };
    proxy.set("PutLatency", "100ms").await?;
    let sealed = std::sync::Arc::new(Sealed::of(&worlds::edge(1)?, 4).await?);
    let first = named_seed().unwrap_or(0);
    let seeds = if long() { 40 } else { 3 };
    crowd::run_all((first..first + seeds).map(|seed| {
        let (sealed, url) = (std::sync::Arc::clone(&sealed), proxy.url());
        async move { survives(&sealed, &url, seed).await.map_err(|error| format!("seed {seed}: {error}").into()) }
    }))
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_is_asked_to_stop_ends_the_blobs_that_it_has_sent_and_pays_for_nothing_twice() -> Outcome {
    let folder = tempfile::tempdir()?;
    let Some(proxy) = Proxy::start(folder.path(), &SMALL).await? else { return Ok(()) };
    proxy.set("PutLatency", "6s").await?;
    let sealed = Sealed::of(&worlds::edge(5)?, 1).await?;
    let between = Forwarder::start(&proxy.url()).await?;
    let place = sealed.copy(between.url())?;
    let settings = [("DA__BLOB_BYTES_MAX", FEW_BYTES_MAX), ("DA__BLOBS_IN_FLIGHT_MAX", "3")];
    let mut first = place.publisher("first", &settings, Vec::new())?;
    first.start().await?;
    let patience = Patience::of(SOON);
    while between.puts() < 3 {
        patience.pause(|| first.describe("it does not send three payloads")).await?;
    }
    let in_flight = first.metric("tributary_da_blobs_in_flight{partition=\"0\"}").await?;
    ensure(in_flight == 3, || format!("{in_flight} blobs are under way"))?;
    first.stop(SOON).await?;
    let (puts, recorded) = (between.puts(), blobs::recorded(&place.store())?.len() as u64);
    ensure((puts, recorded) == (3, 3), || format!("{puts} payloads reached the proxy, {recorded} blobs are recorded"))?;
    proxy.set("PutLatency", "0s").await?;
    let mut second = place.publisher("second", &[], Vec::new())?;
    second.start().await?;
    place.available(&second).await?;
    second.stop(SOON).await?;
    let (blobs, puts) = (checked(&place).await?, between.puts());
    ensure(puts == blobs, || format!("{puts} payloads reached the proxy for {blobs} blobs"))
}
