//! The auditor at work while a test runs.

use std::path::Path;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Auditor;
use crate::Outcome;

/// How often the objects are looked at.
const SCAN_EVERY: Duration = Duration::from_millis(500);

/// An auditor that looks at the objects of a store until it is asked for its verdict.
pub struct Watching {
    end: oneshot::Sender<()>,
    task: JoinHandle<Outcome<Auditor>>,
}

impl Watching {
    /// Begins to look at a store.
    pub fn begin(store: &Path) -> Self {
        let (end, ended) = oneshot::channel();
        let task = tokio::spawn(watch(Auditor::of(store), ended));
        Self { end, task }
    }

    /// The auditor, with all that it saw.
    ///
    /// # Errors
    /// When the files could not be read.
    pub async fn end(self) -> Outcome<Auditor> {
        // A task that ended early says why.
        let _ = self.end.send(());
        self.task.await?
    }
}

async fn watch(mut auditor: Auditor, mut ended: oneshot::Receiver<()>) -> Outcome<Auditor> {
    while tokio::time::timeout(SCAN_EVERY, &mut ended).await.is_err() {
        let scanned = tokio::task::spawn_blocking(move || auditor.scan().map(|()| auditor));
        auditor = scanned.await??;
    }
    Ok(auditor)
}
