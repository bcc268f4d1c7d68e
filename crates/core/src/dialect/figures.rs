//! Figures of usage in answers that pass through and that nobody here understands any further.

use memchr::{memchr, memchr3};
use serde_json::{Map, Value};

use crate::event::Usage;
use crate::limits::USAGE_BYTES;

/// Finds the last member of one of these names at the top of any object in a text that passes by: a
/// JSON answer, or the events of a stream. It holds no more than that member.
#[derive(Debug)]
pub struct UsageFinder {
    names: &'static [&'static str],
    place: Place,
    depth: u32,
    /// In a string, the byte before was a backslash.
    escaped: bool,
    /// The last string at the top of an object.
    key: Vec<u8>,
    /// The value that is being read, if it is wanted.
    value: Option<Vec<u8>>,
    found: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before or after objects.
    Outside,
    /// Between the tokens of an object.
    Between,
    /// In the name of one of its members.
    Key,
    /// In a text.
    Text,
}

impl UsageFinder {
    /// Looks for these names.
    pub fn new(names: &'static [&'static str]) -> Self {
        Self {
            names,
            place: Place::Outside,
            depth: 0,
            escaped: false,
            key: Vec::new(),
            value: None,
            found: None,
        }
    }

    /// Takes the next piece of the text.
    pub fn push(&mut self, mut input: &[u8]) {
        while !input.is_empty() {
            let step = self.plain(input);
            let (plain, rest) = input.split_at(step);
            self.keep(plain);
            input = rest;
            if let Some((&byte, rest)) = input.split_first() {
                self.byte(byte);
                input = rest;
            }
        }
    }

    /// The figures that were found last: the numbers, and the objects around them. Texts are none,
    /// and might hold anything.
    pub fn usage(self) -> Option<Value> {
        self.found
    }

    /// How many bytes from here on change nothing.
    fn plain(&self, input: &[u8]) -> usize {
        let next = match self.place {
            Place::Outside => memchr(b'{', input),
            // A line break is in no JSON text: what began is none, and the next line may be.
            Place::Key | Place::Text if !self.escaped => memchr3(b'"', b'\\', b'\n', input),
            Place::Key | Place::Text | Place::Between => Some(0),
        };
        next.unwrap_or(input.len())
    }

    fn keep(&mut self, bytes: &[u8]) {
        let kept = match (&mut self.value, self.place) {
            (Some(value), _) => value,
            (None, Place::Key) => &mut self.key,
            (None, _) => return,
        };
        if kept.len() + bytes.len() <= USAGE_BYTES {
            kept.extend_from_slice(bytes);
        } else {
            // Too long for figures: it becomes no JSON.
            kept.clear();
        }
    }

    fn byte(&mut self, byte: u8) {
        match (self.place, byte) {
            (Place::Outside, _) => {
                (self.place, self.depth) = (Place::Between, 1);
                self.key.clear();
            }
            (Place::Key | Place::Text, b'\n') => self.reset(),
            (Place::Key | Place::Text, _) => self.in_text(byte),
            (Place::Between, _) => self.between(byte),
        }
    }

    fn in_text(&mut self, byte: u8) {
        let ends = byte == b'"' && !self.escaped;
        self.escaped = byte == b'\\' && !self.escaped;
        if !ends || self.value.is_some() {
            self.keep(&[byte]);
        }
        if ends {
            self.place = Place::Between;
        }
    }

    fn between(&mut self, byte: u8) {
        let at_top = self.depth == 1;
        match byte {
            b'"' if at_top && self.value.is_none() => {
                self.key.clear();
                self.place = Place::Key;
                return;
            }
            b'"' => self.place = Place::Text,
            b':' if at_top && self.value.is_none() => {
                let wanted = self.names.iter().any(|name| name.as_bytes() == self.key);
                self.value = wanted.then(Vec::new);
                return;
            }
            b',' if at_top => return self.value_ends(),
            b'}' | b']' if at_top => {
                self.value_ends();
                return self.reset();
            }
            b'}' | b']' => self.depth -= 1,
            b'{' | b'[' => self.depth += 1,
            _ => {}
        }
        if self.value.is_some() {
            self.keep(&[byte]);
        }
    }

    fn value_ends(&mut self) {
        let value = self.value.take();
        let value = value.and_then(|text| serde_json::from_slice(&text).ok());
        if let Some(usage) = value.as_ref().and_then(figures) {
            self.found = Some(usage);
        }
    }

    fn reset(&mut self) {
        *self = Self {
            found: self.found.take(),
            ..Self::new(self.names)
        };
    }
}

/// The numbers in a value and the objects around them; `None` if there are none.
pub fn figures(value: &Value) -> Option<Value> {
    match value {
        Value::Number(_) => Some(value.clone()),
        Value::Object(members) => {
            let kept = members
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), figures(value)?)));
            let kept: Map<_, _> = kept.collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        _ => None,
    }
}

