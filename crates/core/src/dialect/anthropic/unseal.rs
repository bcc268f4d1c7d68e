//! Seals of other makers' in a request that goes to Anthropic as it is.

use std::borrow::Cow;

use bytes::Bytes;
use memchr::memmem;

use super::token::{self, On};
use crate::content::{Maker, Seal, SealForm};
use crate::dialect::edit::{Changed, elements, member, replace};
use crate::dialect::json::{for_each_member, text_of};

/// Takes out of a request what this gateway put into the answers of other makers' models, and only
/// a gateway can read: blocks of reasoning whose seal is a [`token`]. Anthropic's own seals that
/// needed a token get back their form. Every other byte stays, as prompt caches depend on them.
pub(in crate::dialect) fn unseal(body: &Bytes) -> Bytes {
    if memmem::find(body, token::PREFIX.as_bytes()).is_none() {
        return body.clone();
    }
    let Some(body_text) = str::from_utf8(body).ok() else {
        return body.clone();
    };
    match member(body_text, "messages", conversation) {
        Changed::To(text) => text.into(),
        Changed::Not | Changed::Gone => body.clone(),
    }
}

fn conversation(messages: &str) -> Changed {
    elements(messages, |message| member(message, "content", content))
}

fn content(blocks: &str) -> Changed {
    match elements(blocks, block) {
        // A message that says nothing is refused, so it goes with its last block.
        Changed::To(blocks) if blocks == "[]" => Changed::Gone,
        changed => changed,
    }
}

fn block(block: &str) -> Changed {
    let (mut kind, mut seal) = ("", None);
    let walked = for_each_member(block.as_bytes(), |member| {
        match &*member.key {
            "type" => kind = member.value,
            "signature" | "data" => seal = Some((member.value, member.span)),
            _ => {}
        }
        Ok::<_, serde_json::Error>(())
    });
    let form = match kind {
        "\"thinking\"" => SealForm::Signature,
        "\"redacted_thinking\"" => SealForm::Encrypted,
        _ => return Changed::Not,
    };
    let (Ok(()), Some((text, span))) = (walked, seal) else {
        return Changed::Not;
    };
    let text = text_of(text).unwrap_or_default();
    match token::read(&text) {
        None => Changed::Not,
        Some((seal, On::Reasoning)) if is_at_home(&seal, form) => {
            let data = serde_json::Value::from(Cow::into_owned(seal.data));
            Changed::To(replace(block, span, &data.to_string()))
        }
        Some(_) => Changed::Gone,
    }
}

fn is_at_home(seal: &Seal<'_>, form: SealForm) -> bool {
    seal.maker == Maker::Anthropic && seal.form == form
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(maker: Maker, form: SealForm, on: On) -> String {
        let seal = Seal {
            maker,
            form,
            id: None,
            data: "c2VhbA==".into(),
        };
        token::write(&seal, on)
    }

    fn unsealed(messages: &str) -> String {
        let body = format!(r#"{{ "model":"m", "messages": {messages},"x" : 1.50 }}"#);
        let body = unseal(&body.into());
        let text = str::from_utf8(&body).unwrap();
        let text = text.strip_prefix(r#"{ "model":"m", "messages": "#).unwrap();
        text.strip_suffix(r#","x" : 1.50 }"#).unwrap().to_owned()
    }

    #[test]
    fn what_others_sealed_goes_and_all_else_stays() {
        let google = sealed(Maker::Google, SealForm::Signature, On::Reasoning);
        let behind = sealed(Maker::OpenAi, SealForm::Encrypted, On::Behind);
        let user = r#"{"role":"user", "content":"say everstream:x"}"#;
        let own = r#"{"type":"thinking","thinking":"b", "signature":"RXFR"}"#;
        let text = r#"{"type":"text", "text":"c"}"#;
        let messages = format!(
            r#"[{user},{{"role":"assistant","content":[{{"type":"thinking","thinking":"a","signature":"{google}"}}, {own} ,{{"type":"redacted_thinking","data":"{behind}"}},{text}]}}]"#
        );
        let left = format!(r#"[{user},{{"role":"assistant","content":[{own},{text}]}}]"#);
        assert_eq!(unsealed(&messages), left);
    }

    #[test]
    fn anthropics_own_comes_back() {
        let token = sealed(Maker::Anthropic, SealForm::Encrypted, On::Reasoning);
        let message = |data: &str| {
            format!(
                r#"[{{"role":"assistant","content":[{{"type":"redacted_thinking","data":"{data}"}}]}}]"#
            )
        };
        assert_eq!(unsealed(&message(&token)), message("c2VhbA=="));
    }

    #[test]
    fn a_message_of_nothing_else_goes_too() {
        let token = sealed(Maker::Other, SealForm::Encrypted, On::Reasoning);
        let messages = format!(
            r#"[{{"role":"user","content":"a"}},{{"role":"assistant","content":[{{"type":"redacted_thinking","data":"{token}"}}]}}]"#
        );
        assert_eq!(unsealed(&messages), r#"[{"role":"user","content":"a"}]"#);
    }

    #[test]
    fn a_request_without_tokens_is_the_same_bytes() {
        for body in [
            r#"{"messages":[ {"role":"user","content":"everstream: a word"} ]}"#,
            "everstream: no JSON",
        ] {
            let body = Bytes::from(body);
            assert_eq!(unseal(&body), body);
        }
    }
}
