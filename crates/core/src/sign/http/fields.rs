//! A request as its signature sees it.

/// The header fields of a request.
pub trait Fields {
    /// Shows each value of the field `name`, which is lower case, in the order received.
    fn each(&self, name: &str, see: &mut dyn FnMut(&[u8]));
}

impl<N: AsRef<str>, V: AsRef<[u8]>> Fields for [(N, V)] {
    fn each(&self, name: &str, see: &mut dyn FnMut(&[u8])) {
        self.iter()
            .filter(|(field, _)| field.as_ref().eq_ignore_ascii_case(name))
            .for_each(|(_, value)| see(value.as_ref()));
    }
}

/// A request, as the client addressed it: behind a proxy that changes scheme or authority the caller
/// has to know the client's.
#[derive(Debug)]
pub struct Request<'a, F: ?Sized> {
    /// `POST`
    pub method: &'a str,
    /// `https`
    pub scheme: &'a str,
    /// `Host` or `:authority`, such as `api.example:8443`.
    pub authority: &'a str,
    /// Path and query as they stood in the request line.
    pub target: &'a str,
    /// The header fields.
    pub fields: &'a F,
}

impl<F: Fields + ?Sized> Request<'_, F> {
    /// The path; empty is `/` (RFC 9421, 2.2.6).
    pub(super) fn path(&self) -> &str {
        let path = self.target.split('?').next().unwrap_or_default();
        if path.is_empty() { "/" } else { path }
    }

    /// The query without its question mark.
    pub(super) fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The authority in lower case, without the scheme's own port (RFC 9421, 2.2.3).
    pub(super) fn authority(&self) -> String {
        let authority = self.authority.to_ascii_lowercase();
        let port = match self.scheme {
            "https" => ":443",
            "http" => ":80",
            _ => return authority,
        };
        match authority.strip_suffix(port) {
            Some(host) => host.to_owned(),
            None => authority,
        }
    }

    /// All values of a field as one (RFC 9421, 2.1); `None` if there is none or one is not visible
    /// ASCII.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let mut all: Option<String> = None;
        let mut ascii = true;
        self.fields.each(name, &mut |value| {
            let visible = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
            ascii &= value.iter().all(visible);
            let value = String::from_utf8_lossy(value.trim_ascii());
            match &mut all {
                Some(all) => {
                    all.push_str(", ");
                    all.push_str(&value);
                }
                None => all = Some(value.into_owned()),
            }
        });
        all.filter(|_| ascii)
    }
}
