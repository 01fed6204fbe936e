//! What is billed of what lies in the outbox.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use tributary_da::outbox::Attempt;
use tributary_da::{BlobRecord, Certificate, PublisherId, Wanted, parse_hex};
use tributary_schemas::ids::{Epoch, Seq};
use tributary_schemas::units::keccak256;

use super::*;
use crate::config::Config;
use crate::wire;

/// A proof with a certificate of EigenDA's.
const PROOF: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../da/testdata/event-proof-eigenda.json");

const PAYLOAD: &[u8] = b"a payload";

/// Certificates of one commitment, as several dispersals of one payload give them: they differ in what is not looked at here.
fn certificates(count: usize) -> Vec<Certificate> {
    let text = std::fs::read_to_string(PROOF).unwrap();
    let start = text.find("\"certificate\"").map(|at| at + text[at..].find("\"0x").unwrap() + 1).unwrap();
    let end = start + text[start..].find('"').unwrap();
    let first = parse_hex(&text[start..end]).unwrap();
    let commitment = |bytes: &Bytes| tributary_da::committed(bytes).map(|(_, committed)| committed.bytes()).ok();
    let changed = (0..first.len()).rev().map(|at| {
        let mut bytes = first.to_vec();
        bytes[at] ^= 1;
        Bytes::from(bytes)
    });
    let same = changed.filter(|bytes| commitment(bytes) == commitment(&first)).take(count);
    let since = Timestamp::from_micros(1_790_000_000_000_000).unwrap();
    let certified = same.map(|certificate| {
        let wanted = Wanted { certificate, expires_at: None };
        Certificate::recovered(&wanted, &Bytes::from_static(PAYLOAD), since).unwrap()
    });
    certified.collect()
}

struct Scene {
    _folder: tempfile::TempDir,
    record: Record,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.data.dir = folder.path().join("data");
        wire::genesis_or_new(&config).await.unwrap();
        let record = Record::open(&config, None).await.unwrap();
        Self { _folder: folder, record }
    }

    /// So many hours ago.
    fn ago(&self, hours: i64) -> Timestamp {
        Timestamp::from_micros(self.record.clock.now().micros() - hours * 3_600_000_000).unwrap()
    }

    async fn put(&self, name: &Path, bytes: Bytes) {
        self.record.store.put(name, bytes.into()).await.unwrap();
    }

    async fn note(&self, number: u32, state: State, at: Timestamp, certificate: Option<Certificate>) {
        let entry = Entry {
            attempt: Attempt { payload_hash: keccak256(PAYLOAD), number },
            state,
            payload_bytes: PAYLOAD.len() as u64,
            publisher: PublisherId([1; 16]),
            at,
            what: (state != State::Certified).then(|| "no answer".to_owned()),
            certificate: certificate.map(|certificate| Certificate { certified_at: at, ..certificate }),
        };
        self.put(&entry.name(), entry.encode()).await;
    }

    async fn in_vain(&self) -> (u64, u64) {
        let bill = of_the_last_day(&self.record).await.unwrap();
        assert_eq!((bill.blobs, bill.symbols_billed), (0, 0), "nothing was recorded in time: {bill:?}");
        (bill.certificates_in_vain, bill.symbols_in_vain)
    }
}

#[tokio::test]
async fn a_certificate_that_arrived_and_is_in_no_record_is_billed_in_vain() {
    let (scene, certificates) = (Scene::new().await, certificates(6));
    assert_eq!(certificates.len(), 6);
    for (number, certificate) in (1..=5).zip(&certificates) {
        scene.note(number, State::Certified, scene.ago(1), Some(certificate.clone())).await;
    }
    scene.note(6, State::Certified, scene.ago(25), Some(certificates[5].clone())).await;
    scene.note(7, State::Unknown, scene.ago(1), None).await;
    assert_eq!(scene.in_vain().await, (5, 5 * 4096));
    let bill = of_the_last_day(&scene.record).await.unwrap();
    assert_eq!((bill.attempts_possibly_billed, bill.symbols_possibly_billed), (1, 4096));

    let (deployment, partition) = (scene.record.journal.genesis().deployment, Partition::new(0).unwrap());
    let old = |certificate: &Certificate| Certificate { certified_at: scene.ago(25), ..certificate.clone() };
    let blob = BlobRecord {
        blob_id: certificates[0].blob_id(),
        deployment,
        partition,
        first_seq: Seq::FIRST,
        last_seq: Seq::FIRST,
        certificate: old(&certificates[0]),
    };
    scene.put(&names::certificate(partition, Seq::FIRST), blob.encode()).await;
    assert_eq!(scene.in_vain().await, (4, 4 * 4096), "one is recorded for a blob");
    let page = ManifestRecord { deployment, epoch: Epoch::FIRST, page: 0, last: true, certificate: old(&certificates[1]) };
    scene.put(&names::manifest(Epoch::FIRST, 0), page.encode()).await;
    assert_eq!(scene.in_vain().await, (3, 3 * 4096), "and one for a page of a manifest");
}

#[tokio::test]
async fn what_is_in_vain_is_a_figure_of_its_own_in_text_and_json() {
    let (scene, certificates) = (Scene::new().await, certificates(2));
    for (number, certificate) in (1..=2).zip(certificates) {
        scene.note(number, State::Certified, scene.ago(1), Some(certificate)).await;
    }
    let bill = of_the_last_day(&scene.record).await.unwrap();
    let config = Config::default();
    let report = super::super::report(&config, 4, Some(bill), ("recorded", None));
    let text = super::super::render(&report, &config);
    let line =
        "2 certificates are in no record, and billed in vain beyond that: 8192 symbols, 3661824000000 wei = 0.000003661824 ETH";
    assert!(text.contains(line), "{text}");
    let json = serde_json::to_value(&report).unwrap();
    let recorded = &json["recorded"];
    assert_eq!((&recorded["certificates_in_vain"], &recorded["symbols_in_vain"]), (&2.into(), &8192.into()), "{json}");
    assert_eq!((&recorded["in_vain_wei"], &recorded["wei"]), (&"3661824000000".into(), &"0".into()), "{json}");
}
