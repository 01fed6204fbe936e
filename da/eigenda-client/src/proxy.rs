//! The REST interface of the EigenDA proxy.
//!
//! **Promise**: one call sends at most one request. Nothing is tried again inside: no redirect is followed, no connection is
//! taken from a pool (one that the proxy has just closed would make the outcome of a request unknown for nothing), and no
//! answer is read beyond a limit.
//!
//! **Sending is not idempotent.** Every request that reaches the proxy may become a dispersal of its own, with a certificate
//! and a charge of its own. So the errors tell apart what was certainly not sent ([`ProxyError::NotSent`]), what was answered,
//! and what is unknown ([`ProxyError::OutcomeUnknown`]). Whoever sends should record the payload's hash before, and the
//! certificate after.
//!
//! **What is received is not proven.** Over HTTP a payload can be cut short unseen if the other side ends bodies by closing the
//! connection, and the proxy's secondary storage is not checked by the proxy either. Encode the payload in the certificate's
//! domain, commit, and compare with the certificate.

mod error;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::redirect::Policy;
use reqwest::{RequestBuilder, Response, StatusCode, Url};

use crate::certificate::{CERTIFICATE_BYTES_MAX, Certificate, CertificateError, Mode};
use crate::domain::Domain;
use crate::payload::PayloadError;
use crate::symbol::Symbol;

pub use error::{ProxyError, Verdict};

/// The longest payload or encoded payload that is read: 16 MiB.
pub const ANSWER_BYTES_MAX: usize = Domain::SYMBOLS_MAX as usize * Symbol::BYTES;
/// The most that is read of a body that explains an error.
pub const EXPLANATION_BYTES_MAX: usize = 4096;

/// An EigenDA proxy. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Proxy {
    http: reqwest::Client,
    base: Url,
}

/// A payload that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Get<'a> {
    /// The certificate of its dispersal.
    pub certificate: &'a Certificate,
    /// What to give: the payload, or the encoded payload. The proxy has only the former in its secondary storage.
    pub form: Form,
    /// The block of the settlement chain in which the certificate was recorded there. With it the proxy refuses a certificate
    /// whose reference block is too old ([`Verdict::NotRecent`]); without it, or with 0, it does not look.
    pub l1_inclusion_block: Option<u64>,
    /// How long to wait for the last byte.
    pub timeout: Duration,
}

/// What a proxy gives for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The payload.
    Payload,
    /// The encoded payload, for [`crate::EncodedPayload::read`]. Old proxies (v1.8.2) do not know this and give the payload.
    Encoded,
}

