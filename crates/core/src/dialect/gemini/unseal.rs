//! Seals of other makers' in a request that goes to Google as it is.

use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;

use super::request::UNSIGNED;
use super::seal::{TOKEN_START, foreign};
use crate::content::{Maker, Seal, SealForm};
use crate::dialect::edit::{Changed, elements, member, replace, without};
use crate::dialect::json::{for_each_element, for_each_member, text_of};

/// Takes out of a request what this gateway put into the answers of other makers' models, and only
/// a gateway can read: signatures that are tokens, and the thoughts that they are on. A call gets
/// Google's word for one that another model made, if the model asks for signatures (`gemini_3`).
/// Google's own that needed a token get back their form. Every other byte stays.
pub(in crate::dialect) fn unseal(body: &Bytes, gemini_3: bool) -> Bytes {
    if memmem::find(body, TOKEN_START.as_bytes()).is_none() {
        return body.clone();
    }
    let Ok(text) = str::from_utf8(body) else {
        return body.clone();
    };
    match request(text, gemini_3) {
        Changed::To(text) => text.into(),
        Changed::Not | Changed::Gone => body.clone(),
    }
}

fn request(text: &str, gemini_3: bool) -> Changed {
    let contents = |list: &str| {
        elements(list, |content| {
            member(content, "parts", |parts| self::parts(parts, gemini_3))
        })
    };
    match member(text, "contents", contents) {
        // A question about a request has it in a member.
        Changed::Not => member(text, "generateContentRequest", |inner| {
            member(inner, "contents", contents)
        }),
        changed => changed,
    }
}

fn parts(list: &str, gemini_3: bool) -> Changed {
    let orphans = orphans(list);
    let mut index = 0;
    let changed = elements(list, |part| {
        index += 1;
        if orphans.iter().any(|run| run.contains(&(index - 1))) {
            return Changed::Gone;
        }
        unsealed(part, gemini_3)
    });
    match changed {
        // A content that says nothing is refused, so it goes with its last part.
        Changed::To(parts) if parts == "[]" => Changed::Gone,
        changed => changed,
    }
}

/// The places of thoughts whose signature, another maker's, is on a later piece of theirs: clients
/// keep a thought in the pieces that it was streamed in.
fn orphans(list: &str) -> Vec<Range<usize>> {
    let (mut runs, mut start, mut index) = (Vec::new(), 0, 0);
    let walked = for_each_element(list, |part| {
        let part = Part::of(part);
        match &part {
            Some(part) if part.thought && part.signature.is_none() => {}
            Some(part) if part.thought && part.seal().is_some_and(|seal| !is_own(&seal)) => {
                runs.push(start..index);
                start = index + 1;
            }
            _ => start = index + 1,
        }
        index += 1;
    });
    if walked.is_err() {
        runs.clear();
    }
    runs
}

fn unsealed(text: &str, gemini_3: bool) -> Changed {
    let Some(part) = Part::of(text) else {
        return Changed::Not;
    };
    let (Some(seal), Some((name, _, place))) = (part.seal(), &part.signature) else {
        return Changed::Not;
    };
    let word = match &seal {
        own if is_own(own) => &*seal.data,
        _ if part.call && gemini_3 => UNSIGNED,
        _ if part.thought || part.empty => return Changed::Gone,
        _ => return without(text, &[*name]),
    };
    let word = serde_json::Value::from(word).to_string();
    Changed::To(replace(text, place.clone(), &word))
}

fn is_own(seal: &Seal<'_>) -> bool {
    seal.maker == Maker::Google && seal.form == SealForm::Signature
}

/// What of a part its signature's fate depends on.
#[derive(Default)]
struct Part<'a> {
    /// Its name, the value and where that lies.
    signature: Option<(&'static str, &'a str, Range<usize>)>,
    thought: bool,
    call: bool,
    /// It has nothing but a text without a word.
    empty: bool,
}

