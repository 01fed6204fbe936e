//! A table of the lake at one cut.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DFSchema, Result, ScalarValue, Statistics, internal_datafusion_err};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::{Expr, ScalarUDF, col, lit};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::union::UnionExec;

use super::cut_filter::{CutBounds, InCut, Place};
use super::store::LakeOnly;

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
}

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
        Self { schema, test, inside, across, fresh: Vec::new() }
    }

    /// The same with rows that no file holds yet. They are not tested.
    pub(crate) fn with_fresh(self, fresh: Vec<RecordBatch>) -> Self {
        Self { fresh, ..self }
    }

    /// Reads the files' columns without a test of rows.
    fn read(
        &self,
        state: &dyn Session,
        files: &[FileSpan],
        columns: &[usize],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let url = LakeOnly::url();
        let runtime = state.runtime_env();
        let footers =
            CachedParquetFileReaderFactory::new(runtime.object_store(&url)?, runtime.cache_manager.get_file_metadata_cache());
        let options =
            TableParquetOptions { global: state.config_options().execution.parquet.clone(), ..TableParquetOptions::default() };
        let source = ParquetSource::new(Arc::clone(&self.schema))
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(footers));
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(self.groups(files, state.config().target_partitions()))
            .with_statistics(self.statistics_of(files))
            .with_limit(limit)
            .with_projection_indices(Some(columns.to_vec()))?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    /// Reads the files' rows that pass the test. The columns that the test needs are read besides and dropped after it.
    fn read_tested(&self, state: &dyn Session, columns: &[usize]) -> Result<Arc<dyn ExecutionPlan>> {
        let (test, needed) = self.test_expr()?;
        let mut read = columns.to_vec();
        for index in needed {
            if !read.contains(&index) {
                read.push(index);
            }
        }
        let input = self.read(state, &self.across, &read, None)?;
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

    /// The test as an expression, and the columns that it reads.
    fn test_expr(&self) -> Result<(Expr, Vec<usize>)> {
        match &self.test {
            RowTest::All => Ok((lit(true), Vec::new())),
            RowTest::InCut(bounds) => {
                let test = ScalarUDF::new_from_impl(InCut::new(bounds.clone()));
                let needed = vec![self.schema.index_of("_partition")?, self.schema.index_of("_seq")?];
                Ok((test.call(vec![col("_partition"), col("_seq")]), needed))
            }
            RowTest::UpToEpoch(last) => Ok((col("epoch").lt_eq(lit(*last)), vec![self.schema.index_of("epoch")?])),
        }
    }

    /// The files in as many groups as the plan has partitions, the groups about equal in bytes.
    fn groups(&self, files: &[FileSpan], count: usize) -> Vec<FileGroup> {
        let count = count.min(files.len()).max(1);
        let mut groups = vec![(0_u64, Vec::new()); count];
        let mut by_size: Vec<&FileSpan> = files.iter().collect();
        by_size.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
        for file in by_size {
            let smallest = groups.iter_mut().min_by_key(|(bytes, _)| *bytes).expect("at least one group");
            smallest.0 += file.size;
            let statistics = Arc::new(self.statistics_of(std::slice::from_ref(file)));
            smallest.1.push(PartitionedFile::new(file.path.clone(), file.size).with_statistics(statistics));
        }
        groups.into_iter().map(|(_, files)| FileGroup::new(files)).collect()
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

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let mut parts = Vec::new();
        if !self.inside.is_empty() {
            parts.push(self.read(state, &self.inside, &columns, limit)?);
        }
        if !self.across.is_empty() {
            parts.push(self.read_tested(state, &columns)?);
        }
        if !self.fresh.is_empty() {
            parts.push(MemorySourceConfig::try_new_exec(
                std::slice::from_ref(&self.fresh),
                self.schema(),
                Some(columns.clone()),
            )?);
        }
        match parts.len() {
            0 => Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(&columns)?)))),
            1 => parts.pop().ok_or_else(|| internal_datafusion_err!("one part was counted")),
            _ => UnionExec::try_new(parts),
        }
    }

    fn statistics(&self) -> Option<Statistics> {
        let statistics = self.statistics_of(&self.inside);
        if self.across.is_empty() && self.fresh.is_empty() {
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
