//! `tributary ingest`: the door in front of Kafka, as a service of its own.

use std::sync::Arc;

use clap::Args;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::exit::Outcome;
use crate::server::{self, Unready};
use crate::service;
use crate::wire::Ingest as Service;

/// Arguments of `ingest`.
#[derive(Args)]
pub struct Ingest {
    #[command(flatten)]
    service: super::ServiceArguments,
}

impl Ingest {
    /// Serves until SIGTERM or SIGINT: then nothing more is accepted, requests under way end, and what is on its way is waited for.
    pub async fn run(self) -> Outcome {
        let config = self.service.load()?;
        let service = Arc::new(Service::new(&config).await?);
        let address = config.http.address()?;
        let listener = server::bind(address, config.http.port).await?;
        super::announce("ingest", &listener, &format!("records go to topic {}", config.kafka.topic))?;
        let mut registry = Registry::with_prefix("tributary");
        service.register_metrics(&mut registry);
        let asked = Arc::clone(&service);
        let unready: Arc<Unready> = Arc::new(move || asked.unready());
        let own = tributary_ingest::http::router(Arc::clone(&service.door));
        let router = server::service_router(own, unready, registry, address);

        let shutdown = CancellationToken::new();
        let ended = service::serve(service.start(&shutdown), listener, router, &shutdown).await;
        service.close().await;
        ended
    }
}
