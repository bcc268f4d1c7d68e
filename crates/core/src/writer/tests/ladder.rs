use serde_json::{Value, json};

use super::*;
use crate::dialect::ProviderDialect::{Anthropic, Gemini, OpenAiChat, OpenAiResponses};
use crate::policy::recovery::Abilities;
use crate::record::SeamKind;

const ABLE: Abilities = Abilities {
    continues: true,
    repeats: false,
    deterministic: false,
};
const SAME: Abilities = Abilities {
    continues: false,
    repeats: false,
    deterministic: true,
};
const SURFACES: [Surface; 4] = [
    Surface::ChatCompletions,
    Surface::Messages,
    Surface::Responses,
    Surface::GenerateContent,
];

/// What a provider's events look like, and what they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Voice(ProviderDialect);

impl Voice {
    fn begin(self) -> Vec<Value> {
        match self.0 {
            Anthropic => vec![
                json!({"type": "message_start", "message": {"id": "msg_a", "type": "message", "role": "assistant", "model": "m",
                    "content": [], "stop_reason": null, "usage": {"input_tokens": 5, "output_tokens": 1}}}),
                json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
            ],
            OpenAiResponses => vec![
                json!({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_a", "object": "response",
                    "created_at": 7, "model": "m", "status": "in_progress", "output": []}}),
                json!({"type": "response.output_item.added", "sequence_number": 1, "output_index": 0,
                    "item": {"type": "message", "id": "msg_1", "role": "assistant", "content": []}}),
            ],
            Gemini => vec![],
            _ => vec![chunk(
                &json!({"role": "assistant", "content": ""}),
                &Value::Null,
            )],
        }
    }

    fn text(self, text: &str) -> Value {
        match self.0 {
            Anthropic => {
                json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})
            }
            OpenAiResponses => {
                json!({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": text})
            }
            Gemini => {
                json!({"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}],
                "responseId": "g", "modelVersion": "m"})
            }
            _ => chunk(&json!({"content": text}), &Value::Null),
        }
    }

    fn end(self) -> Vec<Value> {
        match self.0 {
            Anthropic => vec![
                json!({"type": "content_block_stop", "index": 0}),
                json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
                    "usage": {"output_tokens": 9}}),
                json!({"type": "message_stop"}),
            ],
            OpenAiResponses => vec![
                json!({"type": "response.completed", "response": {"id": "resp_a", "object": "response",
                "model": "m", "status": "completed", "output": [],
                "usage": {"input_tokens": 5, "output_tokens": 9, "total_tokens": 14}}}),
            ],
            Gemini => vec![
                json!({"candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": "STOP", "index": 0}],
                "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 9, "totalTokenCount": 14},
                "responseId": "g", "modelVersion": "m"}),
            ],
            _ => vec![
                chunk(&json!({}), &json!("stop")),
                json!({"id": "c", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": [],
                    "usage": {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}}),
                json!("[DONE]"),
            ],
        }
    }

    fn reasoning(self) -> Value {
        match self.0 {
            Anthropic => {
                json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}})
            }
            OpenAiResponses => {
                json!({"type": "response.reasoning_summary_text.delta", "output_index": 0, "summary_index": 0, "delta": "hm"})
            }
            Gemini => {
                json!({"candidates": [{"content": {"parts": [{"text": "hm", "thought": true}], "role": "model"}, "index": 0}]})
            }
            _ => chunk(&json!({"reasoning_content": "hm"}), &Value::Null),
        }
    }
}

fn chunk(delta: &Value, finish: &Value) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 7, "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
}

fn able(provider: ProviderDialect, abilities: Abilities) -> Leg {
    Leg {
        provider,
        abilities,
        ..leg("one")
    }
}

fn routed(surface: Surface, legs: &[Leg]) -> Bench {
    let mut bench = Bench::new(Plan {
        surface,
        on_cut: OnCut::Recover,
        show_usage: true,
        route: Route::new(legs[0].clone(), legs[1..].iter().cloned()),
        ..plan(Mode::Stream)
    });
    bench.advice = Advice {
        open: (0..legs.len()).collect(),
        in_budget: true,
        random: 0,
    };
    bench.step(Input::Start);
    bench
}

