//! The configuration: one TOML file < environment (`TRIBUTARY__SECTION__KEY`) < flags. Unknown keys are errors that name
//! the nearest key.

mod kafka;
mod keys;
mod sections;

use std::path::Path;

use toml::{Table, Value};

pub use sections::*;

/// What every environment variable of the configuration starts with.
pub const ENVIRONMENT_PREFIX: &str = "TRIBUTARY__";

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration file {path} is not TOML: {message}")]
    Syntax {
        /// The file.
        path: String,
        /// What the parser says, with line and column.
        message: String,
    },
    /// A key that does not exist.
    #[error("{origin}: there is no key `{key}`{}", nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    Unknown {
        /// The file or environment variable.
        origin: String,
        /// The key as given.
        key: String,
        /// The key most like it.
        nearest: Option<String>,
    },
    /// A value of the wrong type or out of range.
    #[error("the configuration is not valid: {0}")]
    Invalid(String),
}

impl Config {
    /// Merges the defaults, the file if one is named, and the environment, in this order.
    pub fn load(file: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut merged = Table::new();
        if let Some(path) = file {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: name.clone(), source })?;
            let table: Table =
                text.parse().map_err(|e: toml::de::Error| ConfigError::Syntax { path: name.clone(), message: e.to_string() })?;
            keys::check(&table, &name)?;
            merged = table;
        }
        for (variable, value) in environment.filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX)) {
            set_from_environment(&mut merged, &variable, &value)?;
        }
        let config: Self = Value::Table(merged).try_into().map_err(|e: toml::de::Error| ConfigError::Invalid(e.to_string()))?;
        config.validate()?;
        Ok(config)
    }

    /// The same with `***` in the place of every secret that is set, for showing.
    pub fn redacted(mut self) -> Self {
        for secret in [&mut self.kafka.sasl_password, &mut self.kafka.oauth_client_secret] {
            if !secret.is_empty() {
                "***".clone_into(secret);
            }
        }
        self
    }

    /// As TOML, ready to be a configuration file.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a configuration is made of tables of scalars")
    }

    fn validate(&self) -> Result<(), ConfigError> {
        use tributary_schemas::{ids::PartitionCount, limits::REQUEST_BYTES_MAX};
        const ANY: u64 = u64::MAX;
        let ranges = [
            ("data.partitions", u64::from(self.data.partitions), 1, u64::from(PartitionCount::MAX)),
            // One request must fit, else none is ever taken.
            ("ingest.in_flight_bytes_max", self.ingest.in_flight_bytes_max, REQUEST_BYTES_MAX as u64, ANY),
            ("ingest.in_flight_requests_max", self.ingest.in_flight_requests_max, 1, ANY),
            ("seal.batch_bytes_max", self.seal.batch_bytes_max, 1, tributary_journal::batch::BODY_BYTES_MAX.into()),
            ("seal.batch_age_ms", self.seal.batch_age_ms, 1, ANY),
            ("kafka.replication", self.kafka.replication.into(), 1, 1000),
            ("kafka.min_insync_replicas", self.kafka.min_insync_replicas.into(), 1, self.kafka.replication.into()),
            ("kafka.retention_ms", self.kafka.retention_ms, 1, i64::MAX.unsigned_abs()),
            ("kafka.session_timeout_ms", self.kafka.session_timeout_ms, 1_000, 300_000),
            ("kafka.delivery_timeout_ms", self.kafka.delivery_timeout_ms, 100, 3_600_000),
            ("kafka.append_bytes_max", self.kafka.append_bytes_max, REQUEST_BYTES_MAX as u64, 1 << 31),
            ("da.blob_bytes_max", self.da.blob_bytes_max, 1, tributary_da::settings::PAYLOAD_BYTES_LIMIT as u64),
            ("index.round_bytes_max", self.index.round_bytes_max, 1, ANY),
            ("query.timeout_ms", self.query.timeout_ms, 1, ANY),
            ("query.memory_bytes_max", self.query.memory_bytes_max, 1, ANY),
            ("query.rows_max", self.query.rows_max, 1, ANY),
            ("query.queries_max", self.query.queries_max, 1, ANY),
            ("query.index_bytes_max", self.query.index_bytes_max, 0, ANY),
            ("graphql.timeout_ms", self.graphql.timeout_ms, 1, ANY),
            ("graphql.requests_max", self.graphql.requests_max, 1, ANY),
            ("graphql.complexity_max", self.graphql.complexity_max, 1, ANY),
            ("graphql.depth_max", self.graphql.depth_max, 1, 64),
            ("graphql.subscribers_max", self.graphql.subscribers_max, 1, ANY),
            ("graphql.stall_ms", self.graphql.stall_ms, 1, ANY),
        ];
        for (key, value, least, most) in ranges {
            if value < least {
                return Err(ConfigError::Invalid(format!("`{key}` must be at least {least}, not {value}")));
            }
            if value > most {
                return Err(ConfigError::Invalid(format!("`{key}` must be at most {most}, not {value}")));
            }
        }
        self.http.address()?;
        self.store.directory()?;
        self.kafka.settings()?;
        self.settlement.parsed().map(|_| ())
    }
}

