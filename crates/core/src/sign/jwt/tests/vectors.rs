//! RFC 7515, A.2 and A.3, and RFC 8037, A.4.

use super::*;

const N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const RS256: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const ES256: &str =
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

fn rfc_keys() -> Jwks {
    let keys = json!({"keys": [
        {"kty": "RSA", "n": N, "e": "AQAB"},
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        },
        {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    ]});
    Jwks::parse(keys.to_string().as_bytes()).unwrap()
}

/// The examples have no audience and no project, and were good in 2011.
fn accept_joe(token: &str, algorithm: Algorithm) -> Result<Identity, JwtError> {
    let joe = Issuer {
        name: "joe".to_owned(),
        algorithms: vec![algorithm],
        ..issuer()
    };
    joe.accept(
        &Token::parse(token)?,
        &rfc_keys(),
        &AwsLc,
        UnixMillis(1_300_000_000_000),
    )
}

#[test]
fn rs256_and_es256() {
    for (header, signature, algorithm) in [
        (r#"{"alg":"RS256"}"#, RS256, Algorithm::Rs256),
        (r#"{"alg":"ES256"}"#, ES256, Algorithm::Es256),
    ] {
        let token = format!("{}.{CLAIMS}.{signature}", encode(header));
        assert_eq!(accept_joe(&token, algorithm), Err(JwtError::Audience));
        let altered = format!("{}.{CLAIMS}.{signature}", encode(header.replace('}', " }")));
        assert_eq!(accept_joe(&altered, algorithm), Err(JwtError::Signature));
        let last = Algorithm::EdDsa;
        assert_eq!(accept_joe(&token, last), Err(JwtError::Algorithm));
        let late = Issuer {
            name: "joe".to_owned(),
            algorithms: vec![algorithm],
            ..issuer()
        };
        let late = late.accept(&Token::parse(&token).unwrap(), &rfc_keys(), &AwsLc, NOW);
        assert_eq!(late, Err(JwtError::Expired));
    }
}

#[test]
fn eddsa() {
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    // Its payload is a sentence.
    assert!(matches!(Token::parse(token), Err(JwtError::Malformed(_))));
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let keys = rfc_keys();
    let key = keys.key(None, Algorithm::EdDsa).unwrap();
    assert!(AwsLc.verify(key, message.as_bytes(), &signature));
    assert!(!AwsLc.verify(key, b"other", &signature));
}
