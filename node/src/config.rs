//! The configuration: one TOML file < environment (`TRIBUTARY__SECTION__KEY`) < flags. Unknown keys are errors that name
//! the nearest key.

mod availability;
mod kafka;
mod keys;
mod place;
mod sections;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use toml::de::DeTable;
use toml::{Table, Value};

pub use availability::Backend;
use place::Place;
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
    /// The file is not TOML. Nothing of the line is shown: it may hold a secret.
    #[error("the configuration file {path} is not TOML: {place}{}: {message}", key.as_ref().map(|k| format!(", `{k}`")).unwrap_or_default())]
    Syntax {
        /// The file.
        path: String,
        /// Where.
        place: Place,
        /// The key that is set there, if it can be told.
        key: Option<String>,
        /// What is wrong there.
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

impl ConfigError {
    /// Every code, in the order of docs/errors.md.
    #[cfg(test)]
    pub const CODES: [&'static str; 4] = ["config_unreadable", "config_syntax", "config_key_unknown", "config_invalid"];

    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "config_unreadable",
            Self::Syntax { .. } => "config_syntax",
            Self::Unknown { .. } => "config_key_unknown",
            Self::Invalid(_) => "config_invalid",
        }
    }
}

impl Config {
    /// Merges the defaults, the file if one is named, and the environment, in this order.
    pub fn load(file: Option<&Path>, environment: impl Iterator<Item = (OsString, OsString)>) -> Result<Self, ConfigError> {
        let mut merged = file.map_or_else(|| Ok(Table::new()), read)?;
        for (variable, value) in environment {
            let Ok(variable) = variable.into_string() else { continue };
            if variable.starts_with(ENVIRONMENT_PREFIX) {
                let value = value.into_string().map_err(|_| ConfigError::Invalid(format!("{variable} is not in UTF-8")))?;
                set_from_environment(&mut merged, &variable, &value)?;
            }
        }
        // Numbers beyond their range are left: of every key that is a string, and so of every secret, each value is one.
        let out_of_range = |e: toml::de::Error| ConfigError::Invalid(e.to_string().trim_end().replace('\n', " "));
        let config: Self = Value::Table(merged).try_into().map_err(out_of_range)?;
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
        for text in [&mut self.kafka.oauth_token_url, &mut self.da.proxy_url] {
            if let Ok(mut url) = url::Url::parse(text)
                && url.password().is_some()
                && url.set_password(Some("***")).is_ok()
            {
                *text = url.into();
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
            ("da.blob_bytes_max", self.da.blob_bytes_max, 1, self.da.blob_bytes_limit()),
            ("da.blobs_in_flight_max", self.da.blobs_in_flight_max, 1, tributary_da::settings::BLOBS_IN_FLIGHT_LIMIT as u64),
            ("da.connect_timeout_ms", self.da.connect_timeout_ms, 1, ANY),
            ("da.put_timeout_ms", self.da.put_timeout_ms, 1, ANY),
            ("da.paid_pause_max_ms", self.da.paid_pause_max_ms, 0, 86_400_000),
            ("da.get_timeout_ms", self.da.get_timeout_ms, 1, ANY),
            ("da.price_wei_per_symbol", self.da.price_wei_per_symbol, 0, i64::MAX.unsigned_abs()),
            ("da.failover_failures_max", self.da.failover_failures_max, 1, u32::MAX.into()),
            ("da.failover_cool_down_ms", self.da.failover_cool_down_ms, 1, ANY),
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
        let accepted = self.settlement.parsed()?.available_backends;
        match self.da.backend()? {
            Backend::EigenDa { failover: Some(_), .. } if !accepted.contains(tributary_da::local::BACKEND) => {
                let why = "`da.failover_backend` must not be `local` where `settlement.available_backends` does not list it: what it \
                           certifies would never be settled";
                Err(ConfigError::Invalid(why.to_owned()))
            }
            _ => Ok(()),
        }
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
        // What it is instead is not shown: it may hold a password.
        let wrong = |why: &str| ConfigError::Invalid(format!("`store.url` {why}"));
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
    /// The backends whose word settlement takes, at least one.
    pub available_backends: BTreeSet<&'static str>,
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
            available_backends: self.backends().map_err(|why| invalid("available_backends", why))?,
        })
    }

    fn backends(&self) -> Result<BTreeSet<&'static str>, String> {
        const KNOWN: [&str; 2] = [tributary_da::local::BACKEND, tributary_da::eigenda::BACKEND];
        let named = self.available_backends.split(',').map(str::trim).filter(|name| !name.is_empty());
        let known = |name: &str| {
            let found = KNOWN.into_iter().find(|known| *known == name);
            found.ok_or_else(|| format!("may list {}, not `{name}`", KNOWN.join(" and ")))
        };
        let accepted: BTreeSet<&'static str> = named.map(known).collect::<Result<_, _>>()?;
        match accepted.is_empty() {
            true => Err(format!("must list at least one of {}", KNOWN.join(" and "))),
            false => Ok(accepted),
        }
    }
}

