//! The limits and periods of this stage.

use std::time::Duration;

/// How the lake writes and keeps its tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LakeSettings {
    /// How often a commit is tried again after another writer took its version.
    pub commit_attempts_max: u32,
    /// The longest pause before that; pauses double from a hundredth of it, jittered.
    pub commit_pause_max: Duration,
    /// The compression level of Parquet pages (zstd).
    pub zstd_level: i32,
    /// The most rows of one Parquet row group.
    pub row_group_rows_max: usize,
    /// A checkpoint is written after this many commits of a table, so that opening it reads few objects.
    pub checkpoint_commits: u64,
    /// Commits behind a checkpoint are kept this long for readers that are replaying them.
    pub log_retention: Duration,
    /// Files that compaction replaced are kept this long for readers that hold an older snapshot; 10 minutes at least.
    pub removed_retention: Duration,
    /// A data file that no commit names is swept after this time; a writer takes seconds between the two.
    pub orphan_retention: Duration,
    /// How many files of about one size make compaction worth its while.
    pub compact_files_min: usize,
    /// The most files one compaction reads.
    pub compact_files_max: usize,
    /// The most bytes one compaction reads. A file of half of that or more is left alone.
    pub compact_bytes_max: u64,
    /// The most objects one sweep deletes from a table.
    pub sweep_objects_max: usize,
    /// Objects read at the same time when a log is replayed or checked.
    pub reads_in_flight_max: usize,
}

impl LakeSettings {
    /// What [`Self::removed_retention`] is at least.
    pub const REMOVED_RETENTION_MIN: Duration = Duration::from_secs(600);
}

impl Default for LakeSettings {
    fn default() -> Self {
        Self {
            commit_attempts_max: 32,
            commit_pause_max: Duration::from_millis(250),
            zstd_level: 1,
            row_group_rows_max: 262_144,
            checkpoint_commits: 100,
            log_retention: Duration::from_secs(1_800),
            removed_retention: Duration::from_secs(3_600),
            orphan_retention: Duration::from_secs(86_400),
            compact_files_min: 8,
            compact_files_max: 64,
            compact_bytes_max: 32 << 20,
            sweep_objects_max: 2_000,
            reads_in_flight_max: 8,
        }
    }
}

/// How the indexer works through the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The most raw event bytes of one round.
    pub round_bytes_max: usize,
    /// The most batches of one round.
    pub round_batches_max: usize,
    /// Encoding tasks of one round; each takes up to about 40 MiB.
    pub encoders_max: usize,
    /// From this many batches on a round uses more than one encoding task (and so more than one file per table).
    pub parallel_batches_min: usize,
    /// Batches read ahead of the encoders.
    pub batches_in_flight_max: usize,
    /// The pause between two looks for files to merge and to sweep.
    pub maintenance_period: Duration,
    /// The longest pause before a failed round is tried again; pauses double from a hundredth of it, jittered.
    pub retry_pause_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            round_bytes_max: 32 << 20,
            round_batches_max: 1_024,
            encoders_max: 2,
            parallel_batches_min: 6,
            batches_in_flight_max: 4,
            maintenance_period: Duration::from_secs(10),
            retry_pause_max: Duration::from_secs(5),
        }
    }
}
