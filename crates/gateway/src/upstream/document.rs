//! Documents of others that are read now and then, such as the keys of an issuer of tokens.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use everstream_core::frame::http1::ResponseHead;
use everstream_core::provider::Auth;

use super::secrets::Trouble;
use super::{Proxies, Reach, Request, SpecError, Upstream, UpstreamError, UpstreamSpec};

/// A document at a URL.
pub(crate) struct Document {
    url: String,
    way: Way,
    upstream: Arc<Upstream>,
    target: String,
}

/// How documents are reached.
#[derive(Clone)]
pub(crate) struct Way {
    /// How far the names of their hosts may lead.
    pub(crate) reach: Reach,
    /// Certificates to trust beside those of the system.
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) proxies: Proxies,
    /// How long all of an exchange may take.
    pub(crate) timeout: Duration,
}

/// What was read.
pub(crate) struct Fetched {
    pub(crate) bytes: Vec<u8>,
    /// How long it may be used without asking again (RFC 9111, 5.2.2), if that was said.
    pub(crate) max_age: Option<Duration>,
}

impl Document {
    /// The document at a URL that the operator wrote.
    pub(crate) fn new(url: &str, way: Way) -> Result<Self, SpecError> {
        let (origin, target) = split(url);
        let upstream = Upstream::new(UpstreamSpec {
            auth: Some(Auth::None),
            reach: way.reach,
            ca_file: way.ca_file.clone(),
            proxies: way.proxies.clone(),
            connect_timeout: way.timeout / 2,
            ..UpstreamSpec::new(url, origin)
        })?;
        Ok(Self {
            url: url.to_owned(),
            way,
            upstream: Arc::new(upstream),
            target,
        })
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Another document, which this one names. It may not be less safe to reach, nor lead anywhere
    /// that the operator did not name.
    pub(crate) fn named_here(&self, url: &str) -> Result<Self, Trouble> {
        let named = Self::new(url, self.way.clone());
        let named = named.map_err(|error| Trouble::refused(error.to_string()))?;
        let (own, other) = (self.upstream.base_url(), named.upstream.base_url());
        if own.is_https() && !other.is_https() {
            let text = format!("{} leads to {url}, which is not https", self.url);
            return Err(Trouble::refused(text));
        }
        let meant = own.host() == other.host();
        if !meant && Reach::Public.as_written(other.host()) > self.way.reach {
            let text = format!(
                "{} leads to {url}, a private address: is allow_private meant?",
                self.url
            );
            return Err(Trouble::refused(text));
        }
        Ok(named)
    }

    /// Reads it, if it has at most `most` bytes.
    pub(crate) async fn fetch(&self, most: usize) -> Result<Fetched, Trouble> {
        let limit = self.way.timeout;
        let fetched = tokio::time::timeout(limit, Box::pin(self.exchange(most))).await;
        let fetched = fetched.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")));
        fetched.map_err(|why| Trouble::refused(format!("{}: {why}", self.url)))
    }

    async fn exchange(&self, most: usize) -> Result<Fetched, String> {
        let told = |error: UpstreamError| error.kind.to_string();
        let request = Request {
            method: "GET",
            path: &self.target,
            headers: &[("accept", "application/json")],
            body: None,
        };
        let mut response = self.upstream.send(request).await.map_err(told)?;
        let status = response.head.status;
        if status != 200 {
            return Err(format!("the answer has the status {status}"));
        }
        let mut bytes = Vec::new();
        while let Some(piece) = response.body.read().await.map_err(told)? {
            if bytes.len() + piece.len() > most {
                return Err(format!("the answer is larger than {most} bytes"));
            }
            bytes.extend_from_slice(&piece);
        }
        let max_age = max_age(&response.head);
        Ok(Fetched { bytes, max_age })
    }
}

/// The origin of a URL, and its path with its query.
fn split(url: &str) -> (&str, String) {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?']);
    let (origin, target) = url.split_at(end.map_or(url.len(), |at| host + at));
    let slash = if target.starts_with('/') { "" } else { "/" };
    (origin, format!("{slash}{target}"))
}

fn max_age(head: &ResponseHead) -> Option<Duration> {
    let mut directives = head.get_str("cache-control")?.split(',').map(str::trim);
    directives.find_map(|directive| {
        let (name, value) = directive.split_once('=').unwrap_or((directive, "0"));
        let is_age = name.eq_ignore_ascii_case("max-age");
        let never = ["no-cache", "no-store"];
        if never.iter().any(|never| name.eq_ignore_ascii_case(never)) {
            return Some(Duration::ZERO);
        }
        let seconds = value.trim_matches('"').parse().ok().filter(|_| is_age)?;
        Some(Duration::from_secs(seconds))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_its_origin_and_what_is_asked_there() {
        for (url, origin, target) in [
            ("https://a.example", "https://a.example", "/"),
            ("https://a.example/", "https://a.example", "/"),
            ("http://[::1]:9/k/", "http://[::1]:9", "/k/"),
            ("https://a/k?p=x/y", "https://a", "/k?p=x/y"),
            ("https://a?p", "https://a", "/?p"),
        ] {
            assert_eq!(split(url), (origin, target.to_owned()), "{url}");
        }
    }

    #[test]
    fn what_a_document_names_is_as_safe_to_reach() {
        let way = |reach| Way {
            reach,
            ca_file: None,
            proxies: Proxies::default(),
            timeout: Duration::from_secs(1),
        };
        let from = |url: &str, reach, to: &str| {
            let document = Document::new(url, way(reach)).expect("a URL");
            document.named_here(to).is_ok()
        };
        let (public, private) = (Reach::Public, Reach::Private);
        assert!(from("https://id.example", public, "https://keys.example/k"));
        assert!(from("https://127.0.0.1:1", public, "https://127.0.0.1:2/k"));
        assert!(from("http://127.0.0.1:1", public, "https://keys.example/k"));
        assert!(from("https://id.example", private, "https://10.0.0.1/k"));
        for to in [
            "http://id.example/k",
            "https://10.0.0.1/k",
            "https://[fd00::1]/k",
            "https://localhost/k",
            "file:///etc/passwd",
            "https://user@id.example/k",
            "",
        ] {
            assert!(!from("https://id.example", public, to), "{to}");
        }
    }
}
