//! A real Kafka: brokers as processes of their own, which can be killed and started again one by one.

mod segment;
mod topics;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::AdminClient;
use rdkafka::client::DefaultClientContext;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, MutexGuard};

use crate::patience::Patience;
use crate::{Outcome, ensure, required, tail, worlds};

pub use topics::Logged;

/// A broker that was started answers within this, on a machine that is busy with other tests too.
const ANSWERS_WITHIN: Duration = Duration::from_secs(120);
/// A broker that was asked to stop has done so within this.
const STOPS_WITHIN: Duration = Duration::from_secs(60);
/// A question to the brokers that takes longer counts as failed.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// A broker that was killed is replaced soon, retention is looked at soon.
const PROPERTIES: &str = "broker.session.timeout.ms=4000\nbroker.heartbeat.interval.ms=500\nlog.initial.task.delay.ms=500\n";

/// Clusters of one test binary run one after the other: the machine is small, and some tests measure time.
static TURN: Mutex<()> = Mutex::const_new(());

/// Brokers in a folder, numbered from 1.
pub struct Cluster {
    folder: PathBuf,
    bootstrap: String,
    brokers: Vec<Mutex<Option<Child>>>,
    admin: Arc<AdminClient<DefaultClientContext>>,
    _turn: MutexGuard<'static, ()>,
}

/// Whether Kafka can run here. Where every test is required its absence fails the test; elsewhere it says so loudly.
pub async fn is_there() -> Outcome<bool> {
    required::is_there("Kafka", Command::new(script()).arg("libs")).await
}

fn script() -> PathBuf {
    worlds::root().join("scripts/services/kafka")
}

/// A client of these brokers that does not wait long before it connects again.
fn client(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("client.id", "tributary-tests")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "500");
    config
}

/// Kills processes, those that did not end by themselves.
async fn end(mut children: Vec<Child>) -> Outcome {
    for child in &mut children {
        if child.try_wait()?.is_none() {
            child.start_kill()?;
        }
    }
    for child in &mut children {
        child.wait().await?;
    }
    Ok(())
}

impl Cluster {
    /// Makes 1 or 3 brokers in a new folder and starts them. Waits for its turn before.
    pub async fn start(folder: &Path, nodes: usize) -> Outcome<Self> {
        let turn = TURN.lock().await;
        let properties = folder.with_extension("properties");
        std::fs::write(&properties, PROPERTIES)?;
        let mut create = Command::new(script());
        create.arg("create").arg(folder).arg(nodes.to_string()).arg(&properties);
        let output = create.kill_on_drop(true).output().await?;
        ensure(output.status.success(), || String::from_utf8_lossy(&output.stderr).into_owned())?;
        let bootstrap = std::fs::read_to_string(folder.join("bootstrap"))?.trim().to_owned();
        let cluster = Self {
            folder: folder.to_path_buf(),
            admin: Arc::new(client(&bootstrap).create()?),
            bootstrap,
            brokers: (0..nodes).map(|_| Mutex::new(None)).collect(),
            _turn: turn,
        };
        cluster.start_all().await?;
        Ok(cluster)
    }

    /// The brokers as `host:port`, separated by commas.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// How many brokers there are.
    pub fn nodes(&self) -> usize {
        self.brokers.len()
    }

    /// Starts all brokers together and waits until each answers.
    pub async fn start_all(&self) -> Outcome {
        for node in 1..=self.nodes() {
            self.spawn(node).await?;
        }
        for node in 1..=self.nodes() {
            self.wait_answers(node).await?;
        }
        Ok(())
    }

    /// Starts a broker and waits until it answers.
    pub async fn restart(&self, node: usize) -> Outcome {
        self.spawn(node).await?;
        self.wait_answers(node).await
    }

    /// Kills a broker with SIGKILL.
    pub async fn kill(&self, node: usize) -> Outcome {
        let child = self.broker(node)?.lock().await.take();
        end(child.into_iter().collect()).await
    }

    /// Kills all brokers, none of which hears of the others' end before its own.
    pub async fn kill_all(&self) -> Outcome {
        let mut children = Vec::new();
        for broker in &self.brokers {
            children.extend(broker.lock().await.take());
        }
        end(children).await
    }

    /// Stops a broker with SIGTERM: it leaves its files in good order.
    pub async fn stop(&self, node: usize) -> Outcome {
        let Some(mut child) = self.broker(node)?.lock().await.take() else { return Ok(()) };
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        kill_process(pid.ok_or_else(|| self.describe(node, "it ended by itself"))?, Signal::TERM)?;
        let ended = tokio::time::timeout(STOPS_WITHIN, child.wait()).await;
        ended.map_err(|_| self.describe(node, "it does not stop"))??;
        Ok(())
    }

    async fn spawn(&self, node: usize) -> Outcome {
        let log = std::fs::File::options().create(true).append(true).open(self.log_path(node))?;
        let mut command = Command::new(script());
        command.arg("run").arg(&self.folder).arg(node.to_string());
        let command = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        *self.broker(node)?.lock().await = Some(command.spawn()?);
        Ok(())
    }

    /// Waits until the broker listens and the others know it. One that found its port taken for a moment is started again.
    async fn wait_answers(&self, node: usize) -> Outcome {
        let patience = Patience::of(ANSWERS_WITHIN);
        let address = self.bootstrap.split(',').nth(node - 1).ok_or("there is no such broker")?;
        let id = i32::try_from(node)?;
        loop {
            let listens = TcpStream::connect(address).await.is_ok();
            if listens && self.known_brokers().await.is_ok_and(|ids| ids.contains(&id)) {
                return Ok(());
            }
            let has_ended = match &mut *self.broker(node)?.lock().await {
                Some(child) => child.try_wait()?.is_some(),
                None => true,
            };
            patience.pause(|| self.describe(node, "it does not answer")).await?;
            if has_ended {
                self.spawn(node).await?;
            }
        }
    }

    async fn known_brokers(&self) -> Outcome<Vec<i32>> {
        let admin = Arc::clone(&self.admin);
        let asked = tokio::task::spawn_blocking(move || admin.inner().fetch_metadata(None, ASK_TIMEOUT));
        Ok(asked.await??.brokers().iter().map(|broker| broker.id()).collect())
    }

    fn broker(&self, node: usize) -> Outcome<&Mutex<Option<Child>>> {
        let broker = node.checked_sub(1).and_then(|n| self.brokers.get(n));
        broker.ok_or_else(|| format!("there is no broker {node}").into())
    }

    fn log_path(&self, node: usize) -> PathBuf {
        self.folder.join(node.to_string()).join("log")
    }

    fn describe(&self, node: usize, what: &str) -> String {
        format!("broker {node}: {what}; the end of its log:\n{}", tail::of(&self.log_path(node)))
    }
}
