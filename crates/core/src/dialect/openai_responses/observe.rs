use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::echo::Echo;
use super::fold::member;
use super::response::id_of;
use super::usage::UsageIn;
use crate::dialect::edit::replace;
use crate::dialect::json::{for_each_member, text_of};
use crate::dialect::observe::{Closing, Kind, Observation};
use crate::dialect::openai::fault_from_event;
use crate::event::Usage;
use crate::frame::sse::SseEvent;
use crate::id::StreamId;

/// Looks at the events of one answer, in order, and gives the response the names that it has here:
///
/// - `response.id` is the gateway's; the upstream's own stands behind it, as `upstream_id`.
/// - `response.previous_response_id` and `background` are what the client said.
/// - `sequence_number` counts from 0 without holes, as it does at OpenAI: readers come back by it.
///
/// Every other byte stays.
#[derive(Debug)]
pub struct Observer {
    id: String,
    previous: Option<String>,
    background: bool,
    /// The number of the next event.
    next: u64,
}

/// The name of the member that has the upstream's own id.
pub(super) const UPSTREAM_ID: &str = "upstream_id";

/// What the members of an event say that count.
#[derive(Default)]
struct Seen<'a> {
    kind: Cow<'a, str>,
    number: Option<(&'a str, Range<usize>)>,
    response: Option<(&'a str, Range<usize>)>,
    failed: bool,
    /// A member that counts is not what it has to be.
    wrong: bool,
    /// Where the first member is.
    first: Option<usize>,
}

impl Observer {
    pub(in crate::dialect) fn new(stream: StreamId, echo: &[u8]) -> Self {
        let echo = Echo::read(echo);
        Self {
            id: id_of(&stream.to_string()),
            previous: echo.previous_response_id.map(|id| id.get().to_owned()),
            background: echo.background.is_some_and(|it| it.get() == "true"),
            next: 0,
        }
    }

    /// Looks at an event. One without a name gets that of its type, as the API's SDKs want it.
    pub(in crate::dialect) fn observe(&mut self, event: &mut SseEvent) -> Observation {
        let data = event.data.clone();
        let Some((text, seen)) = Seen::of(&data) else {
            return Kind::Malformed.into();
        };
        let is_error = &*event.name == b"error" || seen.kind == "error" || seen.failed;
        if event.name.is_empty() && !seen.kind.contains(|c: char| c.is_control()) {
            event.name = Bytes::copy_from_slice(seen.kind.as_bytes());
        }
        let edited = self.renamed(text, &seen);
        self.next += 1;
        if let Cow::Owned(text) = edited {
            event.data = text.into();
        }
        let response = seen.response.as_ref().map(|(response, _)| *response);
        let kind = match &*seen.kind {
            _ if is_error => Kind::Error(fault_from_event(&data).into()),
            "response.failed" | "response.cancelled" => {
                let told = response.map_or(&*data, str::as_bytes);
                Kind::Error(fault_from_event(told).into())
            }
            "response.completed" | "response.incomplete" => Kind::Done,
            "response.created" | "response.in_progress" | "response.queued" => Kind::Preamble,
            "keepalive" | "response.keepalive" => Kind::Ping,
            _ => Kind::Content,
        };
        Observation {
            finished: u32::from(kind == Kind::Done),
            usage: response.and_then(usage),
            kind,
        }
    }

    /// Looks at the whole body of an answer that is not streamed.
    pub(in crate::dialect) fn observe_body(body: &[u8]) -> Observation {
        let Some((text, seen)) = Seen::of(body) else {
            return Kind::Malformed.into();
        };
        let failed = seen.failed || member(body, "status") == Some("\"failed\"");
        Observation {
            kind: if failed {
                Kind::Error(fault_from_event(body).into())
            } else {
                Kind::Content
            },
            finished: 1,
            usage: usage(text),
        }
    }

    /// The body with the response's names here.
    pub(in crate::dialect) fn name_body(&self, body: Bytes) -> Bytes {
        match str::from_utf8(&body).map(|text| self.named(text)) {
            Ok(Cow::Owned(text)) => text.into(),
            _ => body,
        }
    }

    pub(in crate::dialect) fn close() -> Closing {
        Closing::Cut("ended its answer without response.completed")
    }

    fn renamed<'a>(&self, text: &'a str, seen: &Seen<'_>) -> Cow<'a, str> {
        let number = self.next.to_string();
        let mut edits = Vec::new();
        match (&seen.number, seen.first) {
            (Some((said, _)), _) if *said == number => {}
            (Some((_, place)), _) => edits.push((place.clone(), number)),
            (None, Some(first)) => {
                edits.push((first..first, format!("\"sequence_number\":{number},")));
            }
            (None, None) => {}
        }
        if let Some((response, place)) = &seen.response
            && let Cow::Owned(named) = self.named(response)
        {
            edits.push((place.clone(), named));
        }
        apply(text, edits)
    }

    /// A response object with its names here.
    fn named<'a>(&self, response: &'a str) -> Cow<'a, str> {
        let mut edits = Vec::new();
        let walked = for_each_member(response.as_bytes(), |member| {
            let by = match &*member.key {
                "id" => Some(format!(
                    "\"{}\",\"{UPSTREAM_ID}\":{}",
                    self.id, member.value
                )),
                "previous_response_id" => self.previous.clone(),
                "background" if self.background => Some("true".to_owned()),
                _ => None,
            };
            edits.extend(by.map(|by| (member.span, by)));
            Ok::<_, serde_json::Error>(())
        });
        match walked {
            Ok(()) => apply(response, edits),
            Err(_) => Cow::Borrowed(response),
        }
    }
}

