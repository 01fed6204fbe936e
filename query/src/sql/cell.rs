//! One cell as text: decimals as strings that keep every digit, instants as RFC 3339 in UTC with microseconds, lists as
//! arrays, maps and structures as objects, bytes as 0x text. Numbers that JSON cannot write (NaN, infinities) are strings.

use std::io::Write;

use arrow::array::{Array, ArrayAccessor, AsArray, PrimitiveArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowDictionaryKeyType, ArrowPrimitiveType, DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DecimalType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use tributary_schemas::ids::Timestamp;

use crate::catalog::hex;
use crate::error::{Code, QueryError};

/// What a cell's text is in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// JSON as it is: numbers, booleans, arrays, objects.
    Bare,
    /// A string without anything to escape.
    Simple,
    /// A string of any characters.
    Text,
    /// A number, or a string where JSON has no number for it.
    Float,
}

type Write1<'a> = Box<dyn Fn(usize, &mut Vec<u8>) + 'a>;

/// What writes the cells of one column.
pub(crate) struct Cells<'a> {
    nulls: Option<NullBuffer>,
    form: Form,
    write: Write1<'a>,
}

/// Writes a text as a JSON string.
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(&mut *out, text).expect("a text is JSON, and memory takes it");
}

/// Writes what has a text. Memory takes every byte, so there is nothing to fail.
fn put(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    write!(out, "{value}").expect("memory takes every byte");
}

impl<'a> Cells<'a> {
    /// # Errors
    /// `unsupported_type` for a type that has no text.
    pub(crate) fn of(array: &'a dyn Array) -> Result<Self, QueryError> {
        let (form, write) = writer(array)?;
        Ok(Self { nulls: array.logical_nulls(), form, write })
    }

    /// Whether the cell is null.
    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// The cell as JSON.
    pub(crate) fn write_json(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        let start = out.len();
        match self.form {
            Form::Bare => (self.write)(row, out),
            Form::Simple => {
                out.push(b'"');
                (self.write)(row, out);
                out.push(b'"');
            }
            Form::Text => {
                out.push(b'"');
                (self.write)(row, out);
                if out[start + 1..].iter().any(|b| *b < b' ' || matches!(b, b'"' | b'\\')) {
                    let text = String::from_utf8_lossy(&out[start + 1..]).into_owned();
                    out.truncate(start);
                    write_text(&text, out);
                } else {
                    out.push(b'"');
                }
            }
            Form::Float => {
                (self.write)(row, out);
                if out[start..].iter().any(|b| matches!(b, b'N' | b'i')) {
                    out.insert(start, b'"');
                    out.push(b'"');
                }
            }
        }
    }

    /// The cell without quotes. The cell must not be null.
    pub(crate) fn write_plain(&self, row: usize, out: &mut Vec<u8>) {
        (self.write)(row, out);
    }
}

fn writer(array: &dyn Array) -> Result<(Form, Write1<'_>), QueryError> {
    Ok(match array.data_type() {
        DataType::Null => (Form::Bare, Box::new(|_, out| out.extend_from_slice(b"null"))),
        DataType::Boolean => {
            let array = array.as_boolean();
            (Form::Bare, Box::new(move |row, out| put(array.value(row), out)))
        }
        DataType::Int8 => integer(array.as_primitive::<Int8Type>()),
        DataType::Int16 => integer(array.as_primitive::<Int16Type>()),
        DataType::Int32 => integer(array.as_primitive::<Int32Type>()),
        DataType::Int64 => integer(array.as_primitive::<Int64Type>()),
        DataType::UInt8 => integer(array.as_primitive::<UInt8Type>()),
        DataType::UInt16 => integer(array.as_primitive::<UInt16Type>()),
        DataType::UInt32 => integer(array.as_primitive::<UInt32Type>()),
        DataType::UInt64 => integer(array.as_primitive::<UInt64Type>()),
        DataType::Float16 => float(array.as_primitive::<Float16Type>(), f64::from),
        DataType::Float32 => {
            let array = array.as_primitive::<Float32Type>();
            (Form::Float, Box::new(move |row, out| put(format_args!("{:?}", array.value(row)), out)))
        }
        DataType::Float64 => float(array.as_primitive::<Float64Type>(), |value| value),
        DataType::Decimal32(..) => decimal(array.as_primitive::<Decimal32Type>()),
        DataType::Decimal64(..) => decimal(array.as_primitive::<Decimal64Type>()),
        DataType::Decimal128(..) => decimal(array.as_primitive::<Decimal128Type>()),
        DataType::Decimal256(..) => decimal(array.as_primitive::<Decimal256Type>()),
        DataType::Utf8 => text(array.as_string::<i32>()),
        DataType::LargeUtf8 => text(array.as_string::<i64>()),
        DataType::Utf8View => text(array.as_string_view()),
        DataType::Binary => bytes(array.as_binary::<i32>()),
        DataType::LargeBinary => bytes(array.as_binary::<i64>()),
        DataType::BinaryView => bytes(array.as_binary_view()),
        DataType::FixedSizeBinary(_) => bytes(array.as_fixed_size_binary()),
        DataType::Timestamp(unit, zone) => instant(array, *unit, zone.is_some()),
        _ => return nested(array),
    })
}

