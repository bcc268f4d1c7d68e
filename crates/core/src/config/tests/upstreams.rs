use super::*;
use crate::dialect::ProviderDialect;
use crate::provider::Auth;

fn upstream(text: &str, env: &[(&str, &str)]) -> UpstreamConfig {
    let config = parse(&format!("[[upstreams]]\n{text}"), env).unwrap();
    config.upstreams.into_iter().next().unwrap()
}

#[test]
fn a_provider_gives_what_is_not_said() {
    let env = [("DEEPSEEK_API_KEY", "sk-1\n")];
    let deepseek = upstream("provider = 'deepseek'", &env);
    assert_eq!(deepseek.name(), "deepseek");
    assert_eq!(deepseek.base_url(), "https://api.deepseek.com");
    assert_eq!(deepseek.dialect(), ProviderDialect::OpenAiChat);
    assert_eq!(deepseek.auth(), Auth::Bearer);
    assert_eq!(deepseek.api_key, Some(Secret::new("sk-1").into()));

    let text = "provider = 'gemini'\nname = 'g'\nbase_url = 'http://proxy/v1beta'";
    let gemini = upstream(text, &[("GEMINI_API_KEY", "k")]);
    assert_eq!(
        (gemini.name(), gemini.base_url()),
        ("g", "http://proxy/v1beta")
    );
    assert_eq!(gemini.dialect(), ProviderDialect::Gemini);
    assert_eq!(gemini.auth(), Auth::XGoogApiKey);

    // Its API of another maker's, with the other's way of sending keys.
    let text = "provider = 'deepseek'\ndialect = 'anthropic'\nname = 'd'\n\
                base_url = 'https://api.deepseek.com/anthropic'";
    let other = upstream(text, &env);
    assert_eq!(other.auth(), Auth::XApiKey);
    assert_eq!(
        upstream(&format!("{text}\nauth = 'bearer'"), &env).auth(),
        Auth::Bearer
    );
}

#[test]
fn the_key_of_an_sdk_goes_to_its_provider_alone() {
    let env = [("GROQ_API_KEY", "k"), ("AZURE_OPENAI_API_KEY", "a")];
    let key = |text: &str| upstream(text, &env).api_key;
    assert_eq!(
        key("provider = 'groq'\nbase_url = 'https://elsewhere/v1'"),
        None
    );
    let eu = "provider = 'groq'\nbase_url = 'https://eu.API.groq.com:443/openai/v1'";
    assert_eq!(key(eu), Some(Secret::new("k").into()));
    let azure = "provider = 'azure'\nbase_url = 'https://r.openai.azure.com'";
    assert_eq!(key(azure), Some(Secret::new("a").into()));
    assert_eq!(
        key("provider = 'groq'\napi_key = 'own'"),
        Some(Secret::new("own").into())
    );
    assert_eq!(
        key("name = 'a'\nbase_url = 'https://api.groq.com/openai/v1'"),
        None
    );
    let broken = mistakes(
        "[[upstreams]]\nprovider = 'groq'",
        &[("GROQ_API_KEY", "a b")],
    );
    assert!(
        broken[0].starts_with("GROQ_API_KEY: upstreams[0].api_key: the key has blanks"),
        "{broken:?}"
    );
}

#[test]
fn several_keys_are_other_keys_and_all_there_are() {
    let env = [("A", "sk-1"), ("B", "sk-2"), ("GROQ_API_KEY", "env")];
    let keys = |text: &str| {
        let upstream = upstream(text, &env);
        let keys = upstream.keys();
        keys.map(|key| key.literal().unwrap().expose().to_owned())
            .collect::<Vec<_>>()
    };
    let several = "provider = 'groq'\napi_keys = ['${A}', '${B}']";
    assert_eq!(keys(several), ["sk-1", "sk-2"]);
    assert_eq!(keys("provider = 'groq'\napi_keys = []"), ["env"]);
    for (more, fault) in [
        (
            "api_key = 'x'\napi_keys = ['y']",
            "api_keys: there is an `api_key` beside it",
        ),
        (
            "api_keys = ['${A}', '${B}', '${A}']",
            "api_keys[2]: the same key twice",
        ),
        ("api_keys = ['']", "api_keys[0]: the key is empty"),
        ("api_keys = 'a'", "api_keys: "),
    ] {
        let found = mistakes(&format!("[[upstreams]]\nprovider = 'groq'\n{more}"), &env);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains(fault) && !found[0].contains("sk-"),
            "{found:?}"
        );
    }
}

#[test]
fn google_and_azure_have_addresses_of_their_customers() {
    let text = "provider = 'vertex'\nproject = 'p'\nlocation = 'us-central1'";
    let vertex = upstream(text, &[("GOOGLE_APPLICATION_CREDENTIALS", "/k.json")]);
    assert_eq!(
        vertex.base_url(),
        "https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1/\
         publishers/google"
    );
    assert_eq!(vertex.credentials, Some("/k.json".into()));
    assert_eq!(vertex.auth(), Auth::Google);
    let text = "name = 'g'\nbase_url = 'https://g/v1'\nauth = 'google'";
    let other = upstream(text, &[("GOOGLE_APPLICATION_CREDENTIALS", "/k.json")]);
    assert_eq!(other.credentials, Some("/k.json".into()));
    let found = mistakes(
        "[[upstreams]]\nprovider = 'vertex'\n[[upstreams]]\nprovider = 'azure'",
        &[],
    );
    let expected = [
        "everstream.toml:1:1: upstreams[0].project: the field is missing; expected 1 to 128 \
         characters of A-Z a-z 0-9 . _ : -",
        "everstream.toml:3:1: upstreams[1].base_url: the field is missing; expected `http://` or \
         `https://`, a host, and the path up to `/v1`",
    ];
    assert_eq!(found, expected);
}