/// Reads a file, whose keys exist and whose values are of their types.
fn read(path: &Path) -> Result<Table, ConfigError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: name.clone(), source })?;
    let syntax = |span: Option<std::ops::Range<usize>>, message: &str| {
        let place = Place::of(&text, span.map_or(text.len(), |span| span.start));
        ConfigError::Syntax { path: name.clone(), place, key: keys::set_at(&text, place), message: message.to_owned() }
    };
    // Its messages say what they miss, and nothing of what is there.
    let document = DeTable::parse(&text).map_err(|e| syntax(e.span(), e.message()))?;
    keys::check(document.get_ref(), &text, &name)?;
    text.parse().map_err(|e: toml::de::Error| syntax(e.span(), "a number is too large"))
}

/// Sets one key from `TRIBUTARY__SECTION__KEY`. The value is read as TOML, and as a string when it is none.
fn set_from_environment(merged: &mut Table, variable: &str, value: &str) -> Result<(), ConfigError> {
    let path: Vec<String> = variable[ENVIRONMENT_PREFIX.len()..].split("__").map(str::to_lowercase).collect();
    let joined = path.join(".");
    let parsed = keys::from_text(variable, &joined, value)?;
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
        Config::load(Some(file.path()), environment.iter().map(|(k, v)| (OsString::from(k), OsString::from(v))))
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
            ("[da]\nblob_bytes_max = 1015778\n", "da.blob_bytes_max"),
            ("[da]\nblob_bytes_max = 99999999\nsrs_file = \"g1.point\"\n", "da.blob_bytes_max"),
            ("[da]\nblobs_in_flight_max = 0\n", "da.blobs_in_flight_max"),
            ("[da]\nblobs_in_flight_max = 257\n", "da.blobs_in_flight_max"),
            ("[da]\nbackend = \"celestia\"\n", "da.backend"),
            ("[da]\nbackend = \"eigenda\"\n", "da.proxy_url"),
            ("[da]\nbackend = \"eigenda\"\nproxy_url = \"127.0.0.1:3100\"\n", "da.proxy_url"),
            ("[da]\nbackend = \"eigenda\"\nproxy_url = \"http://x\"\nfailover_backend = \"eigenda\"\n", "da.failover_backend"),
            ("[da]\nfailover_backend = \"local\"\n", "da.failover_backend"),
            ("[da]\nfailover_failures_max = 0\n", "da.failover_failures_max"),
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
            ("[settlement]\navailable_backends = \"local,celestia\"\n", "settlement.available_backends"),
            ("[settlement]\navailable_backends = \" , \"\n", "settlement.available_backends"),
            ("http = 1\n", "http"),
            ("[http\n", "TOML"),
        ] {
            let error = load(text, &[]).unwrap_err().to_string();
            assert!(error.contains(key), "{text}: {error}");
        }
    }

    /// Every key that holds a secret.
    const SECRETS: [&str; 2] = ["sasl_password", "oauth_client_secret"];

    #[test]
    fn a_value_of_a_wrong_type_is_named_by_line_column_and_key_and_nothing_of_it_is_shown() {
        for secret in SECRETS {
            for (value, found) in
                [("271828", "integer"), ("2718.28", "float"), ("[\"271828\"]", "array"), ("{ a = \"271828\" }", "table")]
            {
                let error = load(&format!("[kafka]\n{secret} = {value}\n"), &[]).unwrap_err();
                let (text, column) = (error.to_string(), secret.len() + 4);
                assert!(!text.contains("2718"), "{text}");
                let place =
                    format!("line 2, column {column}: `kafka.{secret}` must be a string in quotes; it is of type {found}");
                assert!(text.contains(&place) && error.code() == "config_invalid", "{text}");
            }
            // More than 64 bits, which the parser itself would show.
            let text = load(&format!("[kafka]\n{secret} = 271828182845904523536\n"), &[]).unwrap_err().to_string();
            assert!(!text.contains("2718") && text.contains(&format!("`kafka.{secret}`")), "{text}");
        }
        let text = load("[kafka]\ntls = \"hush\"\n", &[]).unwrap_err().to_string();
        assert!(!text.contains("hush") && text.contains("line 2, column 7: `kafka.tls` must be true or false"), "{text}");
        let text = load("", &[("TRIBUTARY__KAFKA__TLS", "hush")]).unwrap_err().to_string();
        assert!(!text.contains("hush") && text.contains("TRIBUTARY__KAFKA__TLS: `kafka.tls` must be true or false"), "{text}");
        let text = load("[http]\nport = 99999999999999999999999\n", &[]).unwrap_err().to_string();
        assert!(text.contains("line 2, column 8, `http.port`"), "{text}");
    }

    #[test]
    fn a_line_that_is_not_toml_is_named_and_not_shown() {
        for line in
            ["= \"hush", "= hush", "= 'hush", "= \"hush\" hush", "= \"\\hush\"", "hush", "= hush-hush", "= 1hush", "= [\"hush\""]
        {
            for secret in SECRETS {
                let error = load(&format!("[kafka] # of ours\ntls = true\n{secret} {line}\n"), &[]).unwrap_err();
                let text = error.to_string();
                assert!(!text.contains("hush") && text.contains("is not TOML: line ") && text.contains(", column "), "{text}");
                assert_eq!(error.code(), "config_syntax");
            }
        }
        let text = load("[kafka]\n  sasl_password = \"hush\nsasl_username = \"u\"\n", &[]).unwrap_err().to_string();
        assert!(text.contains("line 2, ") && text.contains(", `kafka.sasl_password`: "), "{text}");
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_not_text_is_named_and_not_shown() {
        use std::os::unix::ffi::OsStringExt;
        let broken = || OsString::from_vec(b"hush\xff".to_vec());
        let of = |name: &str| Config::load(None, [(OsString::from(name), broken())].into_iter());
        let text = of("TRIBUTARY__KAFKA__SASL_PASSWORD").unwrap_err().to_string();
        assert!(text.contains("TRIBUTARY__KAFKA__SASL_PASSWORD") && !text.contains("hush"), "{text}");
        assert!(of("ANOTHER").is_ok(), "what is not ours is not read");
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = "[kafka]\nsasl_mechanism = \"plain\"\nsasl_username = \"u\"\nsasl_password = \"hush\"\n";
        let shown = load(text, &[("TRIBUTARY__KAFKA__OAUTH_CLIENT_SECRET", "hush")]).unwrap().redacted().to_toml();
        assert!(!shown.contains("hush") && shown.matches("***").count() == 2, "{shown}");
        assert!(!Config::default().redacted().to_toml().contains("***"), "what is not set is shown as not set");
        let with_password = load("[kafka]\noauth_token_url = \"https://us:hush@id.example/token\"\n", &[]).unwrap();
        let json = serde_json::to_string(&with_password.redacted()).unwrap();
        assert!(!json.contains("hush") && json.contains("https://us:***@id.example/token"), "{json}");
        let text = "[da]\nbackend = \"eigenda\"\nproxy_url = \"http://us:hush@proxy.example\"\n";
        let shown = load(text, &[]).unwrap().redacted().to_toml();
        assert!(!shown.contains("hush") && shown.contains("http://us:***@proxy.example"), "{shown}");
        let refused = load("[store]\nurl = \"s3://key:hush@bucket\"\n", &[]).unwrap_err().to_string();
        assert!(!refused.contains("hush") && refused.contains("`store.url`"), "{refused}");
    }

    #[test]
    fn the_sections_of_availability_name_who_publishes() {
        assert_eq!(Config::default().da.backend().unwrap(), Backend::Local);
        let text = "[da]\nbackend = \"eigenda\"\nproxy_url = \"http://127.0.0.1:3100\"\nput_timeout_ms = 7\n";
        let Backend::EigenDa { settings, failover: None } = load(text, &[]).unwrap().da.backend().unwrap() else {
            panic!("nobody takes over")
        };
        assert_eq!((settings.proxy_url.as_str(), settings.put_timeout.as_millis()), ("http://127.0.0.1:3100", 7));
        let text = format!("{text}failover_backend = \"local\"\nfailover_failures_max = 5\n");
        let Backend::EigenDa { failover: Some(failover), .. } = load(&text, &[]).unwrap().da.backend().unwrap() else {
            panic!("the local backend takes over")
        };
        assert_eq!((failover.failures_max, failover.cool_down.as_secs()), (5, 60));
        let larger = load("[da]\nblob_bytes_max = 16252897\nsrs_file = \"g1.point\"\n", &[]).unwrap();
        assert!(larger.da.srs_file().is_some());
    }

    #[test]
    fn a_second_backend_that_settlement_does_not_accept_is_refused_with_the_reason() {
        let with = |accepted: &str| {
            let da = "[da]\nbackend = \"eigenda\"\nproxy_url = \"http://x\"\nfailover_backend = \"local\"\n";
            load(&format!("{da}[settlement]\navailable_backends = \"{accepted}\"\n"), &[])
        };
        let refused = with("eigenda").unwrap_err().to_string();
        assert!(refused.contains("`da.failover_backend`") && refused.contains("never be settled"), "{refused}");
        let both = with("eigenda, local").unwrap().settlement.parsed().unwrap();
        assert_eq!(both.available_backends.into_iter().collect::<Vec<_>>(), ["eigenda", "local"]);
    }

    #[test]
    fn the_printed_configuration_loads_again() {
        let printed = Config::default().to_toml();
        assert_eq!(load(&printed, &[]).unwrap().to_toml(), printed);
    }
}
