//! `GET /metrics`: the metrics of every stage in the Prometheus text format.

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// The media type of the answer.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The registry as text.
pub fn render(registry: &Registry) -> String {
    let mut text = String::new();
    encode(&mut text, registry).expect("writing to a String does not fail");
    text
}
