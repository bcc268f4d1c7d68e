use super::usage::{Totals, UsageIn};
use crate::dialect::json::{Scanner, for_each_member, scan};
use crate::dialect::observe::{Closing, Kind, Observation};
use crate::event::{Event, Usage};
use crate::frame::sse::SseEvent;
use crate::limits::ANSWER_CHOICES;

use super::error::read_event;

const CUT: Closing = Closing::Cut("ended its answer without a finishReason");

/// Looks at the chunks of one answer, in order.
#[derive(Debug, Default)]
pub struct Observer {
    totals: Totals,
    /// Of each candidate so far, whether it was said why it ends.
    finished: Vec<bool>,
    /// The prompt was blocked, so that there are no candidates.
    blocked: bool,
    /// A candidate went on without a word about its end. Models of old give one with every chunk.
    went_on: bool,
}

impl Observer {
    /// Looks at a chunk.
    pub fn observe(&mut self, event: &SseEvent) -> Observation {
        let seen = self.look(&event.data);
        if &*event.name == b"error" && !matches!(seen.kind, Kind::Error(_)) {
            return Kind::Error(read_event(&event.data)).into();
        }
        seen
    }

    /// Looks at the whole body of an answer that is not streamed.
    pub fn observe_body(&mut self, body: &[u8]) -> Observation {
        let mut seen = self.look(body);
        if seen.kind == Kind::Preamble {
            seen.kind = Kind::Content;
        }
        seen
    }

    /// What the proper end of the upstream's stream makes of the answer: the API has no other mark
    /// of it.
    pub fn close(&self) -> Closing {
        let is_whole = self.blocked || (!self.finished.is_empty() && self.all_finished());
        if is_whole { Closing::Whole } else { CUT }
    }

    /// What a broken connection makes of it, given how many candidates it was asked for: whole only
    /// if nothing can have followed.
    pub fn abandon(&self, choices: u32) -> Closing {
        let all = self.finished.len() >= choices.max(1) as usize && self.all_finished();
        let is_whole = self.blocked || (all && self.went_on);
        if is_whole { Closing::Whole } else { CUT }
    }

    /// The candidates of which it was not said why they end: the first, if there is none yet.
    pub fn unfinished(&self) -> Vec<u32> {
        let known = self.finished.iter().zip(0..);
        let mut open: Vec<_> = known
            .filter(|(done, _)| !**done)
            .map(|(_, at)| at)
            .collect();
        if self.finished.is_empty() {
            open.push(0);
        }
        open
    }

    fn all_finished(&self) -> bool {
        self.finished.iter().all(|finished| *finished)
    }

    fn look(&mut self, data: &[u8]) -> Observation {
        let mut seen = Seen::default();
        if seen.read(data.trim_ascii()).is_none() {
            return Kind::Malformed.into();
        }
        if seen.failed {
            return Kind::Error(read_event(data)).into();
        }
        let before = self.count();
        for Candidate { index, finished } in seen.candidates {
            if self.finished.len() <= index {
                self.finished.resize(index + 1, false);
            }
            if let Some(known) = self.finished.get_mut(index) {
                *known |= finished;
            }
            self.went_on |= !finished;
        }
        self.blocked |= seen.blocked;
        Observation {
            kind: if seen.content {
                Kind::Content
            } else {
                Kind::Preamble
            },
            finished: self.count() - before,
            usage: self.take(seen.usage),
        }
    }

    fn count(&self) -> u32 {
        let finished = self.finished.iter().filter(|finished| **finished).count();
        let count = u32::try_from(finished).unwrap_or(ANSWER_CHOICES);
        count.max(u32::from(self.blocked))
    }

    fn take(&mut self, usage: Option<&str>) -> Option<Usage> {
        // Figures that cannot be read count as absent.
        let usage: UsageIn = serde_json::from_str(usage?).ok()?;
        self.totals.take(&usage)
    }
}

/// Whether these, the last events of a stream, are surely the end of a whole answer to `request`.
pub(in crate::dialect) fn is_over(request: &[u8], last: &[Event]) -> bool {
    let mut observer = Observer::default();
    for event in last {
        observer.look(&event.data);
    }
    observer.abandon(candidate_count(request)) == Closing::Whole
}

