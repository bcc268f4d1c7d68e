use bytes::Bytes;
use everstream_core::answer::{Delta, Piece, Reason, Start};
use everstream_core::dialect::{ClientDialect, Renderer, ReplyHead};
use everstream_core::event::Usage;
use everstream_core::frame::sse::SseMessage;

/// What an answer is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A text of 500 tokens, one in each event.
    Text,
    /// A short text, and a tool call whose arguments come in 250 pieces.
    Tool,
}

/// The text of answers goes round in these, as in a model's prose: mostly words, some with what JSON
/// has to escape.
const TOKENS: [&str; 12] = [
    "The",
    " stream",
    " goes",
    " on",
    ",",
    " and",
    " what",
    " was",
    " \"said\"",
    " stays",
    ".",
    "\n",
];

impl Shape {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Text, Self::Tool];

    /// Its name in results.
    pub const fn scenario(self) -> &'static str {
        match self {
            Self::Text => "translate-text",
            Self::Tool => "translate-tool",
        }
    }

    /// The answer as who speaks this dialect sends it, one event in each read.
    pub(super) fn stream(self, client: ClientDialect) -> Vec<Bytes> {
        let head = ReplyHead {
            id: "msg_01XFDUDYJgAACzvnptvVoYEL".to_owned(),
            model: "claude-sonnet-4-5-20250929".to_owned(),
            created: 1_700_000_000,
            show_usage: true,
            ..ReplyHead::default()
        };
        let (mut renderer, mut events) = (Renderer::new(client, head), Vec::new());
        for delta in self.deltas() {
            renderer.push(&delta, &mut events);
        }
        let frames = events.into_iter().map(|event| {
            let message = SseMessage::new().data(event.data);
            if event.name.is_empty() {
                message.to_bytes()
            } else {
                let name = String::from_utf8_lossy(&event.name);
                message.event(name).to_bytes()
            }
        });
        frames.collect()
    }

    fn deltas(self) -> Vec<Delta<'static>> {
        let mut deltas = vec![Delta::Start(Start::default())];
        let mut say = |piece| deltas.push(Delta::Piece { choice: 0, piece });
        let (tokens, reason) = match self {
            Self::Text => (500, Reason::Stop),
            Self::Tool => (10, Reason::ToolCalls),
        };
        for token in TOKENS.iter().cycle().take(tokens) {
            say(Piece::Text((*token).into()));
        }
        if self == Self::Tool {
            say(Piece::ToolCall {
                call: 0,
                id: "call_abc123".into(),
                name: "write_file".into(),
                seal: None,
            });
            let begin = r#"{"lines":["#;
            let pieces = (0..248).map(|n| {
                if n % 2 == 0 {
                    r#""line","#
                } else {
                    "[1,\"a\"],"
                }
            });
            for json in [begin].into_iter().chain(pieces).chain(["null]}"]) {
                let json = json.into();
                say(Piece::Arguments { call: 0, json });
            }
        }
        let usage = Usage {
            input_tokens: 400,
            output_tokens: 500,
            ..Usage::default()
        };
        deltas.extend([
            Delta::Finish {
                choice: 0,
                finish: reason.into(),
            },
            Delta::Usage(usage),
            Delta::End,
        ]);
        deltas
    }
}
