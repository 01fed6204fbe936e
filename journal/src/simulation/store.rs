//! The object store that lies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::ready;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::script::Script;

/// An object store whose answers cannot be trusted; what it holds can. Every fault follows from the seed and the order of
/// the calls. It never answers a read with what is not there, nor hides from a read what was written before it, for no store
/// that the project supports does.
#[derive(Debug)]
pub(crate) struct FaultyStore {
    shelf: Arc<Shelf>,
    script: Arc<Script>,
    /// Told of a write, which then waits for ever.
    held: Mutex<Option<oneshot::Sender<()>>>,
}

/// The objects, and what became of them.
#[derive(Debug, Default)]
struct Shelf {
    objects: InMemory,
    written: Mutex<Written>,
}

#[derive(Debug, Default)]
struct Written {
    /// The names in the order in which they were taken.
    order: Vec<Path>,
    /// The bytes that first took each name.
    first: BTreeMap<Path, Bytes>,
    /// Attempts to change what was written.
    changes: Vec<String>,
}

impl Shelf {
    async fn put(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let bytes = Bytes::from(payload.clone());
        let put = self.objects.put_opts(location, payload, opts).await?;
        let mut written = self.written.lock();
        let written = &mut *written;
        match written.first.get(location) {
            Some(first) if *first == bytes => {}
            Some(_) => written.changes.push(format!("{location} was written again with other bytes")),
            None => {
                written.order.push(location.clone());
                written.first.insert(location.clone(), bytes);
            }
        }
        Ok(put)
    }
}

impl FaultyStore {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Self::of(Script::untimed(seed))
    }

    /// The store of a world.
    pub(super) fn of(script: Arc<Script>) -> Arc<Self> {
        Arc::new(Self { shelf: Arc::default(), script, held: Mutex::default() })
    }

    /// Faults per thousand writes; reads fail half as often.
    pub(crate) fn set_faults(&self, per_thousand: u32) {
        self.script.set_faults(per_thousand);
    }

    /// Waits until the next write, perhaps the task's, is under way; that one never arrives.
    pub(crate) async fn held_write<T>(&self, task: T) -> T {
        let (told, under_way) = oneshot::channel();
        *self.held.lock() = Some(told);
        under_way.await.unwrap();
        task
    }

    /// Every object by its name, with the bytes that first took it.
    pub(super) fn objects(&self) -> BTreeMap<String, Bytes> {
        self.shelf.written.lock().first.iter().map(|(name, bytes)| (name.to_string(), bytes.clone())).collect()
    }

    /// The last object whose name begins so, by the order of names.
    pub(super) fn last_under(&self, beginning: &str) -> Option<Bytes> {
        let written = self.shelf.written.lock();
        let last = written.first.iter().rfind(|(name, _)| AsRef::<str>::as_ref(*name).starts_with(beginning))?;
        Some(last.1.clone())
    }

    /// Attempts to change an object.
    pub(super) fn changes(&self) -> Vec<String> {
        self.shelf.written.lock().changes.clone()
    }

    fn is_changed(&self, what: String) {
        self.shelf.written.lock().changes.push(what);
    }

    async fn dawdle(&self) {
        for _ in 0..self.script.draw(0..4) {
            tokio::task::yield_now().await;
        }
    }

    /// The request is under way and arrives after its sender gave up.
    fn put_late(&self, location: &Path, payload: PutPayload, opts: PutOptions) {
        let (shelf, script, location, under_way) =
            (self.shelf.clone(), self.script.clone(), location.clone(), self.script.begin());
        tokio::spawn(async move {
            script.be_late().await;
            let landed = shelf.put(&location, payload, opts).await.is_ok();
            script.note("late", format_args!("put {location}: {}", if landed { "written" } else { "not written" }));
            drop(under_way);
        });
    }

    /// The names that were taken last, up to three.
    fn newest(&self) -> BTreeSet<Path> {
        let hidden = self.script.draw(1..=3);
        self.shelf.written.lock().order.iter().rev().take(hidden).cloned().collect()
    }
}

fn broken(what: &'static str) -> Error {
    Error::Generic { store: "FaultyStore", source: what.into() }
}

fn taken(location: &Path) -> Error {
    Error::AlreadyExists { path: location.to_string(), source: "by itself, by another, or by none yet".into() }
}

fn conflict(location: &Path) -> Error {
    Error::Precondition { path: location.to_string(), source: "conflict".into() }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let held = self.held.lock().take();
        if let Some(told) = held {
            let _ = told.send(());
            std::future::pending::<()>().await;
        }
        self.dawdle().await;
        let exclusive = matches!(opts.mode, PutMode::Create);
        let fault = self.script.fault(1, 8).filter(|_| exclusive);
        match fault {
            Some(0) => Err(broken("the request was lost")),
            // Clients are told of a 409, which a store also answers while another write of the name is not decided, as of a
            // name that is taken.
            Some(1) => Err(taken(location)),
            Some(2) => Err(conflict(location)),
            Some(3 | 4) => {
                self.put_late(location, payload, opts);
                Err(broken("timed out"))
            }
            fault => {
                let answer = self.shelf.put(location, payload, opts).await;
                match fault {
                    Some(5) => Err(broken("the answer was lost")),
                    // The client's own retry met its first attempt.
                    Some(6) => Err(taken(location)),
                    Some(_) => Err(conflict(location)),
                    None => answer,
                }
            }
        }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.is_changed(format!("{location} is written in parts, which may replace it"));
        self.shelf.objects.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.dawdle().await;
        match self.script.fault(2, 4) {
            None => self.shelf.objects.get_opts(location, options).await,
            Some(0) => {
                let found = self.shelf.objects.get_opts(location, options).await?;
                let cut_off = stream::once(ready(Err(broken("the body broke off"))));
                Ok(GetResult { payload: GetResultPayload::Stream(cut_off.boxed()), ..found })
            }
            Some(_) => Err(broken("the read failed")),
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.is_changed("something was deleted".to_owned());
        self.shelf.objects.delete_stream(locations)
    }

    /// Breaks off, or does not show yet what was written last: a list is read page by page, and so is never newer than its
    /// oldest page.
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listing = self.shelf.objects.list(prefix);
        match self.script.fault(1, 2) {
            None => listing,
            Some(0) => {
                let end = stream::once(ready(Err(broken("the list broke off"))));
                listing.take(self.script.draw(0..5)).chain(end).boxed()
            }
            Some(_) => {
                let hidden = self.newest();
                listing.try_filter(move |meta| ready(!hidden.contains(&meta.location))).boxed()
            }
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.shelf.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.is_changed(format!("{to} is written as a copy of {from}"));
        self.shelf.objects.copy_opts(from, to, options).await
    }
}