impl Bench {
    fn said(&mut self, events: &[Value]) {
        for event in events {
            let data = event
                .as_str()
                .map_or_else(|| event.to_string(), str::to_owned);
            let name = event["type"].as_str().unwrap_or_default();
            let name = if name.is_empty() {
                String::new()
            } else {
                format!("event: {name}\n")
            };
            self.bytes(&format!("{name}data: {data}\n\n"));
        }
    }

    fn opens(&mut self) {
        self.step(Input::Head(UpstreamHead {
            status: 200,
            content_type: Some("text/event-stream".to_owned()),
            ..UpstreamHead::default()
        }));
    }

    fn says(&mut self, voice: Voice, texts: &[&str]) {
        self.opens();
        self.said(&voice.begin());
        for text in texts {
            self.said(&[voice.text(text)]);
        }
    }

    fn is_cut(&mut self) {
        self.step(Input::Broken(Breakage {
            code: ErrorCode::UpstreamCut,
            message: "The connection was reset.".to_owned(),
            nothing_ran: false,
        }));
    }

    fn is_refused(&mut self, status: u16, message: &str) {
        self.step(Input::Head(UpstreamHead {
            status,
            content_type: Some("application/json".to_owned()),
            ..UpstreamHead::default()
        }));
        self.bytes(&json!({"error": {"message": message}}).to_string());
        self.step(Input::Ended);
    }

    fn goes_on_to_its_end(&mut self, voice: Voice, texts: &[&str]) {
        self.says(voice, texts);
        self.said(&voice.end());
        self.step(Input::Ended);
    }

    fn seams(&self) -> Vec<(u32, SeamKind, u64, u64)> {
        let seam = |record: &Record| match record {
            Record::Seam(seam) => Some((
                seam.attempt,
                seam.kind,
                seam.seq.get(),
                seam.usage.output_tokens,
            )),
            _ => None,
        };
        self.records.iter().filter_map(seam).collect()
    }

    /// The client's text, of events that keep to its API's order.
    fn heard(&self) -> String {
        let events = self.events();
        let events: Vec<Value> = events
            .iter()
            .filter_map(|data| serde_json::from_str(data).ok())
            .collect();
        let of_type = |kind: &str| events.iter().filter(|e| e["type"] == kind).count();
        let texts = match self.writer.plan.surface {
            Surface::Messages => {
                assert!(of_type("message_start") <= 1, "{events:?}");
                let starts = events
                    .iter()
                    .filter(|e| e["type"] == "content_block_start")
                    .map(|e| e["index"].as_u64());
                assert!(starts.eq((0..of_type("content_block_start") as u64).map(Some)));
                assert!(of_type("content_block_stop") <= of_type("content_block_start"));
                let delta = |e: &Value| e["delta"]["text"].as_str().map(str::to_owned);
                events.iter().filter_map(delta).collect::<Vec<_>>()
            }
            Surface::Responses => {
                assert!(of_type("response.created") <= 1);
                let numbers = events.iter().map(|e| e["sequence_number"].as_u64());
                assert!(numbers.eq((0..events.len() as u64).map(Some)), "{events:?}");
                let is_text = |e: &&Value| e["type"] == "response.output_text.delta";
                let texts = events.iter().filter(is_text);
                texts
                    .filter_map(|e| e["delta"].as_str().map(str::to_owned))
                    .collect()
            }
            Surface::GenerateContent => {
                let part = |e: &Value| {
                    e["candidates"][0]["content"]["parts"][0]["text"]
                        .as_str()
                        .map(str::to_owned)
                };
                events.iter().filter_map(part).collect()
            }
            _ => {
                let delta = |e: &Value| e["choices"][0]["delta"].clone();
                let roles = events.iter().filter(|e| delta(e)["role"] == "assistant");
                assert!(roles.count() <= 1, "{events:?}");
                let text = |e: &Value| delta(e)["content"].as_str().map(str::to_owned);
                events.iter().filter_map(text).collect()
            }
        };
        texts.concat()
    }