/// How many candidates a request asks for.
pub(in crate::dialect) fn candidate_count(request: &[u8]) -> u32 {
    let mut count = 1;
    let walked = for_each_member(request, |member| {
        if matches!(&*member.key, "generationConfig" | "generation_config") {
            for_each_member(member.value.as_bytes(), |member| {
                if matches!(&*member.key, "candidateCount" | "candidate_count") {
                    count = member.value.parse().unwrap_or(1);
                }
                Ok::<_, serde_json::Error>(())
            })?;
        }
        Ok::<_, serde_json::Error>(())
    });
    // What these say when they are wrong is the upstream's to judge.
    walked.map_or(1, |()| count.max(1))
}

/// What a scan of a chunk finds.
#[derive(Default)]
struct Seen<'a> {
    candidates: Vec<Candidate>,
    usage: Option<&'a str>,
    content: bool,
    blocked: bool,
    failed: bool,
}

#[derive(Default)]
struct Candidate {
    index: usize,
    finished: bool,
}

impl<'a> Seen<'a> {
    fn read(&mut self, data: &'a [u8]) -> Option<()> {
        scan(data, |scanner| {
            scanner.members(|name, scanner| match &*name.text {
                "candidates" => self.candidates(scanner),
                "promptFeedback" => self.feedback(scanner),
                "usageMetadata" => {
                    self.usage = Some(scanner.value()?);
                    Some(())
                }
                "error" => {
                    self.failed |= scanner.value()? != "null";
                    Some(())
                }
                _ => scanner.pass(),
            })
        })
    }

    fn candidates(&mut self, scanner: &mut Scanner<'a>) -> Option<()> {
        if scanner.peek()? != b'[' {
            return (scanner.value()? == "null").then_some(());
        }
        scanner.elements(|scanner| {
            let mut candidate = Candidate::default();
            scanner.members(|name, scanner| {
                match &*name.text {
                    "index" => candidate.index = scanner.value()?.parse().unwrap_or(0),
                    "content" => self.content |= has_content(scanner)?,
                    "finishReason" => candidate.finished |= says(scanner.value()?),
                    _ => scanner.pass()?,
                }
                Some(())
            })?;
            self.content |= candidate.finished;
            let known = candidate.index < ANSWER_CHOICES as usize;
            known.then(|| self.candidates.push(candidate))
        })
    }

    fn feedback(&mut self, scanner: &mut Scanner<'a>) -> Option<()> {
        if scanner.peek()? != b'{' {
            return scanner.pass();
        }
        scanner.members(|name, scanner| {
            let value = scanner.value()?;
            self.blocked |= name.text == "blockReason" && says(value);
            self.content |= self.blocked;
            Some(())
        })
    }
}

/// Whether a word of an enumeration says anything.
fn says(word: &str) -> bool {
    !matches!(word, "null" | "\"\"") && !word.ends_with("_UNSPECIFIED\"")
}

