//! What a call would build, at most, told from its arguments.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};

use super::size::{bytes_of, bytes_of_argument, bytes_of_scalar, leaves};

/// Steps that one call may take where their number grows with the product of two lengths: a call cannot be interrupted.
pub(super) const STEPS_MAX: u64 = 1 << 30;

/// Bytes of an item of a list of numbers or instants.
const ITEM_BYTES: u64 = 8;
/// Bytes of the longest character.
const CHAR_BYTES: u64 = 4;
const DAY_NANOS: i128 = 86_400_000_000_000;
/// Days of the shortest month.
const MONTH_DAYS: i128 = 28;

/// The most bytes that a call can give. Functions that are not named here give about as much as they take; what they give
/// beyond is measured after the call.
pub(super) fn bytes(name: &str, call: &ScalarFunctionArgs) -> Result<u64> {
    let args = Arguments { call };
    let rows = args.rows();
    let taken = call.args.iter().map(|arg| bytes_of_argument(arg, rows)).fold(0, u64::saturating_add);
    let most = match name {
        "repeat" => args.sum(|row| Ok(product(args.length(0, row), args.count(1, row)?)))?,
        "lpad" | "rpad" => args.sum(|row| Ok(product(CHAR_BYTES, args.count(1, row)?)))?,
        "array_repeat" => args.sum(|row| Ok(product(args.length(0, row) + ITEM_BYTES, args.count(1, row)?)))?,
        "array_resize" => args.sum(|row| Ok(product(args.length(2, row) + ITEM_BYTES, args.count(1, row)?)))?,
        "range" | "generate_series" => args.sum(|row| Ok(product(ITEM_BYTES, args.series(row)?)))?,
        "replace" => args.sum(|row| {
            let matches = args.length(0, row) / args.length(1, row).max(1) + 1;
            Ok(product(matches, args.length(2, row)))
        })?,
        // A reference to a group takes two characters of the replacement and gives at most what matched.
        "regexp_replace" => args.sum(|row| Ok(product(args.length(0, row) + 1, args.length(2, row) + 1)))?,
        "concat_ws" => args.sum(|row| Ok(product(args.length(0, row), call.args.len() as u64)))?,
        "array_to_string" => {
            args.sum(|row| Ok(product(args.items(0, row), args.length(1, row) + args.length(2, row) + CHAR_BYTES)))?
        }
        "array_replace" | "array_replace_n" | "array_replace_all" => {
            args.sum(|row| Ok(product(args.items(0, row), args.length(2, row) + ITEM_BYTES)))?
        }
        "arrays_zip" => product(taken, call.args.len() as u64),
        _ => 0,
    };
    Ok(most.saturating_add(taken))
}

/// The steps of a call of a function that compares everything with everything; 0 for the others.
pub(super) fn steps(name: &str, call: &ScalarFunctionArgs) -> Result<u64> {
    let args = Arguments { call };
    match name {
        "levenshtein" => args.sum(|row| Ok(product(args.length(0, row), args.length(1, row)))),
        "array_has_all" | "array_has_any" => args.sum(|row| Ok(product(args.items(0, row), args.items(1, row)))),
        _ => Ok(0),
    }
}

fn product(a: u64, b: u64) -> u64 {
    a.saturating_mul(b)
}

/// The arguments of a call, row by row. One that is absent or null is as good as empty.
struct Arguments<'a> {
    call: &'a ScalarFunctionArgs,
}

impl Arguments<'_> {
    /// Rows that the call computes: one if all arguments are single values, also where the batch has none.
    fn rows(&self) -> usize {
        let single = self.call.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        if single { 1 } else { self.call.number_rows }
    }

    /// The sum over the rows.
    fn sum(&self, of_row: impl Fn(usize) -> Result<u64>) -> Result<u64> {
        (0..self.rows()).try_fold(0_u64, |sum, row| Ok(sum.saturating_add(of_row(row)?)))
    }

    /// Bytes of an argument in a row.
    fn length(&self, place: usize, row: usize) -> u64 {
        match self.call.args.get(place) {
            None => 0,
            Some(ColumnarValue::Scalar(scalar)) => bytes_of_scalar(scalar),
            Some(ColumnarValue::Array(array)) => cell_bytes(array, row),
        }
    }

    /// Items of a list in a row.
    fn items(&self, place: usize, row: usize) -> u64 {
        self.cell(place, row).map_or(0, |cell| leaves(cell.as_ref()))
    }

    /// The argument's number in a row, 0 if negative.
    fn count(&self, place: usize, row: usize) -> Result<u64> {
        Ok(u64::try_from(self.number(place, row)?).unwrap_or(0))
    }

    /// A number as it is; an instant or an interval in nanoseconds, a month as the shortest.
    fn number(&self, place: usize, row: usize) -> Result<i128> {
        self.cell(place, row).map_or(Ok(0), |cell| number(&cell))
    }

    /// Items of a series from (0 if absent) to the end by steps (1 if absent), the end included.
    fn series(&self, row: usize) -> Result<u64> {
        let (start, end) = match self.call.args.len() {
            0 | 1 => (0, self.number(0, row)?),
            _ => (self.number(0, row)?, self.number(1, row)?),
        };
        let step = if self.call.args.len() > 2 { self.number(2, row)? } else { 1 };
        let way = end - start;
        if (way > 0 && step < 0) || (way < 0 && step > 0) {
            return Ok(0);
        }
        let items = way.unsigned_abs() / step.unsigned_abs().max(1) + 1;
        Ok(u64::try_from(items).unwrap_or(u64::MAX))
    }

    /// The argument in a row as an array of one.
    fn cell(&self, place: usize, row: usize) -> Option<ArrayRef> {
        match self.call.args.get(place)? {
            ColumnarValue::Scalar(scalar) => scalar.to_array().ok(),
            ColumnarValue::Array(array) => Some(array.slice(row, 1)),
        }
    }
}

fn cell_bytes(array: &ArrayRef, row: usize) -> u64 {
    match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value_length(row).unsigned_abs().into(),
        DataType::LargeUtf8 => array.as_string::<i64>().value_length(row).unsigned_abs(),
        DataType::Utf8View => array.as_string_view().value(row).len() as u64,
        _ => bytes_of(array.slice(row, 1).as_ref()),
    }
}

/// The number in an array of one.
fn number(cell: &ArrayRef) -> Result<i128> {
    if cell.is_empty() || cell.is_null(0) || *cell.data_type() == DataType::Null {
        return Ok(0);
    }
    let unit = match cell.data_type() {
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let step = cell.as_primitive::<IntervalMonthDayNanoType>().value(0);
            let days = i128::from(step.months) * MONTH_DAYS + i128::from(step.days);
            return Ok(days * DAY_NANOS + i128::from(step.nanoseconds));
        }
        DataType::Date32 => DAY_NANOS,
        DataType::Date64 | DataType::Timestamp(TimeUnit::Millisecond, _) => 1_000_000,
        DataType::Timestamp(TimeUnit::Second, _) => 1_000_000_000,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000,
        _ => 1,
    };
    let number = cast(cell, &DataType::Int64)?;
    let number = number.as_primitive::<Int64Type>();
    Ok(if number.is_null(0) { i128::from(i64::MAX) } else { i128::from(number.value(0)) * unit })
}
