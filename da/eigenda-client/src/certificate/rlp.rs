//! Reading RLP field by field, so that an error names the field.

use alloy_primitives::{B256, U256};
use alloy_rlp::{Decodable, Header};
use bytes::Bytes;

use super::CertificateError;

/// The fields of a list that are not read yet.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of the list that fills `bytes` to the last byte.
    pub(super) fn whole(bytes: &'a [u8], name: &'static str) -> Result<Self, CertificateError> {
        let mut outside = Self { rest: bytes };
        let inside = outside.list(name)?;
        outside.end(name)?;
        Ok(inside)
    }

    /// The fields of the next field, a list.
    pub(super) fn list(&mut self, name: &'static str) -> Result<Self, CertificateError> {
        Header::decode_bytes(&mut self.rest, true).map(|rest| Self { rest }).map_err(wrong(name))
    }

    /// All items of the next field, a list of any length.
    pub(super) fn many<T>(
        &mut self,
        name: &'static str,
        item: impl Fn(&mut Self, &'static str) -> Result<T, CertificateError>,
    ) -> Result<Vec<T>, CertificateError> {
        let mut items = self.list(name)?;
        let mut read = Vec::new();
        while !items.rest.is_empty() {
            read.push(item(&mut items, name)?);
        }
        Ok(read)
    }

    /// The next field, any bytes.
    pub(super) fn bytes(&mut self, name: &'static str) -> Result<Bytes, CertificateError> {
        Header::decode_bytes(&mut self.rest, false).map(Bytes::copy_from_slice).map_err(wrong(name))
    }

    /// The next field, 32 bytes.
    pub(super) fn hash(&mut self, name: &'static str) -> Result<B256, CertificateError> {
        <[u8; 32]>::decode(&mut self.rest).map(B256::from).map_err(wrong(name))
    }

    /// The next field, a number in its shortest form.
    pub(super) fn number<T: Decodable>(&mut self, name: &'static str) -> Result<T, CertificateError> {
        T::decode(&mut self.rest).map_err(wrong(name))
    }

    /// The next field, a number of up to 256 bits in its shortest form.
    pub(super) fn word(&mut self, name: &'static str) -> Result<U256, CertificateError> {
        let bytes = Header::decode_bytes(&mut self.rest, false).map_err(wrong(name))?;
        if bytes.first() == Some(&0) {
            return Err(wrong(name)(alloy_rlp::Error::LeadingZero));
        }
        U256::try_from_be_slice(bytes).ok_or_else(|| wrong(name)(alloy_rlp::Error::Overflow))
    }

    /// Nothing may be left.
    pub(super) fn end(self, name: &'static str) -> Result<(), CertificateError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(CertificateError::Field { field: name, what: format!("{} bytes follow the last field", self.rest.len()) })
    }
}

fn wrong(field: &'static str) -> impl Fn(alloy_rlp::Error) -> CertificateError {
    move |error| CertificateError::Field { field, what: error.to_string() }
}
