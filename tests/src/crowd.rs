//! Many runs, a few at a time.

use tokio::task::JoinSet;

use crate::Outcome;

/// How many runs share the machine: most of a run is waiting for ages to pass.
pub const AT_ONCE: usize = 3;

/// Runs all of them, at most [`AT_ONCE`] together; fails with the first failure.
pub async fn run_all<F>(runs: impl IntoIterator<Item = F>) -> Outcome
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let mut runs = runs.into_iter();
    let mut running = JoinSet::new();
    loop {
        while running.len() < AT_ONCE {
            let Some(run) = runs.next() else { break };
            running.spawn(run);
        }
        let Some(ended) = running.join_next().await else { return Ok(()) };
        ended??;
    }
}
