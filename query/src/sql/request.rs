//! The body of `POST /v1/sql`.

use serde::Deserialize;
use serde_json::Value;
use tributary_schemas::ids::Epoch;

use crate::engine::AsOf;
use crate::error::{Code, QueryError};

/// A question.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) query: String,
    pub(crate) params: Vec<Value>,
    pub(crate) as_of: AsOf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    query: String,
    params: Option<Vec<Value>>,
    as_of: Option<Point>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Point {
    epoch: Option<u64>,
    cut: Option<String>,
    available: Option<bool>,
}

impl Request {
    /// Parses the body.
    ///
    /// # Errors
    /// `bad_request`, `bad_as_of`.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, QueryError> {
        let bad = |message: String| QueryError::new(Code::BadRequest, message);
        let read = |error: serde_json::Error| bad(format!("the body: {error}"));
        let shape: Value = serde_json::from_slice(body).map_err(read)?;
        if !shape.is_object() {
            return Err(bad("the body is no JSON object".to_owned()));
        }
        if !matches!(shape.get("as_of"), None | Some(Value::Null | Value::Object(_))) {
            return Err(bad("as_of is no JSON object: give it one of epoch, cut and available".to_owned()));
        }
        let body: Body = serde_json::from_slice(body).map_err(read)?;
        let as_of = body.as_of.map_or(Ok(AsOf::Head), Point::parse)?;
        Ok(Self { query: body.query, params: body.params.unwrap_or_default(), as_of })
    }
}

impl Point {
    fn parse(self) -> Result<AsOf, QueryError> {
        let bad = |message: String| QueryError::new(Code::BadAsOf, message);
        match (self.epoch, self.cut, self.available) {
            (Some(epoch), None, None) => Epoch::new(epoch)
                .map(AsOf::Epoch)
                .ok_or_else(|| bad(format!("as_of.epoch: {epoch} is no epoch, they count from 1"))),
            (None, Some(cut), None) => {
                cut.parse().map(AsOf::At).map_err(|error: QueryError| bad(format!("as_of.cut: {}", error.message)))
            }
            (None, None, Some(true)) => Ok(AsOf::Available),
            (None, None, Some(false)) => Err(bad("as_of.available: only true is taken; leave as_of out for the head".to_owned())),
            _ => Err(bad("as_of: give exactly one of epoch, cut and available".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_point_of_the_record_is_named_in_exactly_one_way() {
        for (body, as_of) in [
            (r#"{"query":"q"}"#, AsOf::Head),
            (r#"{"query":"q","as_of":null,"params":null}"#, AsOf::Head),
            (r#"{"query":"q","as_of":{"epoch":3}}"#, AsOf::Epoch(Epoch::new(3).unwrap())),
            (r#"{"query":"q","as_of":{"cut":"0:12,1:7"}}"#, AsOf::At("0:12,1:7".parse().unwrap())),
            (r#"{"query":"q","as_of":{"available":true}}"#, AsOf::Available),
        ] {
            assert_eq!(Request::parse(body.as_bytes()).unwrap().as_of, as_of, "{body}");
        }
        for (body, code) in [
            (r#"{"query":"q","as_of":{}}"#, Code::BadAsOf),
            (r#"{"query":"q","as_of":{"epoch":0}}"#, Code::BadAsOf),
            (r#"{"query":"q","as_of":{"epoch":1,"available":true}}"#, Code::BadAsOf),
            (r#"{"query":"q","as_of":{"cut":"1:0,0:1"}}"#, Code::BadAsOf),
            (r#"{"query":"q","as_of":{"available":false}}"#, Code::BadAsOf),
            (r#"{"query":"q","as_of":{"time":"now"}}"#, Code::BadRequest),
            (r#"{"query":"q","as_of":3}"#, Code::BadRequest),
            (r#"{"query":1}"#, Code::BadRequest),
            (r#"{"sql":"q"}"#, Code::BadRequest),
            (r#"{"query":"q","query":"q"}"#, Code::BadRequest),
            (r#"{"query":"q","params":{}}"#, Code::BadRequest),
            ("[]", Code::BadRequest),
            (r#"["SELECT 1",null,null]"#, Code::BadRequest),
            (r#"{"query":"q","as_of":[1,null,null]}"#, Code::BadRequest),
            ("", Code::BadRequest),
        ] {
            assert_eq!(Request::parse(body.as_bytes()).unwrap_err().code, code, "{body}");
        }
    }
}
