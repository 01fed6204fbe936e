//! What `[da]` says of backends, as the settings of the stage.

use std::path::Path;
use std::time::Duration;

use tributary_da::settings::{PAYLOAD_BYTES_LIMIT, PAYLOAD_BYTES_MAX};
use tributary_da::{EigenDaSettings, FailoverSettings, eigenda, local};

use super::{Availability, ConfigError};

/// Who publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The store itself.
    Local,
    /// EigenDA, through its proxy.
    EigenDa {
        /// Where the proxy is.
        settings: EigenDaSettings,
        /// When the local backend publishes in its place; `None`: never.
        failover: Option<FailoverSettings>,
    },
}

impl Availability {
    /// Who publishes, and who does when that one does not work.
    pub fn backend(&self) -> Result<Backend, ConfigError> {
        match self.backend.as_str() {
            local::BACKEND if !self.failover_backend.is_empty() => {
                Err(invalid("failover_backend", "must not be set where `da.backend` is `local`, which needs nothing to work"))
            }
            local::BACKEND => Ok(Backend::Local),
            eigenda::BACKEND => Ok(Backend::EigenDa { settings: self.eigenda()?, failover: self.failover()? }),
            other => Err(invalid("backend", &format!("must be local or eigenda, not `{other}`"))),
        }
    }

    /// The points for commitments to large blobs; `None`: those that are shipped.
    pub fn srs_file(&self) -> Option<&Path> {
        (!self.srs_file.as_os_str().is_empty()).then_some(&*self.srs_file)
    }

    /// The largest payload that can be committed to.
    pub fn blob_bytes_limit(&self) -> u64 {
        let limit = if self.srs_file().is_some() { PAYLOAD_BYTES_MAX } else { PAYLOAD_BYTES_LIMIT };
        limit as u64
    }

    fn eigenda(&self) -> Result<EigenDaSettings, ConfigError> {
        if self.proxy_url.is_empty() {
            return Err(invalid("proxy_url", "must name EigenDA's proxy, such as http://127.0.0.1:3100"));
        }
        // What it is instead is not shown: it may hold a password.
        let url = url::Url::parse(&self.proxy_url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if url.is_none() {
            return Err(invalid("proxy_url", "must be a URL such as http://127.0.0.1:3100"));
        }
        Ok(EigenDaSettings {
            connect_timeout: Duration::from_millis(self.connect_timeout_ms),
            put_timeout: Duration::from_millis(self.put_timeout_ms),
            get_timeout: Duration::from_millis(self.get_timeout_ms),
            ..EigenDaSettings::new(&self.proxy_url)
        })
    }

    fn failover(&self) -> Result<Option<FailoverSettings>, ConfigError> {
        match self.failover_backend.as_str() {
            "" => Ok(None),
            local::BACKEND => Ok(Some(FailoverSettings {
                failures_max: u32::try_from(self.failover_failures_max).unwrap_or(u32::MAX),
                cool_down: Duration::from_millis(self.failover_cool_down_ms),
            })),
            other => Err(invalid("failover_backend", &format!("must be local, or not set, not `{other}`"))),
        }
    }
}

fn invalid(key: &str, why: &str) -> ConfigError {
    ConfigError::Invalid(format!("`da.{key}` {why}"))
}
