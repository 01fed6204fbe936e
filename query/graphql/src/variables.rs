//! Variables: each is judged by the type that the document gives it, before anything runs.

use std::collections::{HashMap, HashSet};

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, ExecutableDocument, FieldDefinition, InputValueDefinition, InterfaceType, ObjectType, OperationDefinition, Type,
    TypeKind, TypeSystemDefinition,
};
use async_graphql::{InputType, InputValueResult, Name, Positioned, ScalarType, Variables};
use async_graphql_value::ConstValue;

use super::scalars::{Address, DateTime, Hash, Long, Wei};
use tributary_query::error::{Code, QueryError};

mod places;

/// The types that variables can have, and where they can stand.
pub(crate) struct Inputs {
    enums: HashMap<String, HashSet<String>>,
    objects: HashMap<String, HashMap<String, Input>>,
    /// By type and name.
    fields: HashMap<String, HashMap<String, Output>>,
}

/// A field of an object: what it takes, and the type that it leads to.
struct Output {
    arguments: HashMap<String, Input>,
    to: String,
}

/// An argument, or a field of an input object.
struct Input {
    of: Type,
    has_default: bool,
}

impl Inputs {
    /// Of a schema, as its SDL describes it.
    pub(crate) fn of(sdl: &str) -> Self {
        let (mut enums, mut objects, mut outputs) = (HashMap::new(), HashMap::new(), HashMap::new());
        for definition in parse_schema(sdl).expect("the schema's own description parses").definitions {
            let TypeSystemDefinition::Type(definition) = definition else { continue };
            let name = definition.node.name.node.to_string();
            match definition.node.kind {
                TypeKind::Enum(of) => {
                    enums.insert(name, of.values.iter().map(|value| value.node.value.node.to_string()).collect());
                }
                TypeKind::InputObject(of) => {
                    objects.insert(name, inputs(of.fields));
                }
                TypeKind::Object(ObjectType { fields, .. }) | TypeKind::Interface(InterfaceType { fields, .. }) => {
                    let output = |field: Positioned<FieldDefinition>| {
                        let to = field.node.ty.node.to_string().trim_matches(['[', ']', '!']).to_owned();
                        (field.node.name.node.to_string(), Output { arguments: inputs(field.node.arguments), to })
                    };
                    outputs.insert(name, fields.into_iter().map(output).collect());
                }
                _ => {}
            }
        }
        Self { enums, objects, fields: outputs }
    }

    /// Judges the variables of an operation: where they stand, and their values.
    ///
    /// # Errors
    /// `bad_graphql` for a variable where another type is expected; `bad_input`, naming the variable and the place within it.
    pub(crate) fn check(
        &self,
        (document, operation): (&ExecutableDocument, &OperationDefinition),
        variables: &Variables,
    ) -> Result<(), QueryError> {
        self.places(document, operation)?;
        for definition in &operation.variable_definitions {
            let (name, of) = (&definition.node.name.node, &definition.node.var_type.node);
            match variables.get(name) {
                Some(value) => self.value(&mut Place::of(name), of, value)?,
                None if of.nullable || definition.node.default_value.is_some() => {}
                None => return Err(bad(format!("variable `${name}` is missing; it is {of}"))),
            }
        }
        Ok(())
    }

    fn value(&self, place: &mut Place, of: &Type, value: &ConstValue) -> Result<(), QueryError> {
        match (&of.base, value) {
            (_, ConstValue::Null) if of.nullable => Ok(()),
            (_, ConstValue::Null) => Err(bad(format!("{place} is null; it is {of}"))),
            (BaseType::List(of), ConstValue::List(items)) => items
                .iter()
                .enumerate()
                .try_for_each(|(n, item)| place.within(&format!("[{n}]"), |place| self.value(place, of, item))),
            // A single value counts as a list of one.
            (BaseType::List(of), one) => self.value(place, of, one),
            (BaseType::Named(of), value) => self.named(place, of, value),
        }
    }

    fn named(&self, place: &mut Place, of: &Name, value: &ConstValue) -> Result<(), QueryError> {
        if let Some(fields) = self.objects.get(of.as_str()) {
            let ConstValue::Object(given) = value else { return Err(bad(format!("{place} is no object; it is {of}"))) };
            if let Some(unknown) = given.keys().find(|name| !fields.contains_key(name.as_str())) {
                return Err(bad(format!("{place}: {of} has no field `{unknown}`")));
            }
            for (name, field) in fields {
                match given.get(name.as_str()) {
                    Some(value) => place.within(&format!(".{name}"), |place| self.value(place, &field.of, value))?,
                    None if field.of.nullable || field.has_default => {}
                    None => return Err(bad(format!("{place}.{name} is missing; it is {}", field.of))),
                }
            }
            return Ok(());
        }
        if let Some(values) = self.enums.get(of.as_str()) {
            let fits = |name: &str| values.contains(name);
            let is_one = match value {
                ConstValue::String(name) => fits(name),
                ConstValue::Enum(name) => fits(name),
                _ => false,
            };
            return if is_one { Ok(()) } else { Err(bad(format!("{place} is {value}, which {of} does not have"))) };
        }
        scalar(of, value).map_err(|problem| bad(format!("{place}: {problem}")))
    }
}

fn inputs(of: Vec<Positioned<InputValueDefinition>>) -> HashMap<String, Input> {
    let input = |input: Positioned<InputValueDefinition>| {
        let of = Input { of: input.node.ty.node, has_default: input.node.default_value.is_some() };
        (input.node.name.node.to_string(), of)
    };
    of.into_iter().map(input).collect()
}

/// Judges a scalar. A type that is not there is told by validation.
fn scalar(of: &str, value: &ConstValue) -> Result<(), String> {
    let parsed = |problem: Option<String>| problem.map_or(Ok(()), Err);
    match of {
        "Wei" => parsed(problem::<Wei>(value)),
        "Address" => parsed(problem::<Address>(value)),
        "Hash" => parsed(problem::<Hash>(value)),
        "DateTime" => parsed(problem::<DateTime>(value)),
        "Long" => parsed(problem::<Long>(value)),
        _ => {
            let (fits, wanted) = match (of, value) {
                ("Int", ConstValue::Number(number)) => {
                    (number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()), "a whole number of 32 bits")
                }
                ("Int", _) => (false, "a whole number of 32 bits"),
                ("Float", _) => (matches!(value, ConstValue::Number(_)), "a number"),
                ("Boolean", _) => (matches!(value, ConstValue::Boolean(_)), "true or false"),
                ("String", _) => (matches!(value, ConstValue::String(_)), "a string"),
                ("ID", ConstValue::Number(number)) => (number.is_i64() || number.is_u64(), "a string or a whole number"),
                ("ID", _) => (matches!(value, ConstValue::String(_)), "a string or a whole number"),
                _ => (true, ""),
            };
            if fits { Ok(()) } else { Err(format!("{value} is not {wanted}")) }
        }
    }
}

fn problem<T: ScalarType + InputType>(value: &ConstValue) -> Option<String> {
    let parsed: InputValueResult<T> = ScalarType::parse(value.clone());
    parsed.err().map(|error| error.into_server_error(async_graphql::Pos::default()).message)
}

/// A place within a variable, such as `$where.fee.in[3]`.
struct Place(String);

impl Place {
    fn of(name: &str) -> Self {
        Self(format!("${name}"))
    }

    fn within<T>(&mut self, step: &str, judge: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.0.len();
        self.0.push_str(step);
        let judged = judge(self);
        self.0.truncate(length);
        judged
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

fn bad(message: String) -> QueryError {
    QueryError::new(Code::BadInput, message)
}
