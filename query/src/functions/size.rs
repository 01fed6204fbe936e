//! What values take, counted as they are: a slice of a large buffer counts as the slice.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, Expr, LogicalPlan};

/// Bytes of a cell beside what it points to: an offset, a length, a view.
const CELL_BYTES: u64 = 16;

/// Whether all values of the type take the same, little room.
pub(super) fn is_fixed(data_type: &DataType) -> bool {
    data_type.is_primitive() || matches!(data_type, DataType::Null | DataType::Boolean)
}

/// Bytes of an array.
pub(super) fn bytes_of(array: &dyn Array) -> u64 {
    let cells = CELL_BYTES.saturating_mul(array.len() as u64);
    let content = match array.data_type() {
        DataType::Utf8 => span(array.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => span(array.as_string::<i64>().value_offsets()),
        DataType::Binary => span(array.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => span(array.as_binary::<i64>().value_offsets()),
        DataType::Utf8View => array.as_string_view().lengths().map(u64::from).sum(),
        DataType::BinaryView => array.as_binary_view().lengths().map(u64::from).sum(),
        DataType::Struct(_) => array.as_struct().columns().iter().map(|column| bytes_of(column.as_ref())).sum(),
        DataType::Dictionary(..) => bytes_of(array.as_any_dictionary().values().as_ref()),
        other if is_fixed(other) => return (other.primitive_width().unwrap_or(1) as u64).saturating_mul(array.len() as u64),
        _ => match items(array) {
            Some(items) => bytes_of(items.as_ref()),
            None => array.get_array_memory_size() as u64,
        },
    };
    cells.saturating_add(content)
}

/// The items of all lists of an array, without those that lie outside its slice.
fn items(array: &dyn Array) -> Option<ArrayRef> {
    let part = |first: usize, end: usize, values: &dyn Array| values.slice(first, end - first);
    match array.data_type() {
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let (first, end) = ends(list.value_offsets());
            Some(part(first, end, list.values().as_ref()))
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let (first, end) = ends(list.value_offsets());
            Some(part(first, end, list.values().as_ref()))
        }
        DataType::FixedSizeList(..) => Some(array.as_fixed_size_list().values().clone()),
        DataType::Map(..) => {
            let map = array.as_map();
            let (first, end) = ends(map.value_offsets());
            Some(part(first, end, map.entries()))
        }
        _ => None,
    }
}

fn ends<O: arrow::array::OffsetSizeTrait>(offsets: &[O]) -> (usize, usize) {
    (offsets.first().map_or(0, |first| first.as_usize()), offsets.last().map_or(0, |last| last.as_usize()))
}

fn span<O: arrow::array::OffsetSizeTrait>(offsets: &[O]) -> u64 {
    let (first, end) = ends(offsets);
    (end - first) as u64
}

/// Bytes of a single value.
pub(super) fn bytes_of_scalar(scalar: &ScalarValue) -> u64 {
    use ScalarValue::{
        Binary, BinaryView, Dictionary, FixedSizeBinary, FixedSizeList, LargeBinary, LargeList, LargeUtf8, List, Map, Struct,
        Utf8, Utf8View,
    };
    match scalar {
        Utf8(text) | LargeUtf8(text) | Utf8View(text) => CELL_BYTES + text.as_ref().map_or(0, |text| text.len() as u64),
        Binary(bytes) | LargeBinary(bytes) | BinaryView(bytes) | FixedSizeBinary(_, bytes) => {
            CELL_BYTES + bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)
        }
        List(list) => bytes_of(list.as_ref()),
        LargeList(list) => bytes_of(list.as_ref()),
        FixedSizeList(list) => bytes_of(list.as_ref()),
        Map(map) => bytes_of(map.as_ref()),
        Struct(fields) => bytes_of(fields.as_ref()),
        Dictionary(_, inner) => bytes_of_scalar(inner),
        _ => CELL_BYTES,
    }
}

/// Bytes of an argument once it has a value for each row.
pub(super) fn bytes_of_argument(argument: &ColumnarValue, rows: usize) -> u64 {
    match argument {
        ColumnarValue::Array(array) => bytes_of(array.as_ref()),
        ColumnarValue::Scalar(scalar) => bytes_of_scalar(scalar).saturating_mul(rows as u64),
    }
}

/// Items of a list, those of the lists in it too; 1 for what is no list.
pub(super) fn leaves(array: &dyn Array) -> u64 {
    items(array).map_or(array.len() as u64, |items| leaves(items.as_ref()))
}

/// Bytes of the constants of a plan, which operators spread over the rows of a batch. Rows of VALUES are not: each is there once.
///
/// # Errors
/// None of its own.
pub(crate) fn literal_bytes(plan: &LogicalPlan) -> Result<u64> {
    let mut total = 0_u64;
    plan.apply_with_subqueries(|node| {
        if matches!(node, LogicalPlan::Values(_)) {
            return Ok(TreeNodeRecursion::Continue);
        }
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                if let Expr::Literal(value, _) = part
                    && !is_fixed(&value.data_type())
                {
                    total = total.saturating_add(bytes_of_scalar(value));
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(total)
}
