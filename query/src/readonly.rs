//! What a statement may do: read. Judged by its kind before it is planned, and again on its plan.

use std::ops::ControlFlow;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement as SqlStatement, Visit, Visitor};

use crate::error::{Code, QueryError};

/// Passes statements of the kinds that read: queries, EXPLAIN of them, SHOW and DESCRIBE.
///
/// The planner refuses some others by itself, as unknown or unsupported; here each gets the answer that it is not allowed.
///
/// # Errors
/// `read_only` with what was found.
pub(crate) fn check_statement(statement: &Statement) -> Result<(), QueryError> {
    let refused = match statement {
        Statement::Statement(statement) => match statement.visit(&mut OnlyReads) {
            ControlFlow::Continue(()) => None,
            ControlFlow::Break(what) => Some(what),
        },
        Statement::Explain(explain) => return check_statement(&explain.statement),
        Statement::CreateExternalTable(_) => Some("CREATE EXTERNAL TABLE".to_owned()),
        Statement::CopyTo(_) => Some("COPY".to_owned()),
        Statement::Reset(_) => Some("RESET".to_owned()),
    };
    refused.map_or(Ok(()), |what| Err(not_allowed(&what)))
}

/// Stops at the first part of a statement that does anything but read, and names it.
struct OnlyReads;

impl Visitor for OnlyReads {
    type Break = String;

    fn pre_visit_statement(&mut self, statement: &SqlStatement) -> ControlFlow<String> {
        match statement {
            SqlStatement::Query(_)
            | SqlStatement::Explain { .. }
            | SqlStatement::ExplainTable { .. }
            | SqlStatement::ShowTables { .. }
            | SqlStatement::ShowColumns { .. }
            | SqlStatement::ShowFunctions { .. }
            | SqlStatement::ShowVariable { .. }
            | SqlStatement::ShowVariables { .. }
            | SqlStatement::ShowCreate { .. }
            | SqlStatement::ShowDatabases { .. }
            | SqlStatement::ShowSchemas { .. }
            | SqlStatement::ShowViews { .. } => ControlFlow::Continue(()),
            other => ControlFlow::Break(first_word(other)),
        }
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        if makes_table(&query.body) { ControlFlow::Break("SELECT INTO".to_owned()) } else { ControlFlow::Continue(()) }
    }
}

/// Whether SELECT … INTO stands in the body; those of its subqueries are seen on their own.
fn makes_table(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.into.is_some(),
        SetExpr::SetOperation { left, right, .. } => makes_table(left) || makes_table(right),
        _ => false,
    }
}

fn first_word(statement: &SqlStatement) -> String {
    statement.to_string().split_whitespace().next().unwrap_or("the statement").to_owned()
}

fn not_allowed(what: &str) -> QueryError {
    QueryError::new(Code::ReadOnly, format!("{what} is not allowed: queries only read"))
}

/// Passes plans that only read tables, in every part and every subquery.
///
/// Plans are allowed by kind, so that a kind of statement that comes with a later version of the engine is refused until
/// somebody has looked at it. EXPLAIN is allowed, with ANALYZE too: that runs the query under the same limits.
///
/// # Errors
/// `read_only` with what was found.
pub(crate) fn check(plan: &LogicalPlan) -> Result<(), QueryError> {
    let only_reads = |plan: &LogicalPlan| match refused(plan) {
        None => Ok(TreeNodeRecursion::Continue),
        Some(what) => Err(not_allowed(what).into()),
    };
    plan.apply_with_subqueries(only_reads).map_err(|error: DataFusionError| QueryError::from(error))?;
    // The engine's own judgement besides ours; the two must agree.
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    options.verify_plan(plan).map_err(|error| QueryError::new(Code::ReadOnly, error.strip_backtrace()))
}

/// What a node of a plan is called, if it does anything but read.
fn refused(plan: &LogicalPlan) -> Option<&'static str> {
    match plan {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::TableScan(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Explain(_)
        | LogicalPlan::Analyze(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::DescribeTable(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::RecursiveQuery(_) => None,
        LogicalPlan::Statement(_) => Some("a statement that changes the session"),
        LogicalPlan::Dml(_) => Some("a statement that changes rows"),
        LogicalPlan::Ddl(_) => Some("a statement that changes definitions"),
        LogicalPlan::Copy(_) => Some("COPY"),
        LogicalPlan::Extension(_) => Some("an operator from outside"),
    }
}
