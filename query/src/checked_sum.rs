//! SUM that fails where the engine's own would wrap: no total may come out small.

use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, AsArray, BooleanArray, PrimitiveArray};
use arrow::datatypes::{ArrowPrimitiveType, DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, FieldRef, Int64Type, UInt64Type};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, internal_datafusion_err};
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, ReversedUDAF, SetMonotonicity, Signature,
    StatisticsArgs,
};

/// The sum of decimals of at most 38 digits and of whole numbers, checked; the engine's own `sum` for all other types and for
/// DISTINCT.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct CheckedSum {
    inner: Sum,
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        one_sum(&args).map_or_else(|| self.inner.accumulator(args), Ok)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let data_type = args.return_field.data_type().clone();
        match data_type {
            _ if args.is_distinct => self.inner.create_groups_accumulator(args),
            DataType::Decimal128(..) => Ok(Box::new(GroupSums::<Decimal128Type>::new(data_type))),
            DataType::Int64 => Ok(Box::new(GroupSums::<Int64Type>::new(data_type))),
            DataType::UInt64 => Ok(Box::new(GroupSums::<UInt64Type>::new(data_type))),
            _ => self.inner.create_groups_accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        one_sum(&args).map_or_else(|| self.inner.create_sliding_accumulator(args), Ok)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_expr()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.set_monotonicity(data_type)
    }

    fn value_from_stats(&self, _statistics: &StatisticsArgs) -> Option<ScalarValue> {
        None
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// The sum of one group, if it is one that is checked here.
fn one_sum(args: &AccumulatorArgs) -> Option<Box<dyn Accumulator>> {
    let data_type = args.return_field.data_type().clone();
    match data_type {
        _ if args.is_distinct => None,
        DataType::Decimal128(..) => Some(Box::new(OneSum::<Decimal128Type>::new(data_type))),
        DataType::Int64 => Some(Box::new(OneSum::<Int64Type>::new(data_type))),
        DataType::UInt64 => Some(Box::new(OneSum::<UInt64Type>::new(data_type))),
        _ => None,
    }
}

/// A type whose sums are checked.
trait Summed: ArrowPrimitiveType<Native: ArrowNativeTypeOp> + std::fmt::Debug {
    /// What is told when a total is too large.
    const OVERFLOW: &'static str;

    /// A total on its way may use all bits; one that is given out has the digits of its type.
    fn fits(total: Self::Native, data_type: &DataType) -> bool;

    fn within(total: Self::Native, data_type: &DataType) -> Result<Self::Native> {
        if Self::fits(total, data_type) { Ok(total) } else { Err(Self::overflow()) }
    }

    fn add(total: Option<Self::Native>, value: Self::Native) -> Result<Self::Native> {
        total.unwrap_or_default().add_checked(value).map_err(|_| Self::overflow())
    }

    fn overflow() -> DataFusionError {
        exec_datafusion_err!("sum: {}", Self::OVERFLOW)
    }
}

impl Summed for Decimal128Type {
    const OVERFLOW: &'static str = "the total has more than 38 digits";

    fn fits(total: i128, data_type: &DataType) -> bool {
        let digits = if let DataType::Decimal128(precision, _) = data_type { *precision } else { DECIMAL128_MAX_PRECISION };
        10_i128.checked_pow(u32::from(digits)).is_some_and(|limit| total.unsigned_abs() < limit.unsigned_abs())
    }
}

impl Summed for Int64Type {
    const OVERFLOW: &'static str = "the total is larger than a bigint: sum the values as DECIMAL(38, 0)";

    fn fits(_: i64, _: &DataType) -> bool {
        true
    }
}

impl Summed for UInt64Type {
    const OVERFLOW: &'static str = Int64Type::OVERFLOW;

    fn fits(_: u64, _: &DataType) -> bool {
        true
    }
}

fn only<T: Summed>(values: &[ArrayRef]) -> Result<&PrimitiveArray<T>> {
    let values = values.first().and_then(|values| values.as_primitive_opt::<T>());
    values.ok_or_else(|| internal_datafusion_err!("sum takes one argument of its type"))
}

/// The sum of one group, or of a sliding window.
#[derive(Debug)]
struct OneSum<T: Summed> {
    data_type: DataType,
    total: Option<T::Native>,
    count: u64,
}

impl<T: Summed> OneSum<T> {
    fn new(data_type: DataType) -> Self {
        Self { data_type, total: None, count: 0 }
    }

    fn add(&mut self, values: &[ArrayRef]) -> Result<u64> {
        let values = only::<T>(values)?;
        for value in values.iter().flatten() {
            self.total = Some(T::add(self.total, value)?);
        }
        Ok((values.len() - values.null_count()) as u64)
    }

    fn scalar(&self) -> Result<ScalarValue> {
        let total = self.total.map(|total| T::within(total, &self.data_type)).transpose()?;
        ScalarValue::new_primitive::<T>(total, &self.data_type)
    }
}

impl<T: Summed> Accumulator for OneSum<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count += self.add(values)?;
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.add(states).map(|_| ())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in only::<T>(values)?.iter().flatten() {
            self.total = Some(self.total.unwrap_or_default().sub_checked(value).map_err(|_| T::overflow())?);
            self.count = self.count.saturating_sub(1);
        }
        if self.count == 0 {
            self.total = None;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.scalar()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.scalar()?])
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The sums of many groups.
struct GroupSums<T: Summed> {
    data_type: DataType,
    sums: Vec<Option<T::Native>>,
}

