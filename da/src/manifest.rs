//! The manifest of an epoch: from its last page alone everything that is published comes back.

mod record;

pub use record::ManifestRecord;
