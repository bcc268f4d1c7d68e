//! `everstream doctor`

mod checks;
#[cfg(test)]
mod tests;
mod timing;
mod wire;

use std::io::Write;
use std::time::{Duration, Instant};

use bytes::Bytes;
use everstream_core::limits;
use serde_json::{Value, json};

use super::gateway::{Gateway, block_on, encoded, piece, printable, refusal, text_of};
use super::{Failure, GatewayArgs};
use crate::upstream::{Request, Response};
use checks::{Check, Outcome};
use timing::Moment;
use wire::{Wire, WireEvent};

const ABOUT: &str = "\
Asks the model for a short answer through the gateway and shows when each event came. Events that
arrive in lumps were held back by something on the way: a proxy that buffers, a compressing
middleware, an antivirus. The gateway's own log tells when it wrote each event, so the doctor knows
on which side of the gateway to look. The provider may charge for the answer.

Exit codes: 0 it streams, 1 it does not, or could not be asked.

Examples:
  everstream doctor
  everstream doctor --url https://gateway.example.org --model openai/gpt-4o-mini";

/// As SDKs and browsers do: a path that compresses does so only where it is allowed to.
const LIKE_AN_SDK: [(&str, &str); 1] = [("accept-encoding", "gzip, deflate, br, zstd")];
const EVENTS: (&str, &str) = ("accept", "text/event-stream");

#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    gateway: GatewayArgs,
    /// The model to ask; the first of the gateway's list if absent
    #[arg(long)]
    model: Option<String>,
    /// What to ask it
    #[arg(long, default_value = "Count from one to thirty in words.")]
    prompt: String,
    /// How long the answer may be
    #[arg(long, default_value_t = 64)]
    max_tokens: u32,
}

pub(super) fn run(args: &DoctorArgs, out: &mut dyn Write) -> Result<(), Failure> {
    block_on(examine(args, out))
}

async fn examine(args: &DoctorArgs, out: &mut dyn Write) -> Result<(), Failure> {
    // JSON is asked for plainly, the streams as an SDK would.
    let plain = args.gateway.gateway(&[])?;
    let gateway = args.gateway.gateway(&LIKE_AN_SDK)?;
    let model = match &args.model {
        Some(model) => model.clone(),
        None => first_model(&plain).await?,
    };
    writeln!(out, "asking {} of {}\n", printable(&model), gateway.url())?;
    let answer = ask(&gateway, &model, args).await?;
    show_events(&answer.wire.events, out)?;
    let mut found = checks::of_head(&answer.head);
    if answer.wire.events.is_empty() {
        found.push(Check::bad("events", "there is none in what came"));
    } else {
        found.extend(checks::of_wire(&answer.wire, answer.stream.as_deref()));
        if let Some(id) = &answer.stream {
            found.push(resume(&gateway, id, &answer.wire.events).await);
            let (created, logged) = log_of(&plain, id).await?;
            let moments = moments(&answer.wire.events, &logged);
            found.push(timing::judge(created, &moments).check());
        }
    }
    report(&found, out)
}

/// Shows what was found, and fails if any of it is bad.
fn report(found: &[Check], out: &mut dyn Write) -> Result<(), Failure> {
    for check in found {
        let mark = match check.outcome {
            Outcome::Good => "ok",
            Outcome::Odd => "note",
            Outcome::Bad => "FAIL",
        };
        writeln!(out, "{mark:<6}{:<10}{}", check.about, check.text)?;
    }
    if found.iter().any(|check| check.outcome == Outcome::Bad) {
        let message = "it does not stream as it should: see FAIL above";
        return Err(Failure::Other(message.to_owned()));
    }
    writeln!(out, "\nIt streams.")?;
    Ok(())
}

async fn first_model(gateway: &Gateway) -> Result<String, Failure> {
    let list = gateway.get("/v1/models").await?;
    let first = list["data"][0]["id"].as_str().map(str::to_owned);
    first.ok_or_else(|| {
        let message = "the gateway lists no model: name one with --model";
        Failure::Other(message.to_owned())
    })
}

/// An answer as it came.
struct Answer {
    /// Names in lower case.
    head: Vec<(String, String)>,
    stream: Option<String>,
    wire: Wire,
}

