//! A proxy between a client and a gateway that does what proxies do to streams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// What it does to what the gateway sends.
#[derive(Clone, Copy)]
pub enum Manner {
    /// Gathers it and passes it on after this time.
    Hold(Duration),
    /// Cuts each of the first so many connections after so many bytes.
    Cut { connections: usize, bytes: usize },
}

/// A running proxy; it stops when dropped.
pub struct Proxy {
    pub url: String,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub async fn start(gateway: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let number = counter.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(pass(client, gateway, manner, number));
            }
        });
        Self {
            url,
            connections,
            accepting,
        }
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(client: TcpStream, gateway: SocketAddr, manner: Manner, number: usize) {
    let server = TcpStream::connect(gateway).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let upload = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    });
    let mut left = match manner {
        Manner::Cut { connections, bytes } if number < connections => bytes,
        _ => usize::MAX,
    };
    while left > 0 {
        let mut bytes = match manner {
            Manner::Hold(time) => gathered(&mut from_server, time).await,
            Manner::Cut { .. } => some(&mut from_server).await,
        };
        bytes.truncate(left);
        left -= bytes.len();
        if bytes.is_empty() || to_client.write_all(&bytes).await.is_err() {
            break;
        }
    }
    upload.abort();
}

async fn some(from: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 << 10);
    let _ = from.read_buf(&mut bytes).await;
    bytes
}

/// All that comes within `time` of the first byte.
async fn gathered(from: &mut (impl AsyncRead + Unpin), time: Duration) -> Vec<u8> {
    let mut bytes = some(from).await;
    let more = async { while from.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {} };
    let _ = timeout(time, more).await;
    bytes
}
