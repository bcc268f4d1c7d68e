use crate::event::Mode;

/// Where a model is asked. Its name may be an ARN, which has slashes and colons.
pub(in crate::dialect) fn url(model: &str, mode: Mode) -> String {
    let mut path = String::from("/model/");
    for byte in model.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                path.push(char::from(byte));
            }
            _ => {
                use std::fmt::Write as _;
                let _infallible = write!(path, "%{byte:02X}");
            }
        }
    }
    path.push_str(match mode {
        Mode::Stream => "/converse-stream",
        Mode::Unary => "/converse",
    });
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment() {
        assert_eq!(
            url("anthropic.claude-sonnet-4-20250514-v1:0", Mode::Unary),
            "/model/anthropic.claude-sonnet-4-20250514-v1%3A0/converse"
        );
        assert_eq!(
            url(
                "arn:aws:bedrock:us-east-1:1:inference-profile/us.a",
                Mode::Stream
            ),
            "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.a/converse-stream"
        );
    }
}
