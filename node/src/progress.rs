//! Progress bars where a person waits: drawn on stderr, and only on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;
use tributary_settlement::Progress;

/// One bar at a time for work that goes through stages.
pub struct Bars {
    current: Mutex<ProgressBar>,
}

impl Bars {
    /// No stage has begun.
    pub fn new() -> Self {
        Self { current: Mutex::new(ProgressBar::hidden()) }
    }

    /// Takes the last bar away.
    pub fn finish(&self) {
        self.current.lock().finish_and_clear();
    }
}

impl Progress for Bars {
    fn stage(&self, name: &str, total: Option<u64>) {
        let next = match total {
            Some(total) => bar(Some(total), name, "{prefix:>24} {wide_bar} {pos}/{len} {eta:>4} left {msg}"),
            None => bar(None, name, "{prefix:>24} {spinner} {elapsed} {msg}"),
        };
        std::mem::replace(&mut *self.current.lock(), next).finish_and_clear();
    }

    fn advance(&self, steps: u64) {
        self.current.lock().inc(steps);
    }
}

/// A bar over a known number of bytes.
pub fn bytes(total: u64, what: &str) -> ProgressBar {
    bar(Some(total), what, "{prefix:>12} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {msg}")
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
