//! A WebSocket client, each wait of which is bounded, and the streams it reads.

use everstream_testkit::client::RawClient;
use everstream_testkit::provider::{ChatAnswer, FakeProvider, Gate, Script};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderName;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::harness::Gateway;

pub use crate::harness::within as soon;

/// An open WebSocket.
pub struct Socket(pub WebSocketStream<TcpStream>);

impl Socket {
    /// Opens one; the status and the body if the gateway refuses.
    pub async fn open(
        gateway: &Gateway,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, (u16, Value)> {
        let socket = TcpSocket::new_v4().unwrap();
        // Little room, so that a client that does not read is felt at once.
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = socket.connect(gateway.addr).await.unwrap();
        let mut request = format!("ws://{}{path}", gateway.addr)
            .into_client_request()
            .unwrap();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        match soon(tokio_tungstenite::client_async(request, stream)).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(response)) => {
                let body = response.body().as_deref().unwrap_or_default();
                Err((
                    response.status().as_u16(),
                    serde_json::from_slice(body).unwrap_or_default(),
                ))
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends a message.
    pub async fn send(&mut self, message: Message) {
        soon(self.0.send(message)).await.unwrap();
    }

    /// Sends a command.
    pub async fn say(&mut self, command: Value) {
        self.send(Message::text(command.to_string())).await;
    }

    /// The next message that is no ping.
    pub async fn message(&mut self) -> Message {
        loop {
            match soon(self.0.next()).await.unwrap().unwrap() {
                Message::Ping(_) => {}
                message => return message,
            }
        }
    }

    /// The next JSON text.
    pub async fn hear(&mut self) -> Value {
        match self.message().await {
            Message::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?} is no text"),
        }
    }

    /// Texts until one of this type, which comes last.
    pub async fn hear_until(&mut self, kind: &str) -> Vec<Value> {
        let mut heard = Vec::new();
        loop {
            heard.push(self.hear().await);
            if heard.last().is_some_and(|text| text["type"] == kind) {
                return heard;
            }
        }
    }

    /// What the gateway says to a command.
    pub async fn ask(&mut self, command: Value) -> Value {
        self.say(command).await;
        self.hear().await
    }

    /// The code and the reason with which the gateway closes; nothing may come before.
    pub async fn closed(&mut self) -> (u16, String) {
        match self.message().await {
            Message::Close(Some(frame)) => (frame.code.into(), frame.reason.to_string()),
            other => panic!("{other:?} is no close with a reason"),
        }
    }
}

/// The answer of every provider here: 8 events, of which the first two come together.
pub fn answer() -> ChatAnswer {
    ChatAnswer::new(["One", " two", " three", " \u{1f32c}", "."])
}

/// A provider that stops before event 4 of every answer, until the gate opens.
pub async fn held_provider(gate: &Gate) -> FakeProvider {
    let gate = gate.clone();
    FakeProvider::start(move |_| Script::chat_stream(&answer()).gate_before_event(4, &gate)).await
}

/// Starts a generation for `key`, and gives its stream's id once the provider has answered as much
/// as it will.
pub async fn generate(gateway: &Gateway, key: &str) -> (String, RawClient) {
    let mut client = gateway.client().await;
    let body = json!({"model": "m", "stream": true, "messages": []});
    let bearer = format!("Bearer {key}");
    let headers = [("authorization", bearer.as_str())];
    let head = soon(client.post_json("/v1/chat/completions", &body, &headers));
    let head = head.await.unwrap();
    assert_eq!(head.status, 200);
    let id = head.header("everstream-stream-id").unwrap().to_owned();
    (id, client)
}

/// A generation that has ended.
pub async fn finished(gateway: &Gateway, key: &str) -> String {
    let (id, mut client) = generate(gateway, key).await;
    soon(client.collect_sse()).await.unwrap();
    id
}