    /// The text of the one answer that the client's API makes of all events.
    fn folded(&self) -> String {
        let events: Vec<Bytes> = self.events().into_iter().map(Bytes::from).collect();
        let usage = &self.end().usage;
        let surface = self.writer.plan.surface;
        let body = surface.fold(usage, &events).unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let texts = |parts: &Value| {
            let parts = parts.as_array().unwrap().iter();
            parts
                .filter_map(|part| part["text"].as_str())
                .collect::<String>()
        };
        match surface {
            Surface::Messages => texts(&body["content"]),
            Surface::Responses => texts(&body["output"][0]["content"]),
            Surface::GenerateContent => texts(&body["candidates"][0]["content"]["parts"]),
            _ => body["choices"][0]["message"]["content"]
                .as_str()
                .unwrap()
                .to_owned(),
        }
    }
}

#[test]
fn an_answer_that_is_cut_goes_on_in_every_dialect_that_allows_it() {
    for surface in SURFACES {
        for first in [OpenAiChat, Anthropic, Gemini, OpenAiResponses] {
            for second in [OpenAiChat, Anthropic] {
                let legs = [able(first, Abilities::default()), able(second, ABLE)];
                let mut bench = routed(surface, &legs);
                bench.says(Voice(first), &["Once", " upon"]);
                bench.is_cut();
                if surface == Surface::Responses && first == OpenAiResponses {
                    // Its ids and its last event are the provider's own.
                    bench.ended(Status::Failed, ErrorCode::UpstreamCut);
                    continue;
                }
                assert_eq!(bench.prefixes, [None, Some("Once upon".to_owned())]);
                bench.goes_on_to_its_end(Voice(second), &[" a", " time."]);
                let which = format!("{surface:?}: {first:?}, {second:?}: {:#?}", bench.events());
                assert_eq!(bench.end().status, Status::Completed, "{which}");
                assert_eq!(bench.heard(), "Once upon a time.", "{which}");
                assert_eq!(bench.folded(), "Once upon a time.", "{which}");
                // What the second one counts, and what the first one came to.
                assert!(bench.end().usage.output_tokens >= 11, "{which}");
                assert_eq!(bench.seams().len(), 1);
                assert_eq!(bench.seams()[0].1, SeamKind::Continued);
            }
        }
    }
}

#[test]
fn the_seam_says_who_said_what_at_which_price() {
    let mut legs = [able(OpenAiChat, ABLE), able(Anthropic, ABLE)];
    legs[1].upstream = "two".to_owned();
    let mut bench = routed(Surface::ChatCompletions, &legs);
    bench.says(Voice(OpenAiChat), &["a", "b"]);
    bench.is_cut();
    bench.says(Voice(Anthropic), &["c"]);
    bench.is_cut();
    bench.goes_on_to_its_end(Voice(OpenAiChat), &["d"]);
    assert_eq!(bench.dialled, [0, 1, 0]);
    assert_eq!(bench.prefixes[2].as_deref(), Some("abc"));
    assert_eq!(bench.folded(), "abcd");
    let seams = bench.seams();
    assert_eq!(
        seams,
        [
            (1, SeamKind::Continued, 3, 2),
            (2, SeamKind::Continued, 4, 1)
        ]
    );
    let end = bench.end();
    assert_eq!(end.usage.output_tokens, 2 + 1 + 9);
    assert_eq!(end.usage.input_tokens, 100 + 5 + 5);
    // The first attempt's figures are an estimate.
    assert!(end.usage.estimated && !end.release_claim);
    // The client's own figures are the same ones.
    let shown = bench.events();
    assert!(
        shown
            .iter()
            .any(|data| data.contains("\"completion_tokens\":12")),
        "{shown:?}"
    );
    assert_eq!(bench.judged.len(), 3);
}

