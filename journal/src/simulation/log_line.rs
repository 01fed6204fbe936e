//! One process's way to the event log, on which things go wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tributary_eventlog::{Bounds, EventLog, LogError, LoggedRecord, Record};
use tributary_schemas::ids::{Offset, Partition, PartitionCount};

use super::line::Line;
use super::log::MemoryLog;
use super::script::Script;
use super::windows::Windows;

/// The log as one client sees it: every call and every answer passes its line, and the trace. An answer may be an error
/// whatever became of the call; what was recorded stays, in its order.
///
/// It reads as [`EventLog::read`] promises and as a client of Kafka does: whoever would go on where a read ended, though a
/// log was cut off or replaced in between, is interrupted before any record; a read at another offset begins anew, in
/// whatever log is there. Told to forget a partition, it keeps its place all the same: somebody who asked to seal may still
/// read on.
pub(super) struct LogLine {
    line: Arc<Line>,
    log: Arc<MemoryLog>,
    windows: Windows,
}

impl LogLine {
    pub(super) fn new(line: Arc<Line>, log: Arc<MemoryLog>) -> Arc<Self> {
        Arc::new(Self { line, log, windows: Windows::default() })
    }

    fn script(&self) -> &Arc<Script> {
        self.line.script()
    }

    async fn try_append(&self, records: Vec<Record>) -> Result<(), LogError> {
        match self.script().fault(1, 5) {
            None => {
                record(&self.log, self.script(), records).await;
                Ok(())
            }
            Some(0) => Err(unavailable("the request was lost")),
            Some(1) => {
                record(&self.log, self.script(), records).await;
                Err(unavailable("the answer was lost"))
            }
            Some(2 | 3) => {
                record(&self.log, self.script(), self.part_of(&records)).await;
                Err(unavailable("only a part was recorded"))
            }
            Some(_) => {
                self.append_late(records);
                Err(unavailable("timed out"))
            }
        }
    }

    /// The request is under way and arrives after its sender gave up.
    fn append_late(&self, records: Vec<Record>) {
        let (log, script, under_way) = (self.log.clone(), self.script().clone(), self.script().begin());
        tokio::spawn(async move {
            script.be_late().await;
            let count = records.len();
            record(&log, &script, records).await;
            script.note("late", format_args!("log append of {count}: recorded"));
            drop(under_way);
        });
    }

    async fn try_read(&self, partition: Partition, from: Offset, max_bytes: usize) -> Result<Vec<LoggedRecord>, LogError> {
        let disturbances = self.log.disturbances();
        if self.windows.are_disturbed(partition, from, disturbances) {
            return Err(self.interrupted(partition));
        }
        let answer = self.log.read(partition, from, max_bytes).await;
        match &answer {
            Ok(records) => {
                let next = records.last().map_or(from, |record| record.offset.next());
                self.windows.reach(partition, next, disturbances);
            }
            Err(_) => self.windows.close(partition),
        }
        answer
    }

    /// The read that follows begins anew.
    fn interrupted(&self, partition: Partition) -> LogError {
        self.windows.close(partition);
        LogError::Interrupted { partition }
    }

    /// Waits for the record, or for a disturbance of whoever waits where a read ended. The read that follows meets the same.
    async fn try_wait(&self, partition: Partition, offset: Offset) -> Result<(), LogError> {
        loop {
            // Made before the look, so that nothing between the two is missed.
            let change = self.log.change(partition);
            if self.log.bounds(partition).await?.next > offset {
                return Ok(());
            }
            if self.windows.are_disturbed(partition, offset, self.log.disturbances()) {
                return Err(LogError::Interrupted { partition });
            }
            change.await;
        }
    }

    /// The first few records of each partition: an append that stopped half-way.
    fn part_of(&self, records: &[Record]) -> Vec<Record> {
        let partition_of = |record: &Record| self.partition_count().partition_of(&record.key);
        let mut left: BTreeMap<Partition, usize> = BTreeMap::new();
        for record in records {
            *left.entry(partition_of(record)).or_default() += 1;
        }
        for most in left.values_mut() {
            *most = self.script().draw(0..=*most);
        }
        let is_recorded = |record: &&Record| {
            let left = left.entry(partition_of(record)).or_default();
            let recorded = *left > 0;
            *left = left.saturating_sub(1);
            recorded
        };
        records.iter().filter(is_recorded).cloned().collect()
    }
}

