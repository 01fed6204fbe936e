//! SUM that fails where the engine's own would wrap: amounts of money must never come out small.

use std::mem::size_of_val;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, PrimitiveArray};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, internal_datafusion_err};
use datafusion::error::DataFusionError;
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, ReversedUDAF, SetMonotonicity, Signature,
    StatisticsArgs,
};

/// The sum of decimals of at most 38 digits, checked; the engine's own `sum` for all other types and for DISTINCT.
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
        match checked_type(&args) {
            Some(data_type) => Ok(Box::new(OneSum::new(data_type))),
            None => self.inner.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        match checked_type(&args) {
            Some(data_type) => Ok(Box::new(GroupSums { data_type, sums: Vec::new() })),
            None => self.inner.create_groups_accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match checked_type(&args) {
            Some(data_type) => Ok(Box::new(OneSum::new(data_type))),
            None => self.inner.create_sliding_accumulator(args),
        }
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

/// The type of the sum, if it is one that is checked here.
fn checked_type(args: &AccumulatorArgs) -> Option<DataType> {
    let data_type = args.return_field.data_type();
    (matches!(data_type, DataType::Decimal128(..)) && !args.is_distinct).then(|| data_type.clone())
}

fn precision_of(data_type: &DataType) -> u8 {
    match data_type {
        DataType::Decimal128(precision, _) => *precision,
        _ => DECIMAL128_MAX_PRECISION,
    }
}

fn scale_of(data_type: &DataType) -> i8 {
    match data_type {
        DataType::Decimal128(_, scale) => *scale,
        _ => 0,
    }
}

fn overflow() -> DataFusionError {
    exec_datafusion_err!("sum: the total has more than 38 digits")
}

/// A total on its way may use all of 128 bits; one that is given out has the digits of its type.
fn within(total: i128, data_type: &DataType) -> Result<i128> {
    let limit = 10_i128.checked_pow(u32::from(precision_of(data_type))).ok_or_else(overflow)?;
    if total.unsigned_abs() < limit.unsigned_abs() { Ok(total) } else { Err(overflow()) }
}

fn add_all(total: Option<i128>, values: &Decimal128Array) -> Result<Option<i128>> {
    let mut total = total;
    for value in values.iter().flatten() {
        total = Some(total.unwrap_or(0).checked_add(value).ok_or_else(overflow)?);
    }
    Ok(total)
}

/// The sum of one group, or of a sliding window.
#[derive(Debug)]
struct OneSum {
    data_type: DataType,
    total: Option<i128>,
    count: u64,
}

impl OneSum {
    fn new(data_type: DataType) -> Self {
        Self { data_type, total: None, count: 0 }
    }

    fn add(&mut self, values: &[ArrayRef]) -> Result<u64> {
        let values =
            values.first().ok_or_else(|| internal_datafusion_err!("sum takes one argument"))?.as_primitive::<Decimal128Type>();
        self.total = add_all(self.total, values)?;
        Ok((values.len() - values.null_count()) as u64)
    }

    fn scalar(&self) -> Result<ScalarValue> {
        let total = self.total.map(|total| within(total, &self.data_type)).transpose()?;
        Ok(ScalarValue::Decimal128(total, precision_of(&self.data_type), scale_of(&self.data_type)))
    }
}

impl Accumulator for OneSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.count += self.add(values)?;
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.add(states).map(|_| ())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values =
            values.first().ok_or_else(|| internal_datafusion_err!("sum takes one argument"))?.as_primitive::<Decimal128Type>();
        for value in values.iter().flatten() {
            self.total = Some(self.total.unwrap_or(0).checked_sub(value).ok_or_else(overflow)?);
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
struct GroupSums {
    data_type: DataType,
    sums: Vec<Option<i128>>,
}

impl GroupSums {
    fn emit(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = emit_to.take_needed(&mut self.sums);
        let checked = sums.into_iter().map(|sum| sum.map(|sum| within(sum, &self.data_type)).transpose());
        let sums: PrimitiveArray<Decimal128Type> = checked.collect::<Result<Decimal128Array>>()?;
        Ok(Arc::new(sums.with_data_type(self.data_type.clone())))
    }
}

impl GroupsAccumulator for GroupSums {
    fn update_batch(&mut self, values: &[ArrayRef], groups: &[usize], filter: Option<&BooleanArray>, count: usize) -> Result<()> {
        let values =
            values.first().ok_or_else(|| internal_datafusion_err!("sum takes one argument"))?.as_primitive::<Decimal128Type>();
        self.sums.resize(count, None);
        for (row, group) in groups.iter().enumerate() {
            let passes = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if passes && values.is_valid(row) {
                let sum = self.sums[*group].unwrap_or(0).checked_add(values.value(row)).ok_or_else(overflow)?;
                self.sums[*group] = Some(sum);
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
        let values =
            values.first().ok_or_else(|| internal_datafusion_err!("sum takes one argument"))?.as_primitive::<Decimal128Type>();
        let rows = values.iter().enumerate().map(|(row, value)| {
            let passes = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            value.filter(|_| passes)
        });
        let rows: Decimal128Array = rows.collect();
        Ok(vec![Arc::new(rows.with_data_type(self.data_type.clone()))])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<Option<i128>>() + size_of_val(self)
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
