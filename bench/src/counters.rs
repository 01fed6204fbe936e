//! Counters of the product, as its metrics show them.

/// The sum of a counter over all its labels.
pub fn sum(metrics: &str, counter: &str) -> u64 {
    let values = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(counter).filter(|rest| rest.starts_with(['{', ' ']))?;
        rest.rsplit(' ').next()?.parse::<u64>().ok()
    });
    values.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_partitions_and_others_are_left_out() {
        let metrics = "# HELP tributary_journal_events Events in batches written.\n\
                       # TYPE tributary_journal_events counter\n\
                       tributary_journal_events_total{partition=\"0\"} 17\n\
                       tributary_journal_events_total{partition=\"1\"} 4\n\
                       tributary_journal_events_total_other{partition=\"1\"} 100\n\
                       tributary_da_blobs_total 3\n\
                       # EOF\n";
        assert_eq!(sum(metrics, "tributary_journal_events_total"), 21);
        assert_eq!(sum(metrics, "tributary_da_blobs_total"), 3);
        assert_eq!(sum("# EOF\n", "tributary_da_blobs_total"), 0);
    }
}