fn nested(array: &dyn Array) -> Result<(Form, Write1<'_>), QueryError> {
    Ok(match array.data_type() {
        DataType::List(_) => {
            let array = array.as_list::<i32>();
            list(array.values().as_ref(), ends_of(array.offsets()))?
        }
        DataType::LargeList(_) => {
            let array = array.as_list::<i64>();
            list(array.values().as_ref(), ends_of(array.offsets()))?
        }
        DataType::FixedSizeList(_, length) => {
            let length = usize::try_from(*length).unwrap_or(0);
            list(array.as_fixed_size_list().values().as_ref(), move |row| (row * length, (row + 1) * length))?
        }
        DataType::Map(..) => map(array)?,
        DataType::Struct(_) => structure(array)?,
        DataType::Dictionary(key, _) => dictionary(array, key)?,
        _ => other(array)?,
    })
}

fn integer<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>) -> (Form, Write1<'_>)
where
    T::Native: std::fmt::Display,
{
    (Form::Bare, Box::new(move |row, out| put(array.value(row), out)))
}

/// The shortest text that is read back as the same number.
fn float<T: ArrowPrimitiveType>(array: &PrimitiveArray<T>, wide: impl Fn(T::Native) -> f64 + 'static) -> (Form, Write1<'_>) {
    (Form::Float, Box::new(move |row, out| put(format_args!("{:?}", wide(array.value(row))), out)))
}

fn decimal<T: DecimalType>(array: &PrimitiveArray<T>) -> (Form, Write1<'_>) {
    (Form::Simple, Box::new(move |row, out| put(array.value_as_string(row), out)))
}

fn text<'a>(array: impl ArrayAccessor<Item = &'a str> + 'a) -> (Form, Write1<'a>) {
    (Form::Text, Box::new(move |row, out| out.extend_from_slice(array.value(row).as_bytes())))
}

fn bytes<'a>(array: impl ArrayAccessor<Item = &'a [u8]> + 'a) -> (Form, Write1<'a>) {
    (Form::Simple, Box::new(move |row, out| put(hex(array.value(row)), out)))
}

/// An instant: with a time zone it is UTC and ends with Z; without, it is a time of day somewhere, and does not.
fn instant(array: &dyn Array, unit: TimeUnit, zoned: bool) -> (Form, Write1<'_>) {
    let micros: Box<dyn Fn(usize) -> Option<i64>> = match unit {
        TimeUnit::Second => {
            let array = array.as_primitive::<TimestampSecondType>();
            Box::new(move |row| array.value(row).checked_mul(1_000_000))
        }
        TimeUnit::Millisecond => {
            let array = array.as_primitive::<TimestampMillisecondType>();
            Box::new(move |row| array.value(row).checked_mul(1_000))
        }
        TimeUnit::Microsecond => {
            let array = array.as_primitive::<TimestampMicrosecondType>();
            Box::new(move |row| Some(array.value(row)))
        }
        TimeUnit::Nanosecond => {
            let array = array.as_primitive::<TimestampNanosecondType>();
            Box::new(move |row| Some(array.value(row).div_euclid(1_000)))
        }
    };
    let write = move |row: usize, out: &mut Vec<u8>| match micros(row).and_then(Timestamp::from_micros) {
        Some(at) if zoned => put(at, out),
        Some(at) => put(at.to_string().trim_end_matches('Z'), out),
        // Years that RFC 3339 cannot write.
        None => put(format_args!("{:?}", micros(row)), out),
    };
    (Form::Simple, Box::new(write))
}

