//! Progress bars where a person waits: drawn on stderr, and only on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar over a known number of bytes.
pub fn bytes(total: u64, what: &str) -> ProgressBar {
    bar(Some(total), what, "{prefix:>12} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {msg}")
}

/// A bar over a known number of steps.
pub fn steps(total: u64, what: &str) -> ProgressBar {
    bar(Some(total), what, "{prefix:>12} {wide_bar} {pos}/{len} {msg}")
}

/// A spinner for a wait of unknown length.
pub fn spinner(what: &str) -> ProgressBar {
    bar(None, what, "{prefix:>12} {spinner} {elapsed} {msg}")
}

fn bar(total: Option<u64>, what: &str, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the templates above are valid");
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(8)).with_style(style);
    bar.set_prefix(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
