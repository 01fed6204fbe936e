//! The size of a document: bounded before anything is built from it, and again by what it asks for.

use std::collections::HashMap;

use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, Field, OperationDefinition, OperationType, Selection, SelectionSet, Type, TypeKind,
    TypeSystemDefinition,
};
use async_graphql::parser::{parse_query, parse_schema};
use async_graphql::{Name, Positioned, Variables};
use async_graphql_value::{ConstValue, Value};

use super::settings::Settings;
use tributary_query::error::{Code, QueryError};

/// How much is asked for at once by a list whose length no argument says.
const PLAIN_LIST: u64 = 8;
/// Rows of a connection whose arguments do not say how many.
const PAGE: u64 = 50;

/// What fields lead to, by type and name.
pub(crate) struct Shape {
    fields: HashMap<String, HashMap<String, Leads>>,
}

/// What a field leads to.
struct Leads {
    to: String,
    how: How,
    ty: Type,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    One,
    List,
    Connection,
}

impl Shape {
    /// Of a schema, as its SDL describes it.
    pub(crate) fn of(sdl: &str) -> Self {
        let document = parse_schema(sdl).expect("the schema's own description parses");
        let mut fields: HashMap<String, HashMap<String, Leads>> = HashMap::new();
        for definition in document.definitions {
            let TypeSystemDefinition::Type(definition) = definition else { continue };
            let (TypeKind::Object(_) | TypeKind::Interface(_)) = &definition.node.kind else { continue };
            let name = definition.node.name.node.to_string();
            let of = match definition.node.kind {
                TypeKind::Object(object) => object.fields,
                TypeKind::Interface(interface) => interface.fields,
                _ => continue,
            };
            let leads = |ty: Type| {
                let text = ty.to_string();
                let to = text.trim_matches(['[', ']', '!']).to_owned();
                let how = match (to.ends_with("Connection"), text.starts_with('[')) {
                    (true, _) => How::Connection,
                    (false, true) => How::List,
                    (false, false) => How::One,
                };
                Leads { to, how, ty }
            };
            let of = of.into_iter().map(|field| (field.node.name.node.to_string(), leads(field.node.ty.node)));
            fields.insert(name, of.collect());
        }
        Self { fields }
    }

    /// The type of a field, and the name of what it leads to.
    pub(crate) fn type_of(&self, on: &str, field: &str) -> Option<(&Type, &str)> {
        self.fields.get(on)?.get(field).map(|leads| (&leads.ty, leads.to.as_str()))
    }
}

/// Parses a document of bounded size.
///
/// # Errors
/// `document_too_large`; `bad_graphql` if it does not parse.
pub(crate) fn parse(text: &str, settings: &Settings) -> Result<ExecutableDocument, QueryError> {
    if text.len() > settings.document_bytes_max {
        let message = format!("the document has {} bytes, at most {} are taken", text.len(), settings.document_bytes_max);
        return Err(QueryError::new(Code::DocumentTooLarge, message));
    }
    check_text(text, settings)?;
    parse_query(text).map_err(|error| QueryError::new(Code::BadGraphql, error.to_string()))
}

/// Counts words and nesting without building anything: the parser works by recursion.
fn check_text(text: &str, settings: &Settings) -> Result<(), QueryError> {
    let too_large = |message: String| Err(QueryError::new(Code::DocumentTooLarge, message));
    let (mut tokens, mut level) = (0_usize, 0_usize);
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let mut skip = 0;
        match first {
            b'{' | b'[' | b'(' => level += 1,
            b'}' | b']' | b')' => level = level.saturating_sub(1),
            b'#' => skip = after.iter().position(|b| matches!(b, b'\n' | b'\r')).unwrap_or(after.len()),
            b'"' => skip = string_end(after),
            b if b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-') => {
                skip = after.iter().position(|b| !b.is_ascii_alphanumeric() && !matches!(b, b'_' | b'.')).unwrap_or(after.len());
            }
            _ => {}
        }
        if !first.is_ascii_whitespace() && *first != b',' {
            tokens += 1;
        }
        if tokens > settings.document_tokens_max {
            return too_large(format!("the document has more than {} tokens", settings.document_tokens_max));
        }
        if level > settings.document_nesting_max {
            return too_large(format!("the document nests more than {} levels", settings.document_nesting_max));
        }
        rest = &after[skip..];
    }
    Ok(())
}

