use proptest::prelude::*;

use super::*;

fn finder() -> FieldFinder {
    FieldFinder::new("XX", "model", 8)
}

fn read(body: &[u8]) -> Result<(Option<FoundField>, bool), MultipartError> {
    let mut finder = finder();
    finder.push(body)?;
    Ok((finder.found().cloned(), finder.is_at_end()))
}

/// The same, a few bytes at a time.
fn read_in(body: &[u8], size: usize) -> Result<(Option<FoundField>, bool), MultipartError> {
    let mut finder = finder();
    for piece in body.chunks(size) {
        finder.push(piece)?;
    }
    Ok((finder.found().cloned(), finder.is_at_end()))
}

fn part(disposition: &str, value: &str) -> String {
    format!("--XX\r\nContent-Disposition: form-data; {disposition}\r\n\r\n{value}\r\n")
}

#[test]
fn the_field_is_found_wherever_it_stands() {
    let file = part(
        "name=\"file\"; filename=\"\\\"; name=model\"",
        "RIFF\r\n--X\r\n--XY",
    );
    let model = part("name=\"model\"", "whisper");
    for body in [
        format!("{model}{file}--XX--\r\n"),
        format!("{file}{model}--XX--"),
        format!("preamble\r\n{model}--XX--\r\nepilogue --XX"),
        format!("{}{file}--XX--", part("NAME=model", "whisper")),
        format!(
            "--XX \t\r\nX-Other: 1\r\ncontent-disposition:form-data;name=\"model\"\r\n\
             content-type: text/plain\r\n\r\nwhisper\r\n{file}--XX--"
        ),
    ] {
        for size in 1..body.len() {
            let (found, at_end) = read_in(body.as_bytes(), size).expect(&body);
            let found = found.expect(&body);
            assert!(at_end, "{body}");
            assert_eq!(found.value, "whisper");
            let place = usize::try_from(found.place.start).expect("small")
                ..usize::try_from(found.place.end).expect("small");
            assert_eq!(&body[place], "whisper", "{body}");
        }
    }
}

#[test]
fn a_body_without_the_field_ends_without_it() {
    for body in [
        "--XX--".to_owned(),
        format!("{}--XX--", part("name=\"file\"", "a")),
        "--XX\r\n\r\nno headers\r\n--XX--".to_owned(),
        format!("{}--XX--", part("name=\"models\"", "a")),
    ] {
        assert_eq!(read(body.as_bytes()), Ok((None, true)), "{body}");
    }
    let unfinished = part("name=\"file\"", "a");
    assert_eq!(read(unfinished.as_bytes()), Ok((None, false)));
}

#[test]
fn an_empty_value_is_a_value() {
    let body = format!("{}--XX--", part("name=\"model\"", ""));
    let (found, _) = read(body.as_bytes()).expect("well-formed");
    assert_eq!(found.expect("there").value, "");
}

#[test]
fn what_cannot_be_read_is_an_error() {
    let model = part("name=\"model\"", "a");
    let long = "x".repeat(MULTIPART_HEADER_BYTES + 8);
    let blank = " ".repeat(MULTIPART_PADDING_BYTES + 1);
    for (body, error) in [
        (format!("{model}{model}"), MultipartError::Twice("model")),
        (
            part("name=\"model\"", "123456789") + "--XX--",
            MultipartError::TooLong("model", 8),
        ),
        (
            part("name=\"model\"", &long),
            MultipartError::TooLong("model", 8),
        ),
        (
            "--XXY\r\n".to_owned(),
            MultipartError::Malformed("a boundary's line goes on"),
        ),
        (
            format!("--XX{blank}\r\n"),
            MultipartError::Malformed("a boundary's line is too long"),
        ),
        (
            format!("--XX\r\n{long}"),
            MultipartError::Malformed("a part's headers are too long"),
        ),
    ] {
        assert_eq!(read(body.as_bytes()), Err(error));
        assert_eq!(read_in(body.as_bytes(), 7), Err(error));
    }
    let binary = b"--XX\r\ncontent-disposition: form-data; name=model\r\n\r\n\xff\r\n--XX--";
    assert_eq!(read(binary), Err(MultipartError::NotText("model")));
}

#[test]
fn a_name_that_others_could_read_as_another_is_refused() {
    for disposition in [
        "name=\"file\"; name=\"model\"",
        "name=\"model\"; name=\"file\"",
        "name*=utf-8''model",
        "name*0=mo; name*1=del",
        "Name * = utf-8''model",
        "name=\"mo\\del\"",
        "x=y;\r\n name=model",
        "x=y\nContent-Disposition: form-data; name=model",
        "x=y\r\nContent-Disposition: form-data; name=model",
    ] {
        let body = format!("{}--XX--", part(disposition, "whisper"));
        let refused = read(body.as_bytes()).expect_err(disposition);
        assert!(
            matches!(refused, MultipartError::Malformed(_)),
            "{disposition}: {refused}"
        );
    }
    let other = "name=\"file\"; filename*=utf-8''a%20b; filename=\"a\\\"b\"";
    let body = format!("{}{}--XX--", part(other, "x"), part("name=model", "w"));
    let (found, _) = read(body.as_bytes()).expect("read");
    assert_eq!(found.expect("found").value, "w");
}

#[test]
fn the_boundary_is_read_from_the_content_type() {
    for doubtful in [
        "boundary=a; boundary=b",
        "boundary*=utf-8''a",
        "boundary=a; boundary*0=b",
    ] {
        assert_eq!(boundary(&format!("multipart/form-data; {doubtful}")), None);
    }
    for (text, expected) in [
        ("multipart/form-data; boundary=ab-c", Some("ab-c")),
        (
            "Multipart/Form-Data;charset=x; Boundary=\"a b\"",
            Some("a b"),
        ),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        ("multipart/form-data; boundary=a\u{e9}", None),
        ("multipart/mixed; boundary=a", None),
        ("application/json", None),
    ] {
        assert_eq!(boundary(text), expected, "{text}");
    }
}

proptest! {
    #[test]
    fn pieces_do_not_matter_and_nothing_panics(
        body in "(--XX|\r\n|content-disposition: form-data; name=\"model\"|a|-|\\PC){0,12}",
        size in 1usize..9,
    ) {
        prop_assert_eq!(read(body.as_bytes()), read_in(body.as_bytes(), size));
    }
}
