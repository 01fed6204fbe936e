//! A real broker, started by `scripts/services/kafka`.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::time::Duration;

use super::PATIENCE;

/// One broker on the loopback interface, killed when dropped.
pub(super) struct Broker {
    directory: TempDir,
    bootstrap: String,
    process: Child,
}

impl Broker {
    /// Whether Java or Maven are missing and tests may be left out, which a line says then.
    pub(super) fn is_missing() -> bool {
        let missing: Vec<_> = ["java", "mvn"].into_iter().filter(|tool| !is_there(tool)).collect();
        if missing.is_empty() {
            return false;
        }
        assert!(std::env::var_os("TRIBUTARY_REQUIRE_ALL").is_none(), "{missing:?} missing, which Kafka needs");
        println!("SKIPPED: {missing:?} missing, which Kafka needs");
        true
    }

    /// Starts it. `None` where it is missing and may be.
    pub(super) async fn start() -> Option<Self> {
        if Self::is_missing() {
            return None;
        }
        let (directory, bootstrap) = Self::create("");
        Some(Self::start_in(directory, bootstrap).await)
    }

    /// Starts it with more properties, which say that it listens at this address.
    pub(super) async fn start_at(more: &str, address: &str) -> Self {
        let (directory, _) = Self::create(more);
        Self::start_in(directory, address.to_owned()).await
    }

    fn create(more: &str) -> (TempDir, String) {
        let directory = TempDir::new().unwrap();
        let properties = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(properties.path(), more).unwrap();
        let created = script().args(["create", text(directory.path()), "1", text(properties.path())]).output().unwrap();
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
        let bootstrap = std::fs::read_to_string(directory.path().join("bootstrap")).unwrap().trim().to_owned();
        (directory, bootstrap)
    }

    async fn start_in(directory: TempDir, bootstrap: String) -> Self {
        let process = run(directory.path());
        let mut broker = Self { directory, bootstrap, process };
        broker.listens().await;
        broker
    }

    /// Where it listens.
    pub(super) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Kafka's own tools.
    pub(super) fn tool(class: &str) -> Command {
        let libs = script().arg("libs").output().unwrap();
        let libs = String::from_utf8(libs.stdout).unwrap();
        let mut command = Command::new("java");
        command.args(["-cp", &format!("{}/*", libs.trim()), class]);
        command
    }

    /// Ends it at once.
    pub(super) async fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again with what it has on disk.
    pub(super) async fn restart(&mut self) {
        self.process = run(self.directory.path());
        self.listens().await;
    }

    async fn listens(&mut self) {
        let listens = async {
            while TcpStream::connect(&self.bootstrap).is_err() {
                assert!(self.process.try_wait().unwrap().is_none(), "the broker ended by itself");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, listens).await.expect("the broker listens in time");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may be dead already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(directory: &Path) -> Child {
    // Kafka's script replaces itself by the broker, so that this process is the broker.
    script().args(["run", text(directory), "1"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn script() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/services/kafka"))
}

fn is_there(tool: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|directory| directory.join(tool).is_file())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
