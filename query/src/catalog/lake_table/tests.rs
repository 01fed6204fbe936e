#![allow(clippy::unwrap_used)]
use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;

use super::*;

fn schema() -> SchemaRef {
    let field = |name, data_type| Field::new(name, data_type, false);
    Arc::new(Schema::new(vec![field("id", DataType::Utf8), field("_partition", DataType::Int32), field("_seq", DataType::Int64)]))
}

/// Writes a file of one row per (partition, seq).
async fn file(store: &InMemory, name: &str, rows: &[(i32, i64)]) -> FileSpan {
    let ids: ArrayRef = Arc::new(rows.iter().map(|(p, s)| Some(format!("{p}:{s}"))).collect::<StringArray>());
    let partitions: ArrayRef = Arc::new(rows.iter().map(|(p, _)| *p).collect::<Int32Array>());
    let seqs: ArrayRef = Arc::new(rows.iter().map(|(_, s)| *s).collect::<Int64Array>());
    let batch = RecordBatch::try_new(schema(), vec![ids, partitions, seqs]).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let bytes = writer.into_inner().unwrap();
    let size = bytes.len() as u64;
    store.put(&name.into(), bytes.into()).await.unwrap();
    let bounds = |values: Vec<i64>| (*values.iter().min().unwrap(), *values.iter().max().unwrap());
    let (least, most) = bounds(rows.iter().map(|(p, _)| i64::from(*p)).collect());
    FileSpan {
        path: name.to_owned(),
        size,
        rows: rows.len() as u64,
        partitions: Some((least.try_into().unwrap(), most.try_into().unwrap())),
        seqs: Some(bounds(rows.iter().map(|(_, s)| *s).collect())),
    }
}

async fn context() -> (SessionContext, Vec<FileSpan>) {
    let store = Arc::new(InMemory::new());
    let files = vec![
        file(&store, "a", &[(0, 0), (0, 1), (1, 0), (1, 1)]).await,
        file(&store, "b", &[(0, 2), (0, 3), (1, 2)]).await,
        file(&store, "c", &[(1, 3), (1, 4)]).await,
    ];
    let registry = LakeOnly::new(store as Arc<dyn ObjectStore>);
    let runtime = RuntimeEnvBuilder::new().with_object_store_registry(Arc::new(registry)).build_arc().unwrap();
    (SessionContext::new_with_config_rt(SessionConfig::new().with_target_partitions(2), runtime), files)
}

async fn ask(context: &SessionContext, files: &[FileSpan], cut: &str, sql: &str) -> String {
    let bounds = CutBounds::of(&cut.parse().unwrap());
    let table = LakeTable::new(schema(), files.to_vec(), RowTest::InCut(bounds));
    context.deregister_table("t").unwrap();
    context.register_table("t", Arc::new(table)).unwrap();
    let rows = context.sql(sql).await.unwrap().collect().await.unwrap();
    arrow::util::pretty::pretty_format_batches(&rows).unwrap().to_string()
}

#[tokio::test]
async fn a_cut_shows_its_rows_and_no_others() {
    let (context, files) = context().await;
    let all = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (1, 2), (1, 3), (1, 4)];
    for cut in ["", "0:0", "0:1,1:1", "0:2", "1:2", "0:3,1:2", "0:2,1:4", "0:9,1:9", "0:3,1:0"] {
        let parsed: tributary_schemas::cut::Cut = cut.parse().unwrap();
        let inside = |p: i32, s: i64| CutBounds::of(&parsed).place((p, p), (s, s)) == Place::Inside;
        let expected: Vec<String> = all.iter().filter(|(p, s)| inside(*p, *s)).map(|(p, s)| format!("{p}:{s}")).collect();
        let rows = ask(&context, &files, cut, "SELECT id FROM t ORDER BY id").await;
        let found: Vec<&str> = rows.lines().map(|line| line.trim_matches(['|', ' '])).filter(|line| line.contains(':')).collect();
        assert_eq!(found, expected, "cut {cut}");
        let count = ask(&context, &files, cut, "SELECT count(*) AS n FROM t").await;
        assert!(count.contains(&format!("| {} ", expected.len())), "cut {cut}: {count}");
    }
}

#[tokio::test]
async fn a_file_inside_the_cut_is_read_without_a_test_and_one_outside_not_at_all() {
    let (context, files) = context().await;
    let plan = ask(&context, &files, "0:1,1:4", "EXPLAIN SELECT id FROM t").await;
    assert!(!plan.contains("in_cut(") || plan.contains("UnionExec"), "{plan}");
    let plan = ask(&context, &files, "0:1,1:1", "EXPLAIN SELECT id FROM t").await;
    assert!(!plan.contains("in_cut") && !plan.contains("UnionExec"), "{plan}");
    let count = ask(&context, &files, "0:9,1:9", "EXPLAIN SELECT count(*) FROM t").await;
    assert!(!count.contains("DataSourceExec"), "counted from what is known of files: {count}");
}

#[tokio::test]
async fn a_limit_is_not_taken_before_the_test_of_rows() {
    let (context, files) = context().await;
    let rows = ask(&context, &files, "1:4", "SELECT id FROM t LIMIT 100").await;
    assert_eq!(rows.lines().filter(|line| line.contains(':')).count(), 5, "{rows}");
}

#[tokio::test]
async fn the_newest_files_of_a_group_are_read_first() {
    let (_, files) = context().await;
    let table = LakeTable::new(schema(), files.clone(), RowTest::All);
    let chosen: Vec<Chosen> = files.into_iter().map(|span| Chosen { span, rows: None }).collect();
    let groups = table.groups(&chosen, 1);
    let paths: Vec<&str> = groups[0].files().iter().map(|file| file.path().as_ref()).collect();
    assert_eq!(paths, ["c", "b", "a"]);
}
