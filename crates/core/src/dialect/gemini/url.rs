use crate::event::Mode;
use crate::percent::segment;

/// Where a model is asked, below the version of the API. A stream is asked for as server-sent
/// events; without `alt` it would be one JSON array.
pub(in crate::dialect) fn url(model: &str, mode: Mode) -> String {
    let model = model.strip_prefix("models/").unwrap_or(model);
    let mut path = format!("/models/{}", segment(model));
    path.push_str(match mode {
        Mode::Stream => ":streamGenerateContent?alt=sse",
        Mode::Unary => ":generateContent",
    });
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_place() {
        assert_eq!(
            url("models/gemini-2.5-pro", Mode::Unary),
            "/models/gemini-2.5-pro:generateContent"
        );
        assert_eq!(
            url("../a?b#c", Mode::Stream),
            "/models/..%2Fa%3Fb%23c:streamGenerateContent?alt=sse"
        );
    }
}
