//! A table of the lake at one cut.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DFSchema, Result, ScalarValue, Statistics, internal_datafusion_err};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::datasource::physical_plan::parquet::{CachedParquetFileReaderFactory, ParquetRowSelection};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::TableProviderFilterPushDown::{Inexact, Unsupported};
use datafusion::logical_expr::{Expr, ScalarUDF, TableProviderFilterPushDown, col, lit};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use parquet::arrow::arrow_reader::RowSelection;

use super::by_place::{ByPlace, Wanted};
use super::cut_filter::{CutBounds, InCut, Place};
use super::place_test::PLACE_COLUMNS;
use super::seam::Seam;
use super::selection::rows_of;
use super::store::LakeOnly;

/// A lookup reads at most so many events of a table.
const LOOKUP_EVENTS_MAX: usize = 1_024;

/// Which rows of a table a query sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RowTest {
    /// All of them.
    All,
    /// Rows of the batches in a cut; for tables of events.
    InCut(CutBounds),
    /// Rows of the epochs up to this one; for tables of settlement. 0: none.
    UpToEpoch(i64),
}

/// A Parquet file of the lake, and what is known of it without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileSpan {
    /// Its name in the store.
    pub(crate) path: String,
    /// Bytes.
    pub(crate) size: u64,
    /// Rows.
    pub(crate) rows: u64,
    /// The least and greatest `_partition`, where known.
    pub(crate) partitions: Option<(i32, i32)>,
    /// The least and greatest `_seq`, where known.
    pub(crate) seqs: Option<(i64, i64)>,
}

/// One table of the lake as one query sees it: a fixed list of files and a test of rows.
#[derive(Debug)]
pub(crate) struct LakeTable {
    schema: SchemaRef,
    test: RowTest,
    inside: Vec<FileSpan>,
    across: Vec<FileSpan>,
    fresh: Vec<RecordBatch>,
    by_place: Option<ByPlace>,
    /// The query that it answers, if it stands for a view.
    definition: Option<String>,
}

/// A test of rows, and the columns that it reads.
type Test = (Expr, Vec<usize>);

impl LakeTable {
    /// A table whose rows must pass `test`; files that can have none are left out.
    pub(crate) fn new(schema: SchemaRef, files: impl IntoIterator<Item = FileSpan>, test: RowTest) -> Self {
        let (mut inside, mut across) = (Vec::new(), Vec::new());
        for file in files {
            match place(&file, &test) {
                Place::Inside => inside.push(file),
                Place::Across => across.push(file),
                Place::Outside => {}
            }
        }
        Self { schema, test, inside, across, fresh: Vec::new(), by_place: None, definition: None }
    }

    /// The same with rows that no file holds yet. They are not tested.
    pub(crate) fn with_fresh(self, fresh: Vec<RecordBatch>) -> Self {
        Self { fresh, ..self }
    }

    /// The same with an index that finds rows by key and, where it has a rule, keeps those that count.
    pub(crate) fn with_index(self, by_place: ByPlace) -> Self {
        Self { by_place: Some(by_place), ..self }
    }

    /// The same, standing for a view.
    pub(crate) fn with_definition(self, sql: &str) -> Self {
        Self { definition: Some(sql.to_owned()), ..self }
    }

    /// Whether the conditions ask for certain keys, with few rows.
    pub(crate) fn reads_by_key(&self, conditions: &[Expr]) -> bool {
        let wanted = self.by_place.as_ref().and_then(|index| index.wanted(conditions));
        wanted.is_some_and(|wanted| wanted.len() <= LOOKUP_EVENTS_MAX)
    }

