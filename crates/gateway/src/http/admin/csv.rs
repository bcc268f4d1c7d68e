//! Tables as comma-separated values (RFC 4180), for spreadsheets.

/// Rows of cells as text, each line ended.
pub(super) fn csv<'a, const N: usize>(rows: impl IntoIterator<Item = [&'a str; N]>) -> String {
    let mut text = String::new();
    for row in rows {
        let cells = row.map(cell);
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

/// A cell. A spreadsheet would run what begins like a formula, and names are the clients' own, so that
/// is made text by an apostrophe: <https://owasp.org/www-community/attacks/CSV_Injection>.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with([
        '=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
    ]);
    let prefix = if is_formula { "'" } else { "" };
    if is_formula || text.contains(['"', ',', '\r', '\n', ';', '\t']) {
        format!("\"{prefix}{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_need_it_and_none_is_a_formula() {
        for (text, expected) in [
            ("gpt-4o", "gpt-4o"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=cmd|' /C calc'!A0", "\"'=cmd|' /C calc'!A0\""),
            ("@SUM(1)", "\"'@SUM(1)\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("\t=1", "\"'\t=1\""),
            ("\u{ff1d}1", "\"'\u{ff1d}1\""),
        ] {
            assert_eq!(cell(text), expected, "{text:?}");
        }
        assert_eq!(csv([["a", "b"], ["1", "=2"]]), "a,b\r\n1,\"'=2\"\r\n");
    }
}
