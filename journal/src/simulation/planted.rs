//! Bugs planted on purpose: a simulation that finds none of them finds nothing.

use std::cell::Cell;

/// A rule of the write path that a test takes away.
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
