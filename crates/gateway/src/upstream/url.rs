use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// The address of an upstream's API: `http` or `https`, a host, a port, and a path prefix without
/// a slash at its end. It cannot hold a password or a query, so printing it leaks nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    https: bool,
    /// A name in lower case, or an address without brackets.
    host: String,
    port: u16,
    /// Empty, or with a slash at its beginning and none at its end.
    prefix: String,
}

impl BaseUrl {
    /// Whether it asks for TLS.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The host's name, or its address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, the scheme's own if none was written.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path of everything below this address.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The same with `version` at the end of the prefix, if it is not there already.
    #[must_use]
    pub fn versioned(mut self, version: &str) -> Self {
        if !self.prefix.ends_with(version) {
            self.prefix.push_str(version);
        }
        self
    }

    /// The same without `version` at the end of the prefix.
    #[must_use]
    pub fn without(mut self, version: &str) -> Self {
        if let Some(rest) = self.prefix.strip_suffix(version) {
            self.prefix.truncate(rest.len());
        }
        self
    }

    /// The value of the `Host` header: the port only where it is not the scheme's own.
    pub fn authority(&self) -> String {
        let host = match self.host.parse() {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            _ => self.host.clone(),
        };
        if self.port == default_port(self.https) {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.prefix)
    }
}

impl FromStr for BaseUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(UrlError::Scheme),
        };
        if rest.contains(['?', '#']) {
            return Err(UrlError::Query);
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UrlError::Userinfo);
        }
        let (host, port) = split_port(authority)?;
        let prefix = path.trim_end_matches('/');
        if !prefix
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b))
        {
            return Err(UrlError::Path);
        }
        Ok(Self {
            https,
            host,
            port: port.unwrap_or(default_port(https)),
            prefix: prefix.to_owned(),
        })
    }
}

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

fn split_port(authority: &str) -> Result<(String, Option<u16>), UrlError> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(UrlError::Host)?;
        let address: Ipv6Addr = address.parse().map_err(|_| UrlError::Host)?;
        (address.to_string(), port)
    } else {
        let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if host.is_empty() || !host.bytes().all(allowed) {
            return Err(UrlError::Host);
        }
        (host.to_ascii_lowercase(), port)
    };
    if port.is_empty() {
        return Ok((host, None));
    }
    let digits = port.strip_prefix(':').unwrap_or_default();
    let number = digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok());
    match number.flatten() {
        None | Some(0) => Err(UrlError::Port),
        number => Ok((host, number)),
    }
}

/// Text that is no base URL. It is not repeated in the error: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Neither `http` nor `https`.
    #[error("the base URL must begin with http:// or https://")]
    Scheme,
    /// A name or password before the host.
    #[error("the base URL must not hold a user name or password: put the key into api_key")]
    Userinfo,
    /// A query or fragment.
    #[error("the base URL must not have a query or fragment: requests add their paths to it")]
    Query,
    /// No host, or none that can be resolved.
    #[error("the base URL needs a host: a name in ASCII, an IPv4 address, or [IPv6]")]
    Host,
    /// Not a port number.
    #[error("the port of the base URL must be a number from 1 to 65535")]
    Port,
    /// A path with characters that have to be percent-encoded.
    #[error("the path of the base URL has a space or another character that must be %-encoded")]
    Path,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<BaseUrl, UrlError> {
        text.parse()
    }

    #[test]
    fn the_parts_are_where_they_belong() {
        for (text, https, host, port, prefix, authority) in [
            (
                "https://api.openai.com/v1",
                true,
                "api.openai.com",
                443,
                "/v1",
                "api.openai.com",
            ),
            (
                "HTTP://LocalHost:8000",
                false,
                "localhost",
                8000,
                "",
                "localhost:8000",
            ),
            (
                "http://127.0.0.1:80/v1//",
                false,
                "127.0.0.1",
                80,
                "/v1",
                "127.0.0.1",
            ),
            ("https://[::1]:443/a/b/", true, "::1", 443, "/a/b", "[::1]"),
            (
                "http://[fe80::1]:81",
                false,
                "fe80::1",
                81,
                "",
                "[fe80::1]:81",
            ),
        ] {
            let url = parse(text).expect(text);
            assert_eq!(
                (url.is_https(), url.host(), url.port()),
                (https, host, port),
                "{text}"
            );
            assert_eq!(
                (url.prefix(), url.authority().as_str()),
                (prefix, authority),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_nothing_is_repeated() {
        for (text, error) in [
            ("api.openai.com/v1", UrlError::Scheme),
            ("ftp://a", UrlError::Scheme),
            ("https://user:canary@a/v1", UrlError::Userinfo),
            ("https://a/v1?key=canary", UrlError::Query),
            ("https://a/v1#canary", UrlError::Query),
            ("https:///v1", UrlError::Host),
            ("https://:80", UrlError::Host),
            ("https://b\u{fc}cher.example", UrlError::Host),
            ("https://[::1", UrlError::Host),
            ("https://[1.2.3.4]", UrlError::Host),
            ("https://a b", UrlError::Host),
            ("https://a:", UrlError::Port),
            ("https://a:0", UrlError::Port),
            ("https://a:65536", UrlError::Port),
            ("https://a:+1", UrlError::Port),
            ("https://[::1]x", UrlError::Port),
            ("https://a/v 1", UrlError::Path),
            ("https://a/v\r\n1", UrlError::Path),
        ] {
            assert_eq!(parse(text), Err(error), "{text:?}");
            assert!(!error.to_string().contains("canary"));
        }
    }

    proptest! {
        #[test]
        fn what_parses_prints_and_parses_again(text in "(https?://)?[a-c.:\\[\\]1/@]{0,16}") {
            if let Ok(url) = parse(&text) {
                prop_assert_eq!(parse(&url.to_string()), Ok(url));
            }
        }
    }
}
