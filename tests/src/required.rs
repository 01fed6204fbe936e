//! What tests need beside the binary. Where it is not there they say so loudly, and fail if every test is required.

use tokio::process::Command;

use crate::{Outcome, ensure};

/// Whether a service can run here: `provide` finds or makes what it needs, or says on stderr what is missing.
pub async fn is_there(service: &str, provide: &mut Command) -> Outcome<bool> {
    let output = provide.kill_on_drop(true).output().await?;
    if output.status.success() {
        return Ok(true);
    }
    let how = format!("{service} cannot run here: {}", String::from_utf8_lossy(&output.stderr));
    ensure(std::env::var_os("TRIBUTARY_REQUIRE_ALL").is_none(), || format!("TRIBUTARY_REQUIRE_ALL is set, but {how}"))?;
    eprintln!("SKIPPED: {how}");
    Ok(false)
}
