//! Where variables stand: each must fit the type that is expected there.

use std::collections::HashSet;

use async_graphql::parser::types::{
    BaseType, Directive, ExecutableDocument, OperationDefinition, OperationType, Selection, SelectionSet, Type,
    VariableDefinition,
};
use async_graphql::{Name, Positioned};
use async_graphql_value::{ConstValue, Value};

use super::Inputs;
use tributary_query::error::{Code, QueryError};

impl Inputs {
    /// Judges where the variables of an operation stand, fragments in place.
    ///
    /// # Errors
    /// `bad_graphql`.
    pub(super) fn places(&self, document: &ExecutableDocument, operation: &OperationDefinition) -> Result<(), QueryError> {
        let root = match operation.ty {
            OperationType::Query => "Query",
            OperationType::Mutation => "Mutation",
            OperationType::Subscription => "Subscription",
        };
        let mut walk = Walk { inputs: self, document, variables: &operation.variable_definitions, visited: HashSet::new() };
        walk.selections(&operation.selection_set.node, root)
    }
}

struct Walk<'a> {
    inputs: &'a Inputs,
    document: &'a ExecutableDocument,
    variables: &'a [Positioned<VariableDefinition>],
    /// Fragments that the walk was in.
    visited: HashSet<&'a Name>,
}

impl<'a> Walk<'a> {
    fn selections(&mut self, set: &'a SelectionSet, parent: &str) -> Result<(), QueryError> {
        for item in &set.items {
            match &item.node {
                Selection::Field(field) => {
                    self.directives(&field.node.directives)?;
                    let inputs = self.inputs;
                    // Introspection, and what validation refuses, has no entry.
                    let output = inputs.fields.get(parent).and_then(|fields| fields.get(field.node.name.node.as_str()));
                    for (name, value) in &field.node.arguments {
                        if let Some(input) = output.and_then(|output| output.arguments.get(name.node.as_str())) {
                            self.value(&value.node, &input.of, input.has_default)?;
                        }
                    }
                    self.selections(&field.node.selection_set.node, output.map_or("", |output| output.to.as_str()))?;
                }
                Selection::InlineFragment(fragment) => {
                    self.directives(&fragment.node.directives)?;
                    let of = fragment.node.type_condition.as_ref().map(|on| on.node.on.node.as_str());
                    self.selections(&fragment.node.selection_set.node, of.unwrap_or(parent))?;
                }
                Selection::FragmentSpread(spread) => {
                    self.directives(&spread.node.directives)?;
                    let Some((name, fragment)) = self.document.fragments.get_key_value(&spread.node.fragment_name.node) else {
                        continue;
                    };
                    if self.visited.insert(name) {
                        let of = fragment.node.type_condition.node.on.node.as_str();
                        self.selections(&fragment.node.selection_set.node, of)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// `@skip` and `@include` take `if: Boolean!`.
    fn directives(&self, directives: &[Positioned<Directive>]) -> Result<(), QueryError> {
        let condition = Type { base: BaseType::Named(Name::new("Boolean")), nullable: false };
        let arguments = directives.iter().flat_map(|directive| &directive.node.arguments);
        arguments.filter(|(name, _)| name.node == "if").try_for_each(|(_, value)| self.value(&value.node, &condition, false))
    }

    fn value(&self, value: &Value, of: &Type, has_default: bool) -> Result<(), QueryError> {
        match (value, &of.base) {
            (Value::Variable(name), _) => self.variable(name, of, has_default),
            (Value::List(items), BaseType::List(of)) => items.iter().try_for_each(|item| self.value(item, of, false)),
            (Value::Object(given), BaseType::Named(name)) => {
                let Some(fields) = self.inputs.objects.get(name.as_str()) else { return Ok(()) };
                let field = |(field, value): (&Name, &Value)| match fields.get(field.as_str()) {
                    Some(field) => self.value(value, &field.of, field.has_default),
                    // Validation does not see a field whose variable has no value.
                    None => Err(QueryError::new(Code::BadGraphql, format!("{name} has no field `{field}`"))),
                };
                given.iter().try_for_each(field)
            }
            _ => Ok(()),
        }
    }

    fn variable(&self, name: &Name, of: &Type, has_default: bool) -> Result<(), QueryError> {
        // A variable that is not defined is told by validation.
        let Some(defined) = self.variables.iter().find(|defined| defined.node.name.node == *name) else { return Ok(()) };
        let own = &defined.node.var_type.node;
        let own_default = defined.node.default_value.as_ref().is_some_and(|value| value.node != ConstValue::Null);
        let fits = if !of.nullable && own.nullable {
            (own_default || has_default) && have_same_base(own, of)
        } else {
            is_within(own, of)
        };
        if fits {
            return Ok(());
        }
        let message = format!("variable `${name}` is {own}, and stands where {of} is expected");
        Err(QueryError::new(Code::BadGraphql, message))
    }
}

/// Whether every value of the one type is a value of the other.
fn is_within(own: &Type, of: &Type) -> bool {
    (of.nullable || !own.nullable) && have_same_base(own, of)
}

fn have_same_base(own: &Type, of: &Type) -> bool {
    match (&own.base, &of.base) {
        (BaseType::Named(own), BaseType::Named(of)) => own == of,
        (BaseType::List(own), BaseType::List(of)) => is_within(own, of),
        _ => false,
    }
}
