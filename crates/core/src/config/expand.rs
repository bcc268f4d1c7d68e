//! References to environment variables in strings.

use std::borrow::Cow;

use super::env::Env;

/// The text with every `${VAR}` and `${VAR:-default}` replaced, and `$$` for a dollar sign. As in a
/// shell, the default also stands in for an empty variable. A `$` before anything else is itself.
///
/// Gives every reference that fails, not only the first.
pub(super) fn expand<'t>(text: &'t str, env: &Env) -> Result<Cow<'t, str>, Vec<String>> {
    if !text.contains('$') {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut problems = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(body) = rest.strip_prefix('{') {
            let Some((reference, after)) = body.split_once('}') else {
                problems.push("a `${` without its `}`; a dollar sign itself is `$$`".to_owned());
                return Err(problems);
            };
            match resolve(reference, env) {
                Ok(value) => out.push_str(value),
                Err(problem) => problems.push(problem),
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    if problems.is_empty() {
        Ok(Cow::Owned(out))
    } else {
        Err(problems)
    }
}

fn resolve<'v>(reference: &'v str, env: &'v Env) -> Result<&'v str, String> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err("a reference that is neither `${NAME}` nor `${NAME:-default}`".to_owned());
    }
    match default {
        None => env.get(name).ok_or_else(|| {
            format!("the environment variable {name} is not set and has no default (`${{{name}:-default}}`)")
        }),
        Some(default) => Ok(env.non_empty(name).unwrap_or(default)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Env {
        [("HOST", "example.org"), ("EMPTY", "")]
            .into_iter()
            .collect()
    }

    #[test]
    fn references_are_replaced() {
        for (text, expanded) in [
            ("plain", "plain"),
            ("https://${HOST}/v1", "https://example.org/v1"),
            ("${HOST}${HOST}", "example.orgexample.org"),
            ("${NONE:-there}", "there"),
            ("${EMPTY:-there}", "there"),
            ("${EMPTY}", ""),
            ("${NONE:-}", ""),
            ("$$ $${HOST} a$b $", "$ ${HOST} a$b $"),
        ] {
            assert_eq!(expand(text, &env()).as_deref(), Ok(expanded), "{text}");
        }
    }

    #[test]
    fn every_reference_that_fails_is_named() {
        let problems = expand("${ONE} ${HOST} ${TWO} ${3} ${", &env()).unwrap_err();
        assert_eq!(problems.len(), 4);
        assert!(problems[0].contains("ONE") && problems[1].contains("TWO"));
        assert!(!problems.concat().contains("example.org"));
    }
}
