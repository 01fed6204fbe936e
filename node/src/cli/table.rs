//! Rows as a table of text: one header, columns as wide as their values, numbers to the right.

use std::io::Write;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Rows that are looked at before the columns get their width. Wider values that come later stand out.
const FIT_ROWS: usize = 1_000;
/// On a terminal a value is cut to this many characters.
const CELL_CHARS_MAX: usize = 64;

/// Prints batches as they come, as one table.
pub struct TablePrinter {
    columns: Vec<Column>,
    waiting: Vec<Vec<String>>,
    header_printed: bool,
    rows: u64,
    cut: bool,
}

struct Column {
    name: String,
    to_the_right: bool,
    width: usize,
}

impl TablePrinter {
    /// A table of these columns; `cut` shortens long values.
    pub fn new(schema: &SchemaRef, cut: bool) -> Self {
        let column = |field: &arrow::datatypes::FieldRef| Column {
            name: field.name().clone(),
            to_the_right: field.data_type().is_numeric(),
            width: field.name().chars().count(),
        };
        Self { columns: schema.fields().iter().map(column).collect(), waiting: Vec::new(), header_printed: false, rows: 0, cut }
    }

    /// Takes rows; those beyond the first thousand are printed at once.
    pub fn push(&mut self, batch: &RecordBatch, out: &mut impl Write) -> Result<(), ArrowError> {
        let options = FormatOptions::default().with_null("");
        let formatters = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let cells = formatters.iter().map(|formatter| formatter.value(row).try_to_string());
            let cells = cells.map(|cell| cell.map(|cell| self.shown(&cell))).collect::<Result<Vec<_>, _>>()?;
            self.rows += 1;
            if self.header_printed {
                self.line(&cells, out)?;
                continue;
            }
            self.waiting.push(cells);
            if self.waiting.len() >= FIT_ROWS {
                self.begin(out)?;
            }
        }
        Ok(())
    }

    /// Prints what is left, and how many rows there were.
    pub fn finish(mut self, out: &mut impl Write) -> Result<(), ArrowError> {
        if !self.header_printed {
            self.begin(out)?;
        }
        self.rule(out)?;
        writeln!(out, "{} row{}", self.rows, if self.rows == 1 { "" } else { "s" })?;
        Ok(())
    }

    /// One line, whatever the value has in it.
    fn shown(&self, cell: &str) -> String {
        let flat: String = cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if self.cut && flat.chars().count() > CELL_CHARS_MAX {
            return flat.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect();
        }
        flat
    }

    fn begin(&mut self, out: &mut impl Write) -> Result<(), ArrowError> {
        self.header_printed = true;
        let waiting = std::mem::take(&mut self.waiting);
        for cells in &waiting {
            for (column, cell) in self.columns.iter_mut().zip(cells) {
                column.width = column.width.max(cell.chars().count());
            }
        }
        self.rule(out)?;
        let names: Vec<String> = self.columns.iter().map(|column| column.name.clone()).collect();
        self.line(&names, out)?;
        self.rule(out)?;
        waiting.iter().try_for_each(|cells| self.line(cells, out))
    }

    fn rule(&self, out: &mut impl Write) -> Result<(), ArrowError> {
        for column in &self.columns {
            write!(out, "+{}", "-".repeat(column.width + 2))?;
        }
        writeln!(out, "+")?;
        Ok(())
    }

    fn line(&self, cells: &[String], out: &mut impl Write) -> Result<(), ArrowError> {
        for (column, cell) in self.columns.iter().zip(cells) {
            let width = column.width;
            if column.to_the_right { write!(out, "| {cell:>width$} ")? } else { write!(out, "| {cell:<width$} ")? }
        }
        writeln!(out, "|")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn rows(names: &[Option<&str>], first: i64) -> RecordBatch {
        let numbers: ArrayRef = Arc::new((first..).take(names.len()).collect::<Int64Array>());
        let names: ArrayRef = Arc::new(names.iter().copied().collect::<StringArray>());
        RecordBatch::try_from_iter([("name", names), ("n", numbers)]).unwrap()
    }

    fn print(batches: &[RecordBatch], cut: bool) -> String {
        let mut out = Vec::new();
        let mut printer = TablePrinter::new(&batches[0].schema(), cut);
        batches.iter().for_each(|batch| printer.push(batch, &mut out).unwrap());
        printer.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn several_batches_are_one_table_with_numbers_to_the_right() {
        let printed = print(&[rows(&[Some("ä"), None], 9), rows(&[Some("a\nb")], 100)], false);
        let expected = "+------+-----+\n| name |   n |\n+------+-----+\n| ä    |   9 |\n|      |  10 |\n| a b  | 100 |\n+------+-----+\n3 rows\n";
        assert_eq!(printed, expected);
    }

    #[test]
    fn a_long_value_is_cut_only_where_it_is_asked_for() {
        let long = "x".repeat(100);
        let batch = rows(&[Some(long.as_str())], 1);
        assert!(print(std::slice::from_ref(&batch), false).contains(&long));
        let cut = print(&[batch], true);
        assert!(!cut.contains(&long) && cut.contains('…') && cut.ends_with("1 row\n"), "{cut}");
    }

    #[test]
    fn an_answer_without_rows_has_its_header() {
        let printed = print(&[rows(&[], 1)], false);
        assert_eq!(printed, "+------+---+\n| name | n |\n+------+---+\n+------+---+\n0 rows\n");
    }
}
