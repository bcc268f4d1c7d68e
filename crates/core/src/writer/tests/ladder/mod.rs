mod attach;
mod hearing;
mod resume;
mod schedules;
mod voice;

use serde_json::{Value, json};

use super::*;
use crate::dialect::ProviderDialect::{Anthropic, Gemini, OpenAiChat, OpenAiResponses};
use crate::policy::recovery::Abilities;
use crate::record::SeamKind;
use voice::{Voice, chunk};

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
        ..Advice::default()
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
            retry_after: None,
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

/// The client knows it, and a renderer would not: what comes behind would have another's index.
#[test]
fn an_empty_block_that_went_through_is_not_gone_on_from() {
    let voice = Voice(Anthropic);
    let open = |index: u32| json!({"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}});
    let stop = |index: u32| json!({"type": "content_block_stop", "index": index});
    let more = json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": " upon"}});
    for (events, goes_on) in [
        (vec![voice.text("Once")], true),
        (vec![voice.text("Once"), stop(0)], true),
        (vec![voice.text("Once"), stop(0), open(1)], false),
        (
            vec![voice.text("Once"), stop(0), open(1), more.clone()],
            true,
        ),
        (vec![stop(0), open(1), more], false),
    ] {
        let mut bench = routed(Surface::Messages, &[able(Anthropic, ABLE)]);
        bench.says(voice, &[]);
        bench.said(&events);
        bench.is_cut();
        assert_eq!(bench.dialled.len(), 1 + usize::from(goes_on), "{events:?}");
        if goes_on {
            let before = bench.heard();
            bench.goes_on_to_its_end(voice, &[" a", " time"]);
            assert_eq!(bench.folded(), before + " a time");
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
