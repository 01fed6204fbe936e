//! Bounds the functions of a plan that the planner put there by itself, such as for `[…]` and `SUBSTRING`, and `||`.

use std::sync::{Arc, OnceLock};

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator, ScalarUDF};
use datafusion::optimizer::AnalyzerRule;

use super::text_join::TextJoin;
use super::{bound_all, bounded};

/// Comes after the rule that settles types, and before every rule that computes constants.
#[derive(Debug, Default)]
pub(crate) struct BoundFunctions;

impl AnalyzerRule for BoundFunctions {
    fn name(&self) -> &'static str {
        "bound_functions"
    }

    fn analyze(&self, plan: LogicalPlan, _options: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(bound_node)?.data)
    }
}

fn bound_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let expr = expr.transform_up(|expr| Ok(text_join(expr)))?.transform_data(bound_all)?;
        Ok(expr.update_data(|expr| name.restore(expr)))
    })
}

fn text_join(expr: Expr) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => {
            let args = vec![*left, *right];
            Transformed::yes(Expr::ScalarFunction(ScalarFunction { func: text_join_function(), args }))
        }
        other => Transformed::no(other),
    }
}

fn text_join_function() -> Arc<ScalarUDF> {
    static FUNCTION: OnceLock<Arc<ScalarUDF>> = OnceLock::new();
    Arc::clone(FUNCTION.get_or_init(|| bounded(Arc::new(ScalarUDF::new_from_impl(TextJoin::default())))))
}