impl<T: Summed> GroupSums<T> {
    fn new(data_type: DataType) -> Self {
        Self { data_type, sums: Vec::new() }
    }

    fn emit(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = emit_to.take_needed(&mut self.sums);
        let checked = sums.into_iter().map(|sum| sum.map(|sum| T::within(sum, &self.data_type)).transpose());
        let sums: PrimitiveArray<T> = checked.collect::<Result<Vec<Option<T::Native>>>>()?.into_iter().collect();
        Ok(Arc::new(sums.with_data_type(self.data_type.clone())))
    }
}

impl<T: Summed> GroupsAccumulator for GroupSums<T> {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, count: usize) -> Result<()> {
        let values = only::<T>(values)?;
        self.sums.resize(count, None);
        for (row, group) in groups.iter().enumerate() {
            let passes = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if passes && values.is_valid(row) {
                self.sums[*group] = Some(T::add(self.sums[*group], values.value(row))?);
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], count: usize) -> Result<()> {
        self.update_batch(values, groups, None, count)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.emit(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.emit(emit_to)?])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let rows = only::<T>(values)?.iter().enumerate().map(|(row, value)| {
            let passes = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            value.filter(|_| passes)
        });
        let rows: PrimitiveArray<T> = rows.collect();
        Ok(vec![Arc::new(rows.with_data_type(self.data_type.clone()))])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<Option<T::Native>>() + size_of_val(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use datafusion::logical_expr::AggregateUDF;
    use datafusion::prelude::SessionContext;

    use super::*;

    const MOST: &str = "99999999999999999999999999999999999999";

    async fn ask(sql: &str) -> Result<String> {
        let context = SessionContext::new();
        context.register_udaf(AggregateUDF::from(CheckedSum::default()));
        let sql = sql.replace("MOST", &format!("CAST('{MOST}' AS DECIMAL(38,0))")).replace("ONE", "CAST('1' AS DECIMAL(38,0))");
        let rows = context.sql(&sql).await?.collect().await?;
        Ok(arrow::util::pretty::pretty_format_batches(&rows)?.to_string())
    }

    #[tokio::test]
    async fn a_total_of_38_digits_is_given_and_one_of_39_is_an_error() {
        assert!(ask("SELECT sum(x) FROM (VALUES (MOST), (CAST(NULL AS DECIMAL(38,0)))) t(x)").await.unwrap().contains(MOST));
        for sql in [
            "SELECT sum(x) FROM (VALUES (MOST), (ONE)) t(x)",
            "SELECT k, sum(x) FROM (VALUES (1, MOST), (1, ONE)) t(k, x) GROUP BY k",
            "SELECT sum(x) OVER () FROM (VALUES (MOST), (ONE)) t(x)",
            "SELECT sum(x) FROM (VALUES (MOST), (MOST), (MOST), (MOST)) t(x)",
            "SELECT k, sum(x) FROM (SELECT 1 AS k, MOST AS x FROM generate_series(1, 100)) t GROUP BY k",
        ] {
            assert!(ask(sql).await.unwrap_err().to_string().contains("more than 38 digits"), "{sql}");
        }
    }

    #[tokio::test]
    async fn a_total_of_whole_numbers_beyond_64_bits_is_an_error() {
        let most = i64::MAX;
        assert!(ask(&format!("SELECT sum(x) FROM (VALUES ({most}), (0)) t(x)")).await.unwrap().contains(&most.to_string()));
        for sql in [
            format!("SELECT sum(x) FROM (VALUES ({most}), (1)) t(x)"),
            format!("SELECT k, sum(x) FROM (VALUES (1, {most}), (1, 1)) t(k, x) GROUP BY k"),
            format!("SELECT sum(x) OVER () FROM (VALUES ({most}), (1)) t(x)"),
            format!("SELECT k, sum(x) FROM (SELECT 1 AS k, {most} AS x FROM generate_series(1, 100)) t GROUP BY k"),
            format!("SELECT sum(DISTINCT x) FROM (VALUES ({most}), (1), (1)) t(x)"),
        ] {
            assert!(ask(&sql).await.unwrap_err().to_string().contains("larger than a bigint"), "{sql}");
        }
        let exact = format!("SELECT sum(CAST(x AS DECIMAL(38, 0))) FROM (VALUES ({most}), (1)) t(x)");
        assert!(ask(&exact).await.unwrap().contains("9223372036854775808"));
    }

    #[tokio::test]
    async fn it_agrees_with_the_engines_sum_where_nothing_overflows() {
        let sql = "SELECT k, sum(d) = sum(i) AS s, sum(f) FILTER (WHERE i > 9) AS f FROM (SELECT value AS i, value % 7 AS k, \
                   CAST(value AS DECIMAL(38,0)) AS d, CAST(value AS DECIMAL(20,2)) AS f FROM generate_series(1, 10000)) t \
                   GROUP BY k ORDER BY k";
        let rows = ask(sql).await.unwrap();
        assert!(rows.contains("true") && !rows.contains("false"), "{rows}");
        let windowed = ask(
            "SELECT sum(CAST(i AS DECIMAL(38,0))) OVER (ORDER BY i ROWS 1 PRECEDING) AS s FROM (VALUES (1), (2), (4)) t(i) ORDER BY s",
        );
        let rows = windowed.await.unwrap();
        assert!(rows.contains("| 1 |") && rows.contains("| 3 |") && rows.contains("| 6 |"), "{rows}");
        assert!(ask("SELECT sum(x) IS NULL FROM (SELECT ONE AS x WHERE false) t").await.unwrap().contains("true"));
    }
}
