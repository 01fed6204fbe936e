//! The fields of a certificate, in the order of the contracts' structs.
//!
//! The order is that of `EigenDACertTypes.sol`, `EigenDATypesV1.sol` and `EigenDATypesV2.sol` in EigenDA's contracts (MIT), and
//! for V2 of the Go type `coretypes.EigenDACertV2`, which is encoded field by field as it stands.

use alloy_primitives::{B256, U256};
use bytes::Bytes;

use super::rlp::Fields;
use super::{CertificateError, Version};
use crate::domain::Domain;
use crate::kzg::Commitment;
use crate::point::POINT_BYTES;

/// All fields of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The batch in which the blob was signed for.
    pub batch_header: BatchHeader,
    /// The blob, and the proof that it is in the batch.
    pub inclusion: Inclusion,
    /// Who did not sign, and the signature of those who did.
    pub non_signers: NonSignerStakesAndSignature,
    /// The quorums that signed, a byte each.
    pub signed_quorum_numbers: Bytes,
    /// The version of the rules by which a rollup derives from the certificate; V4 only.
    pub offchain_derivation_version: Option<u16>,
}

impl Contents {
    /// The header of the blob.
    pub const fn blob_header(&self) -> &BlobHeader {
        &self.inclusion.blob_certificate.blob_header
    }
}

/// `BatchHeaderV2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The Merkle root of the batch's blob certificates.
    pub batch_root: B256,
    /// The block of the settlement chain at which the operators' stakes count.
    pub reference_block_number: u32,
}

/// `BlobInclusionInfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// What the batch has of the blob.
    pub blob_certificate: BlobCertificate,
    /// Its place in the batch.
    pub blob_index: u32,
    /// The Merkle path from there to the root.
    pub inclusion_proof: Bytes,
}

/// `BlobCertificate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobCertificate {
    /// What was dispersed.
    pub blob_header: BlobHeader,
    /// The disperser's customer's signature.
    pub signature: Bytes,
    /// The relays that have the blob.
    pub relay_keys: Vec<u32>,
}

/// `BlobHeaderV2`, with `BlobCommitment` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobHeader {
    /// The parameters of coding that the blob was dispersed with.
    pub version: u16,
    /// The quorums that it was dispersed to, a byte each.
    pub quorum_numbers: Bytes,
    /// The commitment to the blob.
    pub commitment: Commitment,
    /// The commitment to the blob in G2, as it stands: nothing here is checked against it.
    pub length_commitment: G2Coordinates,
    /// The proof of an upper bound of the length, as it stands: only operators check it.
    pub length_proof: G2Coordinates,
    /// The length of the blob, which is the domain of every opening.
    pub domain: Domain,
    /// The hash of what says who pays.
    pub payment_header_hash: B256,
}

/// `NonSignerStakesAndSignature`, as it stands: who checks it needs the operators' state on chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonSignerStakesAndSignature {
    /// Where the quorums of each operator who did not sign are on chain.
    pub non_signer_quorum_bitmap_indices: Vec<u32>,
    /// The keys of those operators.
    pub non_signer_pubkeys: Vec<G1Coordinates>,
    /// The aggregate key of each quorum.
    pub quorum_apks: Vec<G1Coordinates>,
    /// The aggregate key of those who signed, in G2.
    pub apk_g2: G2Coordinates,
    /// Their aggregate signature.
    pub sigma: G1Coordinates,
    /// Where the aggregate keys are on chain.
    pub quorum_apk_indices: Vec<u32>,
    /// Where the total stakes are on chain.
    pub total_stake_indices: Vec<u32>,
    /// Where the stakes of the operators who did not sign are on chain, for each quorum.
    pub non_signer_stake_indices: Vec<Vec<u32>>,
}

/// Two numbers that claim to be a point of G1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct G1Coordinates {
    /// The first.
    pub x: U256,
    /// The second.
    pub y: U256,
}

/// Two pairs of numbers that claim to be a point of G2, each pair as it stands: the imaginary part first, as in Solidity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct G2Coordinates {
    /// The first pair.
    pub x: [U256; 2],
    /// The second pair.
    pub y: [U256; 2],
}

/// Reads the RLP of a certificate.
pub(super) fn read(rlp: &[u8], version: Version) -> Result<Contents, CertificateError> {
    let mut fields = Fields::whole(rlp, "certificate")?;
    let (batch_header, inclusion) = match version {
        Version::V2 => {
            let inclusion = inclusion(&mut fields)?;
            (batch_header(&mut fields)?, inclusion)
        }
        Version::V3 | Version::V4 => (batch_header(&mut fields)?, inclusion(&mut fields)?),
    };
    let contents = Contents {
        batch_header,
        inclusion,
        non_signers: non_signers(&mut fields)?,
        signed_quorum_numbers: fields.bytes("signedQuorumNumbers")?,
        offchain_derivation_version: match version {
            Version::V2 | Version::V3 => None,
            Version::V4 => Some(fields.number("offchainDerivationVersion")?),
        },
    };
    fields.end("certificate")?;
    Ok(contents)
}

