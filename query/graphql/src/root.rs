//! The one field at the root of a subscription.
//!
//! A document may write it within fragments, and in parts that belong together; the executor takes a field as it stands. So the
//! field is put in its place here, before anything runs. Live events get a field of ours besides, which carries their cursor
//! whatever the document selects, and is taken out of the answer.

use std::collections::HashSet;

use async_graphql::parser::types::{DocumentOperations, ExecutableDocument, Field, OperationDefinition, Selection, SelectionSet};
use async_graphql::{Name, Positioned};
use serde_json::Value;

use super::document::operation;
use super::kept::own_field;
use tributary_query::error::{Code, QueryError};

/// The type of the root.
const ROOT: &str = "Subscription";
/// The name of the field of ours. Names that begin so are reserved, and no client's alias is this one.
const CURSOR: &str = "__tributaryCursor";

/// Puts the only field of the subscription that is run at its root.
///
/// # Errors
/// `bad_graphql` if there are several, or one that may be left out.
pub(crate) fn settle(document: &mut ExecutableDocument, name: Option<&str>) -> Result<(), QueryError> {
    let mut inlined = HashSet::new();
    let mut fields = Vec::new();
    collect(document, &operation(document, name)?.selection_set.node, &mut inlined, &mut fields)?;
    let mut fields = fields.into_iter();
    let mut only = fields.next().ok_or_else(none)?;
    for more in fields {
        let is_same = more.node.response_key() == only.node.response_key() && more.node.name.node == only.node.name.node;
        if !is_same || !have_same_arguments(&more.node, &only.node) {
            let (one, other) = (&only.node.response_key().node, &more.node.response_key().node);
            return Err(bad(format!("a subscription has one field at its root; this one has `{one}` and `{other}`")));
        }
        only.node.selection_set.node.items.extend(more.node.selection_set.node.items);
    }
    if only.node.name.node == "events" && !only.node.selection_set.node.items.is_empty() {
        only.node.selection_set.node.items.push(own_field(CURSOR, "cursor", only.pos));
    }
    let place = only.pos;
    operation_mut(document, name).ok_or_else(none)?.selection_set.node.items =
        vec![Positioned::new(Selection::Field(only), place)];
    forget(document, inlined);
    Ok(())
}

/// Takes the cursor of a live event out of an answer.
pub(crate) fn take_cursor(data: &mut Value) -> Option<String> {
    let event = data.as_object_mut()?.values_mut().next()?.as_object_mut()?;
    match event.remove(CURSOR)? {
        Value::String(cursor) => Some(cursor),
        _ => None,
    }
}

fn operation_mut<'d>(document: &'d mut ExecutableDocument, name: Option<&str>) -> Option<&'d mut OperationDefinition> {
    match &mut document.operations {
        DocumentOperations::Single(only) => Some(&mut only.node),
        DocumentOperations::Multiple(all) => {
            let name = name.map(Name::new).or_else(|| all.keys().next().cloned())?;
            all.get_mut(&name).map(|of| &mut of.node)
        }
    }
}

/// The fields of a selection at the root, fragments in place. Fragments that contain themselves were refused before.
fn collect(
    document: &ExecutableDocument,
    set: &SelectionSet,
    inlined: &mut HashSet<Name>,
    fields: &mut Vec<Positioned<Field>>,
) -> Result<(), QueryError> {
    let on_root = |on: &str| {
        if on == ROOT { Ok(()) } else { Err(bad(format!("a fragment on {on} cannot be at the root of a subscription"))) }
    };
    for item in &set.items {
        let directives = match &item.node {
            Selection::Field(field) => &field.node.directives,
            Selection::InlineFragment(fragment) => &fragment.node.directives,
            Selection::FragmentSpread(spread) => &spread.node.directives,
        };
        if let Some(directive) = directives.first() {
            let directive = &directive.node.name.node;
            return Err(bad(format!("@{directive} cannot be at the root of a subscription, whose field is never left out")));
        }
        match &item.node {
            Selection::Field(field) if field.node.name.node.starts_with("__") => {
                return Err(bad(format!("`{}` cannot be at the root of a subscription", field.node.name.node)));
            }
            Selection::Field(field) => fields.push(field.clone()),
            Selection::InlineFragment(fragment) => {
                fragment.node.type_condition.as_ref().map_or(Ok(()), |on| on_root(&on.node.on.node))?;
                collect(document, &fragment.node.selection_set.node, inlined, fields)?;
            }
            Selection::FragmentSpread(spread) => {
                let name = &spread.node.fragment_name.node;
                let fragment = document.fragments.get(name).ok_or_else(|| bad(format!("there is no fragment `{name}`")))?;
                on_root(&fragment.node.type_condition.node.on.node)?;
                inlined.insert(name.clone());
                collect(document, &fragment.node.selection_set.node, inlined, fields)?;
            }
        }
    }
    Ok(())
}

fn have_same_arguments(one: &Field, other: &Field) -> bool {
    let arguments = |field: &Field| {
        let mut all: Vec<_> =
            field.arguments.iter().map(|(name, value)| (name.node.to_string(), value.node.to_string())).collect();
        all.sort();
        all
    };
    arguments(one) == arguments(other)
}

/// Takes out the fragments that were put in place and are used nowhere else.
fn forget(document: &mut ExecutableDocument, mut inlined: HashSet<Name>) {
    // Each round takes one out at least, or is the last.
    while let Some(name) = inlined.iter().find(|name| !is_used(document, name)).cloned() {
        document.fragments.remove(&name);
        inlined.remove(&name);
    }
}

fn is_used(document: &ExecutableDocument, fragment: &Name) -> bool {
    let of_operations: Vec<&SelectionSet> = match &document.operations {
        DocumentOperations::Single(only) => vec![&only.node.selection_set.node],
        DocumentOperations::Multiple(all) => all.values().map(|of| &of.node.selection_set.node).collect(),
    };
    let of_fragments = document.fragments.values().map(|fragment| &fragment.node.selection_set.node);
    of_operations.into_iter().chain(of_fragments).any(|set| spreads(set, fragment))
}

fn spreads(set: &SelectionSet, name: &Name) -> bool {
    set.items.iter().any(|item| match &item.node {
        Selection::Field(field) => spreads(&field.node.selection_set.node, name),
        Selection::InlineFragment(fragment) => spreads(&fragment.node.selection_set.node, name),
        Selection::FragmentSpread(spread) => spread.node.fragment_name.node == *name,
    })
}

fn bad(message: String) -> QueryError {
    QueryError::new(Code::BadGraphql, message)
}

fn none() -> QueryError {
    bad("a subscription has one field at its root".to_owned())
}
