//! What was asked and answered, in the program's own log, where an operator wants it there.

use bytes::Bytes;
use everstream_core::dialect::{hide, redact};
use everstream_core::event::{Event, Mode, Surface, Usage};
use everstream_core::id::StreamId;
use everstream_core::limits::{PROMPT_EVENTS_BYTES, PROMPT_LOG_BYTES};
use everstream_core::record::End;
use everstream_core::secret::Secrets;

use super::Request;

/// The part of the program that `telemetry.level` knows these lines by.
const TARGET: &str = "everstream::prompts";

/// What one generation is asked and answers.
pub(super) struct Transcript {
    stream: StreamId,
    surface: Surface,
    mode: Mode,
    /// The data of its first events.
    answer: Vec<Bytes>,
    /// How many bytes more are kept.
    room: usize,
    /// What nobody may see, should the client or an upstream quote it.
    secrets: Vec<Secrets>,
}

impl Transcript {
    /// Logs what is asked.
    pub(super) fn begin(stream: StreamId, request: &Request) -> Self {
        let secrets: Vec<Secrets> = request.course.secrets().collect();
        tracing::info!(
            target: TARGET,
            %stream,
            project = %request.project,
            model = request.model,
            request = shown(request.body.clone(), &secrets),
            "asked"
        );
        Self {
            stream,
            surface: request.surface,
            mode: request.mode,
            answer: Vec::new(),
            room: PROMPT_EVENTS_BYTES,
            secrets,
        }
    }

    /// The next event of the answer.
    pub(super) fn push(&mut self, event: &Event) {
        let data = &event.data;
        let kept = match self.mode {
            Mode::Unary => data.len().min(self.room),
            // A part of an event could not be read.
            Mode::Stream if data.len() > self.room => 0,
            Mode::Stream => data.len(),
        };
        if kept < data.len() {
            self.room = kept;
        }
        if kept > 0 {
            self.answer.push(data.slice(..kept));
        }
        self.room -= kept;
    }

    /// Logs the answer: as one body, if it can be read as that.
    pub(super) fn end(self, end: &End) {
        let whole = match self.mode {
            Mode::Stream => self.surface.fold(&Usage::default(), &self.answer).ok(),
            Mode::Unary => None,
        };
        let answer = whole.unwrap_or_else(|| self.answer.join(&b"\n"[..]).into());
        tracing::info!(
            target: TARGET,
            stream = %self.stream,
            status = end.status.as_str(),
            answer = shown(answer, &self.secrets),
            "answered"
        );
    }
}

/// As it may stand in a log: without credentials, and not longer than anybody reads.
fn shown(data: Bytes, secrets: &[Secrets]) -> String {
    let hide_all = |data, secrets: &Secrets| hide(data, &secrets.all());
    let data = secrets.iter().fold(data, hide_all);
    let Some(begin) = data.get(..PROMPT_LOG_BYTES) else {
        return redact(&String::from_utf8_lossy(&data)).into_owned();
    };
    // Not within a word, of which the beginning alone might not be known for a credential.
    let is_between = |byte: &u8| byte.is_ascii_whitespace() || byte.is_ascii_punctuation();
    let cut = begin.iter().rposition(is_between).unwrap_or_default();
    let text = String::from_utf8_lossy(&begin[..cut]);
    format!("{} ... of {} bytes", redact(&text), data.len())
}

#[cfg(test)]
mod tests {
    use everstream_core::secret::Secret;

    use super::*;

    #[test]
    fn what_is_shown_is_bounded_and_has_no_credential() {
        let secrets = Secrets::default();
        secrets.replace([Secret::new("hunter2-hunter2")]);
        let shown =
            |text: &str| shown(Bytes::from(text.to_owned()), std::slice::from_ref(&secrets));
        assert_eq!(
            shown("a hunter2-hunter2, sk-0123456789"),
            "a [redacted], [redacted]"
        );
        let key = "sk-".to_owned() + &"k".repeat(20);
        for before in PROMPT_LOG_BYTES - 40..PROMPT_LOG_BYTES + 5 {
            let text = "a ".repeat(before / 2) + &key + " b hunter2-hunter2";
            let shown = shown(&text);
            assert!(shown.len() < PROMPT_LOG_BYTES + 40, "{before}");
            assert!(
                !shown.contains("kk") && !shown.contains("hunter"),
                "{before}"
            );
        }
    }
}
