//! Which rows of a Parquet file can be wanted: by its page index, without reading a page.

use std::ops::Range;

use parquet::arrow::arrow_reader::RowSelection;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;

use super::by_place::Wanted;

/// Rows of a page, and the least and greatest value of one column in it.
type Span = (Range<usize>, (i64, i64));

/// The rows of the file that can be of wanted batches; `None` where the file does not say.
pub(super) fn rows_of(file: &ParquetMetaData, wanted: &Wanted) -> Option<RowSelection> {
    let (mut selected, mut before) = (Vec::new(), 0);
    for group in 0..file.num_row_groups() {
        let partitions = pages(file, group, "_partition")?;
        let seqs = pages(file, group, "_seq")?;
        let (mut partition, mut seq) = (0, 0);
        while let (Some((rows_p, values_p)), Some((rows_s, values_s))) = (partitions.get(partition), seqs.get(seq)) {
            let rows = rows_p.start.max(rows_s.start)..rows_p.end.min(rows_s.end);
            let is_of = |partitions: (i64, i64)| Some((i32::try_from(partitions.0).ok()?, i32::try_from(partitions.1).ok()?));
            if wanted.any_in(is_of(*values_p)?, *values_s) {
                selected.push(before + rows.start..before + rows.end);
            }
            partition += usize::from(rows_p.end == rows.end);
            seq += usize::from(rows_s.end == rows.end);
        }
        before += usize::try_from(file.row_group(group).num_rows()).ok()?;
    }
    Some(RowSelection::from_consecutive_ranges(selected.into_iter(), before))
}

/// The pages of a column in a row group.
fn pages(file: &ParquetMetaData, group: usize, column: &str) -> Option<Vec<Span>> {
    let number = file.row_group(group).columns().iter().position(|chunk| chunk.column_path().string() == column)?;
    let starts = file.offset_index()?.get(group)?.get(number)?.page_locations();
    let starts: Vec<usize> = starts.iter().map(|page| usize::try_from(page.first_row_index).ok()).collect::<Option<_>>()?;
    let end = usize::try_from(file.row_group(group).num_rows()).ok()?;
    let ends = starts.iter().skip(1).copied().chain([end]);
    let index = file.column_index()?.get(group)?.get(number)?;
    let values = |page: usize| match index {
        ColumnIndexMetaData::INT32(index) => Some((i64::from(*index.min_value(page)?), i64::from(*index.max_value(page)?))),
        ColumnIndexMetaData::INT64(index) => Some((*index.min_value(page)?, *index.max_value(page)?)),
        _ => None,
    };
    starts.iter().zip(ends).enumerate().map(|(page, (start, end))| Some((*start..end, values(page)?))).collect()
}
