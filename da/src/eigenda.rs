//! EigenDA, through its own proxy: certificates as it gave them, commitments that are computed here as well.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use eigenda_client::proxy::{Form, Get};
use eigenda_client::{CertificateError, Proxy, ProxyError};
use tributary_schemas::ids::{Clock, Timestamp};
use tributary_schemas::units::{Hash, keccak256};

use crate::client::{Certificate, DaClient, Wanted};
use crate::committed;
use crate::committer::{BlobCommitment, Committer};
use crate::error::DaError;
use crate::metrics::BackendMetrics;

/// The name in the `backend` column.
pub const BACKEND: &str = "eigenda";
/// How long EigenDA keeps a payload.
pub const RETENTION: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Where the proxy is and how long it is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EigenDaSettings {
    /// The proxy, such as `http://127.0.0.1:3100`.
    pub proxy_url: String,
    /// How long a connection may take. What ends before there is one was certainly not sent.
    pub connect_timeout: Duration,
    /// How long the answer to a payload is waited for. By its defaults the proxy tries for nine minutes before it gives up; whoever
    /// is less patient does not know what becomes of the payload, and may pay for it.
    pub put_timeout: Duration,
    /// How long a payload is waited for.
    pub get_timeout: Duration,
}

impl EigenDaSettings {
    /// A proxy at this address, waited for as long as its own defaults ask.
    pub fn new(proxy_url: impl Into<String>) -> Self {
        Self {
            proxy_url: proxy_url.into(),
            connect_timeout: Duration::from_secs(5),
            put_timeout: Duration::from_secs(10 * 60),
            get_timeout: Duration::from_secs(60),
        }
    }
}

/// A [`DaClient`] on EigenDA's proxy.
///
/// Each dispersal is one request, which may be billed whatever becomes of it; put an [`crate::Outbox`] in front. A certificate is
/// given only if it commits to the payload that was sent; a payload only if the certificate commits to it.
pub struct EigenDa {
    proxy: Proxy,
    settings: EigenDaSettings,
    committer: Arc<Committer>,
    clock: Arc<dyn Clock>,
    metrics: BackendMetrics,
}

impl EigenDa {
    /// A client of this proxy. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`DaError::Reject`] for an address that is none.
    pub fn new(
        settings: EigenDaSettings,
        committer: Arc<Committer>,
        clock: Arc<dyn Clock>,
        metrics: BackendMetrics,
    ) -> Result<Self, DaError> {
        let proxy = Proxy::new(&settings.proxy_url, settings.connect_timeout)
            .map_err(|error| DaError::reject("the address of EigenDA's proxy", error.to_string()))?;
        Ok(Self { proxy, settings, committer, clock, metrics })
    }

    /// What follows for the caller when a payload was not certified, and whether it may be billed all the same.
    fn put_failed(&self, content_hash: Hash, error: ProxyError) -> (DaError, bool) {
        let object = format!("payload {content_hash}");
        match &error {
            ProxyError::NotSent { .. } => (DaError::Down { object, billed: false, source: error.into() }, false),
            // Whoever answers so has looked at the request's head alone.
            ProxyError::Unexpected { status: 401 | 403 | 404 | 405 | 407, .. } => {
                (DaError::Down { object, billed: false, source: error.into() }, false)
            }
            ProxyError::Busy { .. } => (DaError::retry(object, error), false),
            ProxyError::FailOver { .. } | ProxyError::Failed { .. } => (DaError::down(object, error), true),
            ProxyError::Unreadable { bytes, .. } if !bytes.is_empty() => {
                let what = format!("{error}. It is published and paid for; the certificate: 0x{bytes:x}");
                (DaError::reject(object, what), true)
            }
            // Something between the proxy and us gave up, not the proxy; or it took the payload and did not say what became of it.
            ProxyError::OutcomeUnknown { .. }
            | ProxyError::Interrupted { .. }
            | ProxyError::Unexpected { .. }
            | ProxyError::Unreadable { .. }
            | ProxyError::AnswerTooLong { .. }
            | ProxyError::BadCertificate { .. } => {
                self.metrics.outcomes_unknown.inc();
                (DaError::unknown(object, error), true)
            }
            ProxyError::Settings { .. } | ProxyError::Rejected { .. } | ProxyError::TooLarge { .. } => {
                (DaError::reject(object, error.to_string()), false)
            }
        }
    }

