//! What EigenDA stores: the coefficients of a polynomial.

use ark_bn254::Fr;
use ark_poly::EvaluationDomain;

use crate::domain::Domain;
use crate::field;
use crate::payload::{EncodedPayload, PayloadError, domain_of_bytes};
use crate::symbol::Symbol;

/// The coefficients, from the constant one upwards, of the polynomial whose values are the symbols of an encoded payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    coefficients: Vec<Fr>,
    domain: Domain,
}

impl Blob {
    /// The blob of an encoded payload, by the inverse Fourier transform.
    pub fn of(encoded: &EncodedPayload) -> Self {
        let (symbols, _) = encoded.as_bytes().as_chunks::<{ Symbol::BYTES }>();
        let values = symbols.iter().map(|symbol| field::read(symbol).expect("the first byte of each is zero"));
        let mut coefficients = values.collect::<Vec<Fr>>();
        let domain = encoded.domain();
        domain.radix2().ifft_in_place(&mut coefficients);
        assert_eq!(coefficients.len(), domain.symbols() as usize, "a transform keeps the length");
        Self { coefficients, domain }
    }

    /// Takes bytes for a blob: a power of two of coefficients, each below the modulus. A relay may leave out the zeros at the
    /// end; they must be put back before, up to the size in the certificate.
    ///
    /// # Errors
    /// [`PayloadError::Size`] and [`PayloadError::NotInField`].
    pub fn read(bytes: &[u8]) -> Result<Self, PayloadError> {
        let domain = domain_of_bytes(bytes.len())?;
        let (symbols, _) = bytes.as_chunks::<{ Symbol::BYTES }>();
        let numbers = symbols.iter().enumerate();
        let numbers = numbers.map(|(index, symbol)| field::read(symbol).ok_or(PayloadError::NotInField { index }));
        Ok(Self { coefficients: numbers.collect::<Result<_, _>>()?, domain })
    }

    /// Its bytes, which [`Blob::read`] takes back.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.coefficients.iter().flat_map(|coefficient| field::write(*coefficient)).collect()
    }

    /// The encoded payload in it.
    ///
    /// # Errors
    /// [`PayloadError`] if there is none: anybody can disperse any polynomial.
    pub fn encoded(&self) -> Result<EncodedPayload, PayloadError> {
        let values = self.domain.radix2().fft(&self.coefficients);
        EncodedPayload::read(values.into_iter().flat_map(field::write).collect())
    }

    /// Its size.
    pub const fn domain(&self) -> Domain {
        self.domain
    }

    pub(crate) fn coefficients(&self) -> &[Fr] {
        &self.coefficients
    }
}