/// Bytes up to and with the end of a string whose first quote was read.
fn string_end(after: &[u8]) -> usize {
    if let Some(block) = after.strip_prefix(b"\"\"") {
        let mut at = 0;
        while at < block.len() {
            if block[at..].starts_with(b"\\\"\"\"") {
                at += 4;
            } else if block[at..].starts_with(b"\"\"\"") {
                return 2 + at + 3;
            } else {
                at += 1;
            }
        }
        return after.len();
    }
    let mut at = 0;
    while at < after.len() {
        match after[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            b'\n' | b'\r' => return at,
            _ => at += 1,
        }
    }
    after.len()
}

/// The operation that a request runs.
///
/// # Errors
/// `bad_graphql` if it names none, or one that is not there.
pub(crate) fn operation<'d>(document: &'d ExecutableDocument, name: Option<&str>) -> Result<&'d OperationDefinition, QueryError> {
    let bad = |message: String| QueryError::new(Code::BadGraphql, message);
    match (&document.operations, name) {
        (DocumentOperations::Single(only), None) => Ok(&only.node),
        (DocumentOperations::Single(_), Some(name)) => Err(bad(format!("the document has no operation named `{name}`"))),
        (DocumentOperations::Multiple(all), Some(name)) => {
            all.get(name).map(|of| &of.node).ok_or_else(|| bad(format!("the document has no operation named `{name}`")))
        }
        (DocumentOperations::Multiple(all), None) => match all.values().next() {
            Some(only) if all.len() == 1 => Ok(&only.node),
            _ => Err(bad("the document has several operations: name one as operationName".to_owned())),
        },
    }
}

/// Judges what an operation asks for.
///
/// # Errors
/// `too_deep`, `too_complex`, `too_many_aliases`; `bad_graphql` for fragments that contain themselves.
pub(crate) fn check(
    shape: &Shape,
    settings: &Settings,
    (document, operation): (&ExecutableDocument, &OperationDefinition),
    variables: &Variables,
) -> Result<(), QueryError> {
    let root = match operation.ty {
        OperationType::Query => "Query",
        OperationType::Mutation => "Mutation",
        OperationType::Subscription => "Subscription",
    };
    let defaults = operation.variable_definitions.iter().filter_map(|definition| {
        let definition = &definition.node;
        Some((definition.name.node.clone(), definition.default_value.as_ref()?.node.clone()))
    });
    let mut judge = Judge {
        shape,
        settings,
        document,
        variables,
        defaults: defaults.collect(),
        inside: Vec::new(),
        visited: 0,
        aliases: 0,
        cost: 0,
    };
    judge.selections(&operation.selection_set.node, root, Level { depth: 1, times: 1, page: 1 })
}

/// Walks an operation as it will be run: with its fragments in place.
struct Judge<'a> {
    shape: &'a Shape,
    settings: &'a Settings,
    document: &'a ExecutableDocument,
    variables: &'a Variables,
    defaults: HashMap<Name, ConstValue>,
    /// The fragments that the walk is inside of.
    inside: Vec<&'a str>,
    visited: usize,
    aliases: usize,
    cost: u64,
}

/// Where the walk is.
#[derive(Clone, Copy)]
struct Level {
    depth: usize,
    /// How many values the selection is run for.
    times: u64,
    /// How many rows the connection has that the walk is directly in.
    page: u64,
}

impl<'a> Judge<'a> {
    fn selections(&mut self, set: &'a SelectionSet, parent: &str, level: Level) -> Result<(), QueryError> {
        if level.depth > self.settings.depth_max {
            let message = format!("the operation is more than {} levels deep", self.settings.depth_max);
            return Err(QueryError::new(Code::TooDeep, message));
        }
        for Positioned { node, .. } in &set.items {
            match node {
                Selection::Field(field) => self.field(&field.node, parent, level)?,
                Selection::InlineFragment(fragment) => {
                    let of = fragment.node.type_condition.as_ref().map(|on| on.node.on.node.as_str());
                    self.selections(&fragment.node.selection_set.node, of.unwrap_or(parent), level)?;
                }
                Selection::FragmentSpread(spread) => self.spread(spread.node.fragment_name.node.as_str(), level)?,
            }
        }
        Ok(())
    }

