//! Loading in waves, so that a list of things costs as many queries as one thing.
//!
//! A request runs until every field waits for something. What the fields asked for by then is loaded together, things of one
//! kind in one go; when all of it is there, the request runs on to its next wave. So the number of queries follows the depth
//! of the document, not the number of rows, and is the same whenever the document is run.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, Stream};
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::reader::Reader;
use tributary_query::error::{Code, QueryError};

/// The key of a thing that can be loaded together with others of its kind.
pub(crate) trait Load: Eq + Hash + Clone + Send + Sync + 'static {
    /// What is loaded.
    type Value: Clone + Send + Sync + 'static;

    /// Loads the values of the keys; a key without a value is left out.
    fn load(reader: Arc<Reader>, keys: Vec<Self>) -> impl Future<Output = Result<HashMap<Self, Self::Value>, QueryError>> + Send;
}

type Answer<K> = Result<Option<<K as Load>::Value>, QueryError>;

/// Which reader, and which kind of thing.
type Kind = (u64, TypeId);

/// What the fields of one request have asked for and not got yet, and what they got already.
#[derive(Default)]
pub(crate) struct Waves {
    queues: Mutex<HashMap<Kind, Box<dyn Queue>>>,
    known: Mutex<HashMap<Kind, Box<dyn Any + Send>>>,
}

trait Queue: Send {
    fn as_any(&mut self) -> &mut dyn Any;
    fn start(self: Box<Self>, waves: Arc<Waves>) -> BoxFuture<'static, ()>;
}

struct Asked<K: Load> {
    reader: Arc<Reader>,
    by_key: HashMap<K, Vec<oneshot::Sender<Answer<K>>>>,
}

impl<K: Load> Queue for Asked<K> {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn start(self: Box<Self>, waves: Arc<Waves>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let Self { reader, by_key } = *self;
            let kind = kind_of::<K>(&reader);
            let loaded = K::load(reader, by_key.keys().cloned().collect()).await;
            for (key, askers) in by_key {
                let answer: Answer<K> = loaded.as_ref().map(|values| values.get(&key).cloned()).map_err(Clone::clone);
                if let Ok(value) = &answer {
                    waves.remember::<K>(kind, key, value.clone());
                }
                for asker in askers {
                    // An asker that is gone needs no answer.
                    drop(asker.send(answer.clone()));
                }
            }
        })
    }
}

fn kind_of<K: Load>(reader: &Arc<Reader>) -> Kind {
    (reader.number(), TypeId::of::<K>())
}

impl Waves {
    /// The value of a key, from the wave that comes next; `None` if there is none.
    ///
    /// # Errors
    /// What loading failed with, for all keys of the wave.
    pub(crate) async fn get<K: Load>(&self, reader: &Arc<Reader>, key: K) -> Answer<K> {
        let kind = kind_of::<K>(reader);
        if let Some(known) = self.recall::<K>(kind, &key) {
            return Ok(known);
        }
        let (send, receive) = oneshot::channel();
        {
            let mut queues = self.queues.lock();
            let queue =
                queues.entry(kind).or_insert_with(|| Box::new(Asked::<K> { reader: Arc::clone(reader), by_key: HashMap::new() }));
            let asked = queue.as_any().downcast_mut::<Asked<K>>().expect("a queue is found under its own type");
            asked.by_key.entry(key).or_default().push(send);
        }
        receive.await.unwrap_or_else(|_| Err(QueryError::new(Code::Internal, "a wave broke off")))
    }

    fn recall<K: Load>(&self, kind: Kind, key: &K) -> Option<Option<K::Value>> {
        let known = self.known.lock();
        let of_kind = known.get(&kind)?.downcast_ref::<HashMap<K, Option<K::Value>>>()?;
        of_kind.get(key).cloned()
    }

    fn remember<K: Load>(&self, kind: Kind, key: K, value: Option<K::Value>) {
        let mut known = self.known.lock();
        let of_kind = known.entry(kind).or_insert_with(|| Box::new(HashMap::<K, Option<K::Value>>::new()));
        if let Some(of_kind) = of_kind.downcast_mut::<HashMap<K, Option<K::Value>>>() {
            of_kind.insert(key, value);
        }
    }

    /// Forgets what was loaded: the next answer of a subscription is about another moment.
    pub(crate) fn forget(&self) {
        self.known.lock().clear();
    }

    fn take(&self) -> Vec<Box<dyn Queue>> {
        self.queues.lock().drain().map(|(_, queue)| queue).collect()
    }
}

/// Runs fields, and a wave whenever all of them wait.
pub(crate) struct Driver {
    waves: Arc<Waves>,
    loading: FuturesUnordered<BoxFuture<'static, ()>>,
    alarm: Arc<Alarm>,
}

/// Wakes the request, and remembers that it did.
#[derive(Default)]
struct Alarm {
    rung: AtomicBool,
    request: AtomicWaker,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.request.wake();
    }
}

/// What was loaded knows its reader, and the reader these waves: broken here, so that nothing is kept for ever.
impl Drop for Driver {
    fn drop(&mut self) {
        self.waves.queues.lock().clear();
        self.waves.forget();
    }
}

impl Driver {
    pub(crate) fn new(waves: Arc<Waves>) -> Self {
        Self { waves, loading: FuturesUnordered::new(), alarm: Arc::default() }
    }

    /// Polls the fields; starts a wave when all of them wait and nothing is being loaded any more.
    fn poll<T>(&mut self, context: &mut Context<'_>, mut fields: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        self.alarm.request.register(context.waker());
        let waker = Waker::from(Arc::clone(&self.alarm));
        loop {
            while let Poll::Ready(Some(())) = Pin::new(&mut self.loading).poll_next(context) {}
            let all_loaded = self.loading.is_empty();
            self.alarm.rung.store(false, Ordering::Release);
            if let Poll::Ready(done) = fields(&mut Context::from_waker(&waker)) {
                return Poll::Ready(done);
            }
            // Many fields are polled in portions: not all of them wait yet.
            if self.alarm.rung.load(Ordering::Acquire) {
                return Poll::Pending;
            }
            let wave = if all_loaded { self.waves.take() } else { Vec::new() };
            if wave.is_empty() {
                return Poll::Pending;
            }
            self.loading.extend(wave.into_iter().map(|queue| queue.start(Arc::clone(&self.waves))));
        }
    }

    /// Runs a request to its end.
    pub(crate) async fn run<F: Future>(mut self, fields: F) -> F::Output {
        let mut fields = std::pin::pin!(fields);
        std::future::poll_fn(|context| self.poll(context, |context| fields.as_mut().poll(context))).await
    }

    /// Runs a subscription; each of its answers is loaded anew.
    pub(crate) fn run_stream<S: Stream + Unpin>(mut self, mut answers: S) -> impl Stream<Item = S::Item> {
        futures::stream::poll_fn(move |context| {
            let next = self.poll(context, |context| Pin::new(&mut answers).poll_next(context));
            if next.is_ready() {
                self.waves.forget();
            }
            next
        })
    }
}