async fn ask(gateway: &Gateway, model: &str, args: &DoctorArgs) -> Result<Answer, Failure> {
    let body = json!({
        "model": model,
        "stream": true,
        "max_tokens": args.max_tokens,
        "messages": [{"role": "user", "content": args.prompt}],
    });
    let asked = Instant::now();
    let response = gateway
        .send(Request {
            method: "POST",
            path: "/v1/chat/completions",
            headers: &[EVENTS, ("content-type", "application/json")],
            body: Some(Bytes::from(body.to_string())),
        })
        .await?;
    if response.head.status != 200 {
        return Err(refusal(response).await);
    }
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let head = response.head.iter();
    let head = head.map(|(name, value)| (name.to_ascii_lowercase(), text(value)));
    let head: Vec<(String, String)> = head.collect();
    let stream = (head.iter().find(|(name, _)| name == "everstream-stream-id"))
        .map(|(_, value)| encoded(value));
    let wire = receive(response, asked).await?;
    Ok(Answer { head, stream, wire })
}

/// Reads a body, with the time of each piece.
async fn receive(mut response: Response, asked: Instant) -> Result<Wire, Failure> {
    let mut wire = Wire::default();
    let mut size = 0;
    loop {
        match piece(&mut response.body).await {
            Ok(Some(bytes)) => {
                size += bytes.len();
                if size > limits::CLI_ANSWER_BYTES {
                    return Err(Failure::Other("the answer is too large".to_owned()));
                }
                wire.push(asked.elapsed(), &bytes);
            }
            Ok(None) => return Ok(wire),
            Err(why) => {
                wire.cut = Some(why);
                return Ok(wire);
            }
        }
    }
}

/// Reads the stream again from its middle.
async fn resume(gateway: &Gateway, id: &str, events: &[WireEvent]) -> Check {
    let middle = events.len() / 2;
    let cursor = format!("{id}.{middle}");
    let request = Request {
        method: "GET",
        path: &format!("/v1/streams/{id}"),
        headers: &[EVENTS, ("last-event-id", &cursor)],
        body: None,
    };
    let again = async {
        let response = gateway.send(request).await?;
        match response.head.status {
            200 => receive(response, Instant::now()).await,
            _ => Err(refusal(response).await),
        }
    };
    match again.await {
        Ok(wire) => checks::of_resume(middle, events, &wire.events),
        Err(failure) => Check::bad("resume", failure.to_string()),
    }
}

/// When the gateway took the request, and when it wrote each event: milliseconds since 1970.
async fn log_of(gateway: &Gateway, id: &str) -> Result<(u64, Vec<u64>), Failure> {
    let mut times = Vec::new();
    loop {
        let path = format!("/v1/streams/{id}?stream=false&after={}", times.len());
        let page = gateway.get(&path).await?;
        let events = page["events"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        times.extend(events.iter().filter_map(|event| event["time"].as_u64()));
        if events.is_empty() || page["has_more"] != true {
            return Ok((page["created_at"].as_u64().unwrap_or(0), times));
        }
    }
}

/// Events come in the order of the log, so the n-th here is the n-th there.
fn moments(events: &[WireEvent], logged: &[u64]) -> Vec<Moment> {
    let both = events.iter().zip(logged);
    let moment = |(event, logged): (&WireEvent, &u64)| Moment {
        arrived: event.at,
        logged: Duration::from_millis(*logged),
    };
    both.map(moment).collect()
}

fn show_events(events: &[WireEvent], out: &mut dyn Write) -> Result<(), Failure> {
    let mut before = Duration::ZERO;
    writeln!(out, "{:>9} {:>9}  event", "since", "gap")?;
    for (number, event) in (1..).zip(events) {
        let millis = |time: Duration| format!("{:.1}ms", time.as_secs_f64() * 1000.0);
        let (since, gap) = (millis(event.at), millis(event.at.saturating_sub(before)));
        let parsed: Value = serde_json::from_str(&event.data).unwrap_or_default();
        let shown = match text_of(&parsed) {
            Some(text) => format!("{text:?}"),
            None => event.data.clone(),
        };
        let shown: String = printable(&shown).chars().take(60).collect();
        writeln!(out, "{since:>9} {gap:>9}  {number:>3} {shown}")?;
        before = event.at;
    }
    writeln!(out)?;
    Ok(())
}
