#![allow(clippy::unwrap_used)]

use std::io;
use std::path::Path as FsPath;
use std::sync::atomic::{AtomicUsize, Ordering};

use object_store::memory::InMemory;

use super::*;
use crate::storage::LocalStore;

fn name() -> Path {
    Path::from("a/b")
}

fn broken() -> io::Result<()> {
    Err(io::Error::other("the disk is broken"))
}

#[tokio::test]
async fn the_first_to_place_an_object_wins_and_the_others_are_shown_its_bytes() {
    let store = InMemory::new();
    let (ours, theirs) = (Bytes::from_static(b"ours"), Bytes::from_static(b"theirs"));
    assert_eq!(place(&store, &name(), &ours).await.unwrap(), Placed::Ours);
    assert_eq!(place(&store, &name(), &ours).await.unwrap(), Placed::Ours);
    assert_eq!(place(&store, &name(), &theirs).await.unwrap(), Placed::Theirs(ours));
    assert_eq!(read(&store, &Path::from("absent")).await.unwrap(), None);
}

#[tokio::test]
async fn a_write_whose_sync_failed_once_is_won_only_after_the_store_has_synced_its_name() {
    static SYNCS: AtomicUsize = AtomicUsize::new(0);
    fn fails_once(folder: &FsPath) -> io::Result<()> {
        if SYNCS.fetch_add(1, Ordering::SeqCst) == 0 { broken() } else { tributary_eventlog::folder::sync(folder) }
    }
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open_with_sync(folder.path(), fails_once).unwrap();
    let bytes = Bytes::from_static(b"ours");
    assert_eq!(place(&*store, &name(), &bytes).await.unwrap(), Placed::Ours);
    assert_eq!(SYNCS.load(Ordering::SeqCst), 2, "its own bytes alone were not enough");
}

#[tokio::test]
async fn what_lies_on_a_disk_that_cannot_sync_is_nobodys() {
    fn fails(_: &FsPath) -> io::Result<()> {
        broken()
    }
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open_with_sync(folder.path(), fails).unwrap();
    for bytes in [&b"ours"[..], b"ours", b"theirs"] {
        let error = place(&*store, &name(), &Bytes::from_static(bytes)).await.unwrap_err();
        assert!(error.to_string().contains("the disk is broken"), "{error}");
        assert_eq!(read(&*store, &name()).await.unwrap().unwrap(), "ours");
    }
    // The next process has a sound disk, and finishes what this one began.
    let store = LocalStore::open(folder.path()).unwrap();
    assert_eq!(place(&*store, &name(), &Bytes::from_static(b"ours")).await.unwrap(), Placed::Ours);
}
