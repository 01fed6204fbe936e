//! A local directory as an object store that keeps its word: what it acknowledged survives a loss of power.
//!
//! `object_store`'s own `LocalFileSystem` never syncs. [`LocalStore`] writes through staging files: content is synced
//! before it gets its name, and the folder after, as is the name of every folder on the way. Reads and listings are the
//! inner store's.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use tributary_eventlog::folder;

mod folders;
mod upload;

use folders::Folders;
use upload::StagedUpload;

/// The folder under the root that holds unfinished files; no listing shows it.
const STAGING: &str = ".staging";

/// A staging file that nobody wrote to for this long is left over from a crash.
const STAGING_AGE_MAX: Duration = Duration::from_secs(60 * 60);

/// Objects as files under one directory, durable on acknowledgement.
///
/// `put` with `PutMode::Create` is atomic and exclusive between processes: the finished, synced file is hard-linked to its
/// name, which fails if the name is taken. It answers `AlreadyExists` only once the other's name is durable.
#[derive(Clone, Debug)]
pub struct LocalStore {
    inner: LocalFileSystem,
    folders: Arc<Folders>,
    read_only: bool,
}

impl LocalStore {
    /// Opens the directory, which is created with its parents if absent, and clears what a crash left unfinished.
    ///
    /// # Errors
    /// When the directory cannot be created or read.
    pub fn open(directory: impl AsRef<FsPath>) -> Result<Arc<dyn ObjectStore>> {
        Ok(Arc::new(Self::open_local(directory.as_ref())?))
    }

    /// Opens a directory that exists for reading alone: nothing in it is made, cleared or changed, and every write is
    /// refused. So it works on a copy that this process may not write to.
    ///
    /// # Errors
    /// When the directory does not exist or cannot be read.
    pub fn open_read_only(directory: impl AsRef<FsPath>) -> Result<Arc<dyn ObjectStore>> {
        let directory = directory.as_ref();
        let root = directory.canonicalize().map_err(|source| failure("open", directory, source))?;
        let inner = LocalFileSystem::new_with_prefix(&root)?;
        Ok(Arc::new(Self { inner, folders: Arc::new(Folders::new(root)), read_only: true }))
    }

    fn open_local(directory: &FsPath) -> Result<Self> {
        let opened = folder::create(directory).and_then(|()| directory.canonicalize()).and_then(|root| {
            folder::create_one(&root.join(STAGING))?;
            clear_staging(&root.join(STAGING))?;
            Ok(root)
        });
        let root = opened.map_err(|source| failure("open", directory, source))?;
        Ok(Self { inner: LocalFileSystem::new_with_prefix(&root)?, folders: Arc::new(Folders::new(root)), read_only: false })
    }

    /// A store that makes the names of objects durable with `sync`: a test's, which fails.
    #[cfg(test)]
    pub(crate) fn open_with_sync(directory: &FsPath, sync: fn(&FsPath) -> io::Result<()>) -> Result<Arc<dyn ObjectStore>> {
        let store = Self::open_local(directory)?;
        let folders = Folders::with_sync(store.folders.root().to_path_buf(), sync);
        Ok(Arc::new(Self { folders: Arc::new(folders), ..store }))
    }

    fn check_writable(&self, location: &Path) -> Result<()> {
        if !self.read_only {
            return Ok(());
        }
        let source = format!("{} is open for reading only", self.folders.root().display()).into();
        Err(Error::PermissionDenied { path: location.to_string(), source })
    }

    /// Syncs the folder of an object that got its name by the inner store's hands.
    async fn sync_folder_of(&self, location: &Path) -> Result<()> {
        let path = self.inner.path_to_filesystem(location)?;
        let folders = self.folders.clone();
        blocking(move || folders.sync_parent(&path)).await
    }

