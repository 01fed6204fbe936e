//! A store that fails and is slow for as long as a test wants it to: a library between the binary and libc, see
//! tests/faults/storefault.c.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::{Outcome, ensure};

/// When a process dies at a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Just before the object is there.
    Before,
    /// Just after, before the process knows.
    After,
}

/// The faults of one store, which are off at first.
pub struct StoreFaults {
    library: PathBuf,
    control: PathBuf,
    log: PathBuf,
    store: PathBuf,
}

impl StoreFaults {
    /// Compiles the library into a folder.
    pub async fn build(folder: &Path, store: &Path) -> Outcome<Self> {
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("faults/storefault.c");
        let library = folder.join("storefault.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-std=gnu11", "-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-o"]);
        compiler.arg(&library).arg(&source).args(["-ldl", "-lpthread"]).kill_on_drop(true);
        let output = compiler.output().await?;
        ensure(output.status.success(), || {
            format!("{} cannot be compiled: {}", source.display(), String::from_utf8_lossy(&output.stderr))
        })?;
        let (control, log) = (folder.join("faults"), folder.join("faults.log"));
        let faults = Self { library, control, log, store: store.to_path_buf() };
        faults.set(0)?;
        Ok(faults)
    }

    /// The environment of a process whose store is to fail.
    pub fn env(&self, seed: u64) -> Vec<(String, String)> {
        let text = |path: &Path| path.display().to_string();
        let pairs = [
            ("LD_PRELOAD", text(&self.library)),
            ("TRIBUTARY_FAULT_PATH", text(&self.store)),
            ("TRIBUTARY_FAULT_CONTROL", text(&self.control)),
            ("TRIBUTARY_FAULT_LOG", text(&self.log)),
            ("TRIBUTARY_FAULT_SEED", seed.to_string()),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// The environment of a process that is killed with SIGKILL at the write of the `number`-th object, from 1, whose path matches a
    /// shell pattern.
    pub fn deadly(&self, moment: Moment, pattern: &str, number: u64) -> Vec<(String, String)> {
        let when = match moment {
            Moment::Before => "before",
            Moment::After => "after",
        };
        let pairs = [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("TRIBUTARY_KILL_AT", pattern.to_owned()),
            ("TRIBUTARY_KILL_WHEN", when.to_owned()),
            ("TRIBUTARY_KILL_NUMBER", number.to_string()),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// Lets so many of a thousand calls fail from now on.
    pub fn set(&self, per_thousand: u64) -> Outcome {
        let fresh = self.control.with_extension("fresh");
        std::fs::write(&fresh, per_thousand.to_string())?;
        Ok(std::fs::rename(fresh, &self.control)?)
    }

    /// How often which fault happened.
    pub fn told(&self) -> Outcome<BTreeMap<String, u64>> {
        let mut counts = BTreeMap::new();
        let log = match std::fs::read_to_string(&self.log) {
            Err(none) if none.kind() == std::io::ErrorKind::NotFound => return Ok(counts),
            read => read?,
        };
        for line in log.lines() {
            let kind: Vec<&str> = line.split(' ').take(2).collect();
            *counts.entry(kind.join(" ")).or_default() += 1;
        }
        Ok(counts)
    }
}
