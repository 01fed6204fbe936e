//! Objects of which nothing is selected in the end.
//!
//! A selection can come out empty: every field of it is skipped, or none of its fragments is for the type at hand. The answer
//! then is `{}`; the executor would give null. So such a selection gets a field of ours, which is taken out of the answer.

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, Field, OperationDefinition, OperationType, Selection, SelectionSet,
};
use async_graphql::{Name, Pos, Positioned};
use serde_json::Value;

/// The name of the field of ours. Names that begin so are reserved, and no client's alias is this one.
const KEPT: &str = "__tributaryKept";

/// Adds the field wherever a selection can come out empty; says whether it was added anywhere.
pub(crate) fn keep(document: &mut ExecutableDocument) -> bool {
    let mut added = false;
    match &mut document.operations {
        DocumentOperations::Single(only) => keep_operation(&mut only.node, &mut added),
        DocumentOperations::Multiple(all) => all.values_mut().for_each(|of| keep_operation(&mut of.node, &mut added)),
    }
    for fragment in document.fragments.values_mut() {
        keep_below(&mut fragment.node.selection_set.node, &mut added);
    }
    added
}

fn keep_operation(operation: &mut OperationDefinition, added: &mut bool) {
    let set = &mut operation.selection_set.node;
    // At its root a subscription has one field, which is never left out.
    if operation.ty == OperationType::Subscription { keep_below(set, added) } else { keep_set(set, added) }
}

fn keep_set(set: &mut SelectionSet, added: &mut bool) {
    keep_below(set, added);
    let always = |item: &Positioned<Selection>| match &item.node {
        Selection::Field(field) => field.node.directives.is_empty(),
        Selection::FragmentSpread(_) | Selection::InlineFragment(_) => false,
    };
    if set.items.is_empty() || set.items.iter().any(always) {
        return;
    }
    let place = set.items[0].pos;
    set.items.push(own_field(KEPT, "__typename", place));
    *added = true;
}

fn keep_below(set: &mut SelectionSet, added: &mut bool) {
    for item in &mut set.items {
        match &mut item.node {
            Selection::Field(field) => keep_set(&mut field.node.selection_set.node, added),
            Selection::InlineFragment(fragment) => keep_below(&mut fragment.node.selection_set.node, added),
            Selection::FragmentSpread(_) => {}
        }
    }
}

/// A field that no client wrote, under a name of ours.
pub(crate) fn own_field(alias: &str, name: &str, place: Pos) -> Positioned<Selection> {
    let field = Field {
        alias: Some(Positioned::new(Name::new(alias), place)),
        name: Positioned::new(Name::new(name), place),
        arguments: Vec::new(),
        directives: Vec::new(),
        selection_set: Positioned::new(SelectionSet::default(), place),
    };
    Positioned::new(Selection::Field(Positioned::new(field, place)), place)
}

/// Takes the field out of an answer.
pub(crate) fn strip(answer: &mut Value) {
    match answer {
        Value::Object(fields) => {
            fields.remove(KEPT);
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}
