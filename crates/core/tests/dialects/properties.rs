//! What holds for any answer.

use std::borrow::Cow;

use everstream_core::answer::{Answer, Choice, Delta, Finish, Fold, Piece, Reason, Start};
use everstream_core::content::{Content, Json, Maker, Part, Seal, SealForm, Source, ToolCall};
use everstream_core::dialect::{ClientDialect, Decoder, ProviderDialect, Renderer};
use everstream_core::event::Usage;
use everstream_core::frame::sse::SseEvent;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::anthropic_client::listen;
use crate::transcripts::{CLIENTS, PROVIDERS, head};
use crate::{gemini_client, responses_client};

pub(crate) const WORDS: &str = "\\PC{1,12}";

pub(crate) fn seal(
    makers: &'static [Maker],
    with_id: bool,
) -> impl Strategy<Value = Seal<'static>> {
    let form = prop_oneof![Just(SealForm::Signature), Just(SealForm::Encrypted)];
    let id = option::of("[a-z:_]{1,6}").prop_map(move |id| id.filter(|_| with_id));
    let maker = proptest::sample::select(makers);
    (maker, form, id, "[ -~]{1,12}").prop_map(|(maker, form, id, data)| Seal {
        maker,
        form,
        id: id.map(Cow::Owned),
        data: data.into(),
    })
}

pub(crate) const ALL: &[Maker] = &[Maker::Anthropic, Maker::Google, Maker::OpenAi, Maker::Other];

/// Reasoning, of which something is seen or sealed.
pub(crate) fn reasoning(
    makers: &'static [Maker],
    with_id: bool,
) -> impl Strategy<Value = Part<'static>> {
    ("\\PC{0,12}", option::of(seal(makers, with_id))).prop_filter_map("empty", |(text, seal)| {
        let some = !text.is_empty() || seal.is_some();
        some.then(|| Part {
            seal,
            ..Content::Reasoning(text.into()).into()
        })
    })
}

pub(crate) fn google() -> impl Strategy<Value = Option<Seal<'static>>> {
    option::of("[ -~]{1,12}".prop_map(|data| Seal {
        maker: Maker::Google,
        form: SealForm::Signature,
        id: None,
        data: data.into(),
    }))
}

pub(crate) fn text() -> impl Strategy<Value = Part<'static>> {
    WORDS.prop_map(Part::text)
}

pub(crate) fn call() -> impl Strategy<Value = Part<'static>> {
    let arguments = prop_oneof![
        Just("{}".to_owned()),
        ("[a-z]{1,4}", WORDS).prop_map(|(name, value)| json!({name: value}).to_string()),
    ];
    ("[a-z]{1,6}", arguments).prop_map(|(name, arguments)| {
        Content::ToolCall(ToolCall {
            id: "".into(),
            name: name.into(),
            arguments: arguments.into(),
        })
        .into()
    })
}

/// Gives each call an id of its own.
pub(crate) fn number(mut parts: Vec<Part<'static>>) -> Vec<Part<'static>> {
    for (index, part) in parts.iter_mut().enumerate() {
        if let Content::ToolCall(call) = &mut part.content {
            call.id = format!("call_{index}").into();
        }
    }
    parts
}

pub(crate) fn usage() -> impl Strategy<Value = Usage> {
    (0..9_u64, 0..9_u64, 0..9_u64, 0..9_u64, 0..9_u64).prop_map(
        |(fresh, cached, written, output, thought)| Usage {
            input_tokens: fresh + cached + written,
            output_tokens: output + thought,
            cached_tokens: cached,
            cache_write_tokens: written,
            reasoning_tokens: thought,
            ..Usage::default()
        },
    )
}

pub(crate) fn start(created: Option<u64>) -> impl Strategy<Value = Start<'static>> {
    (WORDS, WORDS).prop_map(move |(id, model)| Start {
        id: id.into(),
        model: model.into(),
        created,
    })
}

