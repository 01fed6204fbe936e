//! How Kafka is reached, and how much a client of it may hold.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use rdkafka::ClientConfig;

use crate::record::Record;

/// A record with its key, and what the protocol adds to it.
pub(crate) const MESSAGE_BYTES_MAX: usize = Record::VALUE_BYTES_MAX + Record::KEY_BYTES_MAX + 4096;

/// How Kafka is reached, and how much a client of it may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Some brokers as `host:port`, separated by commas; the others are learned from them.
    pub bootstrap: String,
    /// The topic of the events.
    pub topic: String,
    /// How the connection is protected.
    pub security: Security,
    /// How batches of records are compressed on their way and in the log.
    pub compression: Compression,
    /// Appends of so long a time travel in one request.
    pub linger: Duration,
    /// Bytes of keys and values that are appended and not yet acknowledged; more wait outside. Also the largest single append.
    pub append_bytes_max: usize,
    /// So long an append waits for room among them.
    pub room_wait: Duration,
    /// What is not acknowledged after this time counts as failed. It may be recorded all the same.
    pub delivery_timeout: Duration,
    /// Bytes of records read ahead of their reader, per partition.
    pub read_ahead_bytes: usize,
    /// A question to the brokers that takes longer counts as failed.
    pub answer_timeout: Duration,
}

impl Settings {
    /// The settings for a topic, without protection.
    pub fn new(bootstrap: impl Into<String>, topic: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            topic: topic.into(),
            security: Security::default(),
            compression: Compression::Lz4,
            linger: Duration::from_millis(5),
            append_bytes_max: 64 << 20,
            room_wait: Duration::from_secs(2),
            delivery_timeout: Duration::from_secs(10),
            read_ahead_bytes: 8 << 20,
            answer_timeout: Duration::from_secs(5),
        }
    }

    /// What all clients have in common.
    pub(crate) fn client(&self, role: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", format!("tributary-{role}"))
            .set("allow.auto.create.topics", "false")
            // Attempts to connect again come after a jittered pause.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "2000")
            .set("topic.metadata.refresh.interval.ms", "10000")
            .set("topic.metadata.refresh.fast.interval.ms", "100")
            .set("socket.keepalive.enable", "true")
            .set("socket.nagle.disable", "true")
            .set("message.max.bytes", MESSAGE_BYTES_MAX.to_string());
        self.security.apply(&mut config);
        config
    }
}

/// How batches of records are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// As Kafka calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// How the connection is protected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// Encryption and the broker's identity.
    pub tls: Option<Tls>,
    /// Who this client is.
    pub sasl: Option<Sasl>,
}

/// Encryption.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates of authorities in PEM; absent: those of the system.
    pub ca_file: Option<PathBuf>,
    /// The client's own certificate in PEM, where brokers ask for one.
    pub certificate_file: Option<PathBuf>,
    /// Its key in PEM.
    pub key_file: Option<PathBuf>,
}

/// Who the client is, and how it proves that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sasl {
    /// The password itself; only for encrypted connections.
    Plain(Password),
    /// A proof of the password.
    ScramSha256(Password),
    /// A proof of the password.
    ScramSha512(Password),
    /// A token of an identity provider.
    OAuthBearer(OAuth),
}

/// A name and its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Password {
    /// The name.
    pub username: String,
    /// The password.
    pub password: String,
}

/// Without the password.
impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Password({:?})", self.username)
    }
}

/// Where tokens come from: OpenID Connect, the grant of client credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct OAuth {
    /// The provider's address for tokens.
    pub token_url: String,
    /// The client's name there.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// What is asked for; empty: nothing in particular.
    pub scope: String,
}

/// Without the secret.
impl fmt::Debug for OAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OAuth({:?} at {:?})", self.client_id, self.token_url)
    }
}

impl Sasl {
    fn apply(&self, config: &mut ClientConfig) {
        let (mechanism, password) = match self {
            Self::Plain(password) => ("PLAIN", password),
            Self::ScramSha256(password) => ("SCRAM-SHA-256", password),
            Self::ScramSha512(password) => ("SCRAM-SHA-512", password),
            Self::OAuthBearer(oauth) => return oauth.apply(config),
        };
        config.set("sasl.mechanism", mechanism).set("sasl.username", &password.username).set("sasl.password", &password.password);
    }
}

impl OAuth {
    fn apply(&self, config: &mut ClientConfig) {
        config
            .set("sasl.mechanism", "OAUTHBEARER")
            .set("sasl.oauthbearer.method", "oidc")
            .set("sasl.oauthbearer.token.endpoint.url", &self.token_url)
            .set("sasl.oauthbearer.client.id", &self.client_id)
            .set("sasl.oauthbearer.client.secret", &self.client_secret);
        if !self.scope.is_empty() {
            config.set("sasl.oauthbearer.scope", &self.scope);
        }
    }
}

impl Security {
    fn apply(&self, config: &mut ClientConfig) {
        config.set(
            "security.protocol",
            match (&self.tls, &self.sasl) {
                (None, None) => "plaintext",
                (Some(_), None) => "ssl",
                (None, Some(_)) => "sasl_plaintext",
                (Some(_), Some(_)) => "sasl_ssl",
            },
        );
        if let Some(tls) = &self.tls {
            let files = [
                ("ssl.ca.location", &tls.ca_file),
                // Of the provider of tokens.
                ("https.ca.location", &tls.ca_file),
                ("ssl.certificate.location", &tls.certificate_file),
                ("ssl.key.location", &tls.key_file),
            ];
            for (name, file) in files {
                if let Some(file) = file {
                    config.set(name, file.to_string_lossy());
                }
            }
        }
        if let Some(sasl) = &self.sasl {
            sasl.apply(config);
        }
    }
}
