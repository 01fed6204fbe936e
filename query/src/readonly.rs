//! What a statement may do: read. Judged on its plan.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;

use crate::error::{Code, QueryError};

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
        Some(what) => Err(QueryError::new(Code::ReadOnly, format!("{what} is not allowed: queries only read")).into()),
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