#[test]
fn nothing_but_plain_text_goes_on() {
    let call = chunk(
        &json!({"tool_calls": [{"index": 0, "id": "x", "type": "function", "function": {"name": "f", "arguments": "{\"a"}}]}),
        &Value::Null,
    );
    let refusal = chunk(&json!({"refusal": "no"}), &Value::Null);
    let mut logprobs = Voice(OpenAiChat).text("x");
    logprobs["choices"][0]["logprobs"] = json!({"content": [{"token": "x", "logprob": -1.0}]});
    let mut other = Voice(OpenAiChat).text("x");
    other["choices"][0]["index"] = json!(1);
    for abilities in [ABLE, SAME] {
        for odd in [&call, &refusal, &logprobs, &other] {
            for surface in SURFACES {
                let legs = [able(OpenAiChat, abilities), able(OpenAiChat, abilities)];
                let mut bench = routed(surface, &legs);
                bench.says(Voice(OpenAiChat), &["Once"]);
                bench.said(std::slice::from_ref(odd));
                bench.is_cut();
                bench.ended(Status::Failed, ErrorCode::UpstreamCut);
                assert_eq!(bench.dialled, [0], "{surface:?} {odd}");
            }
        }
        for first in [OpenAiChat, Anthropic, Gemini, OpenAiResponses] {
            for surface in SURFACES {
                let mut bench = routed(surface, &[able(first, abilities)]);
                bench.says(Voice(first), &[]);
                bench.said(&[Voice(first).reasoning(), Voice(first).text("Once")]);
                bench.is_cut();
                bench.ended(Status::Failed, ErrorCode::UpstreamCut);
                assert_eq!(bench.dialled, [0], "{surface:?} {first:?}");
            }
        }
    }
}

#[test]
fn without_consent_or_ability_the_failure_is_told() {
    for (on_cut, abilities, choices) in [
        (OnCut::Fail, ABLE, 1),
        (OnCut::Recover, Abilities::default(), 1),
        (OnCut::Recover, ABLE, 2),
    ] {
        let mut bench = Bench::answered(
            Plan {
                on_cut,
                choices,
                route: Route::new(able(OpenAiChat, abilities), []),
                ..plan(Mode::Stream)
            },
            200,
            "text/event-stream",
        );
        bench.advice.open = vec![0];
        bench.advice.in_budget = true;
        bench.said(&[Voice(OpenAiChat).text("Once")]);
        bench.is_cut();
        bench.ended(Status::Failed, ErrorCode::UpstreamCut);
        assert_eq!(bench.dialled, [0]);
    }
}

#[test]
fn a_refusal_to_go_on_does_not_hide_the_cut() {
    let legs = [
        able(Anthropic, Abilities::default()),
        able(OpenAiChat, ABLE),
        able(Anthropic, ABLE),
    ];
    let mut bench = routed(Surface::Messages, &legs);
    bench.says(Voice(Anthropic), &["Once"]);
    bench.is_cut();
    bench.is_refused(400, "does not support assistant message prefill");
    assert_eq!(bench.dialled, [0, 1, 2]);
    bench.is_refused(503, "busy");
    bench.ended(Status::Failed, ErrorCode::UpstreamCut);
    let last = bench.events().pop().unwrap();
    assert!(last.contains("The connection was reset"), "{last}");
    assert!(!last.contains("prefill") && !last.contains("busy"));
    assert_eq!(bench.end().http_status, Some(502));
    assert!(!bench.end().release_claim);
    // The refusals stand in the log, and cost nothing.
    let reasons = bench.records.iter().filter_map(|record| match record {
        Record::Abandoned(gone) => Some(gone.reason.as_str()),
        _ => None,
    });
    assert!(reasons.eq(["bad_request", "overloaded"]));
    assert_eq!(bench.end().usage.output_tokens, 1);
    assert_eq!(bench.heard(), "Once");
}

