//! A page of a manifest: one canonical record, published as a payload of its own.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tributary_journal::genesis::DeploymentId;
use tributary_schemas::ids::{Epoch, Timestamp};
use tributary_schemas::units::Hash;

use super::record::ManifestRecord;
use crate::blob;
use crate::canonical;
use crate::client::Certificate;
use crate::error::DaError;
use crate::names;
use crate::plan::{self, FORMAT};
use crate::record::BlobRecord;

/// What tells a page from every other payload.
const KIND: &str = "tributary-manifest";
/// How the payload of every page begins, whatever its format.
const BEGINNING: &[u8] = b"{\"format\":";
/// The greatest number of a page: its name has five digits.
pub const PAGE_MAX: u32 = 99_999;

/// Where a page stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageAt {
    /// The epoch whose manifest it is part of.
    pub epoch: Epoch,
    /// Its number in that manifest, from 0.
    pub page: u32,
}

impl PageAt {
    /// The first page of an epoch.
    pub fn first(epoch: Epoch) -> Self {
        Self { epoch, page: 0 }
    }
}

impl std::fmt::Display for PageAt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "page {} of epoch {}", self.page, self.epoch)
    }
}

/// The page before, by its recorded certificate. Before the first page of an epoch comes the last of the epoch before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    /// The certificate's bytes.
    pub certificate: Bytes,
    /// Until when its backend promises the payload.
    pub expires_at: Option<Timestamp>,
    /// keccak-256 of its payload.
    pub payload_hash: Hash,
}

/// What the last page of an epoch has besides blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The genesis record of the journal, byte for byte.
    pub genesis: String,
    /// The record that closed the epoch, byte for byte.
    pub epoch_record: String,
    /// The root of the epoch.
    pub root: Hash,
}

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Where it stands.
    pub at: PageAt,
    /// Recorded blobs, by partition and sequence.
    pub blobs: Vec<BlobRecord>,
    /// The page before; `None` for the first page of the first epoch.
    pub previous: Option<Previous>,
    /// On the last page of its epoch.
    pub closing: Option<Closing>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: u32,
    kind: String,
    deployment: String,
    epoch: u64,
    page: u32,
    blobs: Vec<String>,
    previous: Option<PreviousText>,
    genesis: Option<String>,
    epoch_record: Option<String>,
    root: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PreviousText {
    certificate: String,
    expires_at: Option<String>,
    payload_hash: String,
}

impl Previous {
    /// How the page after a recorded one names it.
    pub fn of(record: &ManifestRecord) -> Self {
        let Certificate { bytes, expires_at, content_hash, .. } = &record.certificate;
        Self { certificate: bytes.clone(), expires_at: *expires_at, payload_hash: *content_hash }
    }

    fn of_text(text: PreviousText) -> Result<Self, String> {
        Ok(Self {
            certificate: canonical::parse_hex(&text.certificate)?,
            expires_at: text.expires_at.as_deref().map(plan::parse_time).transpose()?,
            payload_hash: canonical::parse_canonical_hash(&text.payload_hash)?,
        })
    }
}

impl Page {
    /// What is recorded of it once it has this certificate.
    pub fn certified(&self, certificate: Certificate) -> ManifestRecord {
        let (deployment, PageAt { epoch, page }) = (self.deployment, self.at);
        ManifestRecord { deployment, epoch, page, last: self.closing.is_some(), certificate }
    }

    /// The payload: a canonical record.
    pub fn encode(&self) -> Bytes {
        canonical::encode(&self.text(self.blobs.iter().map(text_of).collect()))
    }

    fn text(&self, blobs: Vec<String>) -> Text {
        let closing = self.closing.clone();
        Text {
            format: FORMAT,
            kind: KIND.to_owned(),
            deployment: self.deployment.to_string(),
            epoch: self.at.epoch.get(),
            page: self.at.page,
            blobs,
            previous: self.previous.as_ref().map(|previous| PreviousText {
                certificate: canonical::hex(&previous.certificate),
                expires_at: previous.expires_at.map(|at| at.to_string()),
                payload_hash: previous.payload_hash.to_string(),
            }),
            genesis: closing.as_ref().map(|closing| closing.genesis.clone()),
            epoch_record: closing.as_ref().map(|closing| closing.epoch_record.clone()),
            root: closing.map(|closing| closing.root.to_string()),
        }
    }

    /// Reads a payload. Every record in it must be whole, of the page's deployment, and come after the one before it.
    ///
    /// # Errors
    /// [`PageError`]: what is no page at all is told apart from one that is damaged.
    pub fn decode(payload: &[u8]) -> Result<Self, PageError> {
        if payload.starts_with(&blob::MAGIC) {
            return Err(PageError::NoManifest("its payload holds sealed batches"));
        }
        if !payload.starts_with(BEGINNING) {
            return Err(PageError::NoManifest("its payload is no record"));
        }
        let page = canonical::decode(payload).and_then(Self::of_text).map_err(PageError::Damaged)?;
        page.check_blobs().and_then(|()| page.check_previous()).map_err(PageError::Damaged)?;
        Ok(page)
    }

