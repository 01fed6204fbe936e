//! How Kafka is reached, and how much a client of it may hold.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::ClientConfig;

use super::fault::{Fault, FaultKind};
use crate::jitter::Jitter;
use crate::record::Record;

/// A record with its key, and what the protocol adds to it.
pub(crate) const MESSAGE_BYTES_MAX: usize = Record::VALUE_BYTES_MAX + Record::KEY_BYTES_MAX + 4096;

/// Files with certificates and keys are read up to here.
const PEM_BYTES_MAX: u64 = 16 << 20;

/// How Kafka is reached, and how much a client of it may hold.
#[derive(Clone, Debug)]
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
    /// The chance in the lengths of pauses.
    pub jitter: Jitter,
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
            jitter: Jitter::default(),
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
    /// Looks into the files with certificates and keys, for the client library says little about one that it cannot use.
    ///
    /// # Errors
    /// [`FaultKind::TlsFile`], naming the key and the file.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let Some(tls) = &self.tls else { return Ok(()) };
        // Of authorities there may be a folder.
        if let Some(file) = tls.ca_file.as_ref().filter(|file| !file.is_dir()) {
            check_file("kafka.tls_ca_file", file, check_certificate)?;
        }
        if let Some(file) = &tls.certificate_file {
            check_file("kafka.tls_certificate_file", file, check_certificate)?;
        }
        if let Some(file) = &tls.key_file {
            check_file("kafka.tls_key_file", file, check_key)?;
        }
        Ok(())
    }

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

fn check_certificate(text: &str) -> Result<(), &'static str> {
    let is_there = text.contains("-----BEGIN ") && text.contains("CERTIFICATE-----");
    if is_there { Ok(()) } else { Err("has no certificate in PEM") }
}

fn check_key(text: &str) -> Result<(), &'static str> {
    if text.contains("ENCRYPTED") {
        return Err("has a key that is encrypted, and there is no setting for its password");
    }
    if text.contains("PRIVATE KEY-----") { Ok(()) } else { Err("has no private key in PEM") }
}

fn check_file(key: &str, file: &Path, check: fn(&str) -> Result<(), &'static str>) -> Result<(), Fault> {
    let fault = |why: &str| Fault::new(FaultKind::TlsFile, format!("`{key}`: {} {why}", file.display()));
    let read = || -> io::Result<String> {
        let mut bytes = Vec::new();
        File::open(file)?.take(PEM_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().map_err(|error| fault(&format!("cannot be read: {error}")))?;
    check(&text).map_err(fault)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_file_for_tls_that_cannot_be_used_is_named_with_its_key_and_nothing_of_what_it_holds() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let missing = Some(directory.path().join("missing.pem"));
        let other = write("other.pem", "hush");
        let encrypted = write("encrypted.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nhush\n");
        for (tls, key, words) in [
            (Tls { ca_file: missing.clone(), ..Tls::default() }, "tls_ca_file", "cannot be read"),
            (Tls { ca_file: other.clone(), ..Tls::default() }, "tls_ca_file", "no certificate in PEM"),
            (Tls { certificate_file: other.clone(), ..Tls::default() }, "tls_certificate_file", "no certificate in PEM"),
            (Tls { key_file: missing.clone(), ..Tls::default() }, "tls_key_file", "missing.pem"),
            (Tls { key_file: other.clone(), ..Tls::default() }, "tls_key_file", "no private key in PEM"),
            (Tls { key_file: encrypted.clone(), ..Tls::default() }, "tls_key_file", "encrypted"),
        ] {
            let text = Security { tls: Some(tls), sasl: None }.check().unwrap_err().with_code();
            assert!(text.starts_with(&format!("`kafka.{key}`")) && text.contains(words), "{text}");
            assert!(text.ends_with("[kafka_tls_file]") && !text.contains("hush"), "{text}");
        }
        let certificate = write("ca.pem", "# mine\n-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n");
        let key = write("key.pem", "-----BEGIN EC PRIVATE KEY-----\n…\n-----END EC PRIVATE KEY-----\n");
        let whole = Tls { ca_file: certificate.clone(), certificate_file: certificate, key_file: key };
        assert_eq!(Security { tls: Some(whole), sasl: None }.check(), Ok(()));
        let folder = Tls { ca_file: Some(directory.path().to_owned()), ..Tls::default() };
        assert_eq!(Security { tls: Some(folder), sasl: None }.check(), Ok(()));
        assert_eq!(Security::default().check(), Ok(()));
    }
}