#[test]
fn a_second_cut_tells_its_own_failure() {
    let legs = [able(OpenAiChat, ABLE), able(Anthropic, ABLE)];
    let mut bench = routed(Surface::ChatCompletions, &legs);
    bench.writer.plan.attempts.attempts = 2;
    bench.says(Voice(OpenAiChat), &["a"]);
    bench.is_cut();
    bench.says(Voice(Anthropic), &["b"]);
    bench.said(&[
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    ]);
    bench.ended(Status::Failed, ErrorCode::UpstreamError);
    assert!(bench.events().pop().unwrap().contains("Overloaded"));
    assert_eq!(bench.heard(), "ab");
    assert_eq!(bench.dialled.len(), 2);
}

#[test]
fn who_was_silent_is_not_asked_to_go_on() {
    for others in [0, 1] {
        let legs = vec![able(OpenAiChat, ABLE); 1 + others];
        let mut bench = routed(Surface::ChatCompletions, &legs);
        bench.writer.plan.deadline = Some(NOW.plus(Duration::from_secs(3)));
        bench.says(Voice(OpenAiChat), &["a"]);
        bench.now = bench.writer.wake_at().unwrap();
        bench.step(Input::Tick);
        if others == 0 {
            bench.ended(Status::Failed, ErrorCode::UpstreamTimeout);
            continue;
        }
        assert!(bench.hung_up);
        assert_eq!(bench.dialled, [0, 1]);
        // The deadline for hearing something is over, and something was heard.
        assert!(bench.writer.wake_at().unwrap() > bench.now);
        bench.goes_on_to_its_end(Voice(OpenAiChat), &["b"]);
        assert_eq!(bench.folded(), "ab");
    }
}

#[test]
fn white_space_at_the_end_is_not_for_everybody() {
    let legs = [
        able(OpenAiChat, Abilities::default()),
        able(Anthropic, ABLE),
    ];
    let mut bench = routed(Surface::ChatCompletions, &legs);
    bench.says(Voice(OpenAiChat), &["Once "]);
    bench.is_cut();
    bench.ended(Status::Failed, ErrorCode::UpstreamCut);
    assert_eq!(bench.dialled, [0]);
}

#[test]
fn who_repeats_the_beginning_is_heard_from_its_end_on() {
    let repeats = Abilities {
        repeats: true,
        ..ABLE
    };
    for (said, whole) in [
        (["Once up", "on a time."], true),
        (["Once again", "."], false),
    ] {
        let legs = [able(OpenAiChat, ABLE), able(OpenAiChat, repeats)];
        let mut bench = routed(Surface::ChatCompletions, &legs);
        bench.says(Voice(OpenAiChat), &["Once", " upon"]);
        bench.is_cut();
        bench.goes_on_to_its_end(Voice(OpenAiChat), &said);
        if whole {
            assert_eq!(bench.folded(), "Once upon a time.");
        } else {
            bench.ended(Status::Interrupted, ErrorCode::Diverged);
        }
    }
}

#[test]
fn a_second_run_is_dropped_as_far_as_it_is_the_first_one() {
    let text = "Ein schöner Tag.";
    for surface in SURFACES {
        for provider in [OpenAiChat, Anthropic, Gemini] {
            for cut in text.char_indices().map(|(at, _)| at).skip(1) {
                let voice = Voice(provider);
                let mut bench = routed(surface, &[able(provider, SAME)]);
                bench.says(voice, &[&text[..cut]]);
                bench.is_cut();
                assert_eq!(bench.prefixes, [None, None]);
                let pieces: Vec<String> = text.chars().map(String::from).collect();
                let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
                bench.goes_on_to_its_end(voice, &pieces);
                assert_eq!(bench.folded(), text, "{surface:?} {provider:?} {cut}");
                assert_eq!(bench.heard(), text);
                assert_eq!(bench.seams()[0].1, SeamKind::RanAgain);
                assert!(bench.end().usage.output_tokens >= 10);
            }
        }
    }
}

