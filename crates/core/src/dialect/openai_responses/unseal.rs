//! A client's request as an upstream of the same API gets it.

use std::borrow::Cow;

use bytes::Bytes;

use super::fold::member as text_at;
use crate::content::{Maker, SealForm};
use crate::dialect::edit::{Changed, elements, member, replace, without};
use crate::dialect::json::{for_each_member, text_of};
use crate::dialect::token::{self, On};

/// Takes out of a request what only a gateway can read: reasoning of other makers' models. OpenAI's
/// own seals that needed a token get back their form. Every other byte stays.
///
/// A request that names a previous response has that one's conversation in its `input`, and the
/// upstream knows neither the response nor its items: the name goes, and so do the items' ids, and
/// reasoning that can only be read where it is stored.
pub(in crate::dialect) fn unseal(body: &Bytes) -> Bytes {
    let Ok(text) = str::from_utf8(body) else {
        return body.clone();
    };
    let previous = text_at(body, PREVIOUS);
    let continues = previous.is_some_and(|id| id != "null");
    let changed = member(text, "input", |input| {
        elements(input, |i| item(i, continues))
    });
    let text: Cow<'_, str> = match changed {
        Changed::To(text) => text.into(),
        Changed::Not | Changed::Gone => text.into(),
    };
    match without(&text, &[PREVIOUS]) {
        Changed::To(text) if continues => text.into(),
        _ => match text {
            Cow::Borrowed(_) => body.clone(),
            Cow::Owned(text) => text.into(),
        },
    }
}

/// The request with the name that the upstream itself has for the previous response.
pub(in crate::dialect) fn continued(body: &Bytes, id: &str) -> Bytes {
    let text = str::from_utf8(body).unwrap_or_default();
    let id = serde_json::Value::from(id).to_string();
    let named = match member(text, PREVIOUS, |_| Changed::To(id.clone())) {
        Changed::To(text) => text,
        Changed::Not | Changed::Gone => return body.clone(),
    };
    let changed = member(&named, "input", |input| elements(input, |i| item(i, false)));
    match changed {
        Changed::To(text) => text.into(),
        Changed::Not | Changed::Gone => named.into(),
    }
}

const PREVIOUS: &str = "previous_response_id";

fn item(item: &str, foreign: bool) -> Changed {
    let kind = text_at(item.as_bytes(), "type").and_then(|kind| text_of(kind).ok());
    match kind.as_deref() {
        Some("reasoning") => reasoning(item, foreign),
        _ if foreign => without(item, &["id", "status"]),
        _ => Changed::Not,
    }
}

fn reasoning(item: &str, foreign: bool) -> Changed {
    let mut seal = None;
    let walked = for_each_member(item.as_bytes(), |member| {
        if member.key == "encrypted_content" && member.value.len() > "null".len() {
            seal = Some((member.value, member.span));
        }
        Ok::<_, serde_json::Error>(())
    });
    let (Ok(()), Some((text, span))) = (walked, seal) else {
        return if foreign { Changed::Gone } else { Changed::Not };
    };
    let text = text_of(text).unwrap_or_default();
    match token::read(&text) {
        None => Changed::Not,
        Some((seal, On::Reasoning))
            if seal.maker == Maker::OpenAi && seal.form == SealForm::Encrypted =>
        {
            let data = serde_json::Value::from(Cow::into_owned(seal.data));
            Changed::To(replace(item, span, &data.to_string()))
        }
        Some(_) => Changed::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn unsealed(body: &Value) -> Value {
        serde_json::from_slice(&unseal(&body.to_string().into())).unwrap()
    }

    fn reasoning(seal: &str) -> Value {
        json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal})
    }

    #[test]
    fn a_request_of_its_own_stays_byte_for_byte() {
        for body in [
            r#"{ "model":"m", "input" : "everstream:x" ,"x":1.50}"#,
            r#"{"input":[ {"type":"reasoning","id":"rs_1","summary":[]} , {"role":"user","content":"a","id":"msg_1"}]}"#,
            r#"{"input":[],"previous_response_id":null}"#,
            "no JSON",
        ] {
            let body = Bytes::from(body);
            assert_eq!(unseal(&body), body);
        }
    }

    #[test]
    fn others_reasoning_goes_and_its_own_comes_back() {
        let other = "everstream:anthropic:signature:reasoning:-:abc";
        let own = "everstream:openai:encrypted:reasoning:-:gAAA";
        let body =
            json!({"input": [reasoning(other), reasoning(own), {"role": "user", "content": "a"}]});
        let left = json!({"input": [reasoning("gAAA"), {"role": "user", "content": "a"}]});
        assert_eq!(unsealed(&body), left);
    }

    #[test]
    fn what_was_said_elsewhere_comes_without_its_names() {
        let stored = json!({"type": "reasoning", "id": "rs_2", "summary": []});
        let call = json!({"type": "function_call", "id": "fc_1", "status": "completed", "call_id": "c",
            "name": "f", "arguments": "{}"});
        let body =
            json!({"previous_response_id": "resp_1", "input": [stored, reasoning("gAAA"), call]});
        let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
        assert_eq!(unsealed(&body), json!({"input": [reasoning("gAAA"), call]}));
    }

    #[test]
    fn the_upstreams_own_name_is_passed_on() {
        let body = Bytes::from(r#"{ "input":"a", "previous_response_id" : "resp_1" }"#);
        let named = continued(&body, "resp_up");
        assert_eq!(
            named,
            r#"{ "input":"a", "previous_response_id" : "resp_up" }"#
        );
    }
}
