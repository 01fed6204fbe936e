//! `tributary da`: sealed batches → blobs, as a service of its own; and what that costs.

mod cost;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use clap::{Args, Subcommand};
use prometheus_client::registry::Registry;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::exit::Outcome;
use crate::server::{self, Unready};
use crate::service;
use crate::wire::Publish as Service;

/// Arguments of `da`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Da {
    #[command(flatten)]
    service: super::ServiceArguments,
    #[command(subcommand)]
    question: Option<Question>,
}

#[derive(Subcommand)]
enum Question {
    /// Say what publishing costs: what the last 24 hours cost, and what a day costs at a rate.
    Cost(cost::Cost),
}

impl Da {
    /// Whether it runs until it is stopped.
    pub fn is_service(&self) -> bool {
        self.question.is_none()
    }

    /// Publishes until SIGTERM or SIGINT, or answers the question.
    pub async fn run(self) -> Outcome {
        match self.question {
            Some(Question::Cost(cost)) => cost.run().await,
            None => serve(&self.service).await,
        }
    }
}

async fn serve(arguments: &super::ServiceArguments) -> Outcome {
    let config = arguments.load()?;
    let service = Service::new(&config).await?;
    let address = config.http.address()?;
    let listener = server::bind(address, config.http.port).await?;
    super::announce("da", &listener, &format!("blobs go to {}", service.backend()))?;
    let mut registry = Registry::with_prefix("tributary");
    service.register_metrics(&mut registry);
    let publishing = service.publishing();
    let asked = publishing.clone();
    let unready: Arc<Unready> = Arc::new(move || asked.standing(Instant::now()));
    let own = Router::new().route("/v1/status", get(server::publishing_status)).with_state(publishing);
    let router = server::service_router(own, unready, registry, address);

    let shutdown = CancellationToken::new();
    let stages = service.start(&shutdown);
    service::serve_and_end_within(service::PUBLISHERS_END_MAX, stages, listener, router, &shutdown).await
}
