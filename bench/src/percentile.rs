//! Percentiles of times.

/// Half of the times, and 99 of 100, are at most this long. There must be one.
pub fn p50_and_p99(seconds: &mut [f64]) -> (f64, f64) {
    seconds.sort_by(f64::total_cmp);
    let at = |percent: usize| seconds[(seconds.len() - 1) * percent / 100];
    (at(50), at(99))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_sorted_before_they_are_counted() {
        let mut seconds: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(p50_and_p99(&mut seconds), (50.0, 99.0));
        assert_eq!(p50_and_p99(&mut [7.0]), (7.0, 7.0));
    }
}
