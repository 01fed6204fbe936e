//! What stands between a process and its topic, by what has to be mended. Each kind has a stable code, and a cure that names the
//! keys of the configuration.

use std::fmt;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::settings::{Sasl, Settings};
use crate::error::LogError;

/// Why Kafka cannot be used, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    kind: FaultKind,
    /// What happened, on what. Never the value of a secret.
    what: String,
}

/// What has to be mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The client library refuses a value of the configuration.
    Setting,
    /// A file with certificates or a key cannot be used.
    TlsFile,
    /// No broker answers.
    Unreachable,
    /// A broker answers, but not over TLS as it is set.
    TlsRefused,
    /// The brokers, or the provider of tokens, do not believe who this client is.
    SaslRefused,
    /// The brokers know who this client is, and do not allow it what it asks.
    Forbidden,
    /// There is no such topic.
    TopicUnknown,
    /// The brokers do not make a topic like this one.
    TopicRefused,
    /// There are fewer brokers than copies of a partition.
    TooFewBrokers,
    /// The topic has another number of partitions than the deployment.
    PartitionCount,
    /// Fewer copies than `min.insync.replicas` are up to date.
    NotEnoughReplicas,
    /// Something else, which the message has.
    Other,
}

impl FaultKind {
    /// All of them, in the order of docs/errors.md.
    pub const ALL: [Self; 12] = [
        Self::Setting,
        Self::TlsFile,
        Self::Unreachable,
        Self::TlsRefused,
        Self::SaslRefused,
        Self::Forbidden,
        Self::TopicUnknown,
        Self::TopicRefused,
        Self::TooFewBrokers,
        Self::PartitionCount,
        Self::NotEnoughReplicas,
        Self::Other,
    ];

    /// The stable code, listed in docs/errors.md.
    pub fn code(self) -> &'static str {
        match self {
            Self::Setting => "kafka_setting",
            Self::TlsFile => "kafka_tls_file",
            Self::Unreachable => "kafka_unreachable",
            Self::TlsRefused => "kafka_tls_refused",
            Self::SaslRefused => "kafka_sasl_refused",
            Self::Forbidden => "kafka_forbidden",
            Self::TopicUnknown => "kafka_topic_unknown",
            Self::TopicRefused => "kafka_topic_refused",
            Self::TooFewBrokers => "kafka_too_few_brokers",
            Self::PartitionCount => "kafka_partition_count",
            Self::NotEnoughReplicas => "kafka_not_enough_replicas",
            Self::Other => "kafka_failed",
        }
    }

    /// What to do about it.
    pub fn cure(self) -> &'static str {
        match self {
            Self::Setting => "correct that key; docs/configuration.md says what each one takes",
            Self::TlsFile => "name a file in PEM that this process may read",
            Self::Unreachable => {
                "name brokers that run, as host:port, in `kafka.bootstrap`, and see that this machine reaches them; a listener for \
                 TLS needs `kafka.tls`, one for SASL `kafka.sasl_mechanism`"
            }
            Self::TlsRefused => {
                "name the authority that signed the brokers' certificates in `kafka.tls_ca_file`, and the brokers in \
                 `kafka.bootstrap` as their certificates do; brokers that ask for a certificate need `kafka.tls_certificate_file` \
                 and `kafka.tls_key_file`; for a listener without TLS set `kafka.tls` to false"
            }
            Self::SaslRefused => {
                "correct `kafka.sasl_mechanism`, `kafka.sasl_username` and `kafka.sasl_password` (with oauthbearer the keys \
                 `kafka.oauth_…`), and see that the brokers know this client"
            }
            Self::Forbidden => "have the rights granted that docs/kafka.md lists under `Rights`",
            Self::TopicUnknown => "create it with `tributary topics create`, or name the right one in `kafka.topic`",
            Self::TopicRefused => "correct `kafka.topic`, or have the topic made as docs/kafka.md describes it under `The topic`",
            Self::TooFewBrokers => "start more brokers, or lower `kafka.replication` and `kafka.min_insync_replicas`",
            Self::PartitionCount => "name the topic of this deployment in `kafka.topic`: the number of partitions never changes",
            Self::NotEnoughReplicas => {
                "bring the missing brokers back: records are taken again then; `kafka.min_insync_replicas` is what a new topic gets"
            }
            Self::Other => "look at the logs of the brokers if it does not pass by itself",
        }
    }

    /// Whether it can end without a change here: brokers come back, rights are granted.
    pub fn is_passing(self) -> bool {
        matches!(
            self,
            Self::Unreachable | Self::TlsRefused | Self::SaslRefused | Self::Forbidden | Self::NotEnoughReplicas | Self::Other
        )
    }

    pub(super) fn of(code: RDKafkaErrorCode) -> Self {
        match code {
            RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::TimedOutQueue
            | RDKafkaErrorCode::RequestTimedOut => Self::Unreachable,
            RDKafkaErrorCode::SSL => Self::TlsRefused,
            RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::UnsupportedSASLMechanism
            | RDKafkaErrorCode::IllegalSASLState => Self::SaslRefused,
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed => Self::Forbidden,
            RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownPartition => {
                Self::TopicUnknown
            }
            RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::InvalidConfig
            | RDKafkaErrorCode::InvalidPartitions
            | RDKafkaErrorCode::InvalidRequest
            | RDKafkaErrorCode::PolicyViolation => Self::TopicRefused,
            RDKafkaErrorCode::InvalidReplicationFactor => Self::TooFewBrokers,
            RDKafkaErrorCode::NotEnoughReplicas | RDKafkaErrorCode::NotEnoughReplicasAfterAppend => Self::NotEnoughReplicas,
            _ => Self::Other,
        }
    }
}

