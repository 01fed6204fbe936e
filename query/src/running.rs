//! A query under way: it runs on its own threads, and its rows come out within its limits.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use futures::future::BoxFuture;
use futures::{Stream, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep};

use crate::error::{Code, QueryError};
use crate::guard::{Stop, StopOnDrop};
use crate::limits::Place;
use crate::metrics::Metrics;

/// Batches that are ready and not yet taken.
const BATCHES_WAITING_MAX: usize = 2;

/// What a query needs to run.
pub(crate) struct Work {
    pub(crate) place: Place,
    pub(crate) deadline: Option<Instant>,
    pub(crate) rows_max: u64,
    pub(crate) metrics: Metrics,
    pub(crate) stop: Stop,
}

/// The rows of a query under way. Dropping it ends the query.
pub struct Running {
    threads: Handle,
    schema: SchemaRef,
    batches: mpsc::Receiver<Message>,
    deadline: Option<Pin<Box<Sleep>>>,
    until: Option<Instant>,
    rows_left: u64,
    rows_max: u64,
    work: Ending,
    ended: bool,
    account: Account,
}

/// What the threads send: rows, a failure, or that all rows were sent. Without the last, the query did not end well.
enum Message {
    Rows(RecordBatch),
    Failed(QueryError),
    End,
}

/// Counts the query when it ends, whichever way.
struct Account {
    metrics: Metrics,
    started: Instant,
    outcome: &'static str,
}

impl Drop for Account {
    fn drop(&mut self) {
        self.metrics.query_ended(self.outcome, self.started.elapsed().as_secs_f64());
    }
}

/// What plans a query and starts it.
pub(crate) type Starting = BoxFuture<'static, Result<SendableRecordBatchStream, QueryError>>;

impl Work {
    /// Runs `start` and then the stream it gives on the threads of `threads`; returns once the first step is done.
    ///
    /// # Errors
    /// Those of `start`, or `query_timeout`.
    pub(crate) async fn run(self, threads: &Handle, start: Starting) -> Result<Running, QueryError> {
        let Work { place, deadline, rows_max, metrics, stop } = self;
        let mut account = Account { metrics, started: Instant::now(), outcome: "dropped" };
        let (send, batches) = mpsc::channel(BATCHES_WAITING_MAX);
        let (tell, told) = oneshot::channel();
        let task = threads.spawn(async move {
            // The place is given back when the work has really ended, not when its asker lost patience.
            let _place = place;
            match start.await {
                Err(error) => drop(tell.send(Err(error))),
                Ok(stream) => {
                    if tell.send(Ok(stream.schema())).is_ok() {
                        pump(stream, send).await;
                    }
                }
            }
        });
        // The deadline is kept here, by the asker's threads: those of the query can be deep in one step of it, all of them.
        let watch = deadline.map(|deadline| {
            let stop = stop.clone();
            let watch = tokio::spawn(async move {
                tokio::time::sleep_until(deadline).await;
                stop.stop();
            });
            watch.abort_handle()
        });
        let work = Ending { task: task.abort_handle(), watch, stop };
        let started = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, told).await.unwrap_or_else(|_| Ok(Err(timeout()))),
            None => told.await,
        };
        match started.unwrap_or_else(|_| Err(QueryError::new(Code::Internal, "the query's planning broke off"))) {
            Err(error) => {
                account.outcome = error.code.as_str();
                Err(error)
            }
            Ok(schema) => Ok(Running {
                threads: threads.clone(),
                schema,
                batches,
                deadline: deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline))),
                until: deadline,
                rows_left: rows_max,
                rows_max,
                work,
                ended: false,
                account,
            }),
        }
    }
}

/// Ends the work when dropped.
struct Ending {
    task: AbortHandle,
    watch: Option<AbortHandle>,
    stop: Stop,
}

impl Ending {
    fn end(&self) {
        self.stop.stop();
        self.task.abort();
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.end();
    }
}

async fn pump(mut stream: SendableRecordBatchStream, send: mpsc::Sender<Message>) {
    while let Some(next) = stream.next().await {
        let (message, last) = match next {
            Ok(rows) => (Message::Rows(rows), false),
            Err(error) => (Message::Failed(error.into()), true),
        };
        // A closed channel means that nobody reads any more.
        if send.send(message).await.is_err() || last {
            return;
        }
    }
    // Nobody reads any more, or the end is told; nothing else is left to do either way.
    drop(send.send(Message::End).await);
}

fn timeout() -> QueryError {
    QueryError::new(Code::Timeout, "the query took longer than its limit")
}

impl Running {
    /// The threads that it runs on, for what is done with its rows.
    pub(crate) fn threads(&self) -> &Handle {
        &self.threads
    }

    /// When the query must have ended.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Ends the query when it is dropped, also while the rows are being read elsewhere.
    pub(crate) fn end_on_drop(&self) -> StopOnDrop {
        StopOnDrop(self.work.stop.clone())
    }

    fn fail(&mut self, error: QueryError) -> DataFusionError {
        self.ended = true;
        self.account.outcome = error.code.as_str();
        self.work.end();
        error.into()
    }

    fn give(&mut self, rows: RecordBatch) -> Result<RecordBatch> {
        let count = rows.num_rows() as u64;
        if count > self.rows_left {
            let message = format!("the answer has more than {} rows", self.rows_max);
            return Err(self.fail(QueryError::new(Code::Rows, message)));
        }
        self.rows_left -= count;
        self.account.metrics.rows.inc_by(count);
        Ok(rows)
    }
}

impl Stream for Running {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(context).is_ready()) {
            return Poll::Ready(Some(Err(self.fail(timeout()))));
        }
        let Poll::Ready(message) = self.batches.poll_recv(context) else { return Poll::Pending };
        Poll::Ready(match message {
            Some(Message::Rows(rows)) => Some(self.give(rows)),
            Some(Message::Failed(error)) => Some(Err(self.fail(error))),
            Some(Message::End) => {
                self.ended = true;
                self.account.outcome = "ok";
                None
            }
            None => Some(Err(self.fail(QueryError::new(Code::Internal, "the query broke off")))),
        })
    }
}

impl RecordBatchStream for Running {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}