impl<'a> Part<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let mut part = Self {
            empty: true,
            ..Self::default()
        };
        let walked = for_each_member(text.as_bytes(), |member| {
            let name = match &*member.key {
                "thoughtSignature" => "thoughtSignature",
                "thought_signature" => "thought_signature",
                "thought" => {
                    part.thought = member.value == "true";
                    return Ok(());
                }
                "text" => {
                    part.empty &= member.value == "\"\"";
                    return Ok(());
                }
                other => {
                    part.empty = false;
                    part.call |= matches!(other, "functionCall" | "function_call");
                    return Ok(());
                }
            };
            part.signature = Some((name, member.value, member.span));
            Ok::<_, serde_json::Error>(())
        });
        walked.ok().map(|()| part)
    }

    /// The seal that its signature is a token of.
    fn seal(&self) -> Option<Seal<'static>> {
        let (_, text, _) = self.signature.as_ref()?;
        foreign(&text_of(text).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::gemini::seal;

    fn sealed(maker: Maker, data: &str) -> String {
        let seal = Seal {
            maker,
            form: SealForm::Signature,
            id: None,
            data: data.into(),
        };
        seal::write(&seal).into_owned()
    }

    fn unsealed(contents: &str, gemini_3: bool) -> String {
        let wrap = |contents: &str| format!(r#"{{ "contents": {contents},"x" : 1.50 }}"#);
        let body = unseal(&wrap(contents).into(), gemini_3);
        let inner = format!(r#"{{"generateContentRequest":{}}}"#, wrap(contents));
        let nested = unseal(&inner.into(), gemini_3);
        let text = str::from_utf8(&body).unwrap();
        assert_eq!(nested, format!(r#"{{"generateContentRequest":{text}}}"#));
        let text = text.strip_prefix(r#"{ "contents": "#).unwrap();
        text.strip_suffix(r#","x" : 1.50 }"#).unwrap().to_owned()
    }

    #[test]
    fn what_others_sealed_goes_and_all_else_stays() {
        let token = sealed(Maker::Anthropic, "c2ln");
        let user = r#"{"role":"user", "parts":[{"text":"x"}]}"#;
        let contents = format!(
            r#"[{user},{{"role":"model","parts":[{{"thought":true,"text":"own","thoughtSignature":"b3du"}},{{"thought":true,"text":"h"}},{{"thought":true,"text":"m"}},{{"thought":true,"text":"","thought_signature":"{token}"}},{{"text":"","thoughtSignature":"{token}"}}, {{"text":"y", "thoughtSignature":"{token}"}} ,{{"functionCall":{{"name":"f"}}, "thoughtSignature":"{token}"}}]}}]"#
        );
        let left = |call: &str| {
            format!(
                r#"[{user},{{"role":"model","parts":[{{"thought":true,"text":"own","thoughtSignature":"b3du"}},{{"text":"y"}},{call}]}}]"#
            )
        };
        let word = r#"{"functionCall":{"name":"f"}, "thoughtSignature":"skip_thought_signature_validator"}"#;
        assert_eq!(unsealed(&contents, true), left(word));
        assert_eq!(
            unsealed(&contents, false),
            left(r#"{"functionCall":{"name":"f"}}"#)
        );
    }

    #[test]
    fn googles_own_comes_back() {
        let token = sealed(Maker::Google, "no base64!");
        let contents = |signature: &str| {
            format!(
                r#"[{{"role":"model","parts":[{{"text":"a","thoughtSignature":"{signature}"}}]}}]"#
            )
        };
        assert_eq!(unsealed(&contents(&token), true), contents("no base64!"));
    }

    #[test]
    fn a_content_of_nothing_else_goes_too() {
        let token = sealed(Maker::OpenAi, "c2ln");
        let contents = format!(
            r#"[{{"parts":[{{"text":"a"}}]}},{{"role":"model","parts":[{{"thought":true,"text":"b","thoughtSignature":"{token}"}}]}}]"#
        );
        assert_eq!(unsealed(&contents, true), r#"[{"parts":[{"text":"a"}]}]"#);
    }

    #[test]
    fn a_request_without_tokens_is_the_same_bytes() {
        for body in [
            r#"{"contents":[ {"parts":[{"text":"ZXZlcnN0cmVh"}]} ]}"#,
            "ZXZlcnN0cmVh no JSON",
        ] {
            let body = Bytes::from(body);
            assert_eq!(unseal(&body, true), body);
        }
    }
}
