//! A line to a server that can be cut and stalled.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the line does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Open,
    /// Takes bytes and connections, and gives none.
    Stalled,
    /// Refuses connections, and breaks those there are.
    Cut,
}

/// A proxy on a port of its own.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    line: watch::Sender<Line>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(server: (String, u16)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (line, state) = watch::channel(Line::Open);
        let server = Arc::new(server);
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (server, state) = (Arc::clone(&server), state.clone());
                tokio::spawn(async move {
                    if *state.borrow() == Line::Cut {
                        return;
                    }
                    let upstream = TcpStream::connect((server.0.as_str(), server.1))
                        .await
                        .unwrap();
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = upstream.into_split();
                    tokio::select! {
                        () = pass(from_client, to_server, state.clone()) => {}
                        () = pass(from_server, to_client, state) => {}
                    }
                });
            }
        });
        Self { port, line, task }
    }

    pub(crate) fn set(&self, line: Line) {
        self.line.send_replace(line);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Until one side leaves, or the line is cut.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<Line>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let line = *state.borrow_and_update();
        tokio::select! {
            changed = state.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            read = from.read(&mut buffer), if line == Line::Open => {
                let Ok(read @ 1..) = read else { return };
                if to.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
            () = std::future::ready(()), if line == Line::Cut => return,
        }
    }
}
