//! Where the objects of this stage lie.

use object_store::path::Path;
use tributary_schemas::ids::{Epoch, Partition, Seq};
use tributary_schemas::units::{Hash, keccak256, parse_hash};

use crate::outbox::{Attempt, State};

/// Everything of this stage.
pub const ROOT: &str = "da";
/// The plans.
pub const PLANS: &str = "da/plans";
/// The payloads: the archive of every backend, and all that the local one has. Whoever has a certificate finds its payload in any
/// copy of this folder.
pub const BLOBS: &str = "da/blobs";
/// The recorded certificates.
pub const CERTIFICATES: &str = "da/certs";
/// What was sent to backends that are paid.
pub const OUTBOX: &str = "da/outbox";
/// The recorded certificates of manifests.
pub const MANIFESTS: &str = "da/manifests";
/// The copy of the genesis record.
pub const GENESIS: &str = "da/genesis.json";

/// The plan of the blob that starts with this batch.
pub fn plan(partition: Partition, first: Seq) -> Path {
    record(PLANS, partition, first)
}

/// The recorded certificate of the blob that starts with this batch.
pub fn certificate(partition: Partition, first: Seq) -> Path {
    record(CERTIFICATES, partition, first)
}

/// The payload that is committed to: named by the keccak-256 of the commitment's 64 bytes, x and then y.
pub fn payload(commitment: &[u8]) -> Path {
    payload_named(&keccak256(commitment))
}

/// The payload with the keccak-256 of its commitment for a name.
pub fn payload_named(name: &Hash) -> Path {
    Path::from(format!("{BLOBS}/{name}"))
}

/// The recorded certificate of a page of an epoch's manifest; pages count from 0.
pub fn manifest(epoch: Epoch, page: u32) -> Path {
    Path::from(format!("{}/{page:05}.json", manifest_folder(epoch)))
}

/// The folder of the pages of an epoch's manifest.
pub fn manifest_folder(epoch: Epoch) -> Path {
    Path::from(format!("{MANIFESTS}/{:010}", epoch.get()))
}

/// What the outbox says of an attempt.
pub fn outbox(attempt: &Attempt, state: State) -> Path {
    Path::from(format!("{OUTBOX}/{}/{:05}.{}.json", attempt.payload_hash, attempt.number, state.name()))
}

/// The folder of one partition under [`PLANS`] or [`CERTIFICATES`].
pub fn folder(under: &str, partition: Partition) -> Path {
    Path::from(format!("{under}/p-{:05}", partition.get()))
}

/// The partition of such a folder.
pub fn parse_folder(under: &str, path: &Path) -> Option<Partition> {
    let digits = path.as_ref().strip_prefix(under)?.strip_prefix("/p-")?;
    let partition = Partition::new(digits.parse().ok()?)?;
    (folder(under, partition) == *path).then_some(partition)
}

/// The place that the name of a plan or a recorded certificate gives.
pub fn parse_record(under: &str, path: &Path) -> Option<(Partition, Seq)> {
    let (folder, file) = path.as_ref().rsplit_once('/')?;
    let partition = parse_folder(under, &Path::from(folder))?;
    let first = Seq::new(file.strip_suffix(".json")?.parse().ok()?)?;
    (record(under, partition, first) == *path).then_some((partition, first))
}

/// The hash that the name of a payload gives: that of its commitment.
pub fn parse_payload(path: &Path) -> Option<Hash> {
    let hash = parse_hash(path.as_ref().strip_prefix(BLOBS)?.strip_prefix('/')?).ok()?;
    (payload_named(&hash) == *path).then_some(hash)
}

/// The epoch and the page that the name of a manifest's certificate gives.
pub fn parse_manifest(path: &Path) -> Option<(Epoch, u32)> {
    let (epoch, file) = path.as_ref().strip_prefix(MANIFESTS)?.strip_prefix('/')?.split_once('/')?;
    let (epoch, page) = (epoch.parse().ok()?, file.strip_suffix(".json")?.parse().ok()?);
    (manifest(epoch, page) == *path).then_some((epoch, page))
}

/// The epoch of such a folder.
pub fn parse_manifest_folder(path: &Path) -> Option<Epoch> {
    let epoch = path.as_ref().strip_prefix(MANIFESTS)?.strip_prefix('/')?.parse().ok()?;
    (manifest_folder(epoch) == *path).then_some(epoch)
}

/// The attempt and the state that the name of an entry of the outbox gives.
pub fn parse_outbox(path: &Path) -> Option<(Attempt, State)> {
    let (hash, file) = path.as_ref().strip_prefix(OUTBOX)?.strip_prefix('/')?.split_once('/')?;
    let (number, state) = file.strip_suffix(".json")?.split_once('.')?;
    let attempt = Attempt { payload_hash: parse_hash(hash).ok()?, number: number.parse().ok()? };
    let state = State::named(state)?;
    (outbox(&attempt, state) == *path).then_some((attempt, state))
}

fn record(under: &str, partition: Partition, first: Seq) -> Path {
    Path::from(format!("{under}/p-{:05}/{:020}.json", partition.get(), first.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gives_back_its_place_and_no_other_spelling_does() {
        let (partition, first) = (Partition::new(3).expect("small"), Seq::new(42).expect("small"));
        let name = certificate(partition, first);
        assert_eq!(name.as_ref(), "da/certs/p-00003/00000000000000000042.json");
        assert_eq!(parse_record(CERTIFICATES, &name), Some((partition, first)));
        assert_eq!(parse_record(PLANS, &name), None);
        for other in
            ["da/certs/p-3/00000000000000000042.json", "da/certs/p-00003/42.json", "da/certs/p-00003/x.json", "da/certs/y"]
        {
            assert_eq!(parse_record(CERTIFICATES, &Path::from(other)), None, "{other}");
        }
        let hash = keccak256([7; 64]);
        assert_eq!(payload(&[7; 64]).as_ref(), format!("da/blobs/{hash}"));
        assert_eq!(parse_payload(&payload(&[7; 64])), Some(hash));
        assert_eq!(parse_payload(&Path::from("da/blobs/0x00")), None);
        let epoch = Epoch::new(42).expect("small");
        let name = manifest(epoch, 3);
        assert_eq!(name.as_ref(), "da/manifests/0000000042/00003.json");
        assert_eq!(parse_manifest(&name), Some((epoch, 3)));
        assert_eq!(parse_manifest_folder(&manifest_folder(epoch)), Some(epoch));
        assert_eq!(parse_manifest_folder(&name), None);
        assert_eq!(parse_manifest_folder(&Path::from(format!("{MANIFESTS}/42"))), None);
        for other in ["42/00003.json", "0000000042/3.json", "0000000000/00003.json", "0000000042/00003", "0000000042"] {
            assert_eq!(parse_manifest(&Path::from(format!("{MANIFESTS}/{other}"))), None, "{other}");
        }
        let attempt = Attempt { payload_hash: hash, number: 12 };
        let name = outbox(&attempt, State::Unknown);
        assert_eq!(name.as_ref(), format!("da/outbox/{hash}/00012.unknown.json"));
        assert_eq!(parse_outbox(&name), Some((attempt, State::Unknown)));
        for other in ["12.unknown.json", "00012.open.json", "00012.json", "00012.unknown"] {
            assert_eq!(parse_outbox(&Path::from(format!("da/outbox/{hash}/{other}"))), None, "{other}");
        }
    }
}