/// The tokens that figures state, by the names that APIs which are passed through have for them. What
/// they do not state is 0.
pub fn tokens(figures: &Value) -> Usage {
    // Cohere's are one level below.
    let inner = figures
        .get("tokens")
        .or_else(|| figures.get("billed_units"));
    let figures = inner.filter(|inner| inner.is_object()).unwrap_or(figures);
    let read = |names: &[&str]| {
        let mut counts = names.iter().filter_map(|name| figures.get(name)?.as_u64());
        counts.next()
    };
    let detail = |names: [&str; 3], name: &str| {
        let mut counts = names
            .iter()
            .filter_map(|details| figures.get(details)?.get(name)?.as_u64());
        counts.next().unwrap_or_default()
    };
    let (input, output) = (
        [
            "input_token_details",
            "input_tokens_details",
            "prompt_tokens_details",
        ],
        [
            "output_token_details",
            "output_tokens_details",
            "completion_tokens_details",
        ],
    );
    let made = read(&["output_tokens", "completion_tokens"]);
    // Who counts no more than all of them makes no text.
    let given = read(&["input_tokens", "prompt_tokens"]).or_else(|| read(&["total_tokens"]));
    Usage {
        input_tokens: given.unwrap_or_default(),
        output_tokens: made.unwrap_or_default(),
        cached_tokens: detail(input, "cached_tokens"),
        audio_input_tokens: detail(input, "audio_tokens"),
        audio_output_tokens: detail(output, "audio_tokens"),
        ..Usage::default()
    }
}

/// Adds `more` to a sum, figure by figure.
pub fn add_figures(sum: &mut Value, more: &Value) {
    match (&mut *sum, more) {
        (Value::Object(sum), Value::Object(more)) => {
            for (name, more) in more {
                match sum.get_mut(name) {
                    Some(sum) => add_figures(sum, more),
                    None => drop(sum.insert(name.clone(), more.clone())),
                }
            }
        }
        (Value::Number(a), Value::Number(b)) => {
            *sum = match (a.as_u64(), b.as_u64()) {
                (Some(a), Some(b)) => a.saturating_add(b).into(),
                _ => (a.as_f64().unwrap_or_default() + b.as_f64().unwrap_or_default()).into(),
            };
        }
        (Value::Null, more) => *sum = more.clone(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NAMES: &[&str] = &["usage"];

    fn find(text: &str, size: usize) -> Option<Value> {
        let mut finder = UsageFinder::new(NAMES);
        for piece in text.as_bytes().chunks(size) {
            finder.push(piece);
        }
        finder.usage()
    }

    #[test]
    fn usage_is_found_at_the_top_of_objects_alone() {
        let usage = json!({"input_tokens": 5, "details": {"image": 2}});
        for (text, expected) in [
            (
                json!({"data": [{"b64": "a\"}{"}], "usage": usage}).to_string(),
                Some(usage.clone()),
            ),
            (
                format!("{{ \"usage\" : {usage} , \"x\": \"\\\\\"}}"),
                Some(usage.clone()),
            ),
            (json!({"x": {"usage": usage}}).to_string(), None),
            (
                json!({"x": [{"usage": usage}], "text": "\"usage\":1"}).to_string(),
                None,
            ),
            (
                json!({"usage": {"type": "words", "model": null}}).to_string(),
                None,
            ),
            (json!({"usage": 7, "x": 1}).to_string(), Some(json!(7))),
            (
                format!(
                    "event: a\ndata: {}\n\n: ping {{\"\ndata: {}\n\ndata: [DONE]\n\n",
                    json!({"usage": 1}),
                    json!({"b64_json": "AAAA", "usage": {"seconds": 3, "type": "duration"}}),
                ),
                Some(json!({"seconds": 3})),
            ),
            ("{\"usage\": {\"a\": 1".to_owned(), None),
            (
                format!("{{\"usage\": {{\"a\": {}1}}}}", " ".repeat(USAGE_BYTES)),
                None,
            ),
        ] {
            for size in [1, 2, 3, 7, text.len()] {
                assert_eq!(find(&text, size), expected, "{text} by {size}");
            }
        }
    }

    #[test]
    fn sums_are_made_figure_by_figure() {
        let mut sum = Value::Null;
        for more in [json!({"a": 1, "b": {"c": 2}}), json!({"a": 3, "d": 0.5})] {
            add_figures(&mut sum, &more);
        }
        add_figures(&mut sum, &json!({"d": 1}));
        assert_eq!(sum, json!({"a": 4, "b": {"c": 2}, "d": 1.5}));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter_and_nothing_panics(
            text in "(\\{|\\}|\\[|\\]|\"usage\"|:|,|1|\\\\|\"|\n|\\PC){0,40}",
            size in 1usize..5,
        ) {
            prop_assert_eq!(find(&text, size), find(&text, text.len().max(1)));
        }
    }
}
