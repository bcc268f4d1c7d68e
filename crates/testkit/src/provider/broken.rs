use bytes::Bytes;

use super::answer::ChatAnswer;
use super::script::{Script, Step};

/// Answers that are no answers.
impl Script {
    /// 200 with a page for people, as a captive portal or a wrong base URL gives it.
    pub fn html_200() -> Self {
        let page = "<!DOCTYPE html><html><body><h1>Welcome to nginx!</h1></body></html>";
        Self::status(200, &[("content-type", "text/html")], page)
    }

    /// An event stream of one line without an end. It goes on until the client leaves.
    pub fn endless_line() -> Self {
        let more = Bytes::from(vec![b'x'; 16 << 10]);
        let start = Step::Bytes(Bytes::from_static(
            b"data: {\"choices\":[{\"delta\":{\"content\":\"",
        ));
        let rest = std::iter::repeat_with(move || [Step::Bytes(more.clone()), Step::Flush]);
        Self::sse_steps(std::iter::once(start).chain(rest.flatten()))
    }

    /// An event stream of bytes that are neither UTF-8 nor events.
    pub fn binary() -> Self {
        let bytes: Vec<u8> = (0..=255).cycle().take(4096).collect();
        Self::sse_steps([Step::Bytes(bytes.into())])
    }

    /// 200 with the first half of a JSON body, as if it were whole.
    pub fn half_json() -> Self {
        let whole = ChatAnswer::new(["half", " a", " word"])
            .to_json()
            .to_string();
        let half = whole[..whole.len() / 2].to_owned();
        Self::status(200, &[("content-type", "application/json")], half)
    }

    /// An event stream that says it is gzip, and is not.
    pub fn gzip_garbage() -> Self {
        let garbage: &[u8] = b"\x1f\x8b\x08\x00not gzip at all, whatever the first bytes say";
        Self::sse_steps([Step::Bytes(garbage.into())]).header("content-encoding", "gzip")
    }
}
