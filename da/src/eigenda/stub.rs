//! An EigenDA proxy of the tests' own: real commitments in certificates that nobody signed, and every answer it is told to give.
#![allow(clippy::unwrap_used)]

#[path = "../../eigenda-client/tests/forge/mod.rs"]
pub mod forge;

use std::collections::{HashMap, VecDeque};
use std::iter::once;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use eigenda_client::{Blob, Commitment, EncodedPayload, Srs};
use forge::Item;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Enough for payloads of 31 kilobytes.
static SRS: LazyLock<Srs> = LazyLock::new(|| Srs::read(include_bytes!("../../eigenda-client/testdata/g1-1024.point")).unwrap());

/// An answer in place of the usual one.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This status and body. Nothing is stored.
    Status(u16, Vec<u8>),
    /// None, before the connection is closed; a payload is stored all the same.
    Lost,
    /// None for a long time; a payload is stored all the same.
    Silent,
}

#[derive(Default)]
struct State {
    stored: HashMap<Vec<u8>, Bytes>,
    certified: u32,
    puts: VecDeque<Answer>,
    gets: VecDeque<Answer>,
}

/// The proxy. It ends with the runtime of its test.
#[derive(Clone)]
pub struct Stub {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Stub {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stub = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let own = stub.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(own.clone().serve(connection));
            }
        });
        stub
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The answer to the next payload, behind those that were given before.
    pub fn on_put(&self, answer: Answer) {
        self.state.lock().puts.push_back(answer);
    }

    /// The answer to the next request for a payload, behind those that were given before.
    pub fn on_get(&self, answer: Answer) {
        self.state.lock().gets.push_back(answer);
    }

    /// How many payloads were stored, each paid for.
    pub fn paid(&self) -> u32 {
        self.state.lock().certified
    }

    /// Forgets everything, as EigenDA does after 14 days.
    pub fn forget(&self) {
        self.state.lock().stored.clear();
    }

    async fn serve(self, mut connection: TcpStream) {
        let Some((line, body)) = read_request(&mut connection).await else { return };
        let (usual, told) = match line.split(' ').collect::<Vec<_>>()[..] {
            ["POST", "/put?commitment_mode=standard", _] => {
                let told = self.state.lock().puts.pop_front();
                let store = !matches!(told, Some(Answer::Status(..)));
                (if store { (200, self.store(body)) } else { (500, Vec::new()) }, told)
            }
            ["GET", path, _] => (self.find(path), self.state.lock().gets.pop_front()),
            _ => ((404, Vec::new()), None),
        };
        let (status, body) = match told {
            None => usual,
            Some(Answer::Status(status, body)) => (status, body),
            Some(Answer::Lost) => return,
            Some(Answer::Silent) => return tokio::time::sleep(Duration::from_secs(600)).await,
        };
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        // That the client is gone is none of the server's business.
        let _ = connection.write_all(&[head.as_bytes(), &body].concat()).await;
        let _ = connection.flush().await;
    }

    fn store(&self, payload: Vec<u8>) -> Vec<u8> {
        let mut state = self.state.lock();
        state.certified += 1;
        let certificate = certificate(&payload, state.certified);
        state.stored.insert(certificate.clone(), Bytes::from(payload));
        certificate
    }

    fn find(&self, path: &str) -> (u16, Vec<u8>) {
        let hex = path.strip_prefix("/get/").and_then(|rest| rest.strip_suffix("?commitment_mode=standard"));
        let bytes = hex.and_then(|hex| crate::canonical::parse_hex(hex).ok());
        let found = bytes.and_then(|bytes| self.state.lock().stored.get(&bytes[..]).cloned());
        found.map_or_else(|| (500, b"blob not found".to_vec()), |payload| (200, payload.to_vec()))
    }
}

/// A certificate of version 4 that commits to the payload; the number makes it unlike all others.
pub fn certificate(payload: &[u8], number: u32) -> Vec<u8> {
    let blob = Blob::of(&EncodedPayload::encode(payload).unwrap());
    let point = Commitment::to(&blob, &SRS).unwrap().to_bytes();
    let mut rlp = forge::rlp(3);
    *rlp.at(&[0, 1]) = forge::number(u64::from(number));
    *rlp.at(&[1, 0, 0, 2, 0]) = Item::List(vec![word(&point[..32]), word(&point[32..])]);
    *rlp.at(&[1, 0, 0, 2, 3]) = forge::number(u64::from(blob.domain().symbols()));
    once(3).chain(rlp.encode()).collect()
}

fn word(bytes: &[u8]) -> Item {
    Item::Bytes(bytes.iter().copied().skip_while(|byte| *byte == 0).collect())
}

async fn read_request(connection: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if connection.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8(bytes[..head].to_vec()).ok()?;
    let length = text.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ").map(str::to_owned));
    let length = length.map_or(Some(0), |length| length.parse::<usize>().ok())?;
    while bytes.len() < head + length {
        if connection.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some((text.lines().next()?.to_owned(), bytes[head..head + length].to_vec()))
}