/// The client library's names of what comes from the configuration, and the keys there.
const PROPERTIES: [(&str, &str); 17] = [
    ("bootstrap.servers", "kafka.bootstrap"),
    ("group.id", "kafka.group"),
    ("compression.type", "kafka.compression"),
    ("message.timeout.ms", "kafka.delivery_timeout_ms"),
    ("session.timeout.ms", "kafka.session_timeout_ms"),
    ("queue.buffering.max.kbytes", "kafka.append_bytes_max"),
    ("ssl.ca.location", "kafka.tls_ca_file"),
    ("https.ca.location", "kafka.tls_ca_file"),
    ("ssl.certificate.location", "kafka.tls_certificate_file"),
    ("ssl.key.location", "kafka.tls_key_file"),
    ("sasl.username", "kafka.sasl_username"),
    ("sasl.password", "kafka.sasl_password"),
    ("sasl.oauthbearer.token.endpoint.url", "kafka.oauth_token_url"),
    ("sasl.oauthbearer.client.id", "kafka.oauth_client_id"),
    ("sasl.oauthbearer.client.secret", "kafka.oauth_client_secret"),
    ("sasl.oauthbearer.scope", "kafka.oauth_scope"),
    ("sasl.mechanism", "kafka.sasl_mechanism"),
];

