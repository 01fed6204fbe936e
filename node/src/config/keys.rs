//! The keys that exist, for errors that name the nearest one.

use toml::{Table, Value};

use super::{Config, ConfigError};

/// Refuses every key of `table` that the configuration does not have.
pub fn check(table: &Table, origin: &str) -> Result<(), ConfigError> {
    let known = all();
    for (section, value) in table {
        if !known.iter().any(|(key, _)| key.split('.').next() == Some(section)) {
            return Err(unknown(origin, section));
        }
        for key in value.as_table().into_iter().flat_map(Table::keys) {
            let path = format!("{section}.{key}");
            if !known.iter().any(|(known, _)| *known == path) {
                return Err(unknown(origin, &path));
            }
        }
    }
    Ok(())
}

/// The value of an environment variable as the key's type; `None` when there is no such key.
pub fn typed(path: &str, text: &str) -> Option<Value> {
    let (_, example) = all().into_iter().find(|(key, _)| key == path)?;
    let string = || Value::String(text.to_owned());
    Some(match example {
        Value::String(_) => string(),
        _ => toml::from_str::<Table>(&format!("v = {text}")).ok().and_then(|mut t| t.remove("v")).unwrap_or_else(string),
    })
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