    /// What follows for the caller when a payload was not given. "Expired" and "down" are one answer of the proxy; our own record
    /// of the dispersal tells them apart.
    fn get_failed(&self, wanted: &Wanted, error: ProxyError) -> DaError {
        let object = committed::name_of(&wanted.certificate);
        let expired_at = wanted.expires_at.filter(|at| *at <= self.clock.now());
        match (&error, expired_at) {
            (ProxyError::Failed { .. }, Some(at)) => DaError::Expired { object, at },
            // The one answer that says something of the certificate itself.
            (ProxyError::BadCertificate { .. }, _) => DaError::reject(object, error.to_string()),
            (ProxyError::AnswerTooLong { .. }, _) => DaError::corrupt(object, error.to_string()),
            // A refusal may be that of another version of the proxy, of a gateway, or of an address that is no proxy's.
            (
                ProxyError::NotSent { .. }
                | ProxyError::OutcomeUnknown { .. }
                | ProxyError::Interrupted { .. }
                | ProxyError::Busy { .. }
                | ProxyError::FailOver { .. }
                | ProxyError::Failed { .. }
                | ProxyError::Settings { .. }
                | ProxyError::Rejected { .. }
                | ProxyError::TooLarge { .. }
                | ProxyError::Unexpected { .. }
                | ProxyError::Unreadable { .. },
                _,
            ) => DaError::retry(object, error),
        }
    }

    /// Takes what the proxy gave for a certificate of this payload, if it commits to it.
    async fn accept(
        &self,
        certificate: &eigenda_client::Certificate,
        payload: &Bytes,
        sent_at: Timestamp,
    ) -> Result<Certificate, DaError> {
        let bytes = certificate.as_bytes().clone();
        let object = committed::name_of(&bytes);
        let committed = blob_of(certificate)
            .map_err(|error| DaError::reject(&object, format!("{error}. It is published and paid for: 0x{bytes:x}")))?;
        self.committer.check(object, &committed, payload).await?;
        Ok(Certificate {
            bytes,
            content_hash: keccak256(payload),
            commitment: committed.bytes(),
            backend: BACKEND.to_owned(),
            certified_at: self.clock.now(),
            // Counted from when it was sent: not a moment too long.
            expires_at: Some(expiry(sent_at)?),
            payload_bytes: payload.len() as u64,
        })
    }
}

#[async_trait]
impl DaClient for EigenDa {
    fn backend(&self) -> &'static str {
        BACKEND
    }

    fn payload_bytes_max(&self) -> usize {
        self.committer.payload_bytes_max()
    }

    async fn disperse(&self, payload: Bytes) -> Result<Certificate, DaError> {
        // Before anything is paid for: what cannot be committed to here could not be checked either.
        let committed = self.committer.commit(&payload).await?;
        let sent_at = self.clock.now();
        self.metrics.puts.inc();
        let certified = match self.proxy.put(payload.clone(), self.settings.put_timeout).await {
            Ok(certificate) => self.accept(&certificate, &payload, sent_at).await.map_err(|error| match error {
                // It is paid for: "again, for nothing was billed" would be untrue.
                DaError::Retry { object, source } => {
                    self.metrics.outcomes_unknown.inc();
                    (DaError::OutcomeUnknown { object, source }, true)
                }
                error => (error, true),
            }),
            Err(error) => Err(self.put_failed(keccak256(&payload), error)),
        };
        let symbols = u64::from(committed.domain.symbols_billed());
        match certified {
            Ok(certificate) => {
                self.metrics.symbols_billed.inc_by(symbols);
                Ok(certificate)
            }
            Err((error, may_be_billed)) => {
                if may_be_billed {
                    self.metrics.possibly_paid.inc();
                    self.metrics.symbols_possibly_billed.inc_by(symbols);
                }
                Err(error)
            }
        }
    }

    async fn retrieve(&self, wanted: &Wanted) -> Result<Bytes, DaError> {
        let name = || committed::name_of(&wanted.certificate);
        let bad = |error: CertificateError| DaError::reject(name(), error.to_string());
        let certificate = eigenda_client::Certificate::read(wanted.certificate.clone()).map_err(bad)?;
        let committed = blob_of(&certificate).map_err(bad)?;
        let timeout = self.settings.get_timeout;
        let get = Get { certificate: &certificate, form: Form::Payload, l1_inclusion_block: None, timeout };
        let payload = self.proxy.get(&get).await.map_err(|error| self.get_failed(wanted, error))?;
        self.committer.check(name(), &committed, &payload).await?;
        Ok(payload)
    }
}

/// When EigenDA forgets what was dispersed at this time.
pub(crate) fn expiry(dispersed_at: Timestamp) -> Result<Timestamp, DaError> {
    let kept = i64::try_from(RETENTION.as_micros()).expect("14 days fit 63 bits of microseconds");
    let expires_at = Timestamp::from_micros(dispersed_at.micros() + kept);
    expires_at.ok_or_else(|| DaError::corrupt("clock", "it is within 14 days of the year 10000"))
}

/// When something was sent that EigenDA forgets at this time.
pub(crate) fn sent_at(expires_at: Timestamp) -> Option<Timestamp> {
    let kept = i64::try_from(RETENTION.as_micros()).ok()?;
    Timestamp::from_micros(expires_at.micros().checked_sub(kept)?)
}

/// What a certificate says of its blob.
pub(crate) fn blob_of(certificate: &eigenda_client::Certificate) -> Result<BlobCommitment, CertificateError> {
    let contents = certificate.open()?;
    let header = contents.blob_header();
    Ok(BlobCommitment { commitment: header.commitment, domain: header.domain })
}

#[cfg(test)]
pub(crate) mod stub;
#[cfg(test)]
mod tests;
