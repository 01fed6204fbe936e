//! Where a field failed, the answer says null, as the GraphQL specification has it ("Handling Execution Errors"): in the field if it may be
//! null, otherwise in the nearest thing around it that may. The executor leaves such a field out.

use std::collections::BTreeMap;

use async_graphql::PathSegment;
use async_graphql::parser::types::{BaseType, ExecutableDocument, Field, OperationType, Selection, SelectionSet, Type};
use serde_json::{Map, Value};

use super::document::{self, Shape};

/// Where fields failed, from one place of the answer on.
#[derive(Default)]
struct Failures {
    /// The value at this place itself.
    here: bool,
    in_fields: BTreeMap<String, Failures>,
    in_items: BTreeMap<usize, Failures>,
}

/// A selection, with the type that it is made on.
type On<'d> = (String, &'d SelectionSet);

/// What the rules go by.
struct Rules<'d> {
    shape: &'d Shape,
    document: &'d ExecutableDocument,
}

/// Puts nulls into the answer to an operation of a document that was run, for failures at these places.
pub(crate) fn put<'e>(
    data: &mut Value,
    shape: &Shape,
    (document, operation): (&ExecutableDocument, Option<&str>),
    paths: impl Iterator<Item = &'e [PathSegment]>,
) {
    let Ok(operation) = document::operation(document, operation) else { return };
    let root = match operation.ty {
        OperationType::Query => "Query",
        OperationType::Mutation => "Mutation",
        OperationType::Subscription => "Subscription",
    };
    let failures = Failures::of(paths);
    let rules = Rules { shape, document };
    if rules.in_object(data, &[(root.to_owned(), &operation.selection_set.node)], &failures) {
        *data = Value::Null;
    }
}

impl Failures {
    fn of<'e>(paths: impl Iterator<Item = &'e [PathSegment]>) -> Self {
        let mut all = Self::default();
        for path in paths {
            let mut at = &mut all;
            for segment in path {
                at = match segment {
                    PathSegment::Field(name) => at.in_fields.entry(name.clone()).or_default(),
                    PathSegment::Index(index) => at.in_items.entry(*index).or_default(),
                };
            }
            at.here = true;
        }
        all
    }
}

impl<'d> Rules<'d> {
    /// Whether a value must be null.
    fn in_value(&self, value: &mut Value, ty: &BaseType, selected: &[On<'d>], failures: &Failures) -> bool {
        match ty {
            _ if failures.here => true,
            BaseType::Named(_) => self.in_object(value, selected, failures),
            BaseType::List(item) => failures.in_items.iter().any(|(index, failures)| {
                // A list that is not there has failed as a whole.
                let Some(found) = value.get_mut(index) else { return value.is_null() };
                let is_null = self.in_value(found, &item.base, selected, failures);
                if is_null {
                    *found = Value::Null;
                }
                is_null && !item.nullable
            }),
        }
    }

    fn in_object(&self, value: &mut Value, selected: &[On<'d>], failures: &Failures) -> bool {
        // One of which every field failed is null already.
        if value.is_null() {
            *value = Value::Object(Map::new());
        }
        let Value::Object(members) = value else { return false };
        failures.in_fields.iter().any(|(name, failures)| {
            let mut found = Vec::new();
            selected.iter().for_each(|on| self.collect(on, name, &mut found));
            // On types that exclude each other fields of one name may have several types, of one shape.
            let types = |(on, field): (String, &'d Field)| Some((self.shape.type_of(&on, &field.name.node)?, field));
            let fields: Vec<((&Type, &str), &Field)> = found.into_iter().filter_map(types).collect();
            let Some(((ty, _), _)) = fields.first() else { return false };
            let may_be_null = fields.iter().all(|((ty, _), _)| ty.nullable);
            let below: Vec<On<'d>> =
                fields.iter().map(|((_, to), field)| ((*to).to_owned(), &field.selection_set.node)).collect();
            let member = members.entry(name.clone()).or_insert(Value::Null);
            let is_null = self.in_value(member, &ty.base, &below, failures);
            if is_null {
                *member = Value::Null;
            }
            is_null && !may_be_null
        })
    }

    /// The fields that answer under a name, with the types that they are selected on.
    fn collect(&self, (on, selected): &On<'d>, name: &str, found: &mut Vec<(String, &'d Field)>) {
        for item in &selected.items {
            match &item.node {
                Selection::Field(field) if field.node.response_key().node == name => found.push((on.clone(), &field.node)),
                Selection::Field(_) => {}
                Selection::InlineFragment(fragment) => {
                    let condition = fragment.node.type_condition.as_ref();
                    let on = condition.map_or_else(|| on.clone(), |condition| condition.node.on.node.to_string());
                    self.collect(&(on, &fragment.node.selection_set.node), name, found);
                }
                Selection::FragmentSpread(spread) => {
                    let Some(fragment) = self.document.fragments.get(&spread.node.fragment_name.node) else { continue };
                    let on = fragment.node.type_condition.node.on.node.to_string();
                    self.collect(&(on, &fragment.node.selection_set.node), name, found);
                }
            }
        }
    }
}
