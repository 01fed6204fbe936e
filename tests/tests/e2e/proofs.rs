//! The proof of an event: from the real binary, to those who check it with nothing but the id of the blob.

use std::path::{Path, PathBuf};

use alloy_primitives::{hex, keccak256};
use serde_json::{Value, json};
use tributary_tests::command::{self, Ran};
use tributary_tests::play::{WAIT_AT_MOST, wait};
use tributary_tests::server::{Options, Server};
use tributary_tests::sql::text;
use tributary_tests::{Outcome, ensure, python, worlds};

/// The page that says how to ask for a proof.
const PAGE: &str = include_str!("../../../docs/proofs.md");

/// The body that the command of the page sends, with this event in place of the one that it names.
fn body(event: &Chosen) -> Outcome<String> {
    let command = PAGE.lines().find(|line| line.trim_start().starts_with("curl ")).ok_or("the page has no command with curl")?;
    let body = command.split_once("-d '").and_then(|(_, rest)| rest.split_once("' > proof.json"));
    let (body, _) = body.ok_or_else(|| format!("the command sends nothing: {command}"))?;
    let placed =
        body.replacen("\"SOURCE\"", &json!(event.source).to_string(), 1).replacen("\"ID\"", &json!(event.id).to_string(), 1);
    ensure(placed != body && !placed.contains("\"ID\""), || format!("the command names no event: {command}"))?;
    Ok(placed)
}

/// An event that source and id name alone, and the place of its batch.
struct Chosen {
    source: String,
    id: String,
    partition: String,
    seq: String,
}

/// A server on which nothing is published yet, with the events of an epoch in its tables.
async fn indexed() -> Outcome<Server> {
    let server = Server::fresh(Options::quick(2).with("DA__PAUSED", "true")).await?;
    let world = worlds::edge(2)?;
    server.send(&world.epochs[0].lines).await?.expect_code(0)?;
    wait(&server, "indexed", WAIT_AT_MOST).await?;
    Ok(server)
}

/// Some events: the first and the last of the largest batch, and one of the smallest.
async fn chosen(server: &Server) -> Outcome<Vec<Chosen>> {
    let sizes = "SELECT _partition, _seq, count(*) AS n FROM events GROUP BY _partition, _seq ORDER BY n";
    let sizes = server.sql(sizes).await?;
    let (smallest, largest) = sizes.first().zip(sizes.last()).ok_or("no event is indexed")?;
    ensure(text(&largest["n"]).parse::<u64>()? > 2, || format!("the largest batch holds no three events: {largest:?}"))?;
    let mut all = Vec::new();
    for (batch, order) in [(largest, "ASC"), (largest, "DESC"), (smallest, "ASC")] {
        let (partition, seq) = (text(&batch["_partition"]), text(&batch["_seq"]));
        let alone = "SELECT source, event_id, min(_partition) AS p, min(_seq) AS s, min(_ordinal) AS o FROM events \
                     GROUP BY source, event_id HAVING count(*) = 1";
        let named =
            format!("SELECT source, event_id FROM ({alone}) WHERE p = {partition} AND s = {seq} ORDER BY o {order} LIMIT 1");
        let rows = server.sql(&named).await?;
        let row = rows.first().ok_or("no event of the batch has a source and id of its own")?;
        all.push(Chosen { source: text(&row["source"]), id: text(&row["event_id"]), partition, seq });
    }
    Ok(all)
}

/// What GraphQL answers, byte for byte, in a file as `curl` would leave it.
async fn answer(server: &Server, event: &Chosen, directory: &Path) -> Outcome<PathBuf> {
    let request = server.client().post(server.route("/graphql")).header("content-type", "application/json").body(body(event)?);
    let answer = request.send().await?.error_for_status()?;
    let file = directory.join("proof.json");
    std::fs::write(&file, answer.bytes().await?)?;
    Ok(file)
}

fn read(file: &Path) -> Outcome<Value> {
    Ok(serde_json::from_slice(&std::fs::read(file)?)?)
}