    fn of_text(text: Text) -> Result<Self, String> {
        plan::check_format(text.format)?;
        if text.kind != KIND {
            return Err(format!("its kind is `{}`, not `{KIND}`", text.kind));
        }
        let blobs = text.blobs.iter().enumerate();
        let blob = |(i, blob): (usize, &String)| BlobRecord::parse(blob.as_bytes()).map_err(|e| format!("blob {i}: {e}"));
        let closing = match (text.genesis, text.epoch_record, text.root) {
            (Some(genesis), Some(epoch_record), Some(root)) => {
                Some(Closing { genesis, epoch_record, root: canonical::parse_canonical_hash(&root)? })
            }
            (None, None, None) => None,
            _ => return Err("genesis, epoch_record and root are there together or not at all".to_owned()),
        };
        Ok(Self {
            deployment: plan::parse_deployment(&text.deployment)?,
            at: PageAt {
                epoch: Epoch::new(text.epoch).ok_or_else(|| format!("{} is no epoch", text.epoch))?,
                page: Some(text.page).filter(|page| *page <= PAGE_MAX).ok_or_else(|| format!("{} is no page", text.page))?,
            },
            blobs: blobs.map(blob).collect::<Result<_, _>>()?,
            previous: text.previous.map(Previous::of_text).transpose()?,
            closing,
        })
    }

    fn check_blobs(&self) -> Result<(), String> {
        if let Some(foreign) = self.blobs.iter().find(|blob| blob.deployment != self.deployment) {
            return Err(format!("{} belongs to another deployment", place(foreign)));
        }
        let out_of_order = self.blobs.windows(2).find(|pair| match pair[0].partition == pair[1].partition {
            true => pair[1].first_seq != pair[0].last_seq.next(),
            false => pair[1].partition < pair[0].partition,
        });
        out_of_order.map_or(Ok(()), |pair| Err(format!("{} does not follow {}", place(&pair[1]), place(&pair[0]))))
    }

    /// Only one page of all has none before it.
    fn check_previous(&self) -> Result<(), String> {
        match (self.previous.is_none(), self.at == PageAt::first(Epoch::FIRST)) {
            (true, false) => Err(format!("it is {}, but names no page before it", self.at)),
            (false, true) => Err("it is the first page of the first epoch, but names one before it".to_owned()),
            _ => Ok(()),
        }
    }
}

/// Why a payload is no page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// It never was one.
    #[error("it is no manifest: {0}")]
    NoManifest(&'static str),
    /// It is not what was published, or of a format that this program does not know.
    #[error("{0}")]
    Damaged(String),
}

/// The manifest of one epoch as a function of what is recorded: page after page, each named by the certificate of the one before,
/// so that it can only be made once that is recorded.
pub struct Pages {
    bare: Page,
    closing: Closing,
    blobs: VecDeque<BlobRecord>,
    bytes_max: usize,
}

impl Pages {
    /// The pages of this epoch over these blobs (by partition and sequence), each of at most so many bytes.
    pub fn new(deployment: DeploymentId, epoch: Epoch, blobs: Vec<BlobRecord>, closing: Closing, bytes_max: usize) -> Self {
        let bare = Page { deployment, at: PageAt::first(epoch), blobs: Vec::new(), previous: None, closing: None };
        Self { bare, closing, blobs: blobs.into(), bytes_max }
    }

    /// The next page, after the one that has this certificate. It has as many blobs as fit, and is the last if all the rest fits.
    /// Not to be called after the last.
    ///
    /// # Errors
    /// [`DaError::Reject`] if not even one blob fits, or there are more pages than names.
    pub fn next(&mut self, previous: Option<Previous>) -> Result<Page, DaError> {
        let number = self.bare.at;
        self.bare.at.page += 1;
        let mut page = Page { at: number, previous, ..self.bare.clone() };
        let object = names::manifest(number.epoch, number.page);
        if number.page > PAGE_MAX {
            return Err(DaError::reject(object, format!("a manifest has at most {} pages", PAGE_MAX + 1)));
        }
        let mut bytes = page.encode().len();
        while let Some(blob) = self.blobs.front() {
            let more = json_bytes(&text_of(blob)) + usize::from(!page.blobs.is_empty());
            if bytes + more > self.bytes_max {
                break;
            }
            bytes += more;
            page.blobs.extend(self.blobs.pop_front());
        }
        if self.blobs.is_empty() {
            let closed = Page { closing: Some(self.closing.clone()), ..self.bare.clone() };
            let open = Page { previous: None, ..self.bare.clone() };
            if bytes + closed.encode().len() - open.encode().len() <= self.bytes_max {
                page.closing = closed.closing;
            }
        }
        match page.closing.is_none() && page.blobs.is_empty() {
            true => Err(DaError::reject(object, format!("not even one record fits its {} bytes", self.bytes_max))),
            false => Ok(page),
        }
    }
}

/// A recorded blob as it lies in the store.
fn text_of(blob: &BlobRecord) -> String {
    String::from_utf8(blob.encode().into()).expect("a canonical record is text")
}

/// How many bytes a text takes in JSON.
fn json_bytes(text: &str) -> usize {
    serde_json::to_string(text).expect("a text always has a JSON form").len()
}

fn place(blob: &BlobRecord) -> String {
    names::certificate(blob.partition, blob.first_seq).to_string()
}
