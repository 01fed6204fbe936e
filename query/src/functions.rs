//! Functions whose values are bounded, so that no expression makes more of them than a query may hold.
//!
//! The engine counts the memory of its operators, not that of expressions: one call could build gigabytes out of a line of
//! SQL, already while the query is planned, and nothing could stop it half-way. So every function is called through
//! [`Bounded`], which forecasts what a call would build and refuses it before it is built, measures what it has built, and
//! charges that to the query's [`Budget`] for as long as it lives. `||`, an operator in the engine, is made a function for this.

mod budget;
mod chain;
mod forecast;
mod rule;
mod size;
mod text_join;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ExpressionPlacement, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, StructFieldMapping,
};
use datafusion::scalar::ScalarValue;

use arrow::datatypes::{DataType, FieldRef};

use crate::error::{Code, QueryError};

pub(crate) use budget::Budget;
pub(crate) use rule::BoundFunctions;
pub(crate) use size::literal_bytes;

/// Bytes that one call of a function may give, for all rows of a batch together.
pub(crate) const OUTPUT_BYTES_MAX: u64 = 64 << 20;

/// Values below this are not charged: they are many, and live shortly.
const CHARGED_FROM: u64 = 4 << 10;

/// Functions that only take values apart or put them side by side. They stay as they are, for the engine knows them by type
/// when it reads parts of a column.
const AS_THEY_ARE: [&str; 3] = ["get_field", "named_struct", "struct"];

/// The engine's functions and our own, bounded, set up for the options (the time zone decides the type of `now`).
pub(crate) fn all(options: &ConfigOptions) -> Vec<Arc<ScalarUDF>> {
    let set_up = |udf: Arc<ScalarUDF>| udf.inner().with_updated_config(options).map_or(udf, Arc::new);
    let engine = SessionStateDefaults::default_scalar_functions().into_iter();
    engine.chain(chain::all()).map(set_up).map(bounded).collect()
}

fn bounded(udf: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    if udf.inner().is::<Bounded>() || udf.as_async().is_some() || AS_THEY_ARE.contains(&udf.name()) {
        return udf;
    }
    Arc::new(ScalarUDF::new_from_impl(Bounded { inner: udf }))
}

/// The expression with all its functions bounded.
fn bound_all(expr: Expr) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| match expr {
        Expr::ScalarFunction(ScalarFunction { func, args }) => {
            let safe = bounded(Arc::clone(&func));
            let changed = !Arc::ptr_eq(&safe, &func);
            let expr = Expr::ScalarFunction(ScalarFunction { func: safe, args });
            Ok(if changed { Transformed::yes(expr) } else { Transformed::no(expr) })
        }
        other => Ok(Transformed::no(other)),
    })
}

/// A function that refuses to build more than it may, and is the inner one in all else.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
}

impl Bounded {
    /// What the call gave, measured and charged. A single value is spread over the rows here, where its size is known.
    fn account(&self, value: ColumnarValue, rows: usize, budget: Option<&Budget>) -> Result<ColumnarValue> {
        let (bytes, spread) = match &value {
            ColumnarValue::Array(array) => (size::bytes_of(array.as_ref()), 1),
            ColumnarValue::Scalar(scalar) => (size::bytes_of_scalar(scalar), rows as u64),
        };
        let total = bytes.saturating_mul(spread);
        if total > OUTPUT_BYTES_MAX {
            return Err(self.too_large().into());
        }
        let Some(budget) = budget else { return Ok(value) };
        if budget.keep_if_planning(total)? || total < CHARGED_FROM {
            return Ok(value);
        }
        let array = value.into_array(rows)?;
        budget.charge(&array, total)?;
        Ok(ColumnarValue::Array(array))
    }

    fn too_large(&self) -> QueryError {
        let mib = OUTPUT_BYTES_MAX >> 20;
        let message =
            format!("one call of {} makes values of more than {mib} MiB: make them shorter or fewer", self.inner.name());
        QueryError::new(Code::Memory, message)
    }
}

#[warn(clippy::missing_trait_methods)]
impl ScalarUDFImpl for Bounded {
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let options = Arc::clone(&args.config_options);
        let budget = options.extensions.get::<Budget>();
        if let Some(budget) = budget {
            budget.check_wanted()?;
        }
        if forecast::steps(self.inner.name(), &args)? > forecast::STEPS_MAX {
            let message = format!("one call of {} would take too long: compare shorter values", self.inner.name());
            return Err(QueryError::new(Code::Timeout, message).into());
        }
        if size::is_fixed(args.return_type()) {
            return self.inner.invoke_with_args(args);
        }
        if forecast::bytes(self.inner.name(), &args)? > OUTPUT_BYTES_MAX {
            return Err(self.too_large().into());
        }
        let rows = args.number_rows;
        let value = self.inner.invoke_with_args(args)?;
        self.account(value, rows, budget)
    }

    /// What a function becomes may hold other functions, which must be bounded too.
    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        Ok(match self.inner.simplify(args, info)? {
            ExprSimplifyResult::Simplified(expr) => ExprSimplifyResult::Simplified(bound_all(expr).data()?),
            original => original,
        })
    }

    /// Set up already, by [`all`].
    fn with_updated_config(&self, _config: &ConfigOptions) -> Option<ScalarUDF> {
        None
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        #[expect(deprecated, reason = "delegated as long as it exists")]
        self.inner.inner().display_name(args)
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn is_nullable(&self, args: &[Expr], schema: &dyn datafusion::common::ExprSchema) -> bool {
        #[expect(deprecated, reason = "delegated as long as it exists")]
        self.inner.is_nullable(args, schema)
    }

    fn is_strict(&self) -> bool {
        self.inner.is_strict()
    }

    fn preimage(&self, args: &[Expr], literal: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        self.inner.preimage(args, literal, info)
    }

    fn short_circuits(&self) -> bool {
        self.inner.short_circuits()
    }

    fn conditional_arguments<'a>(&self, args: &'a [Expr]) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.conditional_arguments(args)
    }

    fn evaluate_bounds(&self, inputs: &[&Interval]) -> Result<Interval> {
        self.inner.evaluate_bounds(inputs)
    }

    fn propagate_constraints(&self, interval: &Interval, inputs: &[&Interval]) -> Result<Option<Vec<Interval>>> {
        self.inner.propagate_constraints(interval, inputs)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(inputs)
    }

    fn preserves_lex_ordering(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.preserves_lex_ordering(inputs)
    }

    fn strictly_order_preserving(&self, inputs: &[ExprProperties]) -> Result<bool> {
        self.inner.strictly_order_preserving(inputs)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn struct_field_mapping(&self, literal_args: &[Option<ScalarValue>]) -> Option<StructFieldMapping> {
        self.inner.struct_field_mapping(literal_args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn placement(&self, args: &[ExpressionPlacement]) -> ExpressionPlacement {
        self.inner.placement(args)
    }
}
