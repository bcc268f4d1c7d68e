use crate::event::Mode;
use crate::percent::segment;

const TUNED: &str = "tunedModels/";

/// Where a model is asked, below the version of the API. A stream is asked for as server-sent
/// events; without `alt` it would be one JSON array.
pub(in crate::dialect) fn url(model: &str, mode: Mode) -> String {
    let mut path = place(model);
    path.push_str(match mode {
        Mode::Stream => ":streamGenerateContent?alt=sse",
        Mode::Unary => ":generateContent",
    });
    path
}

/// Where a model is. A tuned one has a name of a place of its own.
pub(super) fn place(model: &str) -> String {
    match model.strip_prefix(TUNED) {
        Some(tuned) => format!("/{TUNED}{}", segment(tuned)),
        None => format!(
            "/models/{}",
            segment(model.strip_prefix("models/").unwrap_or(model))
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tuned_model_is_beside_the_others() {
        assert_eq!(place("tunedModels/a/b"), "/tunedModels/a%2Fb");
    }

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
