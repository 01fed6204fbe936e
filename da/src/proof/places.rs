//! Where things lie in a blob. A verifier computes it and believes no one.

use eigenda_client::payload::symbols_of;
use tributary_journal::Header;

use crate::blob::{PRELUDE_BYTES, Prelude};

/// The symbol of the prelude: symbol 0 is EigenDA's own header of the payload, and payload byte *b* lies in symbol
/// 1 + *b* / 31.
pub(super) const PRELUDE_SYMBOL: u32 = 1;
/// Symbols of a header: its 248 bytes are 8 · 31.
pub(super) const HEADER_SYMBOLS: usize = 8;

/// Which of the batches that a prelude counts has this header, from 0. `None` if it is none of them.
pub(super) fn batch_in_blob(prelude: &Prelude, header: &Header) -> Option<u32> {
    if header.partition.get() != prelude.partition {
        return None;
    }
    let index = u32::try_from(header.seq.get().checked_sub(prelude.first_seq)?).ok()?;
    (index < prelude.count).then_some(index)
}

/// The symbols of the header with this place among those of its blob. `None` beyond the largest blob.
pub(super) fn of_header(batch_in_blob: u32) -> Option<[u32; HEADER_SYMBOLS]> {
    let begin = Header::BYTES.checked_mul(usize::try_from(batch_in_blob).ok()?)?.checked_add(PRELUDE_BYTES)?;
    let symbols = symbols_of(begin..begin.checked_add(Header::BYTES)?)?;
    symbols.collect::<Vec<_>>().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_i_lies_in_the_symbols_from_2_plus_8_i_on() {
        assert_eq!(symbols_of(0..PRELUDE_BYTES), Some(PRELUDE_SYMBOL..PRELUDE_SYMBOL + 1));
        assert_eq!(of_header(0), Some([2, 3, 4, 5, 6, 7, 8, 9]));
        assert_eq!(of_header(3), Some([26, 27, 28, 29, 30, 31, 32, 33]));
        // The last one that a blob has room for, and the first that it has not.
        assert_eq!(of_header(65_534).map(|symbols| symbols[7]), Some(524_281));
        assert_eq!(of_header(65_535), None);
        assert_eq!(of_header(u32::MAX), None);
    }
}