#[test]
fn the_first_difference_of_a_second_run_ends_it() {
    let first = "Once upon";
    for at in 0..first.len() {
        for ends in [false, true] {
            let mut bench = routed(Surface::ChatCompletions, &[able(OpenAiChat, SAME)]);
            bench.says(Voice(OpenAiChat), &["Once", " upon"]);
            bench.is_cut();
            if ends {
                bench.goes_on_to_its_end(Voice(OpenAiChat), &[&first[..at]]);
            } else {
                let other = format!("{}X and so on", &first[..at]);
                bench.says(Voice(OpenAiChat), &[&other]);
            }
            bench.ended(Status::Interrupted, ErrorCode::Diverged);
            assert_eq!(bench.heard(), first, "{at}");
            assert!(bench.hung_up);
        }
    }
}

#[test]
fn it_runs_again_at_most_once() {
    let mut bench = routed(Surface::ChatCompletions, &[able(OpenAiChat, SAME)]);
    bench.says(Voice(OpenAiChat), &["Once", " upon"]);
    bench.is_cut();
    bench.says(Voice(OpenAiChat), &["Once", " upon", " a"]);
    bench.is_cut();
    bench.ended(Status::Failed, ErrorCode::UpstreamCut);
    assert_eq!(bench.dialled, [0, 0]);
    assert_eq!(bench.heard(), "Once upon a");
}

#[test]
fn a_text_that_is_too_long_to_keep_is_not_gone_on_with() {
    let mut bench = routed(Surface::ChatCompletions, &[able(OpenAiChat, ABLE)]);
    bench.writer.plan.limits = StreamLimits {
        event_bytes: 1 << 20,
        stream_bytes: 1 << 30,
        stream_events: 1000,
    };
    let piece = "x".repeat(1 << 18);
    bench.says(Voice(OpenAiChat), &[&piece[..]; 5]);
    bench.is_cut();
    bench.ended(Status::Failed, ErrorCode::UpstreamCut);
    assert_eq!(bench.dialled, [0]);
}

#[test]
fn a_cancellation_ends_an_attempt_to_go_on() {
    let mut bench = routed(Surface::ChatCompletions, &[able(OpenAiChat, ABLE); 1]);
    bench.says(Voice(OpenAiChat), &["a"]);
    bench.is_cut();
    bench.step(Input::Stop(ErrorCode::Cancelled));
    bench.ended(Status::Cancelled, ErrorCode::Cancelled);
    assert!(!bench.end().release_claim);
    assert_eq!(bench.end().usage.output_tokens, 1);
}

/// What the next upstream does.
#[derive(Clone, Debug)]
struct Act {
    pieces: usize,
    size: usize,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Cut,
    Ended,
    Silent,
    Error,
    Nonsense,
    Refused(u16),
    /// It says something else from here on.
    Other,
}

fn any_act() -> impl Strategy<Value = Act> {
    let fault = prop_oneof![
        3 => Just(Fault::None),
        4 => Just(Fault::Cut),
        2 => Just(Fault::Ended),
        1 => Just(Fault::Silent),
        1 => Just(Fault::Error),
        1 => Just(Fault::Nonsense),
        1 => Just(Fault::Refused(400)),
        1 => Just(Fault::Refused(503)),
        1 => Just(Fault::Other),
    ];
    (0..8usize, 1..6usize, fault).prop_map(|(pieces, size, fault)| Act {
        pieces,
        size,
        fault,
    })
}

fn any_leg() -> impl Strategy<Value = Leg> {
    let provider = prop_oneof![Just(OpenAiChat), Just(Anthropic), Just(Gemini)];
    (provider, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(provider, continues, repeats, deterministic)| {
            let abilities = Abilities {
                continues,
                repeats,
                deterministic,
            };
            able(provider, abilities)
        },
    )
}

const TEXT: &str = "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.";

