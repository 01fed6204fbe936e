//! The schema holds everything that the contract says, and nothing of it otherwise.

use std::collections::BTreeMap;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{FieldDefinition, InputValueDefinition, TypeKind, TypeSystemDefinition};

use tributary_graphql::sdl;

const CONTRACT: &str = include_str!("../../../../schemas/graphql/schema.graphql");

/// Every statement of a schema, as one line each: what a type is, its fields, arguments, values and members.
fn statements(sdl: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for definition in parse_schema(sdl).unwrap().definitions {
        let TypeSystemDefinition::Type(definition) = definition else { continue };
        let (name, kind) = (definition.node.name.node.to_string(), definition.node.kind);
        match kind {
            TypeKind::Scalar => drop(all.insert(name, "scalar".to_owned())),
            TypeKind::Object(object) => {
                for interface in &object.implements {
                    all.insert(format!("{name} implements {}", interface.node), String::new());
                }
                all.insert(name.clone(), "type".to_owned());
                fields(&name, object.fields.into_iter().map(|field| field.node), &mut all);
            }
            TypeKind::Interface(interface) => {
                all.insert(name.clone(), "interface".to_owned());
                fields(&name, interface.fields.into_iter().map(|field| field.node), &mut all);
            }
            TypeKind::Union(union) => {
                all.insert(name.clone(), "union".to_owned());
                for member in union.members {
                    all.insert(format!("{name} | {}", member.node), String::new());
                }
            }
            TypeKind::Enum(kind) => {
                all.insert(name.clone(), "enum".to_owned());
                for value in kind.values {
                    all.insert(format!("{name}.{}", value.node.value.node), "value".to_owned());
                }
            }
            TypeKind::InputObject(input) => {
                let one_of = definition.node.directives.iter().any(|directive| directive.node.name.node == "oneOf");
                all.insert(name.clone(), if one_of { "input @oneOf" } else { "input" }.to_owned());
                for field in input.fields {
                    all.insert(format!("{name}.{}", field.node.name.node), input_of(&field.node));
                }
            }
        }
    }
    all
}

fn fields(owner: &str, fields: impl Iterator<Item = FieldDefinition>, all: &mut BTreeMap<String, String>) {
    for field in fields {
        let name = format!("{owner}.{}", field.name.node);
        for argument in field.arguments {
            all.insert(format!("{name}({})", argument.node.name.node), input_of(&argument.node));
        }
        all.insert(name, field.ty.node.to_string());
    }
}

fn input_of(input: &InputValueDefinition) -> String {
    let default = input.default_value.as_ref().map_or(String::new(), |value| format!(" = {}", value.node));
    format!("{}{default}", input.ty.node)
}

#[test]
fn the_schema_has_all_of_the_contract_and_nothing_of_it_otherwise() {
    let (contract, ours) = (statements(CONTRACT), statements(&sdl()));
    assert!(contract.len() > 500, "the contract was read");
    let differences: Vec<String> = contract
        .iter()
        .filter(|(what, how)| ours.get(*what) != Some(how))
        .map(|(what, how)| format!("{what}: {how:?}, ours: {:?}", ours.get(what)))
        .collect();
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
    // An argument or input field that must be given would refuse what the contract allows.
    let stricter = ours.iter().filter(|(what, how)| {
        !contract.contains_key(*what) && how.ends_with('!') && (what.contains('(') || is_input_field(what, &contract))
    });
    assert_eq!(stricter.collect::<Vec<_>>(), Vec::<(&String, &String)>::new());
}

fn is_input_field(what: &str, contract: &BTreeMap<String, String>) -> bool {
    what.split_once('.').and_then(|(owner, _)| contract.get(owner)).is_some_and(|kind| kind.starts_with("input"))
}