fn unavailable(reason: &str) -> LogError {
    LogError::Retry { reason: reason.to_owned() }
}

/// Records one after the other, so that the appends of others come in between.
async fn record(log: &MemoryLog, script: &Script, records: Vec<Record>) {
    for record in records {
        log.append(vec![record]).await.unwrap();
        if script.one_in(3) {
            tokio::task::yield_now().await;
        }
    }
}

/// The outcome of a call as the trace shows it.
fn outcome<T>(answer: &Result<T, LogError>, shown: impl Fn(&T) -> String) -> String {
    match answer {
        Ok(given) => shown(given),
        Err(error) => error.to_string(),
    }
}

#[async_trait]
impl EventLog for LogLine {
    fn partition_count(&self) -> PartitionCount {
        self.log.partition_count()
    }

    async fn append(&self, records: Vec<Record>) -> Result<(), LogError> {
        let count = records.len();
        self.line.pass().await;
        let answer = self.try_append(records).await;
        self.line.pass().await;
        self.line.note(format_args!("log append of {count}: {}", outcome(&answer, |()| "recorded".to_owned())));
        answer
    }

    async fn bounds(&self, partition: Partition) -> Result<Bounds, LogError> {
        self.line.pass().await;
        let answer = match self.script().fault(2, 1) {
            None => self.log.bounds(partition).await,
            Some(_) => Err(unavailable("nobody answers")),
        };
        self.line.pass().await;
        let shown = |bounds: &Bounds| format!("{} up to {}", bounds.earliest, bounds.next);
        self.line.note(format_args!("log bounds of {partition}: {}", outcome(&answer, shown)));
        answer
    }

    async fn read(&self, partition: Partition, from: Offset, max_bytes: usize) -> Result<Vec<LoggedRecord>, LogError> {
        self.line.pass().await;
        let answer = match self.script().fault(2, 4) {
            None => self.try_read(partition, from, max_bytes).await,
            Some(0) => Err(unavailable("the read failed")),
            Some(1) => Err(self.interrupted(partition)),
            Some(_) => self.try_read(partition, from, self.script().draw(0..=max_bytes)).await,
        };
        self.line.pass().await;
        let shown = |records: &Vec<LoggedRecord>| format!("{} records", records.len());
        self.line.note(format_args!("log read of {partition} from {from}: {}", outcome(&answer, shown)));
        answer
    }

    async fn wait_beyond(&self, partition: Partition, offset: Offset) -> Result<(), LogError> {
        self.line.pass().await;
        let answer = match self.script().fault(2, 3) {
            None => self.try_wait(partition, offset).await,
            Some(0) => Err(unavailable("nobody answers")),
            Some(1) => Err(LogError::Interrupted { partition }),
            Some(_) => {
                let patience = self.script().millis(1..=100);
                let waited = tokio::time::timeout(patience, self.try_wait(partition, offset)).await;
                waited.unwrap_or_else(|_| Err(unavailable("the connection broke")))
            }
        };
        self.line.pass().await;
        self.line.note(format_args!("log wait of {partition} for {offset}: {}", outcome(&answer, |()| "is there".to_owned())));
        answer
    }

    async fn release(&self, partition: Partition, before: Offset) -> Result<(), LogError> {
        self.line.pass().await;
        let answer = match self.script().fault(2, 3) {
            None => self.log.release(partition, before).await,
            Some(0) => Err(unavailable("the request was lost")),
            Some(1) => self.log.release(partition, before).await.and(Err(unavailable("the answer was lost"))),
            Some(_) => {
                // Some records are kept for a while yet.
                let before = Offset::new(self.script().draw(0..=before.get())).unwrap();
                self.log.release(partition, before).await
            }
        };
        self.line.pass().await;
        let told = outcome(&answer, |()| "done".to_owned());
        self.line.note(format_args!("log release of {partition} before {before}: {told}"));
        answer
    }
}