impl Proxy {
    /// A proxy at this address, such as `http://127.0.0.1:3100`. A path in it is kept. Nothing is sent yet.
    ///
    /// `connect_timeout` should be well below the timeouts of the requests: what ends while it is still connecting was
    /// certainly not sent. The environment's proxy settings are not used.
    ///
    /// # Errors
    /// [`ProxyError::Settings`] for an address that is none, or when the TLS stack cannot be set up.
    pub fn new(base: &str, connect_timeout: Duration) -> Result<Self, ProxyError> {
        let wrong = |what: String| ProxyError::Settings { what };
        let mut base = Url::parse(base).map_err(|error| wrong(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(wrong(format!("the scheme is {}, not http or https", base.scheme())));
        }
        base.set_query(None);
        base.set_fragment(None);
        let http = reqwest::Client::builder()
            .connect_timeout(connect_timeout)
            .http1_only()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .build();
        Ok(Self { http: http.map_err(|error| wrong(error::reason(error)))?, base })
    }

    /// Disperses a payload and gives its certificate, in the standard commitment mode.
    ///
    /// A dispersal takes 10 to 20 seconds when all is well. By its defaults the proxy tries three times, about nine minutes
    /// together, before it answers [`ProxyError::FailOver`]: a shorter timeout gives [`ProxyError::OutcomeUnknown`] instead, and
    /// the dispersal goes on. So it does if the future is dropped: that too leaves the outcome unknown.
    ///
    /// # Errors
    /// [`ProxyError`], whose kinds say what to do.
    pub async fn put(&self, payload: Bytes, timeout: Duration) -> Result<Certificate, ProxyError> {
        match Domain::of_payload(payload.len()) {
            Ok(_) => {}
            Err(PayloadError::Empty) => return Err(ProxyError::Rejected { message: PayloadError::Empty.to_string() }),
            Err(error) => return Err(ProxyError::TooLarge { message: error.to_string() }),
        }
        let mut url = self.endpoint(&["put"])?;
        url.query_pairs_mut().append_pair("commitment_mode", "standard");
        let request = self.http.post(url).timeout(timeout).body(payload);
        let bytes = match exchange(request, CERTIFICATE_BYTES_MAX).await {
            Ok(bytes) => bytes,
            // The proxy has answered that it is done, so something was stored. What it was called is lost.
            Err(ProxyError::Interrupted { reason }) => return Err(ProxyError::OutcomeUnknown { reason }),
            Err(ProxyError::AnswerTooLong { bytes_max }) => {
                let reason = format!("the certificate in the answer is longer than {bytes_max} bytes");
                return Err(ProxyError::OutcomeUnknown { reason });
            }
            Err(other) => return Err(other),
        };
        let unreadable = |source| ProxyError::Unreadable { bytes: bytes.clone(), source };
        let certificate = Certificate::read(bytes.clone()).map_err(unreadable)?;
        if certificate.mode() == Mode::Standard {
            return Ok(certificate);
        }
        let what = "the certificate is in the OP generic mode, and the standard one was asked for".to_owned();
        Err(unreadable(CertificateError::Field { field: "commitment mode", what }))
    }

    /// Gets what was dispersed under a certificate. It may be asked for any number of times.
    ///
    /// # Errors
    /// [`ProxyError`], whose kinds say what to do.
    pub async fn get(&self, get: &Get<'_>) -> Result<Bytes, ProxyError> {
        let mut url = self.endpoint(&["get", &format!("0x{}", get.certificate.to_hex())])?;
        let mut parameters = Vec::new();
        if get.certificate.mode() == Mode::Standard {
            parameters.push(("commitment_mode", "standard".to_owned()));
        }
        if let Some(block) = get.l1_inclusion_block {
            parameters.push(("l1_inclusion_block_number", block.to_string()));
        }
        if get.form == Form::Encoded {
            parameters.push(("return_encoded_payload", "true".to_owned()));
        }
        if !parameters.is_empty() {
            url.query_pairs_mut().extend_pairs(parameters);
        }
        exchange(self.http.get(url).timeout(get.timeout), ANSWER_BYTES_MAX).await
    }

    /// Whether the proxy answers. It does not say whether EigenDA behind it does.
    ///
    /// # Errors
    /// [`ProxyError`], whose kinds say what to do.
    pub async fn health(&self, timeout: Duration) -> Result<(), ProxyError> {
        exchange(self.http.get(self.endpoint(&["health"])?).timeout(timeout), EXPLANATION_BYTES_MAX).await.map(drop)
    }

    fn endpoint(&self, segments: &[&str]) -> Result<Url, ProxyError> {
        let mut url = self.base.clone();
        let no_path = |()| ProxyError::Settings { what: "the address has no path".to_owned() };
        url.path_segments_mut().map_err(no_path)?.pop_if_empty().extend(segments);
        Ok(url)
    }
}

/// One request, and the body of its answer if the status is 200.
async fn exchange(request: RequestBuilder, bytes_max: usize) -> Result<Bytes, ProxyError> {
    let mut response = request.send().await.map_err(ProxyError::of_transport)?;
    let status = response.status();
    if status == StatusCode::OK {
        return body(&mut response, bytes_max).await;
    }
    // The status counts even if the explanation does not arrive.
    let explanation = match body(&mut response, EXPLANATION_BYTES_MAX).await {
        Ok(explanation) => explanation,
        Err(error) => Bytes::from(format!("(no explanation: {error})")),
    };
    Err(ProxyError::of_status(status, &explanation))
}

/// The whole body, unless it is longer than `bytes_max`.
async fn body(response: &mut Response, bytes_max: usize) -> Result<Bytes, ProxyError> {
    let announced = response.content_length().map_or(Ok(0), usize::try_from);
    let announced = announced.ok().filter(|bytes| *bytes <= bytes_max).ok_or(ProxyError::AnswerTooLong { bytes_max })?;
    let mut body = BytesMut::with_capacity(announced);
    while let Some(chunk) = response.chunk().await.map_err(ProxyError::of_body)? {
        if body.len() + chunk.len() > bytes_max {
            return Err(ProxyError::AnswerTooLong { bytes_max });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
