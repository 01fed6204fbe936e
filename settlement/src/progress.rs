//! Tells whoever waits how far a check or a rebuild is.

/// Hears how far the work is. Stages come one after the other.
pub trait Progress: Send + Sync {
    /// A stage begins; `total` steps are to come, if their number is known.
    fn stage(&self, name: &str, total: Option<u64>);
    /// So many more steps are done.
    fn advance(&self, steps: u64);
}

/// Nobody waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn stage(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
}
