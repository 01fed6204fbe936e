//! One suite that every backend of [`crate::EventLog`] passes.