impl Fault {
    pub(super) fn new(kind: FaultKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into() }
    }

    /// What has to be mended.
    pub fn kind(&self) -> FaultKind {
        self.kind
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }

    /// Whether trying again later can succeed without a change here.
    pub fn is_passing(&self) -> bool {
        self.kind.is_passing()
    }

    /// The whole message with its code, as a command shows it.
    pub fn with_code(&self) -> String {
        format!("{self} [{}]", self.code())
    }

    /// As an error that is tried again, whatever has to be mended: a partition must not stop for what brokers say of a topic that
    /// is being made.
    pub(super) fn to_retry(&self) -> LogError {
        LogError::Retry { reason: self.with_code() }
    }

    /// An error of the client library.
    pub(super) fn of(error: &KafkaError, settings: &Settings) -> Self {
        match error {
            // The value may be a secret.
            KafkaError::ClientConfig(_, _, property, _) => {
                let key = key_of(property).unwrap_or("kafka");
                Self::new(FaultKind::Setting, format!("`{key}` is not taken by the client library ({property})"))
            }
            KafkaError::Nul(_) => Self::new(FaultKind::Setting, "a key of `[kafka]` has a NUL character in its value"),
            KafkaError::ClientCreation(text) => Self::of_creation(text),
            KafkaError::AdminOp(code) => Self::of_code(*code, &code.to_string(), settings),
            other => match other.rdkafka_error_code() {
                Some(code) => Self::of_code(code, &code.to_string(), settings),
                None => Self::new(FaultKind::Other, format!("Kafka: {other}")),
            },
        }
    }

    /// A question that was not answered, by what was heard on the way to the brokers.
    pub(super) fn unanswered(error: &KafkaError, heard: &[(RDKafkaErrorCode, String)], settings: &Settings) -> Self {
        let answer = Self::of(error, settings);
        let telling = heard.iter().max_by_key(|(code, _)| how_telling(*code));
        match telling {
            Some((code, reason)) if answer.kind == FaultKind::Unreachable => Self::of_code(*code, reason, settings),
            _ => answer,
        }
    }

    pub(super) fn of_code(code: RDKafkaErrorCode, reason: &str, settings: &Settings) -> Self {
        let kind = FaultKind::of(code);
        let (bootstrap, topic, client) = (&settings.bootstrap, &settings.topic, client_of(settings));
        let what = match kind {
            FaultKind::Unreachable => format!("no broker of `kafka.bootstrap` ({bootstrap}) answers: {reason}"),
            FaultKind::TlsRefused => {
                format!("there is no TLS connection to a broker of `kafka.bootstrap` ({bootstrap}): {reason}")
            }
            FaultKind::SaslRefused => format!("{client} is refused: {reason}"),
            FaultKind::Forbidden => format!("{client} is not allowed what it asks for: {reason}"),
            FaultKind::TopicUnknown => format!("topic {topic} does not exist: {reason}"),
            FaultKind::TopicRefused => format!("topic {topic} is refused: {reason}"),
            FaultKind::TooFewBrokers => format!("topic {topic} cannot have as many copies as `kafka.replication` says: {reason}"),
            FaultKind::NotEnoughReplicas => format!("topic {topic} has too few copies that are up to date: {reason}"),
            _ => format!("Kafka: {reason}"),
        };
        Self::new(kind, what)
    }

    /// A client that could not be made: a file that cannot be used, or settings that do not fit together.
    fn of_creation(text: &str) -> Self {
        match PROPERTIES.iter().find(|(property, _)| text.contains(property)) {
            Some((property, key)) if property.contains("location") => {
                Self::new(FaultKind::TlsFile, format!("`{key}` cannot be used: {text}"))
            }
            Some((_, key)) => Self::new(FaultKind::Setting, format!("`{key}` is not taken by the client library: {text}")),
            None => Self::new(FaultKind::Setting, format!("the keys of `[kafka]` make no client: {text}")),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.kind.cure())
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for LogError {
    fn from(fault: Fault) -> Self {
        let reason = fault.with_code();
        if fault.is_passing() { Self::Retry { reason } } else { Self::Reject { reason } }
    }
}

/// The key of the configuration behind a property of the client library.
fn key_of(property: &str) -> Option<&'static str> {
    PROPERTIES.iter().find(|(known, _)| property.starts_with(known)).map(|(_, key)| *key)
}

/// Of several things that were heard, what says most about why no answer came.
fn how_telling(code: RDKafkaErrorCode) -> u8 {
    match code {
        RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed => 3,
        RDKafkaErrorCode::SSL => 2,
        // Says only that all failed.
        RDKafkaErrorCode::AllBrokersDown => 0,
        _ => 1,
    }
}

