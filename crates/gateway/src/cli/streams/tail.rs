//! `everstream streams tail`: reads a stream as NDJSON, and goes on where a cut stopped it.

use std::io::{IsTerminal, Write};

use everstream_core::id::StreamId;
use everstream_core::limits;
use serde_json::Value;

use super::{StreamArgs, field, page_of};
use crate::cli::Failure;
use crate::cli::gateway::{Gateway, piece, printable, refusal, text_of};
use crate::upstream::Request;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct TailArgs {
    #[command(flatten)]
    stream: StreamArgs,
    /// Only events after this one
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    after: u64,
    /// Print each event's data on a line of its own, instead of the text in it
    #[arg(long)]
    raw: bool,
}

pub(super) async fn tail(args: &TailArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let gateway = args.stream.gateway.gateway(&[])?;
    let mut tail = Tail {
        id: args.stream.id,
        seen: args.after,
        connected: false,
        printer: Printer::new(args.raw, std::io::stdout().is_terminal(), out),
    };
    let mut in_vain = 0;
    let end = loop {
        let (before, result) = (tail.seen, tail.attempt(&gateway).await);
        let cut = match result {
            Ok(end) => break end,
            Err(Broken::For(failure)) => return Err(failure),
            Err(Broken::Cut(why)) => why,
        };
        in_vain = if tail.seen > before { 0 } else { in_vain + 1 };
        if in_vain > limits::CLI_RECONNECTS {
            let message = format!("{cut}; gave up. Go on with `--after {}`", tail.seen);
            return Err(Failure::Other(message));
        }
        let pause = limits::CLI_RECONNECT_PAUSE / (32 >> in_vain.min(5));
        let mut err = std::io::stderr();
        writeln!(
            err,
            "everstream: {cut}; going on after event {} in {pause:?}",
            tail.seen
        )?;
        tokio::time::sleep(pause).await;
    };
    tail.printer.finish()?;
    let (status, reason) = (field(&end, "status"), field(&end, "reason"));
    if status == "completed" {
        return Ok(());
    }
    Err(Failure::Other(format!(
        "the stream ended {status}: {reason}"
    )))
}

/// Why an attempt to read ended before the stream did.
enum Broken {
    /// The connection; another may do.
    Cut(String),
    /// Another attempt would not help.
    For(Failure),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::For(failure)
    }
}

struct Tail<'a> {
    id: StreamId,
    /// The newest event that was printed.
    seen: u64,
    /// The stream could be read at least once.
    connected: bool,
    printer: Printer<'a>,
}

impl Tail<'_> {
    /// Reads until the stream ends, and gives how it did.
    async fn attempt(&mut self, gateway: &Gateway) -> Result<Value, Broken> {
        let (id, path) = (self.id, format!("/v1/streams/{}", self.id));
        let cursor = format!("{id}.{}", self.seen);
        let headers = [
            ("accept", "application/x-ndjson"),
            ("last-event-id", &cursor),
        ];
        let request = Request {
            method: "GET",
            path: &path,
            headers: &headers,
            body: None,
        };
        let sent = gateway.send(request).await;
        let mut response = sent.map_err(|failure| match failure {
            // That nobody is there at all is more likely a wrong address than a cut.
            Failure::Other(why) if self.connected => Broken::Cut(why),
            failure => Broken::For(failure),
        })?;
        match response.head.status {
            200 => self.connected = true,
            204 => return Ok(page_of(gateway, id, self.seen).await?),
            408 | 429 | 500.. => return Err(Broken::Cut(refusal(response).await.to_string())),
            _ => return Err(refusal(response).await.into()),
        }
        let mut lines = Lines::default();
        while let Some(bytes) = piece(&mut response.body).await.map_err(Broken::Cut)? {
            for line in lines.push(&bytes)? {
                if let Some(end) = self.line(&line)? {
                    return Ok(end);
                }
            }
            self.printer.flush()?;
        }
        Err(Broken::Cut(
            "the connection ended before the stream".to_owned(),
        ))
    }

    /// Prints the event in a line; the end of the stream, if that is what it tells.
    fn line(&mut self, line: &[u8]) -> Result<Option<Value>, Broken> {
        let Ok(mut line) = serde_json::from_slice::<Value>(line) else {
            let text = "this is no stream of an Everstream gateway".to_owned();
            return Err(Failure::Other(text).into());
        };
        if let Some(seq) = line["seq"].as_u64() {
            if seq != self.seen + 1 {
                let text = format!(
                    "event {seq} came after event {}: please report it",
                    self.seen
                );
                return Err(Failure::Other(text).into());
            }
            self.printer.event(&line)?;
            self.seen = seq;
            return Ok(None);
        }
        if line["error"].is_object() {
            return Err(Broken::Cut(field(&line["error"], "message")));
        }
        Ok(Some(line["end"].take()))
    }
}

/// Cuts bytes into lines; empty ones are heartbeats.
#[derive(Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    /// The lines that these bytes complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Failure> {
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.0.extend_from_slice(part);
            if self.0.len() > limits::CLI_ANSWER_BYTES {
                return Err(Failure::Other(
                    "a line of the answer is too large".to_owned(),
                ));
            }
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.0);
                if !line.trim_ascii().is_empty() {
                    lines.push(line);
                }
            }
        }
        Ok(lines)
    }
}

/// Writes what a person, or a program, wants of the events.
pub(super) struct Printer<'a> {
    raw: bool,
    /// Text of a model's must not drive a terminal.
    guarded: bool,
    out: &'a mut dyn Write,
    in_line: bool,
}

impl<'a> Printer<'a> {
    pub(super) fn new(raw: bool, guarded: bool, out: &'a mut dyn Write) -> Self {
        Self {
            raw,
            guarded,
            out,
            in_line: false,
        }
    }

    pub(super) fn event(&mut self, event: &Value) -> Result<(), Failure> {
        let data = event["data"].as_str().unwrap_or_default();
        if self.raw {
            return Ok(writeln!(self.out, "{data}")?);
        }
        let parsed: Option<Value> = serde_json::from_str(data).ok();
        let text = match &parsed {
            // Marks of the dialect; how it ended is told at the end.
            None if data == "[DONE]" => "",
            Some(parsed) if parsed["error"].is_object() => "",
            // An embedding, or a piece of a large answer.
            None => data,
            Some(parsed) => text_of(parsed).unwrap_or(data),
        };
        if let Some(last) = text.chars().last() {
            self.in_line = last != '\n';
        }
        if self.guarded {
            let guard = |line: &str| printable(&line.replace('\t', "    "));
            let lines: Vec<String> = text.split('\n').map(guard).collect();
            write!(self.out, "{}", lines.join("\n"))?;
        } else {
            self.out.write_all(text.as_bytes())?;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }

    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        if self.in_line {
            writeln!(self.out)?;
        }
        self.flush()
    }
}
