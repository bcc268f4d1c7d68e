//! Server-sent events as Everstream must write them: a parser that forgives nothing.

/// One event, or a comment between two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The `event:` field.
    pub event: Option<String>,
    /// The `data:` lines, joined with LF. `None` for a comment.
    pub data: Option<String>,
    /// The `id:` field.
    pub id: Option<String>,
    /// The `retry:` field, milliseconds.
    pub retry: Option<u64>,
    /// The text of a comment line, which is a frame of its own.
    pub comment: Option<String>,
    /// The frame's bytes.
    pub raw: String,
}

impl Frame {
    /// The seq in the id `<stream>.<seq>`.
    pub fn seq(&self) -> Option<u64> {
        self.id.as_ref()?.split_once('.')?.1.parse().ok()
    }

    /// The stream in the id `<stream>.<seq>`.
    pub fn stream(&self) -> Option<&str> {
        Some(self.id.as_ref()?.split_once('.')?.0)
    }
}

/// All frames of a body.
///
/// # Panics
/// When the body breaks a rule of [`read_frames`] or ends within a frame.
pub fn sse_frames(body: &[u8]) -> Vec<Frame> {
    let (frames, rest) = read_frames(body).unwrap_or_else(|broken| panic!("{broken}"));
    assert!(
        rest.is_empty(),
        "the body ends within a frame: {:?}",
        String::from_utf8_lossy(rest)
    );
    frames
}

/// The frames of a body that may have been cut, and the bytes of the unfinished one.
///
/// The rules, from PROTOCOL.md: UTF-8 and no BOM; lines end with LF; a comment stands between two
/// events, one line without a blank one; a block has data, at most one each of `event`, `retry`
/// and `id`, the id last, one space after each colon, and exactly one blank line after it; either
/// all events have an id or none has.
///
/// # Errors
/// The rule that is broken, and the bytes that break it.
pub fn read_frames(body: &[u8]) -> Result<(Vec<Frame>, &[u8]), String> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut rest = body;
    while let Some(end) = frame_end(rest) {
        let (bytes, after) = rest.split_at(end);
        let frame = one_frame(bytes).map_err(|rule| {
            let at = body.len() - rest.len();
            format!("{rule}, at byte {at}: {:?}", String::from_utf8_lossy(bytes))
        })?;
        let mut events = frames.iter().filter(|f| f.data.is_some());
        if let (true, Some(first)) = (frame.data.is_some(), events.next())
            && first.id.is_some() != frame.id.is_some()
        {
            return Err(format!(
                "some events have an id, some have none: {:?}",
                frame.raw
            ));
        }
        frames.push(frame);
        rest = after;
    }
    Ok((frames, rest))
}

/// Where the frame that `bytes` begin with ends, if it is whole: after one line for a comment,
/// after the blank line for an event.
pub(crate) fn frame_end(bytes: &[u8]) -> Option<usize> {
    if let b':' | b'\n' = bytes.first()? {
        return bytes.iter().position(|&b| b == b'\n').map(|at| at + 1);
    }
    bytes.windows(2).position(|w| w == b"\n\n").map(|at| at + 2)
}

fn one_frame(bytes: &[u8]) -> Result<Frame, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8")?;
    let mut frame = Frame {
        raw: text.to_owned(),
        ..Frame::default()
    };
    if text.contains('\r') {
        return Err("a carriage return");
    }
    if text == "\n" {
        return Err("a blank line that closes no event");
    }
    if let Some(comment) = text.strip_prefix(':') {
        frame.comment = Some(comment.trim_end_matches('\n').trim_start().to_owned());
        return Ok(frame);
    }
    let lines = text
        .strip_suffix("\n\n")
        .ok_or("no blank line at the end")?;
    for line in lines.split('\n') {
        if frame.id.is_some() {
            return Err("a line after the id");
        }
        let (field, value) = line
            .split_once(": ")
            .ok_or("a line that is no `field: value`")?;
        let again = match field {
            "event" => frame.event.replace(value.to_owned()).is_some(),
            "id" => frame.id.replace(value.to_owned()).is_some(),
            "retry" => {
                let millis = value.parse().map_err(|_| "a retry that is no number")?;
                frame.retry.replace(millis).is_some()
            }
            "data" => {
                match &mut frame.data {
                    Some(data) => data.extend(["\n", value]),
                    None => frame.data = Some(value.to_owned()),
                }
                false
            }
            _ if line.starts_with(':') => return Err("a comment within an event"),
            _ => return Err("an unknown field"),
        };
        if again {
            return Err("a field twice");
        }
    }
    if frame.data.is_none() {
        return Err("an event without data");
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_field_by_field() {
        let body = b": ping\nevent: delta\nretry: 1000\ndata: a\ndata: b\nid: 0k3v9f2m7qx4c.17\n\n";
        let frames = sse_frames(body);
        assert_eq!(frames.len(), 2);
        assert_eq!(frames[0].comment.as_deref(), Some("ping"));
        let event = &frames[1];
        assert_eq!(event.event.as_deref(), Some("delta"));
        assert_eq!(event.data.as_deref(), Some("a\nb"));
        assert_eq!(event.retry, Some(1000));
        assert_eq!(
            (event.stream(), event.seq()),
            (Some("0k3v9f2m7qx4c"), Some(17))
        );
        assert_eq!(event.raw.as_bytes(), &body[7..]);
    }

    #[test]
    fn a_cut_body_gives_whole_frames_and_the_rest() {
        let body = b"data: a\nid: s.1\n\ndata: b\nid: s.2\n\n";
        for cut in 0..=body.len() {
            let (frames, rest) = read_frames(&body[..cut]).unwrap();
            let whole = if cut == body.len() { 2 } else { cut / 17 };
            assert_eq!(frames.len(), whole, "cut at {cut}");
            assert_eq!(rest.len(), cut - 17 * whole, "cut at {cut}");
        }
    }

    #[test]
    fn each_broken_rule_is_named() {
        for (body, rule) in [
            ("data: a\r\n\r\n\n\n", "carriage return"),
            ("\u{feff}data: a\n\n", "unknown field"),
            ("data: a\n\n\n", "closes no event"),
            (": ping\n\n", "closes no event"),
            ("id: s.1\n\n", "without data"),
            ("retry: 1000\n\n", "without data"),
            ("id: s.1\ndata: a\n\n", "after the id"),
            ("data: a\n: ping\nid: s.1\n\n", "comment within"),
            ("data: a\n:: x\n\n", "comment within"),
            ("data:a\n\n", "no `field: value`"),
            ("event: a\nevent: b\ndata: c\n\n", "twice"),
            ("retry: soon\ndata: c\n\n", "no number"),
            ("data: a\nid: s.1\n\ndata: b\n\n", "some have none"),
            ("data: a\n\n: ping\ndata: b\nid: s.2\n\n", "some have none"),
        ] {
            let told = read_frames(body.as_bytes()).unwrap_err();
            assert!(told.contains(rule), "{body:?} gives {told:?}");
        }
        assert!(
            read_frames(b"data: \xff\n\n")
                .unwrap_err()
                .contains("UTF-8")
        );
    }
}