    /// Reads the files' columns.
    fn read(&self, scan: &Scan<'_>, files: &[Chosen], columns: &[usize], limit: Option<usize>) -> Result<Arc<dyn ExecutionPlan>> {
        let mut global = scan.state.config_options().execution.parquet.clone();
        // Of the few pages that can have wanted rows, the other columns are decoded for these rows alone.
        if scan.wanted.is_some() {
            global.pushdown_filters = true;
            global.max_predicate_cache_size = Some(0);
        }
        let options = TableParquetOptions { global, ..TableParquetOptions::default() };
        let mut source = ParquetSource::new(Arc::clone(&self.schema))
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::clone(&scan.footers) as _);
        if let Some(wanted) = scan.wanted {
            let schema = DFSchema::try_from(Arc::clone(&self.schema))?;
            source = source.with_predicate(scan.state.create_physical_expr(wanted.test(), &schema)?);
        }
        let spans = files.iter().map(|file| file.span.clone()).collect::<Vec<_>>();
        let config = FileScanConfigBuilder::new(LakeOnly::url(), Arc::new(source))
            .with_file_groups(self.groups(files, scan.state.config().target_partitions()))
            .with_statistics(self.statistics_of(&spans))
            .with_limit(limit)
            .with_projection_indices(Some(columns.to_vec()))?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// Rows that pass the tests. The columns that the tests need are read besides and dropped after them.
    fn tested(
        state: &dyn Session,
        columns: &[usize],
        tests: Vec<Test>,
        read_columns: impl FnOnce(&[usize]) -> Result<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if tests.is_empty() {
            return read_columns(columns);
        }
        let mut read = columns.to_vec();
        for index in tests.iter().flat_map(|(_, needed)| needed) {
            if !read.contains(index) {
                read.push(*index);
            }
        }
        let input = read_columns(&read)?;
        let test = tests.into_iter().map(|(test, _)| test).reduce(Expr::and).unwrap_or_else(|| lit(true));
        let test = state.create_physical_expr(test, &DFSchema::try_from(input.schema())?)?;
        let tested: Arc<dyn ExecutionPlan> = Arc::new(FilterExec::try_new(test, input)?);
        if read.len() == columns.len() {
            return Ok(tested);
        }
        let schema = tested.schema();
        let kept = (0..columns.len()).map(|i| {
            let name = schema.field(i).name().clone();
            ProjectionExpr { expr: Arc::new(Column::new(&name, i)), alias: name }
        });
        Ok(Arc::new(ProjectionExec::try_new(kept.collect::<Vec<_>>(), tested)?))
    }

    /// The test of rows for files that lie across it.
    fn across_test(&self) -> Result<Option<Test>> {
        Ok(match &self.test {
            RowTest::All => None,
            RowTest::InCut(bounds) => {
                let test = ScalarUDF::new_from_impl(InCut::new(bounds.clone()));
                let needed = vec![self.schema.index_of("_partition")?, self.schema.index_of("_seq")?];
                Some((test.call(vec![col("_partition"), col("_seq")]), needed))
            }
            RowTest::UpToEpoch(last) => Some((col("epoch").lt_eq(lit(*last)), vec![self.schema.index_of("epoch")?])),
        })
    }

    /// The test whether a row counts.
    fn counting_test(&self) -> Result<Option<Test>> {
        let Some(test) = self.by_place.as_ref().and_then(ByPlace::test) else { return Ok(None) };
        let needed = PLACE_COLUMNS.iter().map(|name| self.schema.index_of(name)).collect::<Result<_, _>>()?;
        Ok(Some((test, needed)))
    }

    /// Reads the files, each with the tests that it needs.
    async fn read_files(&self, scan: &Scan<'_>, columns: &[usize], limit: Option<usize>) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
        let mut by_tests: BTreeMap<(bool, bool), Vec<Chosen>> = BTreeMap::new();
        for (files, is_across) in [(&self.inside, false), (&self.across, true)] {
            for file in files {
                let Some(chosen) = scan.choose(file).await? else { continue };
                let is_doubtful = self.by_place.as_ref().is_some_and(|index| index.is_doubtful(file));
                by_tests.entry((is_across, is_doubtful)).or_default().push(chosen);
            }
        }
        let mut parts = Vec::new();
        for ((is_across, is_doubtful), files) in by_tests {
            let across = if is_across { self.across_test()? } else { None };
            let counting = if is_doubtful { self.counting_test()? } else { None };
            let tests: Vec<Test> = across.into_iter().chain(counting).collect();
            let limit = if tests.is_empty() { limit } else { None };
            let read = |read: &[usize]| self.read(scan, &files, read, limit);
            parts.push(Self::tested(scan.state, columns, tests, read)?);
        }
        Ok(parts)
    }

