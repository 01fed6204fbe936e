//! One process's way to the store.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

use super::line::Line;
use super::planted::{self, Rule};
use super::store::FaultyStore;

/// The store as one process sees it: every call and every answer passes its line, and the trace.
#[derive(Debug)]
pub(super) struct StoreLine {
    line: Arc<Line>,
    store: Arc<FaultyStore>,
}

impl StoreLine {
    pub(super) fn new(line: Arc<Line>, store: Arc<FaultyStore>) -> Arc<Self> {
        Arc::new(Self { line, store })
    }
}

impl fmt::Display for StoreLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

/// The outcome of a call as the trace shows it.
fn outcome<T>(answer: &Result<T>, shown: impl Fn(&T) -> String) -> String {
    match answer {
        Ok(given) => shown(given),
        Err(Error::AlreadyExists { .. }) => "taken".to_owned(),
        Err(Error::Precondition { .. }) => "conflict".to_owned(),
        Err(Error::NotFound { .. }) => "not found".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[async_trait]
impl ObjectStore for StoreLine {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let bytes = payload.content_length();
        self.line.pass().await;
        let answer = self.store.put_opts(location, payload, opts).await;
        self.line.pass().await;
        self.line.note(format_args!("put {location}, {bytes} bytes: {}", outcome(&answer, |_| "written".to_owned())));
        match answer {
            // What a writer does that takes the answer for its own success.
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) if planted::missing() == Some(Rule::CompareBytes) => {
                Ok(PutResult { e_tag: None, version: None })
            }
            answer => answer,
        }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let call = if options.head { "head" } else { "get" };
        self.line.pass().await;
        let answer = self.store.get_opts(location, options).await;
        self.line.pass().await;
        let shown = |found: &GetResult| format!("{} of {} bytes", found.range.end - found.range.start, found.meta.size);
        self.line.note(format_args!("{call} {location}: {}", outcome(&answer, shown)));
        answer
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (line, store, prefix) = (self.line.clone(), self.store.clone(), prefix.cloned());
        let listing = async move {
            line.pass().await;
            let objects: Vec<Result<ObjectMeta>> = store.list(prefix.as_ref()).collect().await;
            line.pass().await;
            let whole = if objects.iter().all(Result::is_ok) { "" } else { ", then it broke off" };
            let shown = objects.iter().flatten().count();
            line.note(format_args!("list {}: {shown} objects{whole}", prefix.unwrap_or_default()));
            stream::iter(objects)
        };
        stream::once(listing).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}
