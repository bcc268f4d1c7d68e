//! AWS as a provider: its event-stream frames, and whether a request is signed.

use bytes::Bytes;
use everstream_core::id::UnixMillis;
use everstream_core::sign::sigv4::{self, Credentials, Scope};

use super::{ReceivedRequest, Script, Step};

/// A frame of the kind `event` or `exception`, with this type and this JSON for its payload.
pub fn frame(kind: &str, name: &str, payload: &str) -> Bytes {
    let mut headers = Vec::new();
    let of_kind = format!(":{kind}-type");
    for (header, value) in [
        (&*of_kind, name),
        (":content-type", "application/json"),
        (":message-type", kind),
    ] {
        headers.push(u8::try_from(header.len()).expect("a short name"));
        headers.extend(header.bytes());
        // Text.
        headers.push(7);
        let length = u16::try_from(value.len()).expect("a short value");
        headers.extend(length.to_be_bytes());
        headers.extend(value.bytes());
    }
    let mut frame = Vec::new();
    for length in [16 + headers.len() + payload.len(), headers.len()] {
        let length = u32::try_from(length).expect("a small frame");
        frame.extend(length.to_be_bytes());
    }
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame.extend(headers);
    frame.extend(payload.bytes());
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame.into()
}

/// The frames that a golden text has: two lines for each, its kind and type, then its payload, and a
/// blank line.
pub fn frames(text: &str) -> Vec<Bytes> {
    let blocks = text.split("\n\n").map(str::trim);
    let blocks = blocks.filter(|block| !block.is_empty());
    let frames = blocks.map(|block| {
        let (head, payload) = block.split_once('\n').expect("a payload");
        let (kind, name) = head.split_once(' ').expect("a kind and a type");
        frame(kind, name, payload)
    });
    frames.collect()
}

impl Script {
    /// An answer of AWS event-stream frames.
    pub fn event_stream(frames: impl IntoIterator<Item = Bytes, IntoIter: Send + 'static>) -> Self {
        let steps = frames.into_iter().map(Step::Bytes);
        Self::sse_steps(steps).header("content-type", "application/vnd.amazon.eventstream")
    }
}

impl ReceivedRequest {
    /// Whether it is signed for Bedrock in `region` with these credentials, as it was received.
    pub fn is_signed(&self, credentials: &Credentials, region: &str) -> bool {
        self.signed_again(credentials, region)
            .is_some_and(|headers| {
                headers
                    .iter()
                    .all(|(name, value)| self.header(name) == Some(value))
            })
    }

    fn signed_again(
        &self,
        credentials: &Credentials,
        region: &str,
    ) -> Option<Vec<(&'static str, String)>> {
        let now = time_of(self.header("x-amz-date")?)?;
        let (_, names) = self.header("authorization")?.split_once("SignedHeaders=")?;
        let (names, _) = names.split_once(',')?;
        let names = names.split(';').filter(|name| !name.starts_with("x-amz-"));
        let headers: Option<Vec<_>> = names.map(|name| Some((name, self.header(name)?))).collect();
        let target = match &*self.query {
            "" => self.path.clone(),
            query => format!("{}?{query}", self.path),
        };
        let request = sigv4::Request {
            method: &self.method,
            target: &target,
            headers: &headers?,
            body: &self.body,
        };
        let service = "bedrock";
        Some(credentials.sign(Scope { region, service }, &request, now))
    }
}

/// The time of `20150830T123600Z`.
fn time_of(stamp: &str) -> Option<UnixMillis> {
    let number = |from: usize, to: usize| stamp.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    // Years begin in March here, so that the leap day is the last one.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400;
    let days = (days + (153 * month + 2) / 5 + day).checked_sub(719_469)?;
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(UnixMillis(seconds * 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that Amazon's own library reads in `tests/clients/test_bedrock_python.py`.
    #[test]
    fn a_frame_has_its_bytes() {
        let frame = frame("event", "messageStart", r#"{"role":"assistant"}"#);
        let hex = frame.iter().map(|byte| format!("{byte:02x}"));
        let hex = hex.collect::<Vec<_>>().concat();
        let expected = "000000760000005296d5fade0b3a6576656e742d7479706507000c6d65737361676553\
                        746172740d3a636f6e74656e742d747970650700106170706c69636174696f6e2f6a73\
                        6f6e0d3a6d6573736167652d747970650700056576656e747b22726f6c65223a226173\
                        73697374616e74227d6fa8c599";
        assert_eq!(hex, expected);
    }

    #[test]
    fn a_stamp_is_a_time() {
        for (stamp, seconds) in [
            ("19700101T000000Z", 0),
            ("20150830T123600Z", 1_440_938_160),
            ("20240229T235959Z", 1_709_251_199),
        ] {
            assert_eq!(time_of(stamp), Some(UnixMillis(seconds * 1_000)), "{stamp}");
        }
        assert_eq!(time_of("2015"), None);
    }
}