/// Whether a content has a part that says anything. `None` if it is no object with a list of objects.
fn has_content(scanner: &mut Scanner<'_>) -> Option<bool> {
    if scanner.peek()? != b'{' {
        return (scanner.value()? == "null").then_some(false);
    }
    let mut content = false;
    scanner.members(|name, scanner| {
        if name.text != "parts" {
            return scanner.pass();
        }
        if scanner.peek()? != b'[' {
            return (scanner.value()? == "null").then_some(());
        }
        scanner.elements(|scanner| {
            let part = scanner.value().filter(|part| part.starts_with('{'))?;
            content |= !matches!(part, "{}" | "{\"text\":\"\"}" | "{\"text\": \"\"}");
            Some(())
        })
    })?;
    Some(content)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::id::{Seq, UnixMillis};

    const TEXT: &str =
        r#"{"candidates":[{"content":{"parts":[{"text":"a"}],"role":"model"},"index":0}]}"#;
    const STOP: &str = r#"{"candidates":[{"content":{"parts":[{"text": ""}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":2,"thoughtsTokenCount":3}}"#;

    fn event(data: &str) -> SseEvent {
        SseEvent {
            name: Bytes::new(),
            data: Bytes::copy_from_slice(data.as_bytes()),
        }
    }

    fn observed(chunks: &[&str]) -> (Observer, Vec<Observation>) {
        let mut observer = Observer::default();
        let seen = chunks.iter().map(|data| observer.observe(&event(data)));
        let seen = seen.collect();
        (observer, seen)
    }

    #[test]
    fn chunks_are_what_they_say() {
        let cases = [
            (TEXT, Kind::Content),
            (STOP, Kind::Content),
            (
                r#"{"candidates":[{"content":{"parts":[{"text":""}]}}]}"#,
                Kind::Preamble,
            ),
            (
                r#"{"candidates":[{"content":{"role":"model"}}]}"#,
                Kind::Preamble,
            ),
            (
                r#"{"usageMetadata":{"promptTokenCount":1}}"#,
                Kind::Preamble,
            ),
            (
                r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}}]}}]}"#,
                Kind::Content,
            ),
            (
                r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#,
                Kind::Content,
            ),
            (
                r#"{"promptFeedback":{"blockReason":"BLOCK_REASON_UNSPECIFIED"}}"#,
                Kind::Preamble,
            ),
            (r#"{"candidates":null,"x":[1]}"#, Kind::Preamble),
            (r#"{"candidates":[{"index":9999}]}"#, Kind::Malformed),
            ("[1]", Kind::Malformed),
            (r#"{"candidates":"none"}"#, Kind::Malformed),
            (r#"{"candidates":[1]}"#, Kind::Malformed),
            (r#"{"candidates":[{"content":"x"}]}"#, Kind::Malformed),
            (
                r#"{"candidates":[{"content":{"parts":"x"}}]}"#,
                Kind::Malformed,
            ),
            (
                r#"{"candidates":[{"content":{"parts":["x"]}}]}"#,
                Kind::Malformed,
            ),
            (
                r#"{"candidates":[{"content":{"parts":null}}]}"#,
                Kind::Preamble,
            ),
            (r#"{"candidates":[{"#, Kind::Malformed),
        ];
        for (data, kind) in cases {
            assert_eq!(observed(&[data]).1[0].kind, kind, "{data}");
        }
    }

    #[test]
    fn the_end_of_the_stream_is_the_answers_if_each_candidate_has_one() {
        let second = r#"{"candidates":[{"index":1,"content":{"parts":[{"text":"b"}]}}]}"#;
        let stop = r#"{"candidates":[{"finishReason":"MAX_TOKENS","index":1}]}"#;
        let blocked = r#"{"promptFeedback":{"blockReason":"OTHER"}}"#;
        let cases: [(&[&str], bool, bool); 8] = [
            (&[], false, false),
            (&[TEXT], false, false),
            (&[TEXT, STOP], true, true),
            // Models of old say so with every chunk.
            (&[STOP], true, false),
            (&[STOP, STOP], true, false),
            (&[TEXT, second, STOP], false, false),
            (&[TEXT, second, STOP, stop], true, true),
            (&[blocked], true, true),
        ];
        for (chunks, closed, abandoned) in cases {
            let observer = observed(chunks).0;
            assert_eq!(observer.close() == Closing::Whole, closed, "{chunks:?}");
            assert_eq!(
                observer.abandon(1) == Closing::Whole,
                abandoned,
                "{chunks:?}"
            );
        }
        let observer = observed(&[TEXT, STOP]).0;
        assert_eq!(observer.abandon(2), CUT);
    }

    #[test]
    fn the_last_events_of_a_log_tell_a_whole_answer_if_they_can() {
        let logged = |data: &str| Event {
            seq: Seq::ZERO.next(),
            time: UnixMillis(0),
            name: Bytes::new(),
            data: Bytes::copy_from_slice(data.as_bytes()),
        };
        let events = [logged(TEXT), logged(STOP)];
        assert!(is_over(b"{}", &events));
        assert!(!is_over(b"{}", &events[1..]));
        assert!(!is_over(b"{}", &events[..1]));
        let two = br#"{"generation_config":{"candidate_count":2}}"#;
        assert!(!is_over(two, &events));
    }

    #[test]
    fn candidates_and_figures_are_counted_once() {
        let (_, seen) = observed(&[TEXT, STOP, STOP]);
        let finished: Vec<_> = seen.iter().map(|seen| seen.finished).collect();
        assert_eq!(finished, [0, 1, 0]);
        let usage = seen[2].usage.as_ref().unwrap();
        assert_eq!((usage.input_tokens, usage.output_tokens), (4, 5));
    }

    #[test]
    fn a_failure_is_told_by_its_member_or_by_its_events_name() {
        let error = r#"{"error":{"code":503,"message":"Overloaded.","status":"UNAVAILABLE"}}"#;
        let mut named = event(r#"{"message":"Overloaded."}"#);
        named.name = Bytes::from_static(b"error");
        for event in [event(error), named] {
            let seen = Observer::default().observe(&event);
            let Kind::Error(fault) = seen.kind else {
                panic!("{event:?} is no error");
            };
            assert_eq!(fault.message, "Overloaded.");
        }
    }
}
