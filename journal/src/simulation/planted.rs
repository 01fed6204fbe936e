//! Bugs planted on purpose: a simulation that finds none of them finds nothing.

use std::cell::Cell;

/// A rule of the sealer that a test takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// That a name is taken does not say by whom: the bytes are compared.
    CompareBytes,
    /// The identities of a batch that lost are dropped with it.
    DropIdentities,
    /// What was read to follow a batch that lost is dropped with it.
    DropWork,
    /// After a lost race the seen-index takes in what the winner wrote.
    CatchUp,
    /// A log goes on where the journal ends only if it holds the record that was sealed last.
    CompareLast,
    /// A read that was interrupted is followed by a comparison of log and journal.
    CompareAgain,
}

thread_local! {
    static MISSING: Cell<Option<Rule>> = const { Cell::new(None) };
}

/// The rule is missing for as long as this lives, in this thread.
pub(crate) struct Planted(());

impl Drop for Planted {
    fn drop(&mut self) {
        MISSING.set(None);
    }
}

/// Takes a rule away.
pub(crate) fn without(rule: Rule) -> Planted {
    MISSING.set(Some(rule));
    Planted(())
}

/// The rule that is missing.
pub(crate) fn missing() -> Option<Rule> {
    MISSING.get()
}

/// Whether this rule is missing.
pub(crate) fn is_missing(rule: Rule) -> bool {
    missing() == Some(rule)
}