fn batch_header(fields: &mut Fields<'_>) -> Result<BatchHeader, CertificateError> {
    let mut own = fields.list("batchHeader")?;
    let header = BatchHeader { batch_root: own.hash("batchRoot")?, reference_block_number: own.number("referenceBlockNumber")? };
    own.end("batchHeader")?;
    Ok(header)
}

fn inclusion(fields: &mut Fields<'_>) -> Result<Inclusion, CertificateError> {
    let mut own = fields.list("blobInclusionInfo")?;
    let inclusion = Inclusion {
        blob_certificate: blob_certificate(&mut own)?,
        blob_index: own.number("blobIndex")?,
        inclusion_proof: own.bytes("inclusionProof")?,
    };
    own.end("blobInclusionInfo")?;
    Ok(inclusion)
}

fn blob_certificate(fields: &mut Fields<'_>) -> Result<BlobCertificate, CertificateError> {
    let mut own = fields.list("blobCertificate")?;
    let certificate = BlobCertificate {
        blob_header: blob_header(&mut own)?,
        signature: own.bytes("signature")?,
        relay_keys: own.many("relayKeys", Fields::number)?,
    };
    own.end("blobCertificate")?;
    Ok(certificate)
}

fn blob_header(fields: &mut Fields<'_>) -> Result<BlobHeader, CertificateError> {
    let mut own = fields.list("blobHeader")?;
    let version = own.number("version")?;
    let quorum_numbers = own.bytes("quorumNumbers")?;
    let mut blob = own.list("blobCommitment")?;
    let header = BlobHeader {
        version,
        quorum_numbers,
        commitment: commitment(&mut blob)?,
        length_commitment: g2(&mut blob, "lengthCommitment")?,
        length_proof: g2(&mut blob, "lengthProof")?,
        domain: Domain::new(blob.number("length")?)?,
        payment_header_hash: own.hash("paymentHeaderHash")?,
    };
    blob.end("blobCommitment")?;
    own.end("blobHeader")?;
    Ok(header)
}

fn commitment(fields: &mut Fields<'_>) -> Result<Commitment, CertificateError> {
    let G1Coordinates { x, y } = g1(fields, "commitment")?;
    let mut bytes = [0; POINT_BYTES];
    bytes[..32].copy_from_slice(&x.to_be_bytes::<32>());
    bytes[32..].copy_from_slice(&y.to_be_bytes::<32>());
    Ok(Commitment::read(&bytes)?)
}

fn non_signers(fields: &mut Fields<'_>) -> Result<NonSignerStakesAndSignature, CertificateError> {
    let mut own = fields.list("nonSignerStakesAndSignature")?;
    let non_signers = NonSignerStakesAndSignature {
        non_signer_quorum_bitmap_indices: own.many("nonSignerQuorumBitmapIndices", Fields::number)?,
        non_signer_pubkeys: own.many("nonSignerPubkeys", g1)?,
        quorum_apks: own.many("quorumApks", g1)?,
        apk_g2: g2(&mut own, "apkG2")?,
        sigma: g1(&mut own, "sigma")?,
        quorum_apk_indices: own.many("quorumApkIndices", Fields::number)?,
        total_stake_indices: own.many("totalStakeIndices", Fields::number)?,
        non_signer_stake_indices: own.many("nonSignerStakeIndices", |own, name| own.many(name, Fields::number))?,
    };
    own.end("nonSignerStakesAndSignature")?;
    Ok(non_signers)
}

fn g1(fields: &mut Fields<'_>, name: &'static str) -> Result<G1Coordinates, CertificateError> {
    let mut own = fields.list(name)?;
    let point = G1Coordinates { x: own.word(name)?, y: own.word(name)? };
    own.end(name)?;
    Ok(point)
}

fn g2(fields: &mut Fields<'_>, name: &'static str) -> Result<G2Coordinates, CertificateError> {
    let mut own = fields.list(name)?;
    let mut pair = || {
        let mut pair = own.list(name)?;
        let words = [pair.word(name)?, pair.word(name)?];
        pair.end(name).map(|()| words)
    };
    let point = G2Coordinates { x: pair()?, y: pair()? };
    own.end(name)?;
    Ok(point)
}