    /// Reads the rows that no file holds yet. Each of their batches has rows of one sealed batch.
    fn read_fresh(&self, scan: &Scan<'_>, columns: &[usize]) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let is_wanted =
            |rows: &&RecordBatch| scan.wanted.is_none_or(|wanted| sealed_in(rows).is_none_or(|(p, s)| wanted.has_batch(p, s)));
        let fresh: Vec<RecordBatch> = self.fresh.iter().filter(is_wanted).cloned().collect();
        if fresh.is_empty() {
            return Ok(None);
        }
        let read = |read: &[usize]| -> Result<Arc<dyn ExecutionPlan>> {
            Ok(MemorySourceConfig::try_new_exec(&[fresh], self.schema(), Some(read.to_vec()))?)
        };
        Self::tested(scan.state, columns, self.counting_test()?.into_iter().collect(), read).map(Some)
    }

    /// The files in as many groups as the plan has partitions, the groups about equal in bytes. In a group the newest come first: who
    /// asks for the latest rows then skips most of the others.
    fn groups(&self, files: &[Chosen], count: usize) -> Vec<FileGroup> {
        let count = count.min(files.len()).max(1);
        let mut groups = vec![(0_u64, Vec::<&Chosen>::new()); count];
        let mut by_size: Vec<&Chosen> = files.iter().collect();
        by_size.sort_by(|a, b| b.span.size.cmp(&a.span.size).then_with(|| a.span.path.cmp(&b.span.path)));
        for file in by_size {
            let smallest = groups.iter_mut().min_by_key(|(bytes, _)| *bytes).expect("at least one group");
            smallest.0 += file.span.size;
            smallest.1.push(file);
        }
        let stored = |Chosen { span, rows }: &Chosen| {
            let statistics = Arc::new(self.statistics_of(std::slice::from_ref(span)));
            let file = PartitionedFile::new(span.path.clone(), span.size).with_statistics(statistics);
            match rows {
                Some(rows) => file.with_extension(ParquetRowSelection::new(rows.clone())),
                None => file,
            }
        };
        let newest_first = |(_, mut files): (u64, Vec<&Chosen>)| {
            files.sort_by_key(|file| Reverse(file.span.seqs.map(|(_, last)| last)));
            FileGroup::new(files.into_iter().map(stored).collect())
        };
        groups.into_iter().map(newest_first).collect()
    }

    fn statistics_of(&self, files: &[FileSpan]) -> Statistics {
        let rows: u64 = files.iter().map(|f| f.rows).sum();
        let bytes: u64 = files.iter().map(|f| f.size).sum();
        let mut statistics = Statistics::new_unknown(&self.schema)
            .with_num_rows(usize::try_from(rows).map_or(Precision::Absent, Precision::Exact))
            .with_total_byte_size(usize::try_from(bytes).map_or(Precision::Absent, Precision::Inexact));
        self.bound(&mut statistics, "_partition", span(files.iter().map(|f| f.partitions)), |v| ScalarValue::Int32(Some(v)));
        self.bound(&mut statistics, "_seq", span(files.iter().map(|f| f.seqs)), |v| ScalarValue::Int64(Some(v)));
        statistics
    }

    fn bound<T: Copy>(&self, statistics: &mut Statistics, column: &str, span: Option<(T, T)>, scalar: impl Fn(T) -> ScalarValue) {
        if let (Some((least, most)), Ok(index)) = (span, self.schema.index_of(column)) {
            statistics.column_statistics[index] = ColumnStatistics::new_unknown()
                .with_null_count(Precision::Exact(0))
                .with_min_value(Precision::Exact(scalar(least)))
                .with_max_value(Precision::Exact(scalar(most)));
        }
    }
}

/// The partition and the batch of fresh rows.
fn sealed_in(rows: &RecordBatch) -> Option<(i32, i64)> {
    let partition = rows.column_by_name("_partition")?.as_primitive_opt::<Int32Type>()?.values().first().copied()?;
    Some((partition, rows.column_by_name("_seq")?.as_primitive_opt::<Int64Type>()?.values().first().copied()?))
}

/// One reading of a table.
struct Scan<'s> {
    state: &'s dyn Session,
    footers: Arc<CachedParquetFileReaderFactory>,
    /// The only rows that are wanted, if certain keys are looked up.
    wanted: Option<&'s Wanted>,
}

