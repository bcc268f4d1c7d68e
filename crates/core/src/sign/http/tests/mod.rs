mod altered;
mod vectors;

use super::*;
use crate::id::UnixMillis;

const SECRET: &[u8] = b"a secret of the tests";
const NOW: UnixMillis = UnixMillis(1_800_000_000_500);
const BODY: &[u8] = br#"{"model":"gpt"}"#;

type Head = Vec<(String, String)>;

/// A request that can be altered.
#[derive(Clone)]
struct Message {
    method: String,
    scheme: String,
    authority: String,
    target: String,
    head: Head,
    body: Vec<u8>,
}

impl Message {
    fn post() -> Self {
        Self {
            method: "POST".to_owned(),
            scheme: "https".to_owned(),
            authority: "gateway.example".to_owned(),
            target: "/v1/chat/completions?trace=1".to_owned(),
            head: vec![("content-digest".to_owned(), content_digest(BODY))],
            body: BODY.to_vec(),
        }
    }

    fn request(&self) -> Request<'_, [(String, String)]> {
        Request {
            method: &self.method,
            scheme: &self.scheme,
            authority: &self.authority,
            target: &self.target,
            fields: &self.head,
        }
    }

    fn signed(mut self, signer: &Signer<'_>) -> Self {
        let signed = signer.sign(&self.request(), SECRET).unwrap();
        self.head
            .push(("signature-input".to_owned(), signed.signature_input));
        self.head.push(("signature".to_owned(), signed.signature));
        self
    }

    /// Signs with a `Signature-Input` that is given as text.
    fn signed_as(mut self, input: &str) -> Self {
        let base = base_of(&self.request(), input);
        let tag = mac(SECRET, &base).finalize().into_bytes();
        let tag = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, tag);
        self.head
            .push(("signature-input".to_owned(), input.to_owned()));
        let label = input.split('=').next().unwrap();
        self.head
            .push(("signature".to_owned(), format!("{label}=:{tag}:")));
        self
    }

    fn field(&mut self, name: &str) -> &mut String {
        let field = self.head.iter_mut().find(|(field, _)| field == name);
        &mut field.unwrap().1
    }

    fn check(&self, now: UnixMillis) -> Result<Verified, SignatureError> {
        let request = self.request();
        let presented = Presented::read(&request)?.expect("it is signed");
        let verified = presented.verify(&request, SECRET, now, ClockWindow::default())?;
        let mut body = verified.body_check();
        for piece in self.body.chunks(3) {
            body.update(piece)?;
        }
        body.finish()?;
        Ok(verified)
    }
}

fn signer() -> Signer<'static> {
    Signer {
        key_id: "ak-1",
        nonce: "n-1",
        created: NOW,
        expires: None,
    }
}

/// The signature base that belongs to a `Signature-Input`, whatever it covers.
fn base_of<F: Fields + ?Sized>(request: &Request<'_, F>, input: &str) -> String {
    let inputs: sfv::Dictionary = sfv::Parser::new(input).parse().unwrap();
    let (_, entry) = inputs.into_iter().next().unwrap();
    let sfv::ListEntry::InnerList(list) = entry else {
        panic!("not an inner list");
    };
    let covered = base::covered(&list).unwrap();
    base::signature_base(&covered, &base::parameters(list), request).unwrap()
}