fn ends_of<O: arrow::array::OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> impl Fn(usize) -> (usize, usize) + '_ {
    |row| (offsets[row].as_usize(), offsets[row + 1].as_usize())
}

fn list<'a>(values: &'a dyn Array, ends: impl Fn(usize) -> (usize, usize) + 'a) -> Result<(Form, Write1<'a>), QueryError> {
    let cells = Cells::of(values)?;
    let write = move |row, out: &mut Vec<u8>| {
        let (start, end) = ends(row);
        out.push(b'[');
        for item in start..end {
            if item > start {
                out.push(b',');
            }
            cells.write_json(item, out);
        }
        out.push(b']');
    };
    Ok((Form::Bare, Box::new(write)))
}

fn map(array: &dyn Array) -> Result<(Form, Write1<'_>), QueryError> {
    let array = array.as_map();
    let keys = Cells::of(array.keys().as_ref())?;
    let values = Cells::of(array.values().as_ref())?;
    let write = move |row: usize, out: &mut Vec<u8>| {
        let (start, end) = ends_of(array.offsets())(row);
        out.push(b'{');
        for item in start..end {
            if item > start {
                out.push(b',');
            }
            let mut key = Vec::new();
            keys.write_plain(item, &mut key);
            write_text(&String::from_utf8_lossy(&key), out);
            out.push(b':');
            values.write_json(item, out);
        }
        out.push(b'}');
    };
    Ok((Form::Bare, Box::new(write)))
}

fn structure(array: &dyn Array) -> Result<(Form, Write1<'_>), QueryError> {
    let array = array.as_struct();
    let mut columns = Vec::new();
    for (field, column) in array.fields().iter().zip(array.columns()) {
        let mut name = Vec::new();
        write_text(field.name(), &mut name);
        columns.push((name, Cells::of(column.as_ref())?));
    }
    let write = move |row: usize, out: &mut Vec<u8>| {
        out.push(b'{');
        for (place, (name, cells)) in columns.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            out.extend_from_slice(name);
            out.push(b':');
            cells.write_json(row, out);
        }
        out.push(b'}');
    };
    Ok((Form::Bare, Box::new(write)))
}

fn dictionary<'a>(array: &'a dyn Array, key: &DataType) -> Result<(Form, Write1<'a>), QueryError> {
    match key {
        DataType::Int8 => by_key::<Int8Type>(array),
        DataType::Int16 => by_key::<Int16Type>(array),
        DataType::Int32 => by_key::<Int32Type>(array),
        DataType::Int64 => by_key::<Int64Type>(array),
        DataType::UInt8 => by_key::<UInt8Type>(array),
        DataType::UInt16 => by_key::<UInt16Type>(array),
        DataType::UInt32 => by_key::<UInt32Type>(array),
        _ => by_key::<UInt64Type>(array),
    }
}

fn by_key<K: ArrowDictionaryKeyType>(array: &dyn Array) -> Result<(Form, Write1<'_>), QueryError> {
    let array = array.as_dictionary::<K>();
    let (form, write) = writer(array.values().as_ref())?;
    let write = move |row, out: &mut Vec<u8>| {
        if let Some(place) = array.key(row) {
            write(place, out);
        }
    };
    Ok((form, Box::new(write)))
}

/// Dates, times of day, durations, intervals and whatever else has a text.
fn other(array: &dyn Array) -> Result<(Form, Write1<'_>), QueryError> {
    const OPTIONS: FormatOptions<'static> = FormatOptions::new();
    let unsupported = |error: arrow::error::ArrowError| QueryError::new(Code::UnsupportedType, error.to_string());
    let formatter = ArrayFormatter::try_new(array, &OPTIONS).map_err(unsupported)?;
    Ok((Form::Text, Box::new(move |row, out| put(formatter.value(row), out))))
}

#[cfg(test)]
mod tests;
