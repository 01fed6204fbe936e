//! The tasks of `dev`. None of them ends before it is told to, so one that does is a fault of the whole process: it must not
//! go on looking healthy.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};

use crate::exit::{Failure, Outcome};

/// Tasks under way, by name.
#[derive(Default)]
pub struct Stages {
    running: JoinSet<Outcome>,
    names: HashMap<Id, &'static str>,
}

impl Stages {
    /// Starts a task; the name is for messages, such as `the sealer`.
    pub fn add(&mut self, name: &'static str, work: impl Future<Output = Outcome> + Send + 'static) {
        let id = self.running.spawn(work).id();
        self.names.insert(id, name);
    }

    /// Waits until one of them ends although nobody asked it to, by a panic too, and says which. Cancel safe.
    pub async fn fault(&mut self) -> Failure {
        let Some(ended) = self.running.join_next_with_id().await else { return std::future::pending().await };
        match self.outcome(ended) {
            (name, Ok(())) => Failure::Failed(format!("{name} ended by itself")),
            (name, Err(error)) => Failure::Failed(format!("{name} ended: {error}")),
        }
    }

    /// Waits until all have ended, for at most `drain`; fails with what the first of them failed with.
    pub async fn end(mut self, drain: Duration) -> Outcome {
        let all = async {
            let mut first = Ok(());
            while let Some(ended) = self.running.join_next_with_id().await {
                let (name, outcome) = self.outcome(ended);
                first = first.and(outcome.map_err(|error| Failure::Failed(format!("{name} ended: {error}"))));
            }
            first
        };
        tokio::time::timeout(drain, all).await.unwrap_or_else(|_| {
            tracing::warn!("a stage did not end in time; what it had under way is done again at the next start");
            Ok(())
        })
    }

    fn outcome(&self, ended: Result<(Id, Outcome), JoinError>) -> (&'static str, Outcome) {
        let name = |id| self.names.get(&id).copied().unwrap_or("a task");
        match ended {
            Ok((id, outcome)) => (name(id), outcome),
            Err(error) => (name(error.id()), Err(Failure::Failed(error.to_string()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_one(work: impl Future<Output = Outcome> + Send + 'static) -> Stages {
        let mut stages = Stages::default();
        stages.add("the healthy one", std::future::pending());
        stages.add("the other", work);
        stages
    }

    async fn panics() -> Outcome {
        panic!("on purpose")
    }

    #[tokio::test]
    async fn a_stage_that_panics_fails_or_just_ends_is_named() {
        let panicked = with_one(panics()).fault().await.to_string();
        assert!(panicked.starts_with("the other ended: ") && panicked.contains("panicked"), "{panicked}");
        let failed = with_one(async { Err(Failure::Failed("no port".to_owned())) }).fault().await.to_string();
        assert_eq!(failed, "the other ended: no port");
        let ended = with_one(async { Ok(()) }).fault().await.to_string();
        assert_eq!(ended, "the other ended by itself");
    }

    #[tokio::test]
    async fn the_end_is_waited_for_but_not_for_ever() {
        let stuck = with_one(async { Ok(()) });
        assert!(stuck.end(Duration::from_millis(20)).await.is_ok());
        let mut failing = Stages::default();
        failing.add("the other", async { Err(Failure::Failed("no disk".to_owned())) });
        let error = failing.end(Duration::from_secs(60)).await.err().map(|e| e.to_string());
        assert_eq!(error.as_deref(), Some("the other ended: no disk"));
    }
}
