//! Frames as a provider writes them, for the tests of this crate.

/// A frame with these headers, all of them text.
pub(crate) fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(u8::try_from(name.len()).unwrap());
        block.extend(name.bytes());
        block.push(7);
        block.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        block.extend(value.bytes());
    }
    frame_of(&block, payload)
}

/// A frame with these bytes as its headers.
pub(crate) fn frame_of(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    for length in [16 + headers.len() + payload.len(), headers.len()] {
        frame.extend(u32::try_from(length).unwrap().to_be_bytes());
    }
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame.extend(headers);
    frame.extend(payload);
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame
}

/// The frame of an event or of an exception, with the headers that Bedrock gives it.
pub(crate) fn message(kind: &str, name: &str, payload: &str) -> Vec<u8> {
    let type_of = format!(":{kind}-type");
    let headers = [
        (&*type_of, name),
        (":content-type", "application/json"),
        (":message-type", kind),
    ];
    frame(&headers, payload.as_bytes())
}
