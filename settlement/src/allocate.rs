//! How a fee is shared: a pure function of the registry, the treasury and one inference. No I/O, integers only, checked.

pub mod apportion;
pub mod fee;
pub mod policy;
pub mod registry;
pub mod upstream;

pub use apportion::{Overflow, apportion};
pub use fee::{Due, Entry, Line, Role, share_fee};
pub use policy::{Policies, Policy};
pub use registry::{Contribution, Registry, Review};
pub use upstream::{Model, Models};
