//! What stands between a client and EigenDA's proxy: it passes every request on, counts the payloads that reached the proxy, and holds
//! one back if it is told to, on the way there or on the way back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Outcome;
use crate::patience::Patience;

/// The longest head of a request.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Where a payload is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Before the proxy has it.
    Request,
    /// When the proxy has certified it, before the client knows.
    Answer,
}

struct State {
    proxy: SocketAddr,
    /// And after how many payloads, this one included.
    hold: Mutex<Option<(Hold, u64)>>,
    /// Whether what is held is dropped.
    dropped: watch::Sender<bool>,
    held: AtomicU64,
    puts: AtomicU64,
}

/// A forwarder, which ends when it is dropped.
pub struct Forwarder {
    url: String,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Forwarder {
    /// In front of the proxy at this URL. It may be down now and then.
    pub async fn start(proxy: &str) -> Outcome<Self> {
        let proxy = proxy.trim_start_matches("http://").parse()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let (hold, dropped) = (Mutex::new(None), watch::Sender::new(false));
        let state = Arc::new(State { proxy, hold, dropped, held: AtomicU64::new(0), puts: AtomicU64::new(0) });
        let accepting = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&accepting);
                // A connection that breaks off is what the client has to cope with.
                tokio::spawn(async move { state.serve(client).await.is_ok() });
            }
        });
        Ok(Self { url, state, task })
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Holds the `number`-th payload from now on, 1 being the next.
    pub fn hold_nth(&self, hold: Hold, number: u64) {
        self.state.dropped.send_replace(false);
        *self.state.hold.lock() = Some((hold, number));
    }

    /// Waits until a payload is held that was not before.
    pub async fn held(&self, within: Duration) -> Outcome {
        let patience = Patience::of(within);
        while self.state.held.load(Ordering::Acquire) == 0 {
            patience.pause(|| "no payload came that could be held".to_owned()).await?;
        }
        self.state.held.fetch_sub(1, Ordering::AcqRel);
        Ok(())
    }

    /// Drops what is held, with its connection.
    pub fn discard(&self) {
        self.state.dropped.send_replace(true);
    }

    /// How many payloads reached the proxy.
    pub fn puts(&self) -> u64 {
        self.state.puts.load(Ordering::Acquire)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    async fn serve(&self, mut client: TcpStream) -> Outcome {
        let request = read_request(&mut client).await?;
        let is_put = request.starts_with(b"POST ");
        let hold = if is_put { self.hold_of_next() } else { None };
        if hold == Some(Hold::Request) {
            self.hold_back().await?;
        }
        let mut proxy = TcpStream::connect(self.proxy).await?;
        proxy.write_all(&request).await?;
        self.puts.fetch_add(u64::from(is_put), Ordering::AcqRel);
        let mut answer = Vec::new();
        proxy.read_to_end(&mut answer).await?;
        if hold == Some(Hold::Answer) {
            self.hold_back().await?;
        }
        client.write_all(&answer).await?;
        Ok(client.shutdown().await?)
    }

    /// Whether the payload that just came is to be held, and where.
    fn hold_of_next(&self) -> Option<Hold> {
        let mut hold = self.hold.lock();
        let (what, left) = hold.as_mut()?;
        *left -= 1;
        let what = (*left == 0).then_some(*what)?;
        *hold = None;
        Some(what)
    }

    async fn hold_back(&self) -> Outcome {
        let mut dropped = self.dropped.subscribe();
        self.held.fetch_add(1, Ordering::AcqRel);
        dropped.wait_for(|dropped| *dropped).await?;
        Err("dropped".into())
    }
}

/// One whole request, asking that the connection be closed behind it: so the answer ends where the proxy closes it.
async fn read_request(client: &mut TcpStream) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if bytes.len() > HEAD_BYTES_MAX || client.read_buf(&mut bytes).await? == 0 {
            return Err("no whole head came".into());
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec())?.to_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(Ok(0), str::parse)?;
    while bytes.len() < head + length {
        if client.read_buf(&mut bytes).await? == 0 {
            return Err("no whole body came".into());
        }
    }
    let line = bytes.windows(2).position(|two| two == b"\r\n").map_or(head, |end| end + 2);
    bytes.splice(line..line, b"connection: close\r\n".iter().copied());
    Ok(bytes)
}
