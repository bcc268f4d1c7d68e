use bytes::{Buf as _, Bytes};

use super::AwsError;

/// A header whose value is text.
pub(super) struct Header {
    pub(super) name: Bytes,
    pub(super) text: Bytes,
}

/// Calls `visit` for each header that is text; all others are only passed over.
pub(super) fn headers(block: &Bytes, mut visit: impl FnMut(Header)) -> Result<(), AwsError> {
    let mut rest = block.clone();
    while rest.has_remaining() {
        let length = usize::from(rest.get_u8());
        let name = take(&mut rest, length)?;
        let kind = take(&mut rest, 1)?[0];
        let length = match kind {
            // True and false.
            0 | 1 => 0,
            // Numbers of 1, 2, 4 and 8 bytes, and a time of 8.
            2 => 1,
            3 => 2,
            4 => 4,
            5 | 8 => 8,
            // Bytes and text, with their length.
            6 | 7 => usize::from(take(&mut rest, 2)?.get_u16()),
            // A UUID.
            9 => 16,
            _ => return Err(AwsError::Malformed("a header of no known type")),
        };
        let text = take(&mut rest, length)?;
        if kind == 7 {
            visit(Header { name, text });
        }
    }
    Ok(())
}

fn take(rest: &mut Bytes, length: usize) -> Result<Bytes, AwsError> {
    if length > rest.len() {
        return Err(AwsError::Malformed("headers that are cut"));
    }
    Ok(rest.split_to(length))
}