impl<'a> Seen<'a> {
    fn of(data: &'a [u8]) -> Option<(&'a str, Self)> {
        let mut seen = Self::default();
        for_each_member(data, |member| {
            seen.first.get_or_insert(member.start);
            match &*member.key {
                "type" => match text_of(member.value) {
                    Ok(kind) => seen.kind = kind,
                    Err(_) => seen.wrong = true,
                },
                "sequence_number" => seen.number = Some((member.value, member.span)),
                "response" => {
                    seen.wrong |= !member.value.starts_with('{');
                    seen.response = Some((member.value, member.span));
                }
                "error" => seen.failed = member.value != "null",
                _ => {}
            }
            Ok::<_, serde_json::Error>(())
        })
        .ok()
        .filter(|()| !seen.wrong)?;
        Some((str::from_utf8(data).ok()?, seen))
    }
}

/// Figures that cannot be read count as absent.
fn usage(response: &str) -> Option<Usage> {
    let usage = member(response.as_bytes(), "usage")?;
    serde_json::from_str::<UsageIn>(usage).ok()?.read()
}

fn apply(text: &str, mut edits: Vec<(Range<usize>, String)>) -> Cow<'_, str> {
    if edits.is_empty() {
        return Cow::Borrowed(text);
    }
    edits.sort_by_key(|(place, _)| std::cmp::Reverse(place.start));
    let mut text = text.to_owned();
    for (place, by) in edits {
        text = replace(&text, place, &by);
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observer(echo: &'static str) -> Observer {
        Observer::new("0k3v9f2m7qx4c".parse().unwrap(), echo.as_bytes())
    }

    fn observe(observer: &mut Observer, data: &'static str) -> (Kind, String, String) {
        let mut event = SseEvent {
            name: Bytes::new(),
            data: Bytes::from_static(data.as_bytes()),
        };
        let seen = observer.observe(&mut event);
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        (seen.kind, text(&event.name), text(&event.data))
    }

    #[test]
    fn a_response_has_its_names_here_and_all_else_its_own() {
        let mut observer = observer(r#"{"previous_response_id":"resp_p","background":true}"#);
        let (kind, name, data) = observe(
            &mut observer,
            r#"{"type":"response.created","response":{ "id" : "resp_up" ,"background":false,"previous_response_id":null,"x":1.50},"sequence_number":0 }"#,
        );
        assert_eq!((kind, name.as_str()), (Kind::Preamble, "response.created"));
        assert_eq!(
            data,
            r#"{"type":"response.created","response":{ "id" : "resp_0k3v9f2m7qx4c","upstream_id":"resp_up" ,"background":true,"previous_response_id":"resp_p","x":1.50},"sequence_number":0 }"#
        );
    }

    #[test]
    fn numbers_are_dense_whatever_the_upstream_counts() {
        let mut observer = observer("");
        let delta = r#"{"type":"response.output_text.delta","sequence_number":0,"delta":"a"}"#;
        assert_eq!(observe(&mut observer, delta).2, delta);
        let wrong = observe(&mut observer, delta).2;
        assert_eq!(wrong, delta.replace(":0,", ":1,"));
        let lacks = observe(&mut observer, r#"{ "type":"keepalive"}"#);
        assert_eq!(lacks.0, Kind::Ping);
        assert_eq!(lacks.2, r#"{ "sequence_number":2,"type":"keepalive"}"#);
    }

    #[test]
    fn what_no_client_could_read_is_malformed() {
        for data in [
            "[1]",
            r#"{"type":1}"#,
            r#"{"type":"response.completed","response":"x"}"#,
            r#"{"type":"response.created","response":null}"#,
            r#"{"type":"response.created""#,
        ] {
            let seen = observe(&mut observer(""), data);
            assert_eq!(seen.0, Kind::Malformed, "{data}");
        }
    }

    #[test]
    fn ends_are_what_their_types_say() {
        let whole = r#"{"type":"response.incomplete","response":{"usage":{"input_tokens":3,"output_tokens":5}}}"#;
        let mut event = SseEvent {
            name: Bytes::new(),
            data: Bytes::from_static(whole.as_bytes()),
        };
        let seen = observer("").observe(&mut event);
        assert_eq!((seen.kind, seen.finished), (Kind::Done, 1));
        assert_eq!(seen.usage.unwrap().output_tokens, 5);
        for failed in [
            r#"{"type":"response.failed","response":{"error":{"code":"server_error","message":"Oh no"}}}"#,
            r#"{"type":"error","code":"server_error","message":"Oh no","param":null}"#,
            r#"{"error":{"code":"server_error","message":"Oh no"}}"#,
        ] {
            let Kind::Error(fault) = observe(&mut observer(""), failed).0 else {
                panic!("{failed} is no error");
            };
            assert_eq!(
                (fault.message.as_str(), fault.code.as_deref()),
                ("Oh no", Some("server_error"))
            );
        }
        assert_eq!(observe(&mut observer(""), "[1]").0, Kind::Malformed);
    }
}