/// Who this client says it is.
fn client_of(settings: &Settings) -> String {
    match &settings.security.sasl {
        None => "this client, which has no `kafka.sasl_mechanism`,".to_owned(),
        Some(Sasl::Plain(by) | Sasl::ScramSha256(by) | Sasl::ScramSha512(by)) => format!("user `{}`", by.username),
        Some(Sasl::OAuthBearer(by)) => format!("client `{}`", by.client_id),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rdkafka::types::RDKafkaConfRes;

    use super::super::settings::{Password, Security};
    use super::super::topic::Finding;
    use super::*;

    fn settings() -> Settings {
        let by = Password { username: "sealer".to_owned(), password: "hush".to_owned() };
        let security = Security { tls: None, sasl: Some(Sasl::ScramSha512(by)) };
        Settings { security, ..Settings::new("broker:9092", "events") }
    }

    #[test]
    fn every_code_is_listed_with_cause_and_cure() {
        let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md")).unwrap();
        let section = docs.split("\n## ").find(|section| section.starts_with("Kafka\n")).unwrap();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let listed: Vec<&str> = rows.map(|(code, _)| code).collect();
        let known = FaultKind::ALL.map(FaultKind::code).into_iter().chain(Finding::CODES);
        assert_eq!(listed, known.collect::<Vec<_>>());
    }

    #[test]
    fn a_fault_names_its_code_the_key_and_the_cure() {
        for (code, expected, words) in [
            (RDKafkaErrorCode::Resolve, "kafka_unreachable", "`kafka.bootstrap` (broker:9092)"),
            (RDKafkaErrorCode::SSL, "kafka_tls_refused", "`kafka.tls_ca_file`"),
            (RDKafkaErrorCode::Authentication, "kafka_sasl_refused", "`kafka.sasl_password`"),
            (RDKafkaErrorCode::TopicAuthorizationFailed, "kafka_forbidden", "user `sealer`"),
            (RDKafkaErrorCode::UnknownTopicOrPartition, "kafka_topic_unknown", "`tributary topics create`"),
            (RDKafkaErrorCode::PolicyViolation, "kafka_topic_refused", "`kafka.topic`"),
            (RDKafkaErrorCode::InvalidReplicationFactor, "kafka_too_few_brokers", "`kafka.replication`"),
            (RDKafkaErrorCode::NotEnoughReplicas, "kafka_not_enough_replicas", "`kafka.min_insync_replicas`"),
            (RDKafkaErrorCode::NotController, "kafka_failed", "logs of the brokers"),
        ] {
            let fault = Fault::of(&KafkaError::MetadataFetch(code), &settings());
            let text = fault.with_code();
            assert!(text.ends_with(&format!("[{expected}]")) && text.contains(words), "{text}");
            assert_eq!(Fault::of(&KafkaError::AdminOp(code), &settings()), fault, "an answer to an administrator says the same");
        }
    }

    #[test]
    fn the_value_of_a_setting_that_is_refused_is_not_shown() {
        let refused = RDKafkaConfRes::RD_KAFKA_CONF_INVALID;
        for (property, key) in
            [("sasl.password", "kafka.sasl_password"), ("sasl.oauthbearer.client.secret", "kafka.oauth_client_secret")]
        {
            let error = KafkaError::ClientConfig(refused, "hush".to_owned(), property.to_owned(), "hush".to_owned());
            let text = Fault::of(&error, &settings()).with_code();
            assert!(!text.contains("hush") && text.contains(key) && text.ends_with("[kafka_setting]"), "{text}");
        }
        assert!(!format!("{:?}", settings()).contains("hush"));
    }

    #[test]
    fn what_was_heard_on_the_way_says_why_no_answer_came() {
        let timed_out = KafkaError::MetadataFetch(RDKafkaErrorCode::BrokerTransportFailure);
        let refused = |code| (code, "as heard".to_owned());
        let heard = [refused(RDKafkaErrorCode::Authentication), refused(RDKafkaErrorCode::AllBrokersDown)];
        let fault = Fault::unanswered(&timed_out, &heard, &settings());
        assert_eq!(fault.kind(), FaultKind::SaslRefused);
        assert!(fault.to_string().contains("as heard") && fault.is_passing(), "{fault}");
        assert_eq!(Fault::unanswered(&timed_out, &[], &settings()).kind(), FaultKind::Unreachable);
        // An answer weighs more than what was heard before it came.
        let answered = KafkaError::MetadataFetch(RDKafkaErrorCode::TopicAuthorizationFailed);
        assert_eq!(Fault::unanswered(&answered, &heard, &settings()).kind(), FaultKind::Forbidden);
    }

    #[test]
    fn a_file_that_makes_no_client_is_named_by_its_key() {
        let error = KafkaError::ClientCreation("ssl.key.location failed: bad decrypt".to_owned());
        let fault = Fault::of(&error, &settings());
        assert_eq!(fault.kind(), FaultKind::TlsFile);
        assert!(fault.to_string().contains("`kafka.tls_key_file`"), "{fault}");
        let refused = LogError::from(fault);
        assert!(matches!(&refused, LogError::Reject { reason } if reason.ends_with("[kafka_tls_file]")), "{refused}");
    }
}
