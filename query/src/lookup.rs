//! Which questions from outside are lookups: a few rows by their keys, which need not wait behind long queries.

use datafusion::catalog::default_table_source::source_as_provider;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::{LogicalPlan, TableScan};

use crate::catalog::LakeTable;

/// Longer texts are not looked at: planning them takes its time.
pub(crate) const TEXT_BYTES_MAX: usize = 4_096;
/// More tables could multiply their rows.
const TABLES_MAX: usize = 2;

/// Whether an optimised plan reads nothing but rows of certain keys, of few tables.
pub(crate) fn is_lookup(plan: &LogicalPlan) -> bool {
    let mut tables = 0;
    let mut judge = |plan: &LogicalPlan| -> Result<TreeNodeRecursion> {
        let may = match plan {
            LogicalPlan::TableScan(scan) => {
                tables += 1;
                tables <= TABLES_MAX && is_by_key(scan)
            }
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::SubqueryAlias(_) => true,
            // What makes rows, or many of one.
            _ => false,
        };
        if may {
            return Ok(TreeNodeRecursion::Continue);
        }
        tables = usize::MAX;
        Ok(TreeNodeRecursion::Stop)
    };
    let is_judged = plan.apply_with_subqueries(&mut judge).is_ok();
    is_judged && (1..=TABLES_MAX).contains(&tables)
}

fn is_by_key(scan: &TableScan) -> bool {
    let Ok(provider) = source_as_provider(&scan.source) else { return false };
    provider.downcast_ref::<LakeTable>().is_some_and(|table| table.reads_by_key(&scan.filters))
}
