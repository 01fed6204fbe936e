//! A client for [EigenDA](https://docs.eigenda.xyz): what is needed to publish bytes there, to know what was published, and
//! to prove a piece of it to somebody who holds nothing but the certificate.
//!
//! **Takes** payloads, and an EigenDA proxy to send them to ([`proxy`], feature `proxy`).
//! **Gives** [`Certificate`]s, kept byte for byte as the proxy gave them; the [`EncodedPayload`] and [`Blob`] of a payload;
//! the [`Commitment`] to a blob, and proofs that certain symbols are in it ([`kzg`], [`opening`], [`joint`]).
//! **Promise**: whatever comes from outside (encoded payloads, blobs, points, proofs, certificates, answers) is checked in
//! full before it becomes a value; a proof holds for exactly one commitment, domain, set of places and set of symbols; no
//! input makes the crate panic or hold more memory than a named limit; nothing is ever sent twice.
//! **On failure**: an error type for each noun, whose kinds say what the caller must do. See [`ProxyError`] above all: sending
//! a payload is neither free nor idempotent.
//!
//! What it does not do: it does not check a certificate's signatures, stakes or inclusion proof, which is the business of
//! `EigenDACertVerifier` on chain and of the proxy; and it does not speak to dispersers, relays or validators.
//!
//! # From payload to commitment
//! | step | type | form |
//! |---|---|---|
//! | payload | bytes | 1 to 16,252,897 of them |
//! | encoded payload, version 0 | [`EncodedPayload`] | a header symbol, then 31 bytes in each symbol, zeros up to a power of two |
//! | blob | [`Blob`] | the coefficients of the polynomial whose *evaluations* at the powers of ω are those symbols |
//! | commitment | [`Commitment`] | one point of G1 |
//!
//! The integrator chooses whether the encoded payload is taken for evaluations or for coefficients; the EigenDA proxy takes it
//! for evaluations (and so must whoever wants to prove single symbols), and that is the only form here.

// Without the feature the links to it lead nowhere.
#![cfg_attr(not(feature = "proxy"), allow(rustdoc::broken_intra_doc_links))]

mod blob;
pub mod certificate;
pub mod domain;
mod field;
pub mod joint;
pub mod kzg;
pub mod opening;
pub mod payload;
pub mod point;
mod products;
#[cfg(feature = "proxy")]
pub mod proxy;
pub mod srs;
pub mod symbol;

pub use blob::Blob;
pub use certificate::{Certificate, CertificateError};
pub use domain::{Domain, DomainError};
pub use joint::JointOpening;
pub use kzg::{Claim, Commitment, KzgError};
pub use opening::Opening;
pub use payload::{EncodedPayload, PayloadError};
pub use point::PointError;
#[cfg(feature = "proxy")]
pub use proxy::{Proxy, ProxyError};
pub use srs::{Srs, SrsError};
pub use symbol::{NotInField, Symbol};

/// The examples of the README are compiled with the tests.
#[cfg(all(doctest, feature = "proxy"))]
#[doc = include_str!("../README.md")]
pub struct Readme;
