//! What upstreams at AWS need beside what all do.

use super::Config;
use super::mistake::Fault;
use super::read::Reader;
use crate::dialect::ProviderDialect;

/// Bedrock lists its models on another host, and a key of AWS's has two halves.
pub(super) fn check(config: &Config, reader: &mut Reader<'_>) {
    for (index, upstream) in config.upstreams.iter().enumerate() {
        let at = |field: &str| format!("upstreams[{index}].{field}");
        let bedrock = upstream.dialect() == ProviderDialect::Bedrock;
        if bedrock && upstream.models.is_none() && !reader.doubtful(&at("models")) {
            let problem = "Bedrock does not list its models where it serves them";
            let hint = "set `models` to their ids, their ARNs or the names of inference profiles";
            let named = if upstream.dialect.is_some() {
                "dialect"
            } else {
                "provider"
            };
            reader.note_at(&at(named), Fault::from(problem).hint(hint));
        }
        let (id, secret) = ("aws_access_key_id", "aws_secret_access_key");
        let halves = (
            upstream.aws_access_key_id.is_some(),
            upstream.aws_secret_access_key.is_some(),
        );
        let (there, missing) = match halves {
            (true, false) => (id, secret),
            (false, true) => (secret, id),
            _ => continue,
        };
        if !reader.doubtful(&at(missing)) {
            let problem = format!("`{missing}` is missing beside it");
            reader.note_at(&at(there), problem.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Env, Source};

    fn told(fields: &str) -> Option<String> {
        let text = format!(
            "[[upstreams]]\nname = \"b\"\nbase_url = \"https://a\"\ndialect = \"bedrock\"\n{fields}"
        );
        let source = Source {
            name: "a.toml",
            text: &text,
        };
        let errors = Config::parse(Some(source), &Env::default()).err()?;
        Some(errors.to_string())
    }

    #[test]
    fn what_bedrock_needs_is_asked_for_where_it_belongs() {
        let told_of = |fields: &str, words: &[&str]| {
            let told = told(fields).unwrap();
            assert!(words.iter().all(|word| told.contains(word)), "{told}");
        };
        told_of("", &["a.toml:4", "set `models`"]);
        let models = "models = [\"m\"]\n";
        assert_eq!(told(models), None);
        let id = format!("{models}aws_access_key_id = \"AKID\"\n");
        told_of(&id, &["a.toml:6", "`aws_secret_access_key` is missing"]);
        let secret = "aws_secret_access_key = \"s/+\"\n";
        told_of(
            &format!("{models}{secret}"),
            &["a.toml:6", "`aws_access_key_id` is missing"],
        );
        assert_eq!(told(&format!("{id}{secret}")), None);
        told_of(
            &format!("{models}aws_region = \"us east\""),
            &["aws_region"],
        );
    }
}
