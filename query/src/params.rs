//! Binding parameters: values enter a plan as values, never as text.

use std::collections::HashSet;

use arrow::datatypes::DataType;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::logical_expr::LogicalPlan;
use serde_json::Value;

use crate::error::{Code, QueryError};

/// The most parameters of one request.
const PARAMS_MAX: usize = 1000;

/// Puts `params[0]` for `$1` and so on. A value takes the type that the query implies for its place, so that amounts and
/// times can be given as text.
///
/// # Errors
/// `bad_params` if the numbers do not match, or a value is not of its place's type.
pub(crate) fn bind(plan: LogicalPlan, params: &[Value]) -> Result<LogicalPlan, QueryError> {
    if params.len() > PARAMS_MAX {
        return Err(bad(format!("{} parameters are given, at most {PARAMS_MAX} are taken", params.len())));
    }
    let mut types = plan.get_parameter_types()?;
    let expected: HashSet<String> = (1..=params.len()).map(|n| format!("${n}")).collect();
    if let Some(missing) = types.keys().find(|name| !expected.contains(*name)) {
        return Err(bad(format!("the query has the parameter {missing}, and {} values are given for $1, $2 …", params.len())));
    }
    if params.is_empty() {
        return Ok(plan);
    }
    let mut values = Vec::with_capacity(params.len());
    for (n, value) in (1..).zip(params) {
        let name = format!("${n}");
        let Some(implied) = types.remove(&name) else {
            return Err(bad(format!("{} values are given, and the query has no {name}", params.len())));
        };
        values.push(scalar(value, implied.as_ref()).map_err(|what| bad(format!("{name} {what}")))?);
    }
    Ok(plan.with_param_values(ParamValues::from(values))?)
}

fn bad(message: String) -> QueryError {
    QueryError::new(Code::BadParams, message)
}

/// The value in the implied type, or in the type that JSON gives it.
fn scalar(value: &Value, implied: Option<&DataType>) -> Result<ScalarValue, String> {
    let own = match value {
        Value::Null => ScalarValue::Null,
        Value::Bool(value) => ScalarValue::from(*value),
        Value::String(text) => ScalarValue::from(text.as_str()),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => ScalarValue::from(number),
            (None, Some(number), _) => ScalarValue::from(number),
            (None, None, Some(number)) => ScalarValue::from(number),
            (None, None, None) => return Err("is no number that can be kept".to_owned()),
        },
        Value::Array(_) | Value::Object(_) => return Err("is a list or an object; single values are taken".to_owned()),
    };
    match implied {
        None | Some(DataType::Null) => Ok(own),
        Some(implied) => cast(&own, implied),
    }
}

fn cast(own: &ScalarValue, implied: &DataType) -> Result<ScalarValue, String> {
    let refused = || format!("is not of the type {implied} that the query implies");
    match (own, implied) {
        (ScalarValue::Null, _) => ScalarValue::try_from(implied).map_err(|_| refused()),
        // A decimal from a binary fraction, or cut to the scale, would be another number than the one given.
        (ScalarValue::Float64(_), DataType::Decimal128(..) | DataType::Decimal256(..)) => {
            Err("is a decimal: write it as a string, which keeps every digit".to_owned())
        }
        (ScalarValue::Float64(Some(number)), implied) if implied.is_integer() && number.fract() != 0.0 => Err(refused()),
        (ScalarValue::Utf8(Some(text)), DataType::Decimal128(_, scale))
            if fraction_digits(text) > usize::try_from(*scale).unwrap_or(0) =>
        {
            Err(refused())
        }
        (ScalarValue::Utf8(_), DataType::Boolean) => Err(refused()),
        (ScalarValue::Boolean(_), implied) if *implied != DataType::Boolean => Err(refused()),
        _ => {
            let cast = own.cast_to(implied).map_err(|_| refused())?;
            if cast.is_null() && !own.is_null() { Err(refused()) } else { Ok(cast) }
        }
    }
}

fn fraction_digits(text: &str) -> usize {
    text.split_once('.').map_or(0, |(_, fraction)| fraction.trim_end_matches('0').len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_takes_the_type_of_its_place_or_is_refused() {
        let decimal = DataType::Decimal128(38, 0);
        let wei = "99999999999999999999999999999999999999";
        assert_eq!(scalar(&json!(wei), Some(&decimal)), Ok(ScalarValue::Decimal128(Some(wei.parse().unwrap()), 38, 0)));
        assert_eq!(scalar(&json!(7), Some(&decimal)), Ok(ScalarValue::Decimal128(Some(7), 38, 0)));
        assert_eq!(scalar(&json!(7), None), Ok(ScalarValue::Int64(Some(7))));
        assert_eq!(scalar(&json!(null), Some(&DataType::Int64)), Ok(ScalarValue::Int64(None)));
        for (value, implied) in [
            (json!("1.5"), &decimal),
            (json!(1.5), &decimal),
            (json!("x"), &decimal),
            (json!("999999999999999999999999999999999999999"), &decimal),
            (json!(1.5), &DataType::Int64),
            (json!("x"), &DataType::Int64),
            (json!(3_000_000_000_i64), &DataType::Int32),
            (json!(true), &DataType::Int64),
            (json!([1]), &DataType::Int64),
            (json!({}), &DataType::Utf8),
        ] {
            assert!(scalar(&value, Some(implied)).is_err(), "{value} as {implied}");
        }
    }
}