    async fn create_folder_of(&self, location: &Path) -> Result<()> {
        let path = self.inner.path_to_filesystem(location)?;
        let folders = self.folders.clone();
        blocking(move || folders.create_parent(&path)).await
    }
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalStore({})", self.folders.root().display())
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.check_writable(location)?;
        let exclusive = match opts.mode {
            PutMode::Create => true,
            PutMode::Overwrite => false,
            PutMode::Update(_) => return Err(self.not_implemented("put_opts with PutMode::Update")),
        };
        if !opts.attributes.is_empty() {
            return Err(self.not_implemented("put_opts with attributes"));
        }
        let (folders, path) = (self.folders.clone(), self.inner.path_to_filesystem(location)?);
        blocking(move || {
            let mut staged = Staged::create(folders)?;
            staged.write(&payload)?;
            staged.publish(&path, exclusive)
        })
        .await?;
        let e_tag = self.inner.head(location).await.ok().and_then(|meta| meta.e_tag);
        Ok(PutResult { e_tag, version: None })
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.check_writable(location)?;
        if !opts.attributes.is_empty() {
            return Err(self.not_implemented("put_multipart_opts with attributes"));
        }
        let (folders, path) = (self.folders.clone(), self.inner.path_to_filesystem(location)?);
        let staged = blocking(move || Staged::create(folders)).await?;
        Ok(Box::new(StagedUpload::new(staged, path)))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        if self.read_only {
            let store = self.clone();
            return locations.map(move |location| location.and_then(|at| store.check_writable(&at).map(|()| at))).boxed();
        }
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix).try_filter(|meta| std::future::ready(!is_staging(&meta.location))).boxed()
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset).try_filter(|meta| std::future::ready(!is_staging(&meta.location))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.inner.list_with_delimiter(prefix).await?;
        listed.common_prefixes.retain(|prefix| !is_staging(prefix));
        listed.objects.retain(|meta| !is_staging(&meta.location));
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.check_writable(to)?;
        self.create_folder_of(to).await?;
        self.inner.copy_opts(from, to, options).await?;
        self.sync_folder_of(to).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.check_writable(to)?;
        self.create_folder_of(to).await?;
        self.inner.rename_opts(from, to, options).await?;
        self.sync_folder_of(to).await?;
        self.sync_folder_of(from).await
    }
}

impl LocalStore {
    fn not_implemented(&self, operation: &str) -> Error {
        Error::NotImplemented { operation: operation.to_owned(), implementer: self.to_string() }
    }
}

/// A file without a name of its own yet; it disappears when dropped before it is published.
#[derive(Debug)]
struct Staged {
    file: Arc<File>,
    path: PathBuf,
    folders: Arc<Folders>,
}

impl Staged {
    fn create(folders: Arc<Folders>) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        const ATTEMPTS_MAX: usize = 1000;
        let staging = folders.root().join(STAGING);
        for _ in 0..ATTEMPTS_MAX {
            let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let path = staging.join(name);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Self { file: Arc::new(file), path, folders }),
                // A crashed process with the same id left it, or somebody removed the folder.
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) if e.kind() == ErrorKind::NotFound => {
                    folder::create(&staging).map_err(|e| failure("create", &staging, e))?;
                }
                // Named by its folder: the same trouble is told in the same words.
                Err(e) => return Err(failure("create a file in", &staging, e)),
            }
        }
        Err(failure("create a file in", &staging, ErrorKind::AlreadyExists.into()))
    }

    fn write(&mut self, payload: &PutPayload) -> Result<()> {
        let mut file = &*self.file;
        payload
            .iter()
            .try_for_each(|part| file.write_all(part))
            .map_err(|e| failure("write a file in", &self.folders.root().join(STAGING), e))
    }

    /// Makes the content durable and gives it its name.
    fn publish(self, path: &FsPath, exclusive: bool) -> Result<()> {
        self.file.sync_all().map_err(|e| failure("write", path, e))?;
        self.folders.create_parent(path)?;
        let named = if exclusive { fs::hard_link(&self.path, path) } else { fs::rename(&self.path, path) };
        match named {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                // The other writer's name may not be durable yet, and the caller will act on its being there.
                self.folders.sync_parent(path)?;
                Err(Error::AlreadyExists { path: path.display().to_string(), source: Box::new(e) })
            }
            Err(e) => Err(failure("name", path, e)),
            Ok(()) => self.folders.sync_parent(path),
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Gone already after a rename; a file that cannot be removed now is removed by a later start.
        let _ = fs::remove_file(&self.path);
    }
}

fn is_staging(location: &Path) -> bool {
    location.as_ref().strip_prefix(STAGING).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Removes files that no living process can still be writing to.
fn clear_staging(folder: &FsPath) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
        if age.is_some_and(|age| age > STAGING_AGE_MAX) {
            // Another process may clear the same file at the same time.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}

fn failure(verb: &str, path: &FsPath, source: io::Error) -> Error {
    let text = format!("cannot {verb} {}: {source}", path.display());
    Error::Generic { store: "LocalStore", source: Box::new(io::Error::new(source.kind(), text)) }
}

/// File calls can wait for the disk: they run where waiting is allowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

#[cfg(test)]
mod tests;
