//! What `[kafka]` says, as the log's settings.

use std::path::PathBuf;
use std::time::Duration;

use tributary_eventlog::kafka::{Compression, OAuth, Password, Sasl, Security, Settings, Tls, TopicPlan};
use tributary_schemas::ids::PartitionCount;

use super::{ConfigError, Kafka};

impl Kafka {
    /// How Kafka is reached; `None` without brokers.
    pub fn settings(&self) -> Result<Option<Settings>, ConfigError> {
        let security = Security { tls: self.tls()?, sasl: self.sasl()? };
        let compression = match self.compression.as_str() {
            "none" => Compression::None,
            "lz4" => Compression::Lz4,
            "zstd" => Compression::Zstd,
            other => return Err(invalid("compression", &format!("must be lz4, zstd or none, not `{other}`"))),
        };
        if self.topic.is_empty() {
            return Err(invalid("topic", "must name a topic"));
        }
        if self.bootstrap.is_empty() {
            return Ok(None);
        }
        Ok(Some(Settings {
            security,
            compression,
            append_bytes_max: usize::try_from(self.append_bytes_max).unwrap_or(usize::MAX),
            delivery_timeout: Duration::from_millis(self.delivery_timeout_ms),
            ..Settings::new(&self.bootstrap, &self.topic)
        }))
    }

    /// What the topic of a deployment with these partitions must be like.
    pub fn plan(&self, partitions: PartitionCount) -> TopicPlan {
        TopicPlan {
            partitions,
            replication: self.replication,
            min_insync_replicas: self.min_insync_replicas,
            retention: Duration::from_millis(self.retention_ms),
        }
    }

    fn tls(&self) -> Result<Option<Tls>, ConfigError> {
        let file = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
        let tls = Tls {
            ca_file: file(&self.tls_ca_file),
            certificate_file: file(&self.tls_certificate_file),
            key_file: file(&self.tls_key_file),
        };
        if self.tls {
            return Ok(Some(tls));
        }
        match tls == Tls::default() {
            true => Ok(None),
            false => Err(invalid("tls", "must be true where files for it are named")),
        }
    }

    fn sasl(&self) -> Result<Option<Sasl>, ConfigError> {
        let password = || {
            let (username, password) = (self.sasl_username.clone(), self.sasl_password.clone());
            required("sasl_username", &username)?;
            required("sasl_password", &password)?;
            Ok(Password { username, password })
        };
        Ok(match self.sasl_mechanism.as_str() {
            "" => None,
            "plain" => Some(Sasl::Plain(password()?)),
            "scram-sha-256" => Some(Sasl::ScramSha256(password()?)),
            "scram-sha-512" => Some(Sasl::ScramSha512(password()?)),
            "oauthbearer" => {
                required("oauth_token_url", &self.oauth_token_url)?;
                required("oauth_client_id", &self.oauth_client_id)?;
                required("oauth_client_secret", &self.oauth_client_secret)?;
                Some(Sasl::OAuthBearer(OAuth {
                    token_url: self.oauth_token_url.clone(),
                    client_id: self.oauth_client_id.clone(),
                    client_secret: self.oauth_client_secret.clone(),
                    scope: self.oauth_scope.clone(),
                }))
            }
            other => {
                let known = "plain, scram-sha-256, scram-sha-512 or oauthbearer";
                return Err(invalid("sasl_mechanism", &format!("must be {known}, not `{other}`")));
            }
        })
    }
}

fn required(key: &str, value: &str) -> Result<(), ConfigError> {
    if value.is_empty() { Err(invalid(key, "must be set for this mechanism")) } else { Ok(()) }
}

fn invalid(key: &str, why: &str) -> ConfigError {
    ConfigError::Invalid(format!("`kafka.{key}` {why}"))
}
