use std::io::{self, Write as _};
use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::request::{self, ReceivedRequest};
use super::script::{Framing, Head, LineEnd, Script, Step, Style};
use super::traffic::Traffic;

/// Bytes gathered before they are written without waiting for a reason.
const GATHER_BYTES: usize = 256 << 10;
/// Bytes a client may send ahead while its answer is being played.
const READ_AHEAD_BYTES: usize = 64 << 10;

/// Answers the requests of one connection until either side closes it.
pub(super) async fn connection(
    mut socket: TcpStream,
    traffic: Arc<Traffic>,
    answer: Arc<dyn Fn(&ReceivedRequest) -> Script + Send + Sync>,
) {
    // Without it the second small write waits for the first one's acknowledgement.
    let _ = socket.set_nodelay(true);
    let mut inbound = BytesMut::with_capacity(request::READ_BYTES);
    loop {
        let mut request = match request::read(&mut socket, &mut inbound).await {
            Ok(Some(request)) => request,
            Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                let head = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n";
                let text = format!("{head}content-length: {}\r\n\r\n{e}", e.to_string().len());
                let _ = socket.write_all(text.as_bytes()).await;
                return;
            }
            Ok(None) | Err(_) => return,
        };
        traffic.received(&mut request);
        let script = answer(&request);
        let keeps_alive = request.keeps_alive();
        drop(request);
        let mut player = Player {
            socket: &mut socket,
            inbound: &mut inbound,
            traffic: &traffic,
            style: script.style,
            chunked: script.framing == Framing::Chunked,
            out: Vec::new(),
            gathered: 0,
            any_event: false,
        };
        match player.play(script).await {
            Ok(After::KeepAlive) if keeps_alive => {}
            Ok(After::KeepAlive | After::Close) => return,
            Ok(After::Reset) => {
                let _ = socket.set_zero_linger();
                return;
            }
            Err(_) => {
                traffic.hung_up();
                return;
            }
        }
    }
}

/// What becomes of the connection when its script is through.
enum After {
    KeepAlive,
    Close,
    Reset,
}

struct Player<'a> {
    socket: &'a mut TcpStream,
    inbound: &'a mut BytesMut,
    traffic: &'a Traffic,
    style: Style,
    chunked: bool,
    out: Vec<u8>,
    /// Events within `out`.
    gathered: usize,
    any_event: bool,
}

impl Player<'_> {
    /// Plays to the script's end. An error means that the client left first.
    async fn play(&mut self, script: Script) -> io::Result<After> {
        if let Some(step) = script.before_head {
            self.wait(step).await?;
        }
        let mut steps = script.steps.peekable();
        if let Some(head) = script.head {
            // A body of known length has one step, which holds all of it.
            let length = match (script.framing, steps.peek()) {
                (Framing::Lying(length), _) => Some(length),
                (Framing::Length, Some(Step::Bytes(body))) => Some(body.len() as u64),
                _ => None,
            };
            self.head(&head, length);
        }
        for step in steps {
            match step {
                Step::Event(block) => self.event(&block).await?,
                Step::Bytes(bytes) => self.body(&bytes),
                Step::Flush => self.flush().await?,
                Step::Pause(_) | Step::Wait(_) | Step::Arrived(..) => {
                    self.flush().await?;
                    self.wait(step).await?;
                }
                Step::CloseClean | Step::Reset => {
                    self.flush().await?;
                    let reset = matches!(step, Step::Reset);
                    return Ok(if reset { After::Reset } else { After::Close });
                }
                Step::End => break,
            }
            if self.out.len() >= GATHER_BYTES {
                self.flush().await?;
            }
        }
        if self.chunked {
            self.out.extend_from_slice(b"0\r\n\r\n");
        }
        self.flush().await?;
        Ok(match script.framing {
            Framing::Chunked | Framing::Length => After::KeepAlive,
            Framing::Lying(_) | Framing::UntilClose => After::Close,
        })
    }

    fn head(&mut self, head: &Head, length: Option<u64>) {
        let mut text = format!("HTTP/1.1 {} {}\r\n", head.status, reason(head.status));
        for (name, value) in &head.headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        if self.chunked {
            text.push_str("transfer-encoding: chunked\r\n");
        } else if let Some(length) = length.filter(|_| head.status != 204) {
            text.extend(["content-length: ", &length.to_string(), "\r\n"]);
        }
        text.push_str("\r\n");
        self.out.extend_from_slice(text.as_bytes());
    }

    async fn event(&mut self, block: &[u8]) -> io::Result<()> {
        if self.gathered == 0 && self.any_event && !self.style.pause.is_zero() {
            self.wait(Step::Pause(self.style.pause)).await?;
        }
        let Style {
            bom,
            comments,
            line_end,
            ..
        } = self.style;
        if comments || line_end != LineEnd::Lf || (bom && !self.any_event) {
            let mut styled = Vec::with_capacity(block.len() + 64);
            if bom && !self.any_event {
                styled.extend_from_slice("\u{feff}".as_bytes());
            }
            if comments {
                styled.extend_from_slice(b": PROCESSING\n\n: glued\n");
            }
            styled.extend_from_slice(block);
            if line_end != LineEnd::Lf {
                styled = styled
                    .split(|&b| b == b'\n')
                    .collect::<Vec<_>>()
                    .join(line_end.bytes());
            }
            self.body(&styled);
        } else {
            self.body(block);
        }
        self.any_event = true;
        self.gathered += 1;
        if self.gathered >= self.style.events_per_write {
            self.flush().await?;
        }
        Ok(())
    }

    fn body(&mut self, bytes: &[u8]) {
        if !self.chunked {
            self.out.extend_from_slice(bytes);
        } else if !bytes.is_empty() {
            // A vector takes all of it.
            let _ = write!(self.out, "{:x}\r\n", bytes.len());
            self.out.extend_from_slice(bytes);
            self.out.extend_from_slice(b"\r\n");
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        match self.style.split_every {
            None => self.socket.write_all(&self.out).await?,
            Some(n) => {
                for piece in self.out.chunks(n) {
                    self.socket.write_all(piece).await?;
                    tokio::task::yield_now().await;
                }
            }
        }
        self.traffic.wrote(self.gathered, self.out.len());
        self.out.clear();
        self.gathered = 0;
        Ok(())
    }

    /// Waits as the step says, unless the client leaves. What the client sends meanwhile is kept.
    async fn wait(&mut self, step: Step) -> io::Result<()> {
        let over = async {
            match step {
                Step::Pause(pause) => tokio::time::sleep(pause).await,
                Step::Wait(gate) => gate.pass().await,
                Step::Arrived(flight, tokens) => flight.until(tokens).await,
                _ => {}
            }
        };
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return Ok(()),
                read = self.socket.read_buf(self.inbound), if self.inbound.len() < READ_AHEAD_BYTES => {
                    if read? == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
            }
        }
    }
}

/// The phrase beside the status; clients must not read it.
const fn reason(status: u16) -> &'static str {
    match status {
        200..=299 => "OK",
        300..=399 => "Elsewhere",
        400..=499 => "Refused",
        _ => "Failed",
    }
}