    fn spread(&mut self, name: &'a str, level: Level) -> Result<(), QueryError> {
        self.visit()?;
        if self.inside.contains(&name) {
            return Err(QueryError::new(Code::BadGraphql, format!("fragment `{name}` contains itself")));
        }
        // A fragment that is not there is told by validation.
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(()) };
        self.inside.push(name);
        let on = fragment.node.type_condition.node.on.node.as_str();
        self.selections(&fragment.node.selection_set.node, on, level)?;
        self.inside.pop();
        Ok(())
    }

    /// Counts a step of the walk, which fragments can make much longer than the document.
    fn visit(&mut self) -> Result<(), QueryError> {
        self.visited += 1;
        if self.visited > self.settings.fields_max {
            let message = format!("the operation has more than {} fields, fragments in place", self.settings.fields_max);
            return Err(QueryError::new(Code::TooComplex, message));
        }
        Ok(())
    }

    fn field(&mut self, field: &'a Field, parent: &str, level: Level) -> Result<(), QueryError> {
        self.visit()?;
        if field.alias.is_some() {
            self.aliases += 1;
            if self.aliases > self.settings.aliases_max {
                let message = format!("the operation has more than {} aliases", self.settings.aliases_max);
                return Err(QueryError::new(Code::TooManyAliases, message));
            }
        }
        let name = field.name.node.as_str();
        let leads = self.shape.fields.get(parent).and_then(|fields| fields.get(name));
        let each = match (parent, name) {
            ("Event", "raw" | "data" | "attributes" | "proof") | ("Account", "claim") | ("Blob", "certificate") => {
                self.settings.heavy_cost
            }
            ("EventProof", "opening") => self.settings.opening_cost,
            _ => 1,
        };
        let cost = level.times.saturating_mul(each);
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.settings.complexity_max {
            let message = format!(
                "the operation asks for more than {} values: ask for fewer rows at a time (`first`), or for less of each",
                self.settings.complexity_max
            );
            return Err(QueryError::new(Code::TooComplex, message));
        }
        let Some(leads) = leads else {
            // Introspection and what validation will refuse.
            let level = Level { depth: level.depth + 1, page: 1, ..level };
            return self.selections(&field.selection_set.node, "", level);
        };
        let (times, page) = match leads.how {
            How::One => (level.times, 1),
            How::Connection => (level.times, self.count(field, &["first", "last"]).unwrap_or(PAGE)),
            How::List if parent.ends_with("Connection") => (level.times.saturating_mul(level.page), 1),
            How::List => {
                let said = self.count(field, &["first", "limit", "ids"]).or(default_count(name));
                (level.times.saturating_mul(said.unwrap_or(PLAIN_LIST)), 1)
            }
        };
        let (to, next) = (leads.to.as_str(), Level { depth: level.depth + 1, times, page });
        self.selections(&field.selection_set.node, to, next)
    }

    /// How many values the first of these arguments that is given asks for.
    fn count(&self, field: &Field, names: &[&str]) -> Option<u64> {
        names.iter().find_map(|name| {
            let value = field.get_argument(name)?;
            match &value.node {
                Value::Variable(name) => count_of(self.variables.get(name).or_else(|| self.defaults.get(name))?),
                literal => count_of(&literal.clone().into_const()?),
            }
        })
    }
}

fn count_of(value: &ConstValue) -> Option<u64> {
    match value {
        ConstValue::Number(number) => number.as_u64(),
        ConstValue::List(list) => u64::try_from(list.len()).ok(),
        _ => None,
    }
}

/// What lists give whose arguments have a default.
fn default_count(field: &str) -> Option<u64> {
    match field {
        "pathway" => Some(500),
        "ancestors" => Some(256),
        "search" => Some(20),
        // Each of its points is small and costs no further query.
        "series" | "partitions" => Some(100),
        _ => None,
    }
}
