//! An upstream of which each byte is the test's own.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::harness::{Setup, UPSTREAM_KEY, within};

/// It listens.
pub struct RawUpstream {
    listener: TcpListener,
    pub addr: SocketAddr,
}

/// One connection, of which the head of a request was read.
pub struct Exchange {
    pub stream: TcpStream,
    pub head: String,
    /// What came after the head, and is not read yet.
    unread: Vec<u8>,
}

impl RawUpstream {
    pub fn start() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // Little room, so that who does not read is felt at once.
        socket.set_recv_buffer_size(16 << 10).unwrap();
        socket.set_send_buffer_size(16 << 10).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(8).unwrap();
        let addr = listener.local_addr().unwrap();
        Self { listener, addr }
    }

    /// A gateway in front of it, where it is called `raw` and serves two models.
    pub fn setup(&self) -> Setup {
        let url = format!("http://{}/base/v1", self.addr);
        Setup::default().upstream("raw", &url, "models = [\"whisper\", \"tts\"]")
    }

    /// The next connection, once it has sent the head of a request.
    pub async fn accept(&self) -> Exchange {
        let (stream, _) = within(self.listener.accept()).await.unwrap();
        let mut exchange = Exchange {
            stream,
            head: String::new(),
            unread: Vec::new(),
        };
        loop {
            let text = String::from_utf8_lossy(&exchange.unread).into_owned();
            if let Some((head, _)) = text.split_once("\r\n\r\n") {
                exchange.unread.drain(..head.len() + 4);
                exchange.head = head.to_owned();
                return exchange;
            }
            assert!(exchange.fill().await > 0, "no request: {text:?}");
        }
    }
}

impl Exchange {
    /// A header of the request.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The method and the path.
    pub fn line(&self) -> &str {
        let line = self.head.lines().next().unwrap();
        line.strip_suffix(" HTTP/1.1").unwrap()
    }

    async fn fill(&mut self) -> usize {
        let mut buffer = vec![0; 64 << 10];
        let read = within(self.stream.read(&mut buffer)).await.unwrap();
        self.unread.extend_from_slice(&buffer[..read]);
        read
    }

    /// So many bytes of the body, framing included.
    pub async fn read(&mut self, bytes: usize) -> Vec<u8> {
        while self.unread.len() < bytes {
            assert!(self.fill().await > 0, "the request ended early");
        }
        self.unread.drain(..bytes).collect()
    }

    /// The body, by its own framing.
    pub async fn body(&mut self) -> Vec<u8> {
        if let Some(length) = self.header("content-length") {
            let length = length.parse().unwrap();
            return self.read(length).await;
        }
        assert_eq!(self.header("transfer-encoding"), Some("chunked"));
        let mut body = Vec::new();
        loop {
            let chunk = self.chunk().await;
            if chunk.is_empty() {
                return body;
            }
            body.extend(chunk);
        }
    }

    /// The beginning of a body, by its own framing: all that the client has sent so far.
    pub async fn beginning(&mut self, bytes: usize) -> Vec<u8> {
        if self.header("content-length").is_some() {
            return self.read(bytes).await;
        }
        let mut body = Vec::new();
        while body.len() < bytes {
            body.extend(self.chunk().await);
        }
        body
    }

    async fn chunk(&mut self) -> Vec<u8> {
        let size = self.line_of_body().await;
        let size = usize::from_str_radix(&size, 16).unwrap();
        let chunk = self.read(size).await;
        assert_eq!(self.read(2).await, b"\r\n");
        chunk
    }

    async fn line_of_body(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(self.read(1).await);
        }
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Sends a whole answer.
    pub async fn answer(&mut self, status: u16, headers: &str, body: &str) {
        let length = body.len();
        let text =
            format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n{body}");
        self.send(text).await;
    }

    /// Reads until the body is whole by its own framing, or the gateway hangs up: whether it was whole.
    pub async fn ends(&mut self) -> bool {
        let length = self.header("content-length").map(|it| it.parse().unwrap());
        loop {
            let is_whole = match length {
                Some(length) => self.unread.len() >= length,
                None => self.unread.ends_with(b"\r\n0\r\n\r\n"),
            };
            if is_whole {
                return true;
            }
            let mut buffer = vec![0; 64 << 10];
            match within(self.stream.read(&mut buffer)).await {
                Ok(0) => return false,
                Ok(read) => self.unread.extend_from_slice(&buffer[..read]),
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
                    return false;
                }
            }
        }
    }

    /// Waits until the gateway has hung up.
    pub async fn hung_up(&mut self) {
        let mut rest = Vec::new();
        match within(self.stream.read_to_end(&mut rest)).await {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
    }

    /// The client's own credentials are not here, and the gateway's are.
    pub fn assert_called_by_the_gateway(&self) {
        let bearer = format!("Bearer {UPSTREAM_KEY}");
        assert_eq!(self.header("authorization"), Some(bearer.as_str()));
        assert!(!self.head.contains("es-key"), "{}", self.head);
    }
}

/// Bytes without a pattern that repeats soon, among them every value.
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(bytes).collect()
}
