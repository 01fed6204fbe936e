//! The one rounding rule: largest remainders, ties to the earlier index.

/// A sum or product that does not fit 128 bits. Fees below 2^96 and weights below 2^31 never bring it about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the amounts do not fit 128 bits")]
pub struct Overflow;

/// Shares `total` out in proportion to the weights: part i is floor(total · wᵢ / Σw), and the units left over go one each
/// to the largest remainders, ties to the earlier index. The parts add up to the total exactly; `None` when the weights
/// add up to 0, for then nobody can be paid.
///
/// # Errors
/// [`Overflow`] if total · wᵢ does not fit 128 bits.
pub fn apportion(total: u128, weights: &[u64]) -> Result<Option<Vec<u128>>, Overflow> {
    let sum: u128 = weights.iter().map(|w| u128::from(*w)).sum();
    if sum == 0 {
        return Ok(None);
    }
    let mut parts = Vec::with_capacity(weights.len());
    let mut remainders = Vec::with_capacity(weights.len());
    let mut left = total;
    for (index, weight) in weights.iter().enumerate() {
        let product = total.checked_mul(u128::from(*weight)).ok_or(Overflow)?;
        let part = product / sum;
        remainders.push((product - part * sum, index));
        parts.push(part);
        left = left.checked_sub(part).expect("floors of shares of the total never exceed it");
    }
    give_out(&mut parts, remainders, left);
    debug_assert_eq!(parts.iter().sum::<u128>(), total);
    Ok(Some(parts))
}

/// One unit each to the `left` largest remainders.
fn give_out(parts: &mut [u128], mut remainders: Vec<(u128, usize)>, left: u128) {
    let left = usize::try_from(left).expect("fewer units are left over than there are weights");
    assert!(left < remainders.len() || left == 0, "the remainders add up to less than one unit per weight");
    remainders.sort_unstable_by(|(a, i), (b, j)| b.cmp(a).then(i.cmp(j)));
    for (_, index) in &remainders[..left] {
        parts[*index] += 1;
    }
}

#[cfg(test)]
mod tests;
