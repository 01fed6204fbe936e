#![allow(clippy::unwrap_used)]

use object_store::RenameTargetMode;
use object_store::buffered::BufWriter;
use tokio::io::AsyncWriteExt;

use super::*;

fn open() -> (tempfile::TempDir, LocalStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open_local(&folder.path().join("deep/store")).unwrap();
    (folder, store)
}

async fn names(store: &LocalStore) -> Vec<String> {
    let mut names: Vec<String> = store.list(None).map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap();
    names.sort();
    names
}

async fn read(store: &LocalStore, path: &str) -> Bytes {
    store.get(&Path::from(path)).await.unwrap().bytes().await.unwrap()
}

fn create() -> PutOptions {
    PutMode::Create.into()
}

#[tokio::test]
async fn of_many_who_create_one_object_exactly_one_wins_and_nothing_unfinished_stays() {
    let (_folder, store) = open();
    let path = Path::from("journal/p-00000/00000000000000000000.batch");
    let attempt = |n: u8| {
        let (store, path) = (store.clone(), path.clone());
        async move { (n, store.put_opts(&path, vec![n; 100_000].into(), create()).await) }
    };
    let outcomes = futures::future::join_all((0..16).map(attempt)).await;
    let winners: Vec<u8> = outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(n, _)| *n).collect();
    assert_eq!(winners.len(), 1);
    for (_, outcome) in outcomes.iter().filter(|(_, outcome)| outcome.is_err()) {
        assert!(matches!(outcome, Err(Error::AlreadyExists { .. })), "{outcome:?}");
    }
    assert_eq!(read(&store, path.as_ref()).await, vec![winners[0]; 100_000]);
    assert_eq!(names(&store).await, [path.as_ref()]);
    assert_eq!(fs::read_dir(store.folders.root().join(STAGING)).unwrap().count(), 0);
}

#[tokio::test]
async fn an_object_whose_name_could_not_be_synced_is_neither_written_nor_said_to_be_there() {
    fn fails(_: &FsPath) -> io::Result<()> {
        Err(io::Error::other("the disk is broken"))
    }
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open_with_sync(folder.path(), fails).unwrap();
    for _ in 0..2 {
        let error = store.put_opts(&Path::from("a/b"), "x".into(), create()).await.unwrap_err();
        assert!(matches!(error, Error::Generic { .. }) && error.to_string().contains("the disk is broken"), "{error}");
    }
}

#[tokio::test]
async fn an_object_is_replaced_as_a_whole_and_its_tag_is_what_a_reader_sees() {
    let (_folder, store) = open();
    let path = Path::from("a/b/c");
    store.put(&path, "first".into()).await.unwrap();
    let put = store.put(&path, "second".into()).await.unwrap();
    assert_eq!(read(&store, "a/b/c").await, "second");
    assert_eq!(put.e_tag, store.head(&path).await.unwrap().e_tag);
}

#[tokio::test]
async fn an_upload_in_parts_appears_when_it_is_complete_and_never_when_it_is_not() {
    let (_folder, store) = open();
    let store = Arc::new(store);
    let mut writer = BufWriter::with_capacity(store.clone(), Path::from("lake/big"), 6 << 20);
    for n in 0..20_u8 {
        writer.write_all(&vec![n; 1 << 20]).await.unwrap();
    }
    assert_eq!(names(&store).await, Vec::<String>::new());
    writer.shutdown().await.unwrap();
    let expected: Vec<u8> = (0..20_u8).flat_map(|n| vec![n; 1 << 20]).collect();
    assert_eq!(read(&store, "lake/big").await, expected);

    let mut aborted = store.put_multipart(&Path::from("lake/aborted")).await.unwrap();
    aborted.put_part("part".into()).await.unwrap();
    aborted.abort().await.unwrap();
    assert!(aborted.put_part("part".into()).await.is_err());
    let mut dropped = store.put_multipart(&Path::from("lake/dropped")).await.unwrap();
    dropped.put_part("part".into()).await.unwrap();
    drop(dropped);
    assert_eq!(names(&store).await, ["lake/big"]);
    assert_eq!(fs::read_dir(store.folders.root().join(STAGING)).unwrap().count(), 0);
}

#[tokio::test]
async fn copies_and_renames_go_to_new_folders_and_spare_what_is_there() {
    let (_folder, store) = open();
    let (from, to) = (Path::from("lake/_delta_log/_commit.tmp"), Path::from("lake/new/_delta_log/0.json"));
    store.put(&from, "one".into()).await.unwrap();
    store.rename_if_not_exists(&from, &to).await.unwrap();
    store.put(&from, "two".into()).await.unwrap();
    let taken = store.rename_if_not_exists(&from, &to).await;
    assert!(matches!(taken, Err(Error::AlreadyExists { .. })), "{taken:?}");
    let taken = store.copy_if_not_exists(&from, &to).await;
    assert!(matches!(taken, Err(Error::AlreadyExists { .. })), "{taken:?}");
    assert_eq!(read(&store, to.as_ref()).await, "one");
    let overwrite = RenameOptions::new().with_target_mode(RenameTargetMode::Overwrite);
    store.rename_opts(&from, &to, overwrite).await.unwrap();
    assert_eq!(read(&store, to.as_ref()).await, "two");
    store.copy(&to, &Path::from("other/folder/copy")).await.unwrap();
    assert_eq!(names(&store).await, [to.as_ref(), "other/folder/copy"]);
    store.delete(&to).await.unwrap();
    assert_eq!(names(&store).await, ["other/folder/copy"]);
}