#[test]
fn mistakes_about_providers_say_what_to_do() {
    let text = "[[upstreams]]\nprovider = 'deepsek'\n[[upstreams]]\nprovider = 'groq'\n\
                [[upstreams]]\nprovider = 'groq'\n[aliases]\nfast = 'grok/m'\nslow = 'groq/m'";
    let found = mistakes(text, &[]);
    assert!(
        found[0].starts_with(
            "everstream.toml:2:12: upstreams[0].provider: no such provider is known; \
                              expected one of `openai`, "
        ),
        "{found:?}"
    );
    assert!(found[0].ends_with("; did you mean `deepseek`?"));
    assert_eq!(
        found[1],
        "everstream.toml:6:12: upstreams[2].provider: without a `name` it has its provider's, the \
         same as at everstream.toml:4:12; give it a `name` of its own"
    );
    assert!(found[2].contains("aliases.fast: ") && found[2].contains("did you mean `groq`?"));
    assert_eq!(found.len(), 3);
}

#[test]
fn what_adapts_has_two_ends() {
    let entry = |text: &str| format!("[[upstreams]]\nprovider = 'groq'\napi_key = 'k'\n{text}");
    let good = "min_concurrency = 2\nmax_concurrency = 2";
    assert!(parse(&entry(good), &[]).is_ok());
    assert_eq!(
        mistakes(&entry("min_concurrency = 2"), &[]),
        [
            "everstream.toml:4:19: upstreams[0].min_concurrency: there is no max_concurrency, between \
          which and this it adapts; add `max_concurrency`, such as 200"
        ]
    );
    assert_eq!(
        mistakes(&entry("min_concurrency = 3\nmax_concurrency = 2"), &[]),
        [
            "everstream.toml:4:19: upstreams[0].min_concurrency: 3 is larger than max_concurrency, \
          which is 2"
        ]
    );
}

#[test]
fn a_secret_may_be_elsewhere() {
    let env = [
        ("DIR", "/run/secrets"),
        ("VAULT_ADDR", "http://v:8200/"),
        ("VAULT_TOKEN", "t"),
    ];
    let text = "name = 'a'\nbase_url = 'http://a'\napi_keys = ['file:${DIR}/a', 'vault:secret/data/a#key']\n\
                headers = { 'x-a' = 'vault:kv/b#c d'  }";
    let told = mistakes(&format!("[[upstreams]]\n{text}"), &env).concat();
    assert!(told.contains("not the name of a field"), "{told}");
    let text = text.replace("c d", "c");
    let config = parse(&format!("[[upstreams]]\n{text}"), &env).unwrap();
    let upstream = &config.upstreams[0];
    let shown: Vec<_> = upstream
        .secrets()
        .map(|(field, source)| format!("{field} {source}"))
        .collect();
    assert_eq!(
        shown,
        [
            "api_keys file:/run/secrets/a",
            "api_keys vault:secret/data/a#key",
            "headers vault:kv/b#c"
        ]
    );
    assert_eq!(config.vault.address.as_deref(), Some("http://v:8200"));
    assert_eq!(config.vault.token, Some(Secret::new("t").into()));

    for (reference, told) in [
        ("file:", "the path is empty"),
        ("file:~/a", "`~` means nothing"),
        ("vault:secret/data/a", "which field"),
        ("vault:/secret#a", "not the path"),
        ("vault:secret//a#a", "not the path"),
        ("vault:secret/../sys#a", "not the path"),
        ("vault:secret/a?b#a", "not the path"),
        ("vault:#a", "not the path"),
        ("vault:a#", "not the name of a field"),
    ] {
        let text =
            format!("[[upstreams]]\nname = 'a'\nbase_url = 'http://a'\napi_key = '{reference}'");
        let problems = mistakes(&text, &env).concat();
        assert!(problems.contains(told), "{reference}: {problems}");
    }
}

#[test]
fn vault_has_what_it_is_asked_with_or_is_not_asked() {
    let user = "[[upstreams]]\nname = 'a'\nbase_url = 'http://a'\napi_key = 'vault:a/b#c'\n";
    for (vault, env, told) in [
        ("", &[][..], &["VAULT_ADDR", "VAULT_TOKEN"][..]),
        ("", &[("VAULT_ADDR", "v")], &["not a URL"]),
        (
            "[vault]\naddress = 'http://v'\nauth = 'approle'\nrole_id = 'r'",
            &[],
            &["secret_id"],
        ),
        (
            "[vault]\naddress = 'http://v'\nauth = 'kubernetes'",
            &[],
            &["vault.role:"],
        ),
        (
            "[vault]\naddress = 'http://v'\ntoken = 'vault:a/b#c'",
            &[],
            &["cannot be in it"],
        ),
        (
            "[vault]\naddress = 'http://v'\ntoken = 't'\nnamespace = 'a b'",
            &[],
            &["not a path"],
        ),
    ] {
        let problems = mistakes(&format!("{user}{vault}"), env).concat();
        assert!(
            told.iter().all(|told| problems.contains(told)),
            "{vault}: {problems}"
        );
    }
    // Nobody asks it.
    let config = parse(
        "[[upstreams]]\nname = 'a'\nbase_url = 'http://a'",
        &[("VAULT_ADDR", "v")],
    );
    assert_eq!(config.unwrap().vault.address, None);
}
