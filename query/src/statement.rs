//! From SQL text to one statement, with the text's size bounded before anything is built from it.

use std::num::NonZeroUsize;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion, TreeNodeVisitor};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::{Code, QueryError};
use crate::settings::Settings;

/// How deeply expressions, subqueries and parentheses may be nested. Chains such as `a + b + c` do not nest; they are bounded by
/// the number of tokens.
const NESTING_MAX: NonZeroUsize = NonZeroUsize::new(50).expect("not zero");

/// Parses the text as one statement.
///
/// # Errors
/// `sql_too_large`, `one_statement`, or `bad_sql` with the place of the fault.
pub(crate) fn parse(sql: &str, settings: &Settings) -> Result<Statement, QueryError> {
    if sql.len() > settings.sql_bytes_max {
        return Err(too_large(format!("the query has {} bytes, at most {} are taken", sql.len(), settings.sql_bytes_max)));
    }
    let dialect = GenericDialect {};
    let tokens = Tokenizer::new(&dialect, sql).tokenize().map_err(|error| QueryError::new(Code::BadSql, error.to_string()))?;
    let words = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).count();
    if words > settings.sql_tokens_max {
        return Err(too_large(format!("the query has {words} tokens, at most {} are taken", settings.sql_tokens_max)));
    }
    let statements = DFParserBuilder::new(sql)
        .with_dialect(&dialect)
        .with_recursion_limit(NESTING_MAX.get())
        .build()
        .and_then(|mut parser| parser.parse_statements());
    let mut statements = statements.map_err(of_parser)?;
    match (statements.pop_front(), statements.len()) {
        (Some(statement), 0) => Ok(statement),
        (None, _) => Err(QueryError::new(Code::OneStatement, "there is no statement")),
        (Some(_), more) => Err(QueryError::new(Code::OneStatement, format!("there are {} statements, one is taken", more + 1))),
    }
}

/// How deep the trees of a plan and of its expressions may be: planning takes time in the square of it.
const DEPTH_MAX: usize = 1_000;

/// Refuses plans that chains such as `a + b + c …` or many UNIONs have made too deep to be optimised quickly.
///
/// # Errors
/// `sql_too_large`.
pub(crate) fn check_depth(plan: &LogicalPlan) -> Result<(), QueryError> {
    plan.visit_with_subqueries(&mut Depth(0)).map(|_| ()).map_err(QueryError::from)
}

/// Counts the levels on the way down, and takes them back on the way up.
struct Depth(usize);

impl Depth {
    fn down(&mut self) -> datafusion::error::Result<TreeNodeRecursion> {
        self.0 += 1;
        if self.0 > DEPTH_MAX {
            return Err(too_large(format!("the query chains or nests more than {DEPTH_MAX} operations")).into());
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn up(&mut self) -> datafusion::error::Result<TreeNodeRecursion> {
        self.0 -= 1;
        Ok(TreeNodeRecursion::Continue)
    }
}

impl<'n> TreeNodeVisitor<'n> for Depth {
    type Node = LogicalPlan;

    fn f_down(&mut self, plan: &'n LogicalPlan) -> datafusion::error::Result<TreeNodeRecursion> {
        plan.apply_expressions(|expr| expr.visit(&mut ExprDepth(Depth(0))))?;
        self.down()
    }

    fn f_up(&mut self, _plan: &'n LogicalPlan) -> datafusion::error::Result<TreeNodeRecursion> {
        self.up()
    }
}

/// The same for the tree of an expression.
struct ExprDepth(Depth);

impl<'n> TreeNodeVisitor<'n> for ExprDepth {
    type Node = Expr;

    fn f_down(&mut self, _expr: &'n Expr) -> datafusion::error::Result<TreeNodeRecursion> {
        self.0.down()
    }

    fn f_up(&mut self, _expr: &'n Expr) -> datafusion::error::Result<TreeNodeRecursion> {
        self.0.up()
    }
}

fn too_large(message: String) -> QueryError {
    QueryError::new(Code::SqlTooLarge, message)
}

fn of_parser(error: datafusion::error::DataFusionError) -> QueryError {
    use datafusion::error::DataFusionError;
    use datafusion::sql::sqlparser::parser::ParserError;
    match error.find_root() {
        DataFusionError::SQL(parser, _) if matches!(parser.as_ref(), ParserError::RecursionLimitExceeded) => {
            too_large(format!("the query nests deeper than {NESTING_MAX} levels"))
        }
        _ => QueryError::from(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn code_of(sql: &str) -> Option<Code> {
        parse(sql, &Settings::default()).err().map(|error| error.code)
    }

    #[test]
    fn exactly_one_statement_is_taken() {
        assert_eq!(code_of("SELECT 1"), None);
        assert_eq!(code_of("SELECT 1;"), None);
        for sql in ["", ";", "-- nothing", "SELECT 1; SELECT 2"] {
            assert_eq!(code_of(sql), Some(Code::OneStatement), "{sql}");
        }
        for sql in ["SELEC 1", "SELECT 'open", "SELECT 1 FROM", "\u{0}"] {
            assert_eq!(code_of(sql), Some(Code::BadSql), "{sql}");
        }
    }

    #[test]
    fn text_that_is_long_wide_or_deep_is_refused() {
        assert_eq!(code_of(&format!("SELECT '{}'", "x".repeat(200_000))), Some(Code::SqlTooLarge));
        assert_eq!(code_of(&format!("SELECT 1{}", "+1".repeat(10_000))), Some(Code::SqlTooLarge));
        assert_eq!(code_of(&format!("SELECT {}1{}", "(".repeat(1000), ")".repeat(1000))), Some(Code::SqlTooLarge));
        let nested = (0..1000).fold("SELECT 1".to_owned(), |sql, _| format!("SELECT ({sql})"));
        assert_eq!(code_of(&nested), Some(Code::SqlTooLarge));
    }
}