impl Bench {
    /// Plays one upstream, which has the same `TEXT` to say as all others.
    fn play(&mut self, act: &Act) {
        let leg = self.writer.plan.leg().clone();
        let voice = Voice(leg.provider);
        if let Fault::Refused(status) = act.fault {
            return self.is_refused(status, "no");
        }
        let prefix = self.prefixes.last().cloned().flatten();
        let skipped = prefix
            .filter(|_| !leg.abilities.repeats)
            .unwrap_or_default();
        let rest = TEXT.strip_prefix(&skipped).expect("a prefix of the text");
        let chars: Vec<char> = rest.chars().collect();
        let all = act.fault == Fault::None;
        let pieces: Vec<String> = chars.chunks(act.size).map(String::from_iter).collect();
        let some = if all { pieces.len() } else { act.pieces };
        let pieces: Vec<&str> = pieces.iter().take(some).map(String::as_str).collect();
        self.says(voice, &pieces);
        if self.done.is_some() {
            return;
        }
        match act.fault {
            Fault::None => {
                self.said(&voice.end());
                self.step(Input::Ended);
            }
            Fault::Cut => self.is_cut(),
            Fault::Ended => self.step(Input::Ended),
            Fault::Silent => {
                self.now = self.writer.wake_at().unwrap();
                self.step(Input::Tick);
            }
            Fault::Error => self.said(&[json!({"type": "error", "error": {"type": "api_error", "message": "oh", "code": 500}})]),
            Fault::Nonsense => self.bytes("data: {nonsense\n\n"),
            Fault::Other => {
                self.said(&[voice.text("#")]);
                self.said(&voice.end());
                self.step(Input::Ended);
            }
            Fault::Refused(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever the upstreams do: the client has the text that they said in sequence, whole, or a
    /// prefix of it and a typed end; nothing is doubled or lost, and no more calls are made than the
    /// policy says. (`Tail::after` in the bench takes every append.)
    #[test]
    fn any_schedule_ends_whole_or_honest(
        acts in proptest::collection::vec(any_act(), 8),
        legs in proptest::collection::vec(any_leg(), 1..4),
        surface in proptest::sample::select(SURFACES.to_vec()),
        open in proptest::collection::vec(0..4usize, 0..5),
        in_budget: bool,
        failing in proptest::collection::vec(0usize..20, 0..2),
    ) {
        let mut bench = routed(surface, &legs);
        bench.advice = Advice { open, in_budget, random: 0 };
        bench.failing = failing;
        let mut odd = false;
        for act in &acts {
            let dialled = bench.dialled.len();
            odd |= act.fault == Fault::Other;
            bench.play(act);
            while bench.done.is_none() && bench.dialled.len() == dialled {
                bench.now = bench.now.max(bench.writer.wake_at().expect("something is due"));
                bench.step(Input::Tick);
            }
            if bench.done.is_some() {
                break;
            }
            if odd {
                // What is odd and was delivered cannot be gone on with by who has another text.
                return Ok(());
            }
        }
        prop_assert!(bench.done.is_some());
        prop_assert!(bench.dialled.len() <= 4);
        let Some(Ending::Logged(end)) = &bench.done else {
            return Ok(());
        };
        let heard = bench.heard();
        let seams = bench.seams();
        if end.status == Status::Completed {
            prop_assert_eq!(bench.folded(), heard.clone());
            prop_assert!(odd || heard == TEXT, "{}", heard);
        } else {
            prop_assert!(odd || TEXT.starts_with(&heard), "{}", heard);
            let last = bench.events().pop().unwrap();
            prop_assert!(last.contains("\"error\""), "{}", last);
            prop_assert!(end.reason.is_some());
            prop_assert!(!bench.events().iter().any(|data| data == "[DONE]"));
        }
        let abandoned = bench.records.iter().filter(|r| matches!(r, Record::Abandoned(_))).count();
        let others = bench.dialled.len() - 1;
        // Each attempt but the last has one record of its end, and the last has one if it was in vain.
        prop_assert!((others..=others + 1).contains(&(abandoned + seams.len())));
        prop_assert!(seams.iter().filter(|seam| seam.1 == SeamKind::RanAgain).count() <= 1);
    }
}