/// The id of the blob with the event's batch, as the table of blobs has it.
async fn blob_id(server: &Server, event: &Chosen) -> Outcome<String> {
    let Chosen { partition, seq, .. } = event;
    let rows = server
        .sql(&format!(
            "SELECT blob_id, certificate, commitment FROM blobs \
             WHERE partition = {partition} AND first_seq <= {seq} AND {seq} <= last_seq"
        ))
        .await?;
    ensure(rows.len() == 1, || format!("{} blobs hold batch {seq} of partition {partition}", rows.len()))?;
    let [id, certificate, commitment] = ["blob_id", "certificate", "commitment"].map(|column| text(&rows[0][column]));
    let hash = keccak256(hex::decode(&certificate)?);
    ensure(format!("{hash:#x}") == id, || format!("{id} is not the keccak of {certificate}"))?;
    ensure(hex::decode(&commitment)?.len() == 64, || format!("the commitment has not 64 bytes: {commitment}"))?;
    let question = "query($source: String!, $id: String!) { event(source: $source, eventId: $id) \
                    { proof { blob { certificate commitment } } } }";
    let data = server.graphql(question, &json!({"source": event.source, "id": event.id})).await?;
    let blob = &data["event"]["proof"]["blob"];
    ensure(*blob == json!({"certificate": certificate, "commitment": commitment}), || format!("SQL: {rows:?}, GraphQL: {blob}"))?;
    Ok(id)
}

/// `tributary verify --proof`, which needs neither a server nor a directory.
async fn by_the_binary(file: &Path, blob_id: &str, expected: &[&str]) -> Outcome<Ran> {
    let file = file.display().to_string();
    let arguments = [&["verify", "--proof", &file, "--blob-id", blob_id, "--json"], expected].concat();
    command::run(&arguments.into_iter().map(str::to_owned).collect::<Vec<_>>(), &[]).await
}

/// The script, if there is Python.
async fn by_the_script(file: &Path, blob_id: &str, expected: &[&str]) -> Outcome<Option<Ran>> {
    if !python::is_there().await? {
        return Ok(None);
    }
    let (script, file) = (python::examples().join("verify_event.py").display().to_string(), file.display().to_string());
    let arguments = [&[&script, &file, blob_id, "--json"], expected].concat();
    python::run(&arguments.into_iter().map(str::to_owned).collect::<Vec<_>>()).await.map(Some)
}

/// Both must take it, and say the same of it.
async fn is_proved(file: &Path, blob_id: &str, expected: &[&str]) -> Outcome<Value> {
    let said = by_the_binary(file, blob_id, expected).await?.expect_code(0)?.json()?;
    if let Some(ran) = by_the_script(file, blob_id, expected).await? {
        let too = ran.expect_code(0)?.json()?;
        ensure(said == too, || format!("the binary says {said}, the script {too}"))?;
    }
    Ok(said)
}

