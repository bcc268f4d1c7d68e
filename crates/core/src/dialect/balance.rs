/// Whether JSON that comes in pieces is a whole object, by its braces.
#[derive(Debug, Default)]
pub(super) struct Balance {
    depth: u32,
    in_text: bool,
    escaped: bool,
    whole: bool,
}

impl Balance {
    pub(super) fn push(&mut self, piece: &str) {
        for byte in piece.bytes() {
            if self.in_text {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_text = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_text = true,
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.whole = self.depth == 0;
                }
                _ => {}
            }
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }
}

#[cfg(test)]
mod tests {
    use super::Balance;

    #[test]
    fn an_object_is_whole_at_its_last_brace_wherever_it_is_cut() {
        let text = r#" {"a}\"]": [{"b": "{\\"}, 1], "c": {}}"#;
        for cut in 0..=text.len() {
            let mut balance = Balance::default();
            balance.push(&text[..cut]);
            assert_eq!(balance.is_whole(), cut == text.len(), "{cut}");
            balance.push(&text[cut..]);
            assert!(balance.is_whole(), "{cut}");
        }
    }
}
