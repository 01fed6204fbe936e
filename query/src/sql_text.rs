//! SQL of our own making, put together from parts: text from the program, values only ever bound.

use std::fmt::Write;

use datafusion::common::{ParamValues, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::DFParserBuilder;

use crate::error::{Code, QueryError};

/// A piece of SQL with its values. In the text each `?` stands for the next value; the text comes from the program alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SqlText {
    text: String,
    values: Vec<ScalarValue>,
    lookup: bool,
}

impl SqlText {
    /// Text without values.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Text with a value for its only `?`.
    pub fn with(text: impl Into<String>, value: ScalarValue) -> Self {
        Self { text: text.into(), values: vec![value], lookup: false }
    }

    /// The same, known to find few rows by their keys.
    pub fn lookup(self) -> Self {
        Self { lookup: true, ..self }
    }

    /// Whether it is known to find few rows by their keys.
    pub fn is_lookup(&self) -> bool {
        self.lookup
    }

    /// Adds text.
    pub fn push(&mut self, text: &str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// Adds another piece with its values.
    pub fn append(&mut self, other: &SqlText) -> &mut Self {
        self.text.push_str(&other.text);
        self.values.extend_from_slice(&other.values);
        self
    }

    /// Adds a place and its value.
    pub fn bind(&mut self, value: ScalarValue) -> &mut Self {
        self.text.push('?');
        self.values.push(value);
        self
    }

    /// Adds places for a list, separated by commas.
    pub fn bind_all(&mut self, values: impl IntoIterator<Item = ScalarValue>) -> &mut Self {
        for (n, value) in values.into_iter().enumerate() {
            if n > 0 {
                self.text.push(',');
            }
            self.bind(value);
        }
        self
    }

    /// Adds the pieces, each in parentheses, joined by a word.
    pub fn join(&mut self, pieces: &[SqlText], word: &str) -> &mut Self {
        for (n, piece) in pieces.iter().enumerate() {
            if n > 0 {
                self.text.push_str(word);
            }
            self.text.push('(');
            self.append(piece);
            self.text.push(')');
        }
        self
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The plan, with the values bound.
    ///
    /// # Errors
    /// `internal`: text of our own that does not plan is our own fault.
    pub async fn plan(&self, state: &SessionState) -> Result<LogicalPlan, QueryError> {
        let ours = |error: String| QueryError::new(Code::Internal, format!("{error}, in: {}", self.text));
        let text = self.numbered();
        let statements = DFParserBuilder::new(text.as_str()).build().and_then(|mut parser| parser.parse_statements());
        let statement =
            statements.map_err(|e| ours(e.to_string()))?.pop_front().ok_or_else(|| ours("no statement".to_owned()))?;
        let plan = state.statement_to_plan(statement).await.map_err(|e| match QueryError::from(e) {
            error if error.code == Code::BadSql => ours(error.message),
            error => error,
        })?;
        plan.with_param_values(ParamValues::from(self.values.clone())).map_err(|e| ours(e.to_string()))
    }

    /// The text with `$1`, `$2` … for its places.
    fn numbered(&self) -> String {
        let mut text = String::with_capacity(self.text.len() + 4 * self.values.len());
        let mut places = 0;
        for (n, part) in self.text.split('?').enumerate() {
            if n > 0 {
                places += 1;
                write!(text, "${places}").expect("a string takes every text");
            }
            text.push_str(part);
        }
        assert_eq!(places, self.values.len(), "every place has its value: {}", self.text);
        text
    }
}

/// A text as a value.
pub fn text(value: impl Into<String>) -> ScalarValue {
    ScalarValue::Utf8(Some(value.into()))
}

/// A whole number as a value.
pub fn long(value: i64) -> ScalarValue {
    ScalarValue::Int64(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_numbered_in_the_order_of_their_values() {
        let mut sql = SqlText::new("SELECT a FROM t WHERE ");
        sql.join(&[SqlText::with("a = ?", text("x")), SqlText::with("b > ?", long(1))], " AND ");
        sql.push(" OR c IN (").bind_all([long(2), long(3)]).push(")");
        assert_eq!(sql.numbered(), "SELECT a FROM t WHERE (a = $1) AND (b > $2) OR c IN ($3,$4)");
        assert_eq!(sql.values, [text("x"), long(1), long(2), long(3)]);
    }
}