impl Http {
    /// The address to listen on.
    pub fn address(&self) -> Result<std::net::IpAddr, ConfigError> {
        let text = &self.listen;
        text.parse().map_err(|_| ConfigError::Invalid(format!("`http.listen` must be an IP address, not `{text}`")))
    }
}

impl Store {
    /// The folder of the store; `None`: `store` in the data directory.
    pub fn directory(&self) -> Result<Option<std::path::PathBuf>, ConfigError> {
        let wrong = |why: &str| ConfigError::Invalid(format!("`store.url` {why}, not `{}`", self.url));
        if self.url.is_empty() {
            return Ok(None);
        }
        let url = url::Url::parse(&self.url).map_err(|_| wrong("must be a URL such as file:///srv/tributary/store"))?;
        match url.scheme() {
            "file" => url.to_file_path().map(Some).map_err(|()| wrong("must name a folder of this machine")),
            _ => Err(wrong("must begin with file://")),
        }
    }
}

/// The settlement section, parsed.
pub struct SettlementValues {
    /// The treasury, if one is named.
    pub treasury: Option<tributary_schemas::units::Address>,
    /// The ceiling of one fee.
    pub max_fee: Option<u128>,
    /// The ceiling of an epoch's fees.
    pub max_epoch_total: Option<u128>,
}

impl Settlement {
    /// Parses the address and the amounts.
    pub fn parsed(&self) -> Result<SettlementValues, ConfigError> {
        let invalid = |key: &str, why: String| ConfigError::Invalid(format!("`settlement.{key}` {why}"));
        let amount = |key: &str, text: &Option<String>| match text {
            None => Ok(None),
            Some(text) => {
                text.parse::<u128>().map(Some).map_err(|_| invalid(key, "is not an amount: a decimal string of wei".to_owned()))
            }
        };
        let treasury = self.treasury.as_deref().map(tributary_schemas::units::Address::parse).transpose();
        Ok(SettlementValues {
            treasury: treasury.map_err(|e| invalid("treasury", e.to_string()))?,
            max_fee: amount("max_fee", &self.max_fee)?,
            max_epoch_total: amount("max_epoch_total", &self.max_epoch_total)?,
        })
    }
}

