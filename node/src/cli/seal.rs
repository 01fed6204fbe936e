//! `tributary seal`: Kafka → sealed batches, as a service of its own.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use clap::Args;
use prometheus_client::registry::Registry;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::exit::Outcome;
use crate::server::{self, Unready};
use crate::service;
use crate::status::sealing::Sealing;
use crate::wire::Seal as Service;

/// Arguments of `seal`.
#[derive(Args)]
pub struct Seal {
    #[command(flatten)]
    service: super::ServiceArguments,
}

impl Seal {
    /// Seals until SIGTERM or SIGINT: then what is in hand is sealed, and the partitions are given to the others.
    pub async fn run(self) -> Outcome {
        let config = self.service.load()?;
        let service = Service::new(&config).await?;
        let address = config.http.address()?;
        let listener = server::bind(address, config.http.port).await?;
        super::announce("seal", &listener, &format!("seen-index in {}", config.data.dir.display()))?;
        let mut registry = Registry::with_prefix("tributary");
        service.register_metrics(&mut registry);
        let sealing = Sealing { log: service.log(), sealer: service.sealer.clone(), failing: service.failing.clone() };
        let asked = sealing.clone();
        let unready: Arc<Unready> = Arc::new(move || asked.standing(Instant::now()));
        let own = Router::new().route("/v1/status", get(server::sealing_status)).with_state(sealing);
        let router = server::service_router(own, unready, registry, address);

        let shutdown = CancellationToken::new();
        let ended = service::serve(service.start(&shutdown), listener, router, &shutdown).await;
        service.close().await;
        ended
    }
}
