//! The sections of the configuration and the defaults of their keys. docs/configuration.md lists them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

section! {
    /// The effective configuration.
    Config {
        /// Where everything is kept.
        data: Data = Data::default(),
        /// The object store.
        store: Store = Store::default(),
        /// The HTTP server.
        http: Http = Http::default(),
        /// The event log of the services.
        kafka: Kafka = Kafka::default(),
        /// The door.
        ingest: Ingest = Ingest::default(),
        /// Sealing batches.
        seal: Seal = Seal::default(),
        /// Data availability.
        da: Availability = Availability::default(),
        /// Materialising tables.
        index: Index = Index::default(),
        /// Answering queries.
        query: Query = Query::default(),
        /// Answering GraphQL.
        graphql: Graphql = Graphql::default(),
        /// Closing epochs.
        settlement: Settlement = Settlement::default(),
    }
}
section! {
    /// `[data]`
    Data {
        /// The data directory of `dev`: `log`, `store`, `views`.
        dir: PathBuf = PathBuf::from("./tributary-data"),
        /// Partitions of a new deployment; an existing one keeps its own.
        partitions: u32 = 4,
    }
}
section! {
    /// `[store]`
    Store {
        /// Where the record is, as `file:///folder`; empty: `store` in the data directory.
        url: String = String::new(),
    }
}
section! {
    /// `[http]`
    Http {
        /// The port; 0 takes a free one.
        port: u16 = 8080,
        /// The address that services listen on. `dev` listens on the loopback interface always.
        listen: String = "127.0.0.1".to_owned(),
    }
}
section! {
    /// `[kafka]`
    Kafka {
        /// Some brokers as `host:port`, separated by commas. Empty: no Kafka.
        bootstrap: String = String::new(),
        /// The topic of the events.
        topic: String = "tributary-events".to_owned(),
        /// The consumer group over which sealers share the partitions. Empty: `tributary-seal-` and the deployment's id, so that two
        /// deployments never share them.
        group: String = String::new(),
        /// How batches of records are compressed: `lz4`, `zstd` or `none`.
        compression: String = "lz4".to_owned(),
        /// Copies of each partition of a new topic.
        replication: u16 = 3,
        /// Copies that must have a record before it is acknowledged.
        min_insync_replicas: u16 = 2,
        /// How long the topic keeps records, in milliseconds. What is not sealed by then is lost.
        retention_ms: u64 = 7 * 24 * 60 * 60 * 1000,
        /// What is not acknowledged after this time counts as failed, in milliseconds.
        delivery_timeout_ms: u64 = 10_000,
        /// A sealer that is silent for this long loses its partitions, in milliseconds.
        session_timeout_ms: u64 = 10_000,
        /// The most bytes of events on their way to the brokers; beyond it the door answers 503.
        append_bytes_max: u64 = 64 << 20,
        /// Whether connections are encrypted.
        tls: bool = false,
        /// Certificates of authorities in PEM; empty: those of the system.
        tls_ca_file: PathBuf = PathBuf::new(),
        /// The client's own certificate in PEM, where brokers ask for one.
        tls_certificate_file: PathBuf = PathBuf::new(),
        /// Its key in PEM.
        tls_key_file: PathBuf = PathBuf::new(),
        /// `plain`, `scram-sha-256`, `scram-sha-512` or `oauthbearer`; empty: no SASL.
        sasl_mechanism: String = String::new(),
        /// The name, for passwords.
        sasl_username: String = String::new(),
        /// The password.
        sasl_password: String = String::new(),
        /// The identity provider's address for tokens, for `oauthbearer`.
        oauth_token_url: String = String::new(),
        /// The client's name there.
        oauth_client_id: String = String::new(),
        /// Its secret.
        oauth_client_secret: String = String::new(),
        /// What is asked for there; may be empty.
        oauth_scope: String = String::new(),
    }
}
section! {
    /// `[ingest]`
    Ingest {
        /// The most bytes of requests held at once; beyond it the door answers 503.
        in_flight_bytes_max: u64 = 128 << 20,
        /// The most requests held at once.
        in_flight_requests_max: u64 = 64,
    }
}
section! {
    /// `[seal]`
    Seal {
        /// The most event bytes of one batch.
        batch_bytes_max: u64 = 900_000,
        /// How long the first event of a batch waits at most, in milliseconds.
        batch_age_ms: u64 = 1_000,
    }
}
section! {
    /// `[da]`
    Availability {
        /// The most bytes of one blob's payload.
        blob_bytes_max: u64 = 1_015_777,
        /// How long a sealed batch waits for its blob at most, in milliseconds.
        blob_age_ms: u64 = 2_000,
        /// The most blobs under way at once, over all partitions.
        blobs_in_flight_max: u64 = 16,
        /// Whether dispersal stands still.
        paused: bool = false,
        /// Who publishes: `local` or `eigenda`.
        backend: String = "local".to_owned(),
        /// EigenDA's proxy, such as `http://127.0.0.1:3100`.
        proxy_url: String = String::new(),
        /// How long a connection to the proxy may take, in milliseconds.
        connect_timeout_ms: u64 = 5_000,
        /// How long a certificate is waited for, in milliseconds. By its defaults the proxy takes nine minutes to give up.
        put_timeout_ms: u64 = 600_000,
        /// The longest pause, in milliseconds, between attempts at one payload that may have been paid for and gave nothing.
        paid_pause_max_ms: u64 = 600_000,
        /// A name of the process among those that publish for one deployment, the same at every start; empty: a new one each time.
        publisher: String = String::new(),
        /// What EigenDA asks for a symbol of 32 bytes, in wei, for the metrics.
        price_wei_per_symbol: u64 = 447_000_000,
        /// How long a payload is waited for, in milliseconds.
        get_timeout_ms: u64 = 60_000,
        /// Who publishes while the backend does not work: `local`; empty: nobody.
        failover_backend: String = String::new(),
        /// After so many failures in a row.
        failover_failures_max: u64 = 2,
        /// For so long before the backend is tried again, in milliseconds.
        failover_cool_down_ms: u64 = 60_000,
        /// EigenDA's whole `g1.point`, for blobs of more than 1 MiB; empty: the points that are shipped.
        srs_file: PathBuf = PathBuf::new(),
    }
}
section! {
    /// `[index]`
    Index {
        /// The most batch bytes of one indexing round.
        round_bytes_max: u64 = 16 << 20,
    }
}
section! {
    /// `[query]`
    Query {
        /// How long one query may take, in milliseconds.
        timeout_ms: u64 = 30_000,
        /// The most memory of one query, in bytes.
        memory_bytes_max: u64 = 256 << 20,
        /// The most rows of one answer.
        rows_max: u64 = 10_000_000,
        /// The most queries that run at once.
        queries_max: u64 = 8,
        index_bytes_max: u64 = 512 << 20,
    }
}
section! {
    /// `[graphql]`
    Graphql {
        /// How long one request may take, in milliseconds.
        timeout_ms: u64 = 30_000,
        /// The most requests that run at once.
        requests_max: u64 = 16,
        /// The most values that one operation may ask for.
        complexity_max: u64 = 200_000,
        /// The most levels of fields of one operation.
        depth_max: u64 = 32,
        /// The most clients that follow subscriptions.
        subscribers_max: u64 = 1_000,
        /// How long a subscriber may take to accept one message, in milliseconds.
        stall_ms: u64 = 10_000,
        /// Origins whose pages may ask, separated by commas; `*` for all. `dev` takes its own pages only.
        cors_origins: String = String::new(),
    }
}
section! {
    /// `[settlement]`
    Settlement {
        /// The address that receives the protocol's share. Required with `--config`.
        treasury: Option<String> = None,
        /// The largest fee of one inference in wei; absent: no ceiling.
        max_fee: Option<String> = None,
        /// The largest sum of fees of one epoch in wei; absent: no ceiling.
        max_epoch_total: Option<String> = None,
        /// How long `settle` waits for availability, for indexing and for the manifest at most, in milliseconds.
        wait_ms: u64 = 120_000,
        /// The backends of data availability whose word settlement takes, separated by commas.
        available_backends: String = "local,eigenda".to_owned(),
    }
}
