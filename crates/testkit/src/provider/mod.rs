//! A model provider that does what a test tells it: every byte, pause and cut of its answers is
//! scripted. HTTP is written by hand on a plain socket, so that any malformed answer can be sent.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::{JoinHandle, JoinSet};

mod answer;
pub mod aws;
pub mod bench;
mod broken;
mod flight;
mod gate;
pub mod named;
mod request;
mod script;
mod serve;
mod traffic;

#[cfg(test)]
mod tests;

pub use answer::ChatAnswer;
pub use flight::{Flight, Flights};
pub use gate::Gate;
pub use request::ReceivedRequest;
pub use script::{Cut, LineEnd, Script, Step};
pub use traffic::{Traffic, Written};

/// A scripted provider on a port of its own. It stops when dropped, with all its connections.
pub struct FakeProvider {
    addr: SocketAddr,
    traffic: Arc<Traffic>,
    models: Arc<Mutex<Vec<String>>>,
    accepting: JoinHandle<()>,
}

impl FakeProvider {
    /// Starts a provider that answers each request as `answer` says. The list of models it answers
    /// itself, see [`set_models`](Self::set_models).
    pub async fn start<F>(answer: F) -> Self
    where
        F: Fn(&ReceivedRequest) -> Script + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("127.0.0.1 has a free port");
        let models = Arc::new(Mutex::new(vec!["fake-model".to_owned()]));
        let traffic = Arc::new(Traffic::keeping());
        let listed = Arc::clone(&models);
        let answer = move |request: &ReceivedRequest| {
            if request.is_model_list() {
                return Script::models(&*listed.lock().unwrap_or_else(PoisonError::into_inner));
            }
            answer(request)
        };
        let addr = listener
            .local_addr()
            .expect("a bound listener has an address");
        let accepting = tokio::spawn(accept(listener, Arc::clone(&traffic), answer));
        Self {
            addr,
            traffic,
            models,
            accepting,
        }
    }

    /// What an upstream is configured with: `http://127.0.0.1:<port>/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sets what `GET /v1/models` lists; `fake-model` before.
    pub fn set_models<M: Into<String>>(&self, models: impl IntoIterator<Item = M>) {
        let models = models.into_iter().map(Into::into).collect();
        *self.models.lock().unwrap_or_else(PoisonError::into_inner) = models;
    }

    /// The requests so far, in order, but those for the list of models.
    pub fn calls(&self) -> Vec<ReceivedRequest> {
        self.traffic.calls()
    }

    /// How many requests there were for a path, such as `/v1/chat/completions`.
    pub fn call_count(&self, path: &str) -> u64 {
        self.traffic.by_path().get(path).copied().unwrap_or(0)
    }

    /// What was written so far.
    pub fn written(&self) -> Written {
        self.traffic.written()
    }

    /// How many clients left before the end of their script. It is seen while the script waits,
    /// or at the next write.
    pub fn hangups(&self) -> u64 {
        self.traffic.hangups()
    }

    /// Waits until there were `n` requests, those for the list of models not counted.
    pub async fn wait_for_calls(&self, n: u64) {
        self.traffic.wait_for_calls(n).await;
    }

    /// Waits until `n` clients left before the end of their script.
    pub async fn wait_for_hangups(&self, n: u64) {
        self.traffic.wait_for_hangups(n).await;
    }
}

impl Drop for FakeProvider {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// An address that refuses connections. While this lives nobody else can be given its port, as could
/// be the case with that of a listener that was closed.
pub struct Nobody {
    _socket: TcpSocket,
    addr: SocketAddr,
}

impl Nobody {
    /// Takes a port, and does not listen on it.
    pub fn new() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let addr = socket.local_addr()?;
        Ok(Self {
            _socket: socket,
            addr,
        })
    }

    /// Where nobody listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What an upstream is configured with.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.addr)
    }
}

/// Serves a listener for as long as the future lives; it owns the tasks of all connections.
pub async fn accept<F>(listener: TcpListener, traffic: Arc<Traffic>, answer: F)
where
    F: Fn(&ReceivedRequest) -> Script + Send + Sync + 'static,
{
    let answer: Arc<dyn Fn(&ReceivedRequest) -> Script + Send + Sync> = Arc::new(answer);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    let (traffic, answer) = (Arc::clone(&traffic), Arc::clone(&answer));
                    connections.spawn(serve::connection(socket, traffic, answer));
                }
                // Out of descriptors: some connection has to end first.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