/// A file to be read, and of it the rows that can be wanted; all where that is not known.
#[derive(Clone)]
struct Chosen {
    span: FileSpan,
    rows: Option<RowSelection>,
}

impl<'s> Scan<'s> {
    fn new(state: &'s dyn Session, wanted: Option<&'s Wanted>) -> Result<Self> {
        let runtime = state.runtime_env();
        let store = runtime.object_store(LakeOnly::url())?;
        let footers = Arc::new(CachedParquetFileReaderFactory::new(store, runtime.cache_manager.get_file_metadata_cache()));
        Ok(Self { state, footers, wanted })
    }

    /// The file, if it can have wanted rows.
    async fn choose(&self, file: &FileSpan) -> Result<Option<Chosen>> {
        let Some(wanted) = self.wanted else { return Ok(Some(Chosen { span: file.clone(), rows: None })) };
        if !wanted.can_be_in(file) {
            return Ok(None);
        }
        let stored = PartitionedFile::new(file.path.clone(), file.size);
        let mut reader = self.footers.create_reader(0, stored, None, &ExecutionPlanMetricsSet::new())?;
        let rows = rows_of(&*reader.get_metadata(None).await?, wanted);
        if rows.as_ref().is_some_and(|rows| !rows.selects_any()) {
            return Ok(None);
        }
        Ok(Some(Chosen { span: file.clone(), rows }))
    }
}

fn place(file: &FileSpan, test: &RowTest) -> Place {
    match (test, file.partitions, file.seqs) {
        (RowTest::All, _, _) => Place::Inside,
        (RowTest::UpToEpoch(0), _, _) => Place::Outside,
        (RowTest::InCut(bounds), Some(partitions), Some(seqs)) => bounds.place(partitions, seqs),
        (RowTest::InCut(_) | RowTest::UpToEpoch(_), _, _) => Place::Across,
    }
}

/// The least and the greatest of all spans; `None` if one is unknown, or there is none.
fn span<T: Ord + Copy>(mut spans: impl Iterator<Item = Option<(T, T)>>) -> Option<(T, T)> {
    let first = spans.next()??;
    spans.try_fold(first, |whole, next| next.map(|next| (whole.0.min(next.0), whole.1.max(next.1))))
}

#[async_trait]
impl TableProvider for LakeTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_table_definition(&self) -> Option<&str> {
        self.definition.as_deref()
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let wanted = self.by_place.as_ref().and_then(|index| index.wanted(filters));
        let nothing = || Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(&columns)?))) as Arc<dyn ExecutionPlan>);
        if wanted.as_ref().is_some_and(Wanted::is_empty) {
            return nothing();
        }
        let scan = Scan::new(state, wanted.as_ref())?;
        let mut parts = self.read_files(&scan, &columns, limit).await?;
        parts.extend(self.read_fresh(&scan, &columns)?);
        match parts.len() {
            0 => nothing(),
            1 => parts.pop().ok_or_else(|| internal_datafusion_err!("one part was counted")),
            _ => Seam::of(parts),
        }
    }

    /// Conditions on the record key leave out files and parts of files; they are tested again behind the scan.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let is_on_key = |filter: &&Expr| self.by_place.as_ref().is_some_and(|index| index.is_on_key(filter));
        let support = |filter| if is_on_key(filter) { Inexact } else { Unsupported };
        Ok(filters.iter().map(support).collect())
    }

    fn statistics(&self) -> Option<Statistics> {
        let statistics = self.statistics_of(&self.inside);
        let is_whole = self.across.is_empty() && self.fresh.is_empty();
        if is_whole && !self.inside.iter().any(|file| self.by_place.as_ref().is_some_and(|index| index.is_doubtful(file))) {
            Some(statistics)
        } else {
            let mut all = self.statistics_of(&[self.inside.as_slice(), &self.across].concat()).to_inexact();
            if !self.fresh.is_empty() {
                // The bounds of the files do not hold for fresh rows.
                let fresh: usize = self.fresh.iter().map(RecordBatch::num_rows).sum();
                let rows = all.num_rows.add(&Precision::Inexact(fresh));
                all = Statistics::new_unknown(&self.schema).with_num_rows(rows);
            }
            Some(all)
        }
    }
}

#[cfg(test)]
mod tests;
