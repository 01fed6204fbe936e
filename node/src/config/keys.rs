//! The keys that exist, for errors that name the nearest one.

use toml::de::DeTable;
use toml::{Table, Value};

use super::place::Place;
use super::{Config, ConfigError};

/// Refuses every key of a file that the configuration does not have, and every value that is not of its key's type. Nothing of a
/// value is shown: it may be a secret.
pub fn check(table: &DeTable<'_>, text: &str, file: &str) -> Result<(), ConfigError> {
    let known = all();
    let at = |byte: usize| format!("{file}, {}", Place::of(text, byte));
    for (section, values) in table {
        let name: &str = section.get_ref();
        if !known.iter().any(|(key, _)| key.split('.').next() == Some(name)) {
            return Err(unknown(&at(section.span().start), name));
        }
        let Some(entries) = values.get_ref().as_table() else {
            let (origin, found) = (at(values.span().start), values.get_ref().type_str());
            return Err(ConfigError::Invalid(format!("{origin}: `{name}` must be a table; it is of type {found}")));
        };
        for (key, value) in entries {
            let path = format!("{name}.{}", key.get_ref());
            let Some((_, example)) = known.iter().find(|(known, _)| *known == path) else {
                return Err(unknown(&at(key.span().start), &path));
            };
            let found = value.get_ref().type_str();
            if found != example.type_str() {
                return Err(mistyped(&at(value.span().start), &path, example, found));
            }
        }
    }
    Ok(())
}

/// The value of an environment variable as the key's type.
pub fn from_text(variable: &str, path: &str, text: &str) -> Result<Value, ConfigError> {
    let Some((_, example)) = all().into_iter().find(|(key, _)| key == path) else { return Err(unknown(variable, path)) };
    let string = || Value::String(text.to_owned());
    let value = match example {
        Value::String(_) => string(),
        _ => toml::from_str::<Table>(&format!("v = {text}")).ok().and_then(|mut t| t.remove("v")).unwrap_or_else(string),
    };
    match value.same_type(&example) {
        true => Ok(value),
        false => Err(mistyped(variable, path, &example, value.type_str())),
    }
}

/// The key that is set at the place, if it is one that exists. For files that are not TOML, so nothing but their lines is relied on.
pub fn set_at(text: &str, place: Place) -> Option<String> {
    let (mut section, mut key) = ("", None);
    for line in text.lines().take(place.line()) {
        if let Some((header, _)) = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            section = header.trim();
        }
        key = line.split_once('=').map(|(key, _)| format!("{section}.{}", key.trim()));
    }
    key.filter(|key| all().iter().any(|(known, _)| known == key))
}

/// The error for a value of another type than its key's.
fn mistyped(origin: &str, key: &str, example: &Value, found: &str) -> ConfigError {
    let wanted = match example {
        Value::String(_) => "a string in quotes",
        Value::Integer(_) => "a whole number",
        Value::Boolean(_) => "true or false",
        other => other.type_str(),
    };
    ConfigError::Invalid(format!("{origin}: `{key}` must be {wanted}; it is of type {found}"))
}

/// The error for a key that does not exist.
pub fn unknown(origin: &str, key: &str) -> ConfigError {
    let similar = |known: &str| {
        let whole = strsim::normalized_damerau_levenshtein(known, key);
        let section = known.split('.').next().map_or(0.0, |s| strsim::normalized_damerau_levenshtein(s, key));
        whole.max(section)
    };
    let nearest = all().into_iter().map(|(known, _)| known).max_by(|a, b| similar(a).total_cmp(&similar(b)));
    ConfigError::Unknown {
        origin: origin.to_owned(),
        key: key.to_owned(),
        nearest: nearest.map(|n| if key.contains('.') { n } else { n.split('.').next().unwrap_or_default().to_owned() }),
    }
}

/// Every key as `section.key` with a value of its type.
fn all() -> Vec<(String, Value)> {
    let mut example = Config::default();
    example.settlement.treasury = Some(String::new());
    example.settlement.max_fee = Some(String::new());
    example.settlement.max_epoch_total = Some(String::new());
    let table = Table::try_from(&example).expect("a configuration is made of tables of scalars");
    let mut keys = Vec::new();
    for (section, values) in &table {
        for (key, value) in values.as_table().into_iter().flatten() {
            keys.push((format!("{section}.{key}"), value.clone()));
        }
    }
    keys
}
