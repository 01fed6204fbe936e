//! Clients of live events that break the protocol or cannot keep up, and lookups beside a runaway query.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tributary_tests::chance::Chance;
use tributary_tests::play::wait;
use tributary_tests::server::{Options, Server};
use tributary_tests::socket::{Heard, Socket, send_raw};
use tributary_tests::{Outcome, ensure, long, worlds};

const EVENTS: &str = "subscription($after: String) { events(after: $after) { cursor event { key eventId raw } } }";

/// The value of a metric without labels.
async fn metric(server: &Server, name: &str) -> Outcome<u64> {
    let text = server.client().get(server.route("/metrics")).send().await?.text().await?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).ok_or_else(|| format!("no metric {name}").into())
}

/// Waits until the metric has the value.
async fn until(server: &Server, name: &str, value: u64) -> Outcome {
    let patience = Instant::now() + Duration::from_secs(60);
    while metric(server, name).await? != value {
        ensure(Instant::now() < patience, || format!("{name} does not become {value}"))?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_frames_end_their_connection_and_nothing_else() -> Outcome {
    let mut server = Server::fresh(Options::quick(1)).await?;
    let init = r#"{"type":"connection_init"}"#;
    let subscribe = json!({"type": "subscribe", "id": "1", "payload": {"query": EVENTS}}).to_string();
    let cases: &[(&[&str], u16)] = &[
        (&["no json"], 4400),
        (&["[]"], 4400),
        (&[r#"{"type":"nonsense"}"#], 4400),
        (&[r#"{"type":"subscribe","id":"1","payload":{"query":"{ meta { cut } }"}}"#], 4401),
        (&[init, init], 4429),
        (&[init, &subscribe, &subscribe], 4409),
        (&[init, r#"{"type":"subscribe","id":"","payload":{}}"#], 4400),
        (&[init, r#"{"type":"subscribe","id":"1","payload":"x"}"#], 4400),
        (&[init, r#"{"type":"subscribe","id":"1","payload":{"query":7}}"#], 4400),
    ];
    for (messages, expected) in cases {
        let mut socket = Socket::open(&server, None).await?;
        for message in *messages {
            socket.say(message).await?;
        }
        let end = socket.hear_end().await?;
        ensure(end.as_ref().is_some_and(|(code, _)| code == expected), || format!("{messages:?} ends with {end:?}"))?;
    }
    let mut socket = Socket::open(&server, None).await?;
    socket.say_bytes(&[1, 2, 3]).await?;
    ensure(socket.hear_end().await?.is_some_and(|(code, _)| code == 4400), || "a binary message is refused".to_owned())?;
    // A document that is refused ends its subscription, not the connection.
    let mut socket = Socket::open(&server, None).await?;
    socket.follow("subscription { nothing }", json!({})).await?;
    let heard = [socket.hear().await?, socket.hear().await?];
    let is_error = matches!(&heard[1], Heard::Message(message) if message["type"] == "error");
    ensure(is_error, || format!("{heard:?}"))?;
    drop(socket);

    let frames: &[&[u8]] = &[
        b"\x81\x05hello",                                    // not masked
        b"\xf1\x80\0\0\0\0",                                 // reserved bits
        b"\x83\x80\0\0\0\0",                                 // an opcode that is none
        b"\x09\x80\0\0\0\0",                                 // a control frame in parts
        b"\x89\xfe\x01\0\0\0\0\0",                           // a control frame of 256 bytes
        b"\x80\x80\0\0\0\0",                                 // a continuation of nothing
        b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", // 2^63 bytes to come
        b"\x81\xff\x00\x00\x00\x00\x40\x00\x00\x00\0\0\0\0", // 1 GiB to come
        b"\x81\x82\0\0\0\0\xff\xfe",                         // text that is not UTF-8
        b"\x81\xfe\x01",                                     // the end within a length
        b"\x88\x81\0\0\0\0\x01",                             // half a close code
    ];
    for frame in frames {
        send_raw(&server, frame).await?;
    }
    let mut chance = Chance::of(5);
    for _ in 0..if long() { 2_000 } else { 200 } {
        let bytes: Vec<u8> = (0..1 + chance.below(40)).map(|_| u8::try_from(chance.below(256)).unwrap_or(0)).collect();
        send_raw(&server, &bytes).await?;
    }
    until(&server, "tributary_graphql_subscribers", 0).await?;
    server.graphql("{ meta { cut } }", &json!({})).await?;
    server.stop().await
}

/// A subscriber that stops reading is closed with the cursor to go on from, and loses nothing by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_subscriber_is_closed_and_resumes_without_loss() -> Outcome {
    let mut server = Server::fresh(Options::quick(4).with("GRAPHQL__STALL_MS", "1500")).await?;
    let lines = &worlds::flywheel()?.epochs[0].lines;
    server.send(lines).await?.expect_code(0)?;
    wait(&server, "indexed", Duration::from_secs(60)).await?;
    let expected = server.count("SELECT count(*) AS n FROM events").await?;
    let mut slow = Socket::open(&server, Some(65_536)).await?;
    slow.follow(EVENTS, json!({"after": "start"})).await?;
    // It reads nothing until the server has given it up.
    until(&server, "tributary_graphql_slow_consumers_total", 1).await?;
    let mut seen = std::collections::HashSet::new();
    let mut cursor = Value::from("start");
    let take = |message: &Value, cursor: &mut Value, seen: &mut std::collections::HashSet<String>| {
        let live = &message["payload"]["data"]["events"];
        if !live.is_object() {
            return Ok(());
        }
        *cursor = live["cursor"].clone();
        let event = &live["event"];
        let raw = event["raw"].to_string();
        ensure(seen.insert(raw), || format!("event {} came twice", event["eventId"]))
    };
    let reason = loop {
        match slow.hear().await? {
            Heard::Message(message) => take(&message, &mut cursor, &mut seen)?,
            Heard::End(end) => break end,
        }
    };
    ensure((seen.len() as u64) < expected, || "the system's buffers took everything: the test shows nothing".to_owned())?;
    // The client answers what it reads, as clients do; why its connection ends reaches it all the same.
    let (code, reason) = reason.ok_or("the connection ended without a close frame")?;
    ensure(code == 4410 && reason.contains("resume after"), || format!("closed with {code}: {reason}"))?;
    let named = reason.rsplit(' ').next().unwrap_or_default();
    ensure(cursor == json!(named) || reason.ends_with("last cursor received"), || format!("{reason}, but {cursor} was last"))?;
    let (before, mut resumed_at) = (seen.len(), seen.len());
    let mut socket = Socket::open(&server, None).await?;
    socket.follow(EVENTS, json!({"after": cursor})).await?;
    while (seen.len() as u64) < expected {
        match socket.hear().await? {
            Heard::Message(message) => take(&message, &mut cursor, &mut seen)?,
            // This process was held up for longer than a subscriber may be.
            Heard::End(Some((4410, _))) if seen.len() > resumed_at => {
                resumed_at = seen.len();
                socket = Socket::open(&server, None).await?;
                socket.follow(EVENTS, json!({"after": cursor})).await?;
            }
            Heard::End(end) => return Err(format!("the resumed subscription ended with {end:?}").into()),
        }
    }
    eprintln!("closed after {before} of {expected} events with {reason:?}, and resumed to the last");
    server.stop().await
}

/// The median of some lookups.
async fn lookup_median(server: &Server, ids: &[String]) -> Outcome<Duration> {
    let query = "query($id: String!) { inference(inferenceId: $id) { fee attribution { entries { nodes { weight } } } } }";
    let mut times = Vec::new();
    for id in ids {
        let started = Instant::now();
        let answer = server.graphql(query, &json!({"id": id})).await?;
        times.push(started.elapsed());
        ensure(answer["inference"].is_object(), || format!("{id}: {answer:.300}"))?;
    }
    median(times)
}

/// The same of lookups by SQL.
async fn sql_lookup_median(server: &Server, ids: &[String]) -> Outcome<Duration> {
    let mut times = Vec::new();
    for id in ids {
        let started = Instant::now();
        let rows = server.sql(&format!("SELECT fee FROM effective_inferences WHERE inference_id = '{id}'")).await?;
        times.push(started.elapsed());
        ensure(rows.len() == 1, || format!("inference {id} has {} rows", rows.len()))?;
    }
    median(times)
}

/// The median of times of which none is that of a lookup that waited for something else.
fn median(mut times: Vec<Duration>) -> Outcome<Duration> {
    times.sort_unstable();
    let slowest = times[times.len() - 1];
    ensure(slowest < Duration::from_secs(5), || format!("a lookup took {slowest:?}"))?;
    Ok(times[times.len() / 2])
}

/// As many runaway queries as are let in share what lookups leave them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runaway_queries_do_not_slow_lookups() -> Outcome {
    const SLACK: Duration = Duration::from_millis(60);
    const ATTEMPTS: usize = 5;
    let mut server = Server::fresh(Options::quick(4).with("QUERY__TIMEOUT_MS", "20000")).await?;
    server.send(&worlds::flywheel()?.epochs[0].lines).await?.expect_code(0)?;
    wait(&server, "indexed", Duration::from_secs(60)).await?;
    let rows = server.sql("SELECT inference_id FROM inferences ORDER BY md5(inference_id) LIMIT 60").await?;
    let ids: Vec<String> = rows.iter().filter_map(|row| row["inference_id"].as_str().map(str::to_owned)).collect();
    lookup_median(&server, &ids).await?;
    let (idle, idle_sql) = (lookup_median(&server, &ids).await?, sql_lookup_median(&server, &ids).await?);
    let runaway =
        "SELECT count(*) FROM events a CROSS JOIN events b CROSS JOIN events c WHERE md5(a.key || b.key || c.key) = 'x'";
    let endless = futures::future::join_all((0..8).map(|_| server.sql(runaway)));
    let measure = async {
        until(&server, "tributary_query_running", 8).await?;
        let mut least = (Duration::MAX, Duration::MAX);
        // Other tests may have the processors for a while.
        for _ in 0..ATTEMPTS {
            let took = (lookup_median(&server, &ids).await?, sql_lookup_median(&server, &ids).await?);
            // Those that are over slow nobody, and a lookup that waited for their end must not count.
            if metric(&server, "tributary_query_running").await? < 8 {
                break;
            }
            least = (least.0.min(took.0), least.1.min(took.1));
            if least.0 < idle * 4 + SLACK && least.1 < idle_sql * 4 + SLACK {
                break;
            }
        }
        Outcome::Ok(least)
    };
    let (ended, busy) = tokio::join!(endless, measure);
    let (busy, busy_sql) = busy?;
    for query in &ended {
        ensure(query.as_ref().is_err_and(|error| error.to_string().contains("query_timeout")), || {
            format!("a runaway query ended with {query:?}")
        })?;
    }
    until(&server, "tributary_query_running", 0).await?;
    eprintln!(
        "lookups took {idle:?} in the median alone, and {busy:?} beside eight runaway queries; by SQL {idle_sql:?} and {busy_sql:?}"
    );
    for (alone, beside) in [(idle, busy), (idle_sql, busy_sql)] {
        ensure(beside < alone * 4 + SLACK, || format!("lookups took {alone:?} alone and {beside:?} beside them"))?;
    }
    server.stop().await
}
