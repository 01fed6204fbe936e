//! Who owns what lies in the archive and in the outbox, and what nobody owns.

use std::collections::BTreeSet;

use tributary_schemas::units::{Hash, keccak256};

use super::{Audit, Finding, LaneRecords, Listing, Outstanding, finding, found};
use crate::error::DaError;
use crate::manifest::ManifestRecord;
use crate::names;
use crate::outbox::{Attempt, Entry, State};
use crate::placement::read;

/// What may lie in the archive and in the outbox.
#[derive(Default)]
pub(super) struct Owners {
    /// The names of payloads.
    names: BTreeSet<Hash>,
    /// Their content hashes.
    hashes: BTreeSet<Hash>,
}

impl Owners {
    fn add(&mut self, commitment: &[u8], content_hash: Hash) {
        self.names.insert(keccak256(commitment));
        self.hashes.insert(content_hash);
    }
}

impl Audit {
    /// What has a record that names it, or a plan; or is a page of a manifest that is about to have one.
    pub(super) async fn owners(
        &self,
        lanes: &[LaneRecords],
        manifests: &[ManifestRecord],
        outstanding: Outstanding,
    ) -> Result<Owners, DaError> {
        let mut owners = Owners::default();
        for lane in lanes {
            owners.hashes.extend(lane.plans.iter().map(|plan| plan.payload_hash));
            lane.blobs.values().for_each(|blob| owners.add(&blob.commitment, blob.content_hash));
            for plan in lane.plans.iter().filter(|plan| !lane.blobs.contains_key(&plan.first_seq)) {
                // What the journal does not have is a finding of its own; the payload is then without a plan as well.
                if let Ok(payload) = self.planned(plan).await? {
                    owners.names.insert(keccak256(self.checked.committer.commit(&payload).await?.bytes()));
                }
            }
        }
        manifests.iter().for_each(|record| owners.add(&record.certificate.commitment, record.certificate.content_hash));
        for payload in outstanding(manifests.to_vec()).await? {
            owners.names.insert(keccak256(self.checked.committer.commit(&payload).await?.bytes()));
            owners.hashes.insert(keccak256(&payload));
        }
        Ok(owners)
    }

    /// What has no business here.
    pub(super) async fn strays(&self, listing: &Listing, owners: &Owners) -> Result<Vec<Finding>, DaError> {
        let mut strays: Vec<Finding> =
            listing.strays.iter().map(|path| found(path, "nothing of this name belongs here")).collect();
        let unplanned = listing.payloads.iter().filter(|name| !owners.names.contains(*name));
        strays.extend(unplanned.map(|name| found(&names::payload_named(name), "no plan and no record names this payload")));
        strays.extend(self.outbox(&listing.outbox, &owners.hashes).await?);
        Ok(strays)
    }

    /// What is wrong with the outbox.
    async fn outbox(&self, noted: &BTreeSet<(Attempt, State)>, planned: &BTreeSet<Hash>) -> Result<Vec<Finding>, DaError> {
        let mut findings = Vec::new();
        for (attempt, state) in noted {
            let name = names::outbox(attempt, *state);
            let Some(bytes) = read(&self.checked.store, &name).await? else { continue };
            if let Err(error) = Entry::decode(attempt, *state, &bytes) {
                findings.push(finding(error)?);
            } else if !planned.contains(&attempt.payload_hash) {
                findings.push(found(&name, "no plan names its payload"));
            }
            // It may have been written behind the listing's back.
            let sent = names::outbox(attempt, State::Sent);
            if !noted.contains(&(*attempt, State::Sent)) && read(&self.checked.store, &sent).await?.is_none() {
                findings.push(found(&sent, &format!("it is missing, though the attempt ended: {name}")));
            }
        }
        Ok(findings)
    }
}