/// Both must refuse it with this code.
async fn is_refused(file: &Path, blob_id: &str, expected: &[&str], code: &str) -> Outcome {
    let by_binary = by_the_binary(file, blob_id, expected).await?;
    for ran in [Some(by_binary), by_the_script(file, blob_id, expected).await?].into_iter().flatten() {
        let ran = ran.expect_code(3)?;
        ensure(ran.stderr.trim_end().ends_with(&format!("[{code}]")), || format!("no {code}: {}", ran.describe()))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_has_no_proof_before_it_is_available_and_then_one_that_two_programs_check_by_the_blobs_id_alone() -> Outcome {
    let scratch = tempfile::tempdir()?;
    let mut server = indexed().await?;
    let events = chosen(&server).await?;
    let file = answer(&server, &events[0], scratch.path()).await?;
    let early = read(&file)?;
    let proof = &early["data"]["event"]["proof"];
    ensure(proof["opening"].is_null() && proof["blob"].is_null(), || format!("nothing is published yet: {early}"))?;
    is_refused(&file, &format!("{:#x}", keccak256("any")), &[], "proof_form").await?;

    server.restart_with("DA__PAUSED", "false").await?;
    wait(&server, "available", WAIT_AT_MOST).await?;
    for event in &events {
        let blob_id = blob_id(&server, event).await?;
        let file = answer(&server, event, scratch.path()).await?;
        let proved = is_proved(&file, &blob_id, &["--event", &event.source, &event.id]).await?;
        let found = ["source", "id"].map(|member| text(&proved[member]));
        ensure(found == [event.source.as_str(), &event.id], || format!("another event was proved: {proved}"))?;
        // It holds whatever was asked for; that it is of the event that was asked for is asked on its own.
        is_proved(&file, &blob_id, &[]).await?;
        let other = format!("{}-other", event.id);
        is_refused(&file, &blob_id, &["--event", &event.source, &other], "proof_other_event").await?;
        let found = ["partition", "seq"].map(|member| text(&proved[member]));
        ensure(found == [event.partition.as_str(), &event.seq], || format!("another batch was proved: {proved}"))?;
        let given = read(&file)?["data"]["event"].take();
        ensure(proved["ordinal"] == given["ordinal"], || format!("another event was proved: {proved}"))?;

        // The same from the data directory, after everything that leads to it was recomputed.
        let report = server.job(&["verify", "--event", &event.source, &event.id, "--json"]).await?.expect_code(0)?;
        let own = scratch.path().join("report.json");
        std::fs::write(&own, &report.stdout)?;
        let (kind, key) = (text(&proved["type"]), text(&proved["key"]));
        let named = ["--event", &event.source, &event.id, "--type", &kind, "--key", &key];
        is_proved(&own, &blob_id, &named).await?;
        let own = report.json()?["event"].take();
        for member in ["type", "key", "leaf"] {
            ensure(own[member] == proved[member], || format!("{member}: {own}, {proved}"))?;
        }
        ensure(own["blob_id"].as_str() == Some(&blob_id), || format!("{own} names another blob than {blob_id}"))?;
        for member in ["raw", "ordinal", "/proof/path", "/proof/batchHeader", "/proof/blob/certificate", "/proof/opening"] {
            let pointer = if member.starts_with('/') { member.to_owned() } else { format!("/{member}") };
            let (of_graphql, of_verify) = (given.pointer(&pointer), own["proof"].pointer(&pointer));
            ensure(of_graphql.is_some() && of_graphql == of_verify, || format!("{member}: {of_graphql:?}, {of_verify:?}"))?;
        }
    }
    server.stop().await
}

/// Where something is changed in a proof, and the code with which it is then refused.
const CHANGES: [(&str, &str); 18] = [
    ("/raw", "proof_event"),
    ("/ordinal", "proof_event"),
    ("/proof/leaf", "proof_event"),
    ("/proof/path/0", "proof_path"),
    ("/proof/batchRoot", "proof_path"),
    ("/proof/batchHeader", "proof_header"),
    ("/proof/blob/certificate", "proof_certificate"),
    ("/proof/opening/symbolIndexes/0", "proof_place"),
    ("/proof/opening/symbolIndexes/7", "proof_place"),
    ("/proof/opening/symbols/0", "proof_symbol"),
    ("/proof/opening/symbols/7", "proof_symbol"),
    ("/proof/opening/proofs/0", "proof_opening"),
    ("/proof/opening/proofs/7", "proof_opening"),
    ("/proof/opening/blobSymbols", "proof_place"),
    ("/proof/opening/prelude/symbolIndex", "proof_place"),
    ("/proof/opening/prelude/symbol", "proof_opening"),
    ("/proof/opening/prelude/proof", "proof_opening"),
    // Another blob's id.
    ("", "proof_certificate"),
];

/// Adds one to a number; flips the last bit of a text's bytes.
fn change(member: &mut Value) -> Outcome {
    if let Some(number) = member.as_u64() {
        *member = (number + 1).into();
        return Ok(());
    }
    let mut bytes = hex::decode(member.as_str().ok_or("it is neither a number nor a text")?)?;
    *bytes.last_mut().ok_or("it has no bytes")? ^= 1;
    *member = hex::encode_prefixed(bytes).into();
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_with_any_member_changed_is_refused_by_two_programs_with_the_documented_code() -> Outcome {
    let scratch = tempfile::tempdir()?;
    let mut server = indexed().await?;
    server.restart_with("DA__PAUSED", "false").await?;
    wait(&server, "available", WAIT_AT_MOST).await?;
    let event = chosen(&server).await?.remove(0);
    let blob_id = blob_id(&server, &event).await?;
    let right = read(&answer(&server, &event, scratch.path()).await?)?;
    server.stop().await?;
    let file = scratch.path().join("changed.json");
    for (pointer, code) in CHANGES {
        let (mut proof, mut trusted) = (right.clone(), Value::from(blob_id.as_str()));
        let member = proof.pointer_mut(&format!("/data/event{pointer}")).ok_or_else(|| format!("there is no {pointer}"))?;
        change(if pointer.is_empty() { &mut trusted } else { member })?;
        std::fs::write(&file, proof.to_string())?;
        is_refused(&file, trusted.as_str().unwrap_or_default(), &[], code).await.map_err(|e| format!("{pointer}: {e}"))?;
    }
    for missing in ["opening", "blob", "path"] {
        let mut proof = right.clone();
        proof["data"]["event"]["proof"].as_object_mut().ok_or("the proof is no object")?.remove(missing);
        std::fs::write(&file, proof.to_string())?;
        is_refused(&file, &blob_id, &[], "proof_form").await?;
    }
    std::fs::write(&file, right.to_string())?;
    is_proved(&file, &blob_id, &[]).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_script_refuses_all_that_its_own_tests_make_up() -> Outcome {
    if !python::is_there().await? {
        return Ok(());
    }
    let examples = python::examples().display().to_string();
    let ran = python::run(&["-m", "unittest", "discover", "-s", &examples].map(str::to_owned)).await?.expect_code(0)?;
    // Of no tests at all, all pass.
    ensure(!ran.stderr.contains("Ran 0 tests"), || ran.describe())
}