/// Sets one key from `TRIBUTARY__SECTION__KEY`. The value is read as TOML, and as a string when it is none.
fn set_from_environment(merged: &mut Table, variable: &str, value: &str) -> Result<(), ConfigError> {
    let path: Vec<String> = variable[ENVIRONMENT_PREFIX.len()..].split("__").map(str::to_lowercase).collect();
    let joined = path.join(".");
    let parsed = keys::typed(&joined, value).ok_or_else(|| keys::unknown(variable, &joined))?;
    let [section, key] = path.as_slice() else { return Err(keys::unknown(variable, &joined)) };
    let table = merged.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
    match table {
        Value::Table(table) => table.insert(key.clone(), parsed),
        _ => return Err(ConfigError::Invalid(format!("`{section}` must be a table"))),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Config::load(Some(file.path()), environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
        let config =
            load("[http]\nport = 1\n[seal]\nbatch_age_ms = 5\n", &[("TRIBUTARY__HTTP__PORT", "2"), ("PATH", "x")]).unwrap();
        assert_eq!((config.http.port, config.seal.batch_age_ms, config.data.partitions), (2, 5, 4));
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_one() {
        let error = load("[seal]\nbatch_agems = 5\n", &[]).unwrap_err().to_string();
        assert!(error.contains("`seal.batch_agems`") && error.contains("`seal.batch_age_ms`"), "{error}");
        let error = load("", &[("TRIBUTARY__HTP__PORT", "2")]).unwrap_err().to_string();
        assert!(error.contains("`htp.port`") && error.contains("`http.port`"), "{error}");
    }

    #[test]
    fn a_text_value_from_the_environment_stays_text() {
        let config = load("", &[("TRIBUTARY__SETTLEMENT__MAX_FEE", "1000"), ("TRIBUTARY__DA__PAUSED", "true")]).unwrap();
        assert_eq!(config.settlement.parsed().unwrap().max_fee, Some(1000));
        assert!(config.da.paused);
    }

    #[test]
    fn a_value_that_cannot_be_used_is_refused_by_its_key() {
        for (text, key) in [
            ("[http]\nport = 70000\n", "port"),
            ("[seal]\nbatch_age_ms = 0\n", "seal.batch_age_ms"),
            ("[seal]\nbatch_bytes_max = 99999999\n", "seal.batch_bytes_max"),
            ("[da]\nblob_bytes_max = 99999999\n", "da.blob_bytes_max"),
            ("[ingest]\nin_flight_bytes_max = 1\n", "ingest.in_flight_bytes_max"),
            ("[data]\npartitions = 5000\n", "data.partitions"),
            ("[http]\nlisten = \"localhost\"\n", "http.listen"),
            ("[store]\nurl = \"s3://bucket\"\n", "store.url"),
            ("[store]\nurl = \"/folder\"\n", "store.url"),
            ("[kafka]\ncompression = \"gzip\"\n", "kafka.compression"),
            ("[kafka]\nmin_insync_replicas = 4\n", "kafka.min_insync_replicas"),
            ("[kafka]\ntls_ca_file = \"ca.pem\"\n", "kafka.tls"),
            ("[kafka]\nsasl_mechanism = \"gssapi\"\n", "kafka.sasl_mechanism"),
            ("[kafka]\nsasl_mechanism = \"plain\"\nsasl_username = \"u\"\n", "kafka.sasl_password"),
            ("[kafka]\nsasl_mechanism = \"oauthbearer\"\n", "kafka.oauth_token_url"),
            ("[settlement]\ntreasury = \"0x1\"\n", "settlement.treasury"),
            ("[settlement]\nmax_fee = \"-1\"\n", "settlement.max_fee"),
            ("http = 1\n", "http"),
            ("[http\n", "TOML"),
        ] {
            let error = load(text, &[]).unwrap_err().to_string();
            assert!(error.contains(key), "{text}: {error}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = "[kafka]\nsasl_mechanism = \"plain\"\nsasl_username = \"u\"\nsasl_password = \"hush\"\n";
        let shown = load(text, &[("TRIBUTARY__KAFKA__OAUTH_CLIENT_SECRET", "hush")]).unwrap().redacted().to_toml();
        assert!(!shown.contains("hush") && shown.matches("***").count() == 2, "{shown}");
        assert!(!Config::default().redacted().to_toml().contains("***"), "what is not set is shown as not set");
    }

    #[test]
    fn the_printed_configuration_loads_again() {
        let printed = Config::default().to_toml();
        assert_eq!(load(&printed, &[]).unwrap().to_toml(), printed);
    }
}