/// An end that is as good as any for these parts.
pub(crate) fn finish(parts: &[Part<'_>], choice: usize, detail: Option<String>) -> Finish<'static> {
    let called = parts
        .iter()
        .any(|p| matches!(p.content, Content::ToolCall(_)));
    let refused = parts
        .iter()
        .any(|p| matches!(p.content, Content::Refusal(_)));
    let plain = if called {
        Reason::ToolCalls
    } else if refused {
        Reason::Refusal
    } else {
        Reason::Stop
    };
    let reasons = [
        plain,
        Reason::Length,
        Reason::StopSequence,
        Reason::PauseTurn,
        Reason::Other,
    ];
    let reason = reasons[choice % reasons.len()];
    let detail = match reason {
        Reason::StopSequence => detail.map(Cow::Owned),
        Reason::Other => Some(Cow::Borrowed("some_new_word")),
        _ => None,
    };
    Finish { reason, detail }
}

/// A choice in the order that OpenAI's API has for the parts of a message.
fn chat_choice() -> impl Strategy<Value = Choice> {
    let content = option::of((WORDS, google()).prop_map(|(text, seal)| Part {
        seal,
        ..Part::text(text)
    }));
    let calls = (call(), google()).prop_map(|(call, seal)| Part { seal, ..call });
    let refusal = option::of(WORDS.prop_map(|text| Part::from(Content::Refusal(text.into()))));
    (
        vec(reasoning(ALL, true), 0..3),
        content,
        refusal,
        vec(calls, 0..3),
        any::<proptest::sample::Index>(),
        option::of(WORDS),
    )
        .prop_map(|(mut parts, content, refusal, calls, which, detail)| {
            parts.extend(content);
            parts.extend(refusal.filter(|_| calls.is_empty()));
            parts.extend(calls);
            let parts = number(parts);
            let finish = Some(finish(&parts, which.index(5), detail));
            Choice {
                parts,
                finish,
                ..Choice::default()
            }
        })
}

fn chat_answer() -> impl Strategy<Value = Answer> {
    (
        start(Some(7)),
        vec(chat_choice(), 1..3),
        option::of(usage()),
    )
        .prop_map(|(start, choices, usage)| Answer {
            start,
            choices,
            usage,
        })
}

fn anthropic_parts(makers: &'static [Maker]) -> impl Strategy<Value = Vec<Part<'static>>> {
    let part = prop_oneof![text(), reasoning(makers, makers.len() > 1), call()];
    vec(part, 0..6).prop_map(number)
}

/// Anthropic's own seals: a text is signed, and what is hidden is encrypted or signed.
fn anthropic_answer() -> impl Strategy<Value = Answer> {
    (
        start(None),
        anthropic_parts(&[Maker::Anthropic]),
        usage(),
        any::<proptest::sample::Index>(),
        option::of(WORDS),
    )
        .prop_map(|(start, mut parts, usage, which, detail)| {
            for part in &mut parts {
                if let (Content::Reasoning(text), Some(seal)) = (&part.content, &mut part.seal)
                    && !text.is_empty()
                {
                    seal.form = SealForm::Signature;
                }
            }
            let finish = Some(finish(&parts, which.index(5), detail));
            let choice = Choice {
                parts,
                finish,
                ..Choice::default()
            };
            Answer {
                start,
                choices: vec![choice],
                usage: Some(usage),
            }
        })
}

pub(crate) fn render(client: ClientDialect, deltas: &[Delta<'_>]) -> Vec<SseEvent> {
    let mut renderer = Renderer::new(client, head());
    let mut events = Vec::new();
    for delta in deltas {
        renderer.push(delta, &mut events);
    }
    events
}

fn decode(provider: ProviderDialect, events: &[SseEvent]) -> Answer {
    let mut decoder = Decoder::new(provider, "x");
    let mut fold = Fold::default();
    let mut out = |delta: &Delta<'_>| fold.push(delta);
    for event in events {
        decoder.push(&event.name, &event.data, &mut out).unwrap();
    }
    decoder.finish(&mut out).unwrap();
    fold.finish().unwrap()
}

pub(crate) fn comes_back(client: ClientDialect, provider: ProviderDialect, answer: &Answer) {
    let deltas: Vec<_> = answer.deltas().collect();
    let events = render(client, &deltas);
    assert_eq!(&decode(provider, &events), answer);
    let body = client.write_answer(answer, &head());
    assert_eq!(&provider.read_answer(&body, "x").unwrap(), answer);
}

/// The answer's message as a client sends it back.
pub(crate) fn next_turn(client: ClientDialect, answer: &Answer) -> Vec<Part<'static>> {
    let body: Value = serde_json::from_slice(&client.write_answer(answer, &head())).unwrap();
    let message = match client {
        ClientDialect::OpenAiChat => body["choices"][0]["message"].clone(),
        ClientDialect::Anthropic => json!({"role": "assistant", "content": body["content"]}),
        ClientDialect::Gemini => body["candidates"][0]["content"].clone(),
        ClientDialect::OpenAiResponses => body["output"].clone(),
    };
    let request = match client {
        ClientDialect::Gemini => json!({"contents": [message]}),
        ClientDialect::OpenAiResponses => json!({"model": "m", "input": message}),
        _ => json!({"model": "m", "max_tokens": 1, "messages": [message]}),
    };
    let request = request.to_string();
    let ask = client.read_request(request.as_bytes()).unwrap();
    let parts = ask.messages.into_iter().flat_map(|message| message.parts);
    parts.map(owned).collect()
}

fn owned(part: Part<'_>) -> Part<'static> {
    let text = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
    let content = match part.content {
        Content::Text(said) => Content::Text(text(said)),
        Content::Reasoning(said) => Content::Reasoning(text(said)),
        Content::Refusal(said) => Content::Refusal(text(said)),
        Content::ToolCall(call) => Content::ToolCall(ToolCall {
            id: text(call.id),
            name: text(call.name),
            arguments: text(call.arguments),
        }),
        other => panic!("{other:?}"),
    };
    Part {
        seal: part.seal.map(Seal::into_owned),
        ..content.into()
    }
}

/// Pieces in any order, of which some make no sense.
fn pieces() -> impl Strategy<Value = Vec<Piece<'static>>> {
    let json = "[{}\"\\\\a:1]{1,6}";
    let piece = prop_oneof![
        WORDS.prop_map(|text| Piece::Text(text.into())),
        WORDS.prop_map(|text| Piece::Reasoning(text.into())),
        WORDS.prop_map(|text| Piece::Refusal(text.into())),
        (0..4_u32, json).prop_map(|(call, json)| Piece::Arguments {
            call,
            json: json.into()
        }),
        option::of(seal(ALL, true)).prop_map(|seal| Piece::ToolCall {
            call: 0,
            id: "i".into(),
            name: "f".into(),
            seal
        }),
        seal(ALL, true).prop_map(Piece::Seal),
        Just(Piece::Close),
        Just(Piece::Media(Source::Url(
            "https://example.com/a.png".into()
        ))),
        Just(Piece::Logprobs(Json::parse("[]").unwrap())),
    ];
    vec(piece, 0..16).prop_map(|mut pieces| {
        let mut calls = 0;
        for piece in &mut pieces {
            if let Piece::ToolCall { call, .. } = piece {
                *call = calls;
                calls += 1;
            }
        }
        pieces
    })
}

proptest! {
    #[test]
    fn an_answer_in_openais_dialect_comes_back(answer in chat_answer()) {
        comes_back(ClientDialect::OpenAiChat, ProviderDialect::OpenAiChat, &answer);
    }

    #[test]
    fn an_answer_in_anthropics_dialect_comes_back(answer in anthropic_answer()) {
        comes_back(ClientDialect::Anthropic, ProviderDialect::Anthropic, &answer);
    }

    #[test]
    fn a_client_of_openais_sends_back_what_it_got(choice in chat_choice()) {
        let parts = choice.parts.clone();
        let answer = Answer { choices: vec![choice], ..Answer::default() };
        prop_assert_eq!(next_turn(ClientDialect::OpenAiChat, &answer), parts);
    }

    #[test]
    fn a_client_of_anthropics_sends_back_what_it_got(
        mut parts in anthropic_parts(ALL),
        seals in vec(option::of(seal(ALL, true)), 6),
    ) {
        for (part, seal) in parts.iter_mut().zip(seals) {
            if !matches!(part.content, Content::Reasoning(_)) {
                part.seal = seal;
            }
        }
        let choice = Choice { parts: parts.clone(), ..Choice::default() };
        let answer = Answer { choices: vec![choice], ..Answer::default() };
        prop_assert_eq!(next_turn(ClientDialect::Anthropic, &answer), parts);
    }

    #[test]
    fn anthropics_stream_adds_up_to_its_whole_answer(answer in anthropic_answer()) {
        let deltas: Vec<_> = answer.deltas().collect();
        let heard = listen(&render(ClientDialect::Anthropic, &deltas), true);
        let body = ClientDialect::Anthropic.write_answer(&answer, &head());
        let whole: Value = serde_json::from_slice(&body).unwrap();
        prop_assert_eq!(heard, whole);
    }

    #[test]
    fn any_pieces_make_a_stream_that_clients_take(pieces in pieces(), ended: bool) {
        let pieces = pieces.into_iter().map(|piece| Delta::Piece { choice: 0, piece });
        let mut deltas = vec![Delta::Start(Start::default())];
        deltas.extend(pieces);
        let finish = Reason::Stop.into();
        deltas.push(Delta::Finish { choice: 0, finish });
        if ended {
            deltas.push(Delta::End);
        }
        listen(&render(ClientDialect::Anthropic, &deltas), ended);
        decode(ProviderDialect::OpenAiChat, &render(ClientDialect::OpenAiChat, &deltas));
        let events = render(ClientDialect::OpenAiResponses, &deltas);
        responses_client::listen(&events, ended);
        if ended {
            decode(ProviderDialect::OpenAiResponses, &events);
        }
        let events = render(ClientDialect::Gemini, &deltas);
        gemini_client::listen(&events, ended);
        if ended {
            decode(ProviderDialect::Gemini, &events);
        }
    }

    #[test]
    fn no_event_is_a_panic(
        events in vec(("(error)?", "(\\{\"(type|choices|delta|error|candidates|response)\":)?\\PC{0,30}"), 0..4),
    ) {
        for provider in PROVIDERS {
            let mut decoder = Decoder::new(provider, "x");
            let mut renderers = CLIENTS.map(|client| Renderer::new(client, head()));
            let mut out = Vec::new();
            for (name, data) in &events {
                let _ = decoder.push(name.as_bytes(), data.as_bytes(), &mut |delta| {
                    for renderer in &mut renderers {
                        renderer.push(delta, &mut out);
                    }
                });
            }
        }
    }

    #[test]
    fn no_request_is_a_panic(body in "(\\{\"(model\":\"m\",\"(messages|input)|contents)\":)?\\PC{0,60}") {
        for client in CLIENTS {
            let _ = client.read_request(body.as_bytes());
        }
    }
}
