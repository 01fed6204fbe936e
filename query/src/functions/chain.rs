//! Functions for what chains know: amounts in tokens, keccak-256, and bytes as 0x text.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Decimal128Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use tributary_schemas::units::keccak256;

use crate::catalog::hex;

/// Decimals of a token: 10^18 wei are one.
const TOKEN_DECIMALS: i8 = 18;
const WEI: DataType = DataType::Decimal128(38, 0);
const TOKENS: DataType = DataType::Decimal128(38, TOKEN_DECIMALS);

/// All of them.
pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    let bytes = || Signature::user_defined(Volatility::Immutable);
    vec![
        Arc::new(ScalarUDF::new_from_impl(WeiToToken { signature: Signature::user_defined(Volatility::Immutable) })),
        Arc::new(ScalarUDF::new_from_impl(OfBytes { name: "keccak256", signature: bytes() })),
        Arc::new(ScalarUDF::new_from_impl(OfBytes { name: "hex", signature: bytes() })),
    ]
}

/// `wei_to_token(amount)`: the amount in tokens, exact. The digits stay, the point moves.
#[derive(Debug, PartialEq, Eq, Hash)]
struct WeiToToken {
    signature: Signature,
}

impl ScalarUDFImpl for WeiToToken {
    fn name(&self) -> &'static str {
        "wei_to_token"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(TOKENS)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Decimal128(_, 0) | DataType::Null] => Ok(vec![WEI]),
            [whole] if whole.is_integer() => Ok(vec![WEI]),
            [other] => plan_err!("wei_to_token takes an amount in wei, a whole number; found {other}"),
            _ => plan_err!("wei_to_token takes one amount"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [amounts] = ColumnarValue::values_to_arrays(&args.args)?.try_into().unwrap_or_else(|_| [empty()]);
        let Some(amounts) = amounts.as_primitive_opt::<Decimal128Type>() else {
            return exec_err!("wei_to_token takes an amount in wei, found {}", amounts.data_type());
        };
        Ok(ColumnarValue::Array(Arc::new(amounts.clone().with_precision_and_scale(38, TOKEN_DECIMALS)?)))
    }
}

fn empty() -> ArrayRef {
    Arc::new(StringArray::new_null(0))
}

/// `keccak256(bytes)` and `hex(bytes)`, both as lower-case 0x text. Of a text the bytes are its UTF-8.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OfBytes {
    name: &'static str,
    signature: Signature,
}

impl OfBytes {
    fn of(&self, bytes: &[u8]) -> String {
        if self.name == "hex" { hex(bytes) } else { format!("{:#x}", keccak256(bytes)) }
    }
}

impl ScalarUDFImpl for OfBytes {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [_] => Ok(DataType::Utf8),
            _ => plan_err!("{} takes one text or bytes", self.name),
        }
    }

    /// A number is refused: whose digits would be meant?
    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Null] => Ok(vec![DataType::Utf8]),
            [own] if own.is_string() || own.is_binary() => Ok(vec![own.clone()]),
            [DataType::FixedSizeBinary(_)] => Ok(vec![DataType::Binary]),
            [other] => plan_err!("{} takes a text or bytes; found {other}", self.name),
            _ => plan_err!("{} takes one text or bytes", self.name),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [values] = ColumnarValue::values_to_arrays(&args.args)?.try_into().unwrap_or_else(|_| [empty()]);
        let bytes_at = |at: usize| -> Option<&[u8]> {
            Some(match values.data_type() {
                DataType::Utf8 => values.as_string::<i32>().value(at).as_bytes(),
                DataType::LargeUtf8 => values.as_string::<i64>().value(at).as_bytes(),
                DataType::Utf8View => values.as_string_view().value(at).as_bytes(),
                DataType::Binary => values.as_binary::<i32>().value(at),
                DataType::LargeBinary => values.as_binary::<i64>().value(at),
                DataType::BinaryView => values.as_binary_view().value(at),
                _ => return None,
            })
        };
        let texts = (0..values.len()).map(|at| bytes_at(at).filter(|_| values.is_valid(at)).map(|bytes| self.of(bytes)));
        Ok(ColumnarValue::Array(Arc::new(texts.collect::<StringArray>())))
    }
}
