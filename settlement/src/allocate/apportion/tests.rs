#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const FEE_LIMIT: u128 = 1 << 96;
const WEIGHT_LIMIT: u64 = 1 << 31;

fn parts(total: u128, weights: &[u64]) -> Vec<u128> {
    apportion(total, weights).unwrap().unwrap()
}

fn remainders(total: u128, weights: &[u64]) -> Vec<u128> {
    let sum: u128 = weights.iter().map(|w| u128::from(*w)).sum();
    weights.iter().map(|w| total * u128::from(*w) % sum).collect()
}

/// Small, usual and extreme totals, so that ties and empty parts occur as well as long divisions.
fn totals() -> impl Strategy<Value = u128> {
    prop_oneof![0..50_u128, 0..10_u128.pow(18), 0..FEE_LIMIT, Just(FEE_LIMIT - 1)]
}

fn weights() -> impl Strategy<Value = Vec<u64>> {
    let weight = prop_oneof![1..4_u64, 1..10_000_u64, 1..WEIGHT_LIMIT, Just(WEIGHT_LIMIT - 1)];
    prop::collection::vec(weight, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn parts_add_up_to_the_total_and_are_less_than_one_unit_from_exact(total in totals(), weights in weights()) {
        let sum: u128 = weights.iter().map(|w| u128::from(*w)).sum();
        let parts = parts(total, &weights);
        prop_assert_eq!(parts.iter().sum::<u128>(), total);
        for (part, weight) in parts.iter().zip(&weights) {
            let floor = total * u128::from(*weight) / sum;
            let exact = total * u128::from(*weight) % sum == 0;
            prop_assert!(*part == floor || (!exact && *part == floor + 1));
        }
    }

    #[test]
    fn weights_scaled_by_a_constant_give_the_same_parts(total in totals(), weights in weights(), scale in 1..1_000_u64) {
        // Scaled weights need not be weights of events: keep the products within 128 bits.
        let total = total >> 12;
        let scaled: Vec<u64> = weights.iter().map(|w| w * scale).collect();
        prop_assert_eq!(parts(total, &weights), parts(total, &scaled));
    }

    #[test]
    fn reordering_moves_units_between_equal_remainders_only(
        (total, weights, order) in (totals(), weights()).prop_flat_map(|(total, weights)| {
            let order: Vec<usize> = (0..weights.len()).collect();
            (Just(total), Just(weights), Just(order).prop_shuffle())
        })
    ) {
        let before = parts(total, &weights);
        let shuffled: Vec<u64> = order.iter().map(|i| weights[*i]).collect();
        let after = parts(total, &shuffled);
        let remainders = remainders(total, &weights);
        let moved: Vec<(u128, i8)> = order.iter().zip(&after).filter(|(i, part)| before[**i] != **part)
            .map(|(i, part)| (remainders[*i], if *part > before[*i] { 1 } else { -1 })).collect();
        let remainder_of_moved = moved.first().map(|(remainder, _)| *remainder);
        prop_assert!(moved.iter().all(|(remainder, _)| Some(*remainder) == remainder_of_moved));
        prop_assert_eq!(moved.iter().map(|(_, by)| i64::from(*by)).sum::<i64>(), 0);
    }

    #[test]
    fn equal_weights_get_parts_that_differ_by_at_most_one_unit_and_never_rise(total in totals(), count in 1..300_usize) {
        let parts = parts(total, &vec![1; count]);
        prop_assert!(parts.windows(2).all(|pair| pair[0] >= pair[1]));
        prop_assert!(parts[0] - parts[count - 1] <= 1);
    }
}

#[test]
fn no_unit_moves_when_a_heavier_entry_of_an_equal_remainder_comes_first() {
    // 1 over 1, 1: the earlier index gets it.
    assert_eq!(parts(1, &[1, 1]), [1, 0]);
    // 10 over 1, 1, 1: remainders are equal.
    assert_eq!(parts(10, &[1, 1, 1]), [4, 3, 3]);
    // 7 over 2, 3, 2: exact shares 2, 3, 2.
    assert_eq!(parts(7, &[2, 3, 2]), [2, 3, 2]);
    // 5 over 1, 2: shares 1.67 and 3.33, the larger remainder is the first's.
    assert_eq!(parts(5, &[1, 2]), [2, 3]);
}

#[test]
fn weights_of_zero_get_nothing_and_all_zero_or_none_pay_nobody() {
    assert_eq!(parts(7, &[0, 1, 0]), [0, 7, 0]);
    assert_eq!(apportion(7, &[0, 0]), Ok(None));
    assert_eq!(apportion(7, &[]), Ok(None));
}

#[test]
fn the_largest_fee_over_the_most_and_heaviest_entries_is_exact() {
    let weights = vec![WEIGHT_LIMIT - 1; 4096];
    let parts = parts(FEE_LIMIT - 1, &weights);
    assert_eq!(parts.iter().sum::<u128>(), FEE_LIMIT - 1);
}

#[test]
fn a_product_beyond_128_bits_is_an_error() {
    assert_eq!(apportion(u128::MAX, &[2, 1]), Err(Overflow));
}
