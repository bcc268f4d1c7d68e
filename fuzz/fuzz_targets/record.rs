//! The log's batches: any bytes are decoded or refused, and what is decoded is encoded to the same
//! records again. The input comes as it is, and once more with a header that makes its checksum
//! right, as the records behind it would hardly ever be reached otherwise.
#![no_main]

use bytes::Bytes;
use everstream_core::record::codec::{Decoded, decode, encode, length, peek};
use libfuzzer_sys::fuzz_target;

const MARK: u32 = 0x5eed_cafe;

fuzz_target!(|input: &[u8]| {
    round_trip(&Bytes::copy_from_slice(input));
    round_trip(&sealed(input));
});

fn round_trip(bytes: &Bytes) {
    let outline = peek(MARK, bytes);
    let _ = length(MARK, bytes);
    let Decoded::Whole {
        outline: whole,
        records,
    } = decode(MARK, bytes)
    else {
        return;
    };
    assert_eq!(outline, Some(whole));
    let mut again = Vec::new();
    if encode(MARK, &whole.head, &records, &mut again).is_ok() {
        let again = decode(MARK, &Bytes::from(again));
        assert!(matches!(again, Decoded::Whole { records: same, .. } if same == records));
    }
}

/// Mark, length and checksum in front of `rest`.
fn sealed(rest: &[u8]) -> Bytes {
    let length = u32::try_from(12 + rest.len())
        .expect("inputs are small")
        .to_le_bytes();
    let mut hash = crc32fast::Hasher::new();
    hash.update(&length);
    hash.update(rest);
    [
        &MARK.to_le_bytes(),
        &length,
        &hash.finalize().to_le_bytes(),
        rest,
    ]
    .concat()
    .into()
}
