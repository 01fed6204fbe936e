#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, DictionaryArray, Float64Array,
    Int64Array, ListBuilder, MapBuilder, NullArray, RecordBatch, StringArray, StringBuilder, StringViewArray, StructArray,
    TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, i256};

use super::super::encoder::Format;

fn write(format: Format, columns: &[(&str, ArrayRef)]) -> String {
    let rows =
        RecordBatch::try_from_iter_with_nullable(columns.iter().map(|(name, array)| (*name, Arc::clone(array), true))).unwrap();
    let mut encoder = format.encoder(&rows.schema()).unwrap();
    let mut out = Vec::new();
    encoder.rows(&rows, &mut out).unwrap();
    encoder.end(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn json_of(array: ArrayRef) -> String {
    write(Format::Ndjson, &[("x", array)]).lines().map(|line| line[5..line.len() - 1].to_owned()).collect::<Vec<_>>().join(" ")
}

fn list() -> ArrayRef {
    let mut list = ListBuilder::new(StringBuilder::new());
    list.append_value([Some("a\"b"), None]);
    list.append_value(std::iter::empty::<Option<&str>>());
    list.append_null();
    Arc::new(list.finish())
}

#[test]
fn a_decimal_keeps_every_digit_as_a_string() {
    let most = "99999999999999999999999999999999999999";
    let wei = Decimal128Array::from(vec![Some(most.parse().unwrap()), Some(-1), None]).with_precision_and_scale(38, 0).unwrap();
    assert_eq!(json_of(Arc::new(wei)), format!("\"{most}\" \"-1\" null"));
    let scaled = Decimal128Array::from(vec![1, 123_456]).with_precision_and_scale(10, 2).unwrap();
    assert_eq!(json_of(Arc::new(scaled)), r#""0.01" "1234.56""#);
    let wide = Decimal256Array::from(vec![i256::from_i128(i128::MAX)]).with_precision_and_scale(76, 0).unwrap();
    assert_eq!(json_of(Arc::new(wide)), format!("\"{}\"", i128::MAX));
}

#[test]
fn whole_numbers_are_numbers_and_what_is_no_json_number_is_a_string() {
    assert_eq!(json_of(Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(0), None]))), format!("{} 0 null", i64::MIN));
    assert_eq!(json_of(Arc::new(UInt64Array::from(vec![u64::MAX]))), u64::MAX.to_string());
    let floats = Float64Array::from(vec![0.1, 1e300, -0.0, 3.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
    assert_eq!(json_of(Arc::new(floats)), r#"0.1 1e300 -0.0 3.0 "NaN" "inf" "-inf""#);
    assert_eq!(json_of(Arc::new(BooleanArray::from(vec![Some(true), None]))), "true null");
    assert_eq!(json_of(Arc::new(NullArray::new(2))), "null null");
}

#[test]
fn an_instant_is_rfc_3339_with_microseconds_and_a_z_only_if_it_is_utc() {
    let at = 1_790_812_800_000_001;
    let zoned = TimestampMicrosecondArray::from(vec![Some(at), None]).with_timezone("UTC");
    assert_eq!(json_of(Arc::new(zoned)), r#""2026-10-01T00:00:00.000001Z" null"#);
    assert_eq!(json_of(Arc::new(TimestampMicrosecondArray::from(vec![at]))), r#""2026-10-01T00:00:00.000001""#);
    let nanos = TimestampNanosecondArray::from(vec![-1]).with_timezone("+00:00");
    assert_eq!(json_of(Arc::new(nanos)), r#""1969-12-31T23:59:59.999999Z""#);
    assert_eq!(json_of(Arc::new(Date32Array::from(vec![0]))), r#""1970-01-01""#);
}

#[test]
fn lists_are_arrays_and_maps_and_structures_are_objects() {
    assert_eq!(json_of(list()), r#"["a\"b",null] [] null"#);
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    map.keys().append_value("k\"1");
    map.values().append_value("v");
    map.append(true).unwrap();
    map.append(true).unwrap();
    assert_eq!(json_of(Arc::new(map.finish())), r#"{"k\"1":"v"} {}"#);
    let a: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let structure = StructArray::from(vec![(Arc::new(Field::new("a", DataType::Int64, true)), a)]);
    assert_eq!(json_of(Arc::new(structure)), r#"{"a":1} {"a":null}"#);
}

#[test]
fn text_is_escaped_in_every_encoding_of_it() {
    let nasty = "a\"\\\n\u{1}\u{2028}é";
    for array in [
        Arc::new(StringArray::from(vec![nasty])) as ArrayRef,
        Arc::new(StringViewArray::from(vec![nasty])),
        Arc::new([Some(nasty)].into_iter().collect::<DictionaryArray<arrow::datatypes::Int32Type>>()),
    ] {
        assert_eq!(serde_json::from_str::<String>(&json_of(array)).unwrap(), nasty);
    }
    let keys: DictionaryArray<arrow::datatypes::Int8Type> = [None, Some("x")].into_iter().collect();
    assert_eq!(json_of(Arc::new(keys)), r#"null "x""#);
    assert_eq!(json_of(Arc::new(BinaryArray::from(vec![&[0, 255, 16][..]]))), r#""0x00ff10""#);
}

#[test]
fn json_without_rows_is_an_empty_array() {
    assert_eq!(write(Format::Json, &[("x", Arc::new(Int64Array::from(Vec::<i64>::new())))]), "[]\n");
    assert_eq!(write(Format::Json, &[("x", Arc::new(Int64Array::from(vec![1, 2])))]), "[{\"x\":1},\n{\"x\":2}]\n");
}

#[test]
fn csv_tells_null_from_empty_and_quotes_what_must_be() {
    let text: ArrayRef = Arc::new(StringArray::from(vec![Some("a,b"), Some(""), None, Some("q\"q"), Some("l\nl")]));
    let number: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5]));
    assert_eq!(
        write(Format::Csv, &[("t,t", text), ("n", number)]),
        "\"t,t\",n\n\"a,b\",1\n\"\",2\n,3\n\"q\"\"q\",4\n\"l\nl\",5\n"
    );
    assert_eq!(write(Format::Csv, &[("l", list())]), "l\n\"[\"\"a\\\"\"b\"\",null]\"\n[]\n\n");
}

#[test]
fn two_columns_of_one_name_are_refused_where_names_tell_them_apart() {
    use arrow::datatypes::Schema;
    let field = || Field::new("x", DataType::Int64, true);
    let schema = Arc::new(Schema::new(vec![field(), field()]));
    for format in Format::ALL {
        let refused = matches!(format, Format::Json | Format::Ndjson | Format::Parquet);
        assert_eq!(format.encoder(&schema).is_err(), refused, "{format:?}");
    }
}
