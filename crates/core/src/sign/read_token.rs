//! Tokens that let a browser's `EventSource`, which cannot set headers, read one stream for a short
//! time: `<expiry, unix seconds>.<HMAC-SHA-256 over stream id and expiry, base64url>`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::error::{Error, ErrorCode};
use crate::id::{StreamId, UnixMillis};

/// Signs and verifies read tokens with a secret that all processes on a data directory share.
pub struct ReadTokens {
    secret: [u8; 32],
}

impl std::fmt::Debug for ReadTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReadTokens")
    }
}

impl ReadTokens {
    /// A signer with this secret.
    pub const fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    /// A token for `stream`, good until `expires_at` (whole seconds).
    pub fn sign(&self, stream: StreamId, expires_at: UnixMillis) -> String {
        let expiry = expires_at.0 / 1000;
        let tag = self.mac(stream, expiry).finalize().into_bytes();
        format!("{expiry}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// Checks that `token` is for `stream` and still good.
    ///
    /// # Errors
    /// [`ErrorCode::Unauthorized`], which does not tell whether the stream exists.
    pub fn verify(&self, stream: StreamId, token: &str, now: UnixMillis) -> Result<(), Error> {
        let refused = |why| Err(Error::new(ErrorCode::Unauthorized, why).param("token"));
        let wrong = "This read token is not for this stream. Ask for one at POST .../token.";
        let Some((expiry, tag)) = token.split_once('.') else {
            return refused(wrong);
        };
        let (Ok(expiry), Ok(tag)) = (expiry.parse::<u64>(), URL_SAFE_NO_PAD.decode(tag)) else {
            return refused(wrong);
        };
        if self.mac(stream, expiry).verify_slice(&tag).is_err() {
            return refused(wrong);
        }
        if expiry < now.0 / 1000 {
            return refused("This read token has expired. Ask for a new one at POST .../token.");
        }
        Ok(())
    }

    fn mac(&self, stream: StreamId, expiry: u64) -> Hmac<Sha256> {
        let mut mac =
            <Hmac<Sha256>>::new_from_slice(&self.secret).expect("HMAC takes a key of any length");
        mac.update(b"everstream read token 1\n");
        mac.update(&stream.to_bits().to_be_bytes());
        mac.update(&expiry.to_be_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    #[test]
    fn a_token_reads_its_stream_until_it_expires() {
        let tokens = ReadTokens::new([7; 32]);
        let stream = StreamId::from_bits(42);
        let token = tokens.sign(stream, UnixMillis(1_005_000));
        assert!(tokens.verify(stream, &token, NOW).is_ok());
        assert!(tokens.verify(stream, &token, UnixMillis(1_005_999)).is_ok());
        assert!(
            tokens
                .verify(stream, &token, UnixMillis(1_006_000))
                .is_err()
        );
        assert!(tokens.verify(StreamId::from_bits(43), &token, NOW).is_err());
        assert!(
            ReadTokens::new([8; 32])
                .verify(stream, &token, NOW)
                .is_err()
        );
    }

    #[test]
    fn no_altered_token_passes() {
        let tokens = ReadTokens::new([7; 32]);
        let stream = StreamId::from_bits(42);
        let token = tokens.sign(stream, UnixMillis(1_005_000));
        for at in 0..token.len() {
            let mut altered = token.clone().into_bytes();
            altered[at] = if altered[at] == b'1' { b'2' } else { b'1' };
            let altered = String::from_utf8(altered).unwrap();
            // The last character of the base64 has two unused bits, which the decoder refuses.
            assert!(tokens.verify(stream, &altered, NOW).is_err(), "{altered}");
        }
        for garbage in ["", ".", "1.", ".a", "1.2.3", "é.é"] {
            assert!(tokens.verify(stream, garbage, NOW).is_err());
        }
    }
}