#[tokio::test]
async fn what_a_crash_left_is_never_listed_and_cleared_by_a_later_start() {
    let (folder, store) = open();
    store.put(&Path::from("kept"), "x".into()).await.unwrap();
    let staging = store.folders.root().join(STAGING);
    for (name, age) in [("1-1", 2 * 60 * 60), ("1-2", 60)] {
        let file = File::create(staging.join(name)).unwrap();
        let now = file.metadata().unwrap().modified().unwrap();
        file.set_modified(now - Duration::from_secs(age)).unwrap();
    }
    let listed = store.list_with_delimiter(None).await.unwrap();
    assert_eq!((names(&store).await, listed.common_prefixes, listed.objects.len()), (vec!["kept".to_owned()], vec![], 1));
    let offset = store.list_with_offset(None, &Path::from(".a")).try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(offset.len(), 1);
    // The younger may belong to a living process.
    LocalStore::open_local(&folder.path().join("deep/store")).unwrap();
    assert!(!staging.join("1-1").exists() && staging.join("1-2").exists());
}

#[tokio::test]
async fn listing_with_an_offset_gives_what_comes_after_it() {
    let (_folder, store) = open();
    for n in 0..5 {
        store.put(&Path::from(format!("p/{n:020}.batch")), "x".into()).await.unwrap();
    }
    let after = store.list_with_offset(Some(&Path::from("p")), &Path::from(format!("p/{:020}.batch", 2)));
    let mut after: Vec<String> = after.map_ok(|meta| meta.location.to_string()).try_collect().await.unwrap();
    after.sort();
    assert_eq!(after, [format!("p/{:020}.batch", 3), format!("p/{:020}.batch", 4)]);
}

#[tokio::test]
async fn a_store_open_for_reading_gives_every_object_makes_nothing_and_refuses_every_write() {
    let (folder, store) = open();
    let (kept, other) = (Path::from("a/kept"), Path::from("b/other"));
    store.put(&kept, "x".into()).await.unwrap();
    let directory = folder.path().join("deep/store");
    fs::remove_dir(directory.join(STAGING)).unwrap();
    let reading = LocalStore::open_read_only(&directory).unwrap();
    assert_eq!(reading.get(&kept).await.unwrap().bytes().await.unwrap(), "x");
    let listed: Vec<ObjectMeta> = reading.list(None).try_collect().await.unwrap();
    assert_eq!(listed.len(), 1);
    let refused = [
        reading.put(&other, "y".into()).await.err(),
        reading.put_multipart(&other).await.err(),
        reading.copy(&kept, &other).await.err(),
        reading.rename(&kept, &other).await.err(),
        reading.delete(&kept).await.err(),
    ];
    for error in refused {
        let error = error.unwrap();
        assert!(matches!(error, Error::PermissionDenied { .. }), "{error}");
        assert!(error.to_string().contains("open for reading only"), "{error}");
    }
    assert_eq!(names(&store).await, ["a/kept"]);
    assert!(!directory.join(STAGING).exists() && !directory.join("b").exists());
    assert!(LocalStore::open_read_only(directory.join("absent")).is_err());
}

/// A small file system of its own; `None`, said aloud, where this user may not mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(bytes: usize) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={bytes}");
        let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder.path()).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(folder));
        }
        assert!(
            std::env::var_os("TRIBUTARY_REQUIRE_ALL").is_none(),
            "TRIBUTARY_REQUIRE_ALL is set, but a tmpfs cannot be mounted here: run the tests as root with CAP_SYS_ADMIN, or \
             unset it to have them skipped"
        );
        println!("SKIPPED: a full disk needs the right to mount a tmpfs");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_named_and_leaves_nothing_partial() {
    let Some(disk) = SmallDisk::mount(1 << 20) else { return };
    let store = LocalStore::open_local(disk.0.path()).unwrap();
    store.put(&Path::from("a/small"), vec![1; 100_000].into()).await.unwrap();
    for options in [create(), PutOptions::default()] {
        let error = store.put_opts(&Path::from("a/large"), vec![2; 2 << 20].into(), options).await.unwrap_err();
        assert!(error.to_string().contains("No space left on device"), "{error}");
    }
    let mut upload = store.put_multipart(&Path::from("a/parts")).await.unwrap();
    let error = upload.put_part(vec![3; 2 << 20].into()).await.unwrap_err();
    assert!(error.to_string().contains("No space left on device"), "{error}");
    drop(upload);
    assert_eq!(names(&store).await, ["a/small"]);
    // What failed took no room: as much as fits can still be written.
    store.put(&Path::from("a/rest"), vec![4; 800_000].into()).await.unwrap();
}
