//! Images and documents, which the API takes in base64, or from S3.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::ask::{Ask, Field};
use crate::content::Source;
use crate::error::Error;

/// Longest name of a document.
const NAME_CHARS: usize = 200;

/// Media types and their names here.
const IMAGES: [(&str, &str); 5] = [
    ("image/png", "png"),
    ("image/jpeg", "jpeg"),
    ("image/jpg", "jpeg"),
    ("image/gif", "gif"),
    ("image/webp", "webp"),
];
const DOCUMENTS: [(&str, &str); 9] = [
    ("application/pdf", "pdf"),
    ("text/csv", "csv"),
    ("application/msword", "doc"),
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "docx",
    ),
    ("application/vnd.ms-excel", "xls"),
    (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "xlsx",
    ),
    ("text/html", "html"),
    ("text/plain", "txt"),
    ("text/markdown", "md"),
];

#[derive(Serialize)]
pub(super) struct ImageOut<'a> {
    format: &'static str,
    source: SourceOut<'a>,
}

#[derive(Serialize)]
pub(super) struct DocumentOut<'a> {
    format: &'static str,
    name: String,
    source: SourceOut<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum SourceOut<'a> {
    Bytes(Cow<'a, str>),
}

pub(super) fn image<'a>(
    ask: &Ask<'_>,
    source: &'a Source<'_>,
    field: Field,
) -> Result<ImageOut<'a>, Error> {
    let Source::Base64 { media_type, data } = source else {
        return Err(ask.refuse(field, "Bedrock takes images only as base64"));
    };
    let format = format_of(&IMAGES, media_type);
    Ok(ImageOut {
        format: format.ok_or_else(|| {
            let why = "Bedrock takes images as PNG, JPEG, GIF or WebP";
            ask.refuse(field, why)
        })?,
        source: SourceOut::Bytes(Cow::Borrowed(data)),
    })
}

/// `names` are those of the documents so far: no two may have the same.
pub(super) fn document<'a>(
    ask: &Ask<'_>,
    (source, title): (&'a Source<'_>, Option<&str>),
    field: Field,
    names: &mut Vec<String>,
) -> Result<DocumentOut<'a>, Error> {
    let (format, data) = match source {
        Source::Base64 { media_type, data } => {
            let format = format_of(&DOCUMENTS, media_type);
            let format = format.ok_or_else(|| {
                let why =
                    "Bedrock takes documents as PDF, text, Markdown, HTML, CSV, Word or Excel";
                ask.refuse(field, why)
            })?;
            (format, Cow::Borrowed(&**data))
        }
        Source::Text(text) => ("txt", Cow::Owned(STANDARD.encode(&**text))),
        Source::Url(_) | Source::File(_) => {
            return Err(ask.refuse(field, "Bedrock takes documents only as base64"));
        }
    };
    Ok(DocumentOut {
        format,
        name: name(title, names),
        source: SourceOut::Bytes(data),
    })
}

fn format_of(table: &[(&str, &'static str)], media_type: &str) -> Option<&'static str> {
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let found = table
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(media_type));
    found.map(|(_, format)| *format)
}

/// A name of the characters that AWS allows, and with one space at a time.
fn name(title: Option<&str>, names: &mut Vec<String>) -> String {
    let allowed = |c: char| match c {
        c if c.is_ascii_alphanumeric() || "-()[]".contains(c) => c,
        c if c.is_whitespace() => ' ',
        _ => '-',
    };
    let title: String = title.unwrap_or_default().chars().map(allowed).collect();
    let words: Vec<_> = title.split(' ').filter(|word| !word.is_empty()).collect();
    let title: String = words.join(" ").chars().take(NAME_CHARS - 8).collect();
    let title = match title.trim_end() {
        "" => "document",
        title => title,
    };
    let mut name = title.to_owned();
    let mut number = 1;
    while names.contains(&name) {
        number += 1;
        name = format!("{title} {number}");
    }
    names.push(name.clone());
    name
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn names_are_of_allowed_characters_and_differ() {
        let mut names = Vec::new();
        let mut named = |title| name(title, &mut names);
        assert_eq!(
            named(Some("Bericht \t 2026 (Übersicht).pdf")),
            "Bericht 2026 (-bersicht)-pdf"
        );
        assert_eq!(named(None), "document");
        assert_eq!(named(Some(" ")), "document 2");
        assert_eq!(named(None), "document 3");
        assert_eq!(named(Some(&"a".repeat(300))).len(), 192);
    }
}
