#![expect(
    clippy::inline_always,
    reason = "each event of each stream goes through here; calls would take a third of the time"
)]

use std::borrow::Cow;

use super::text_of;

/// Reads a JSON text from its start to its end, once, and checks all of it on the way. Nothing is
/// copied but names with escapes, and nesting costs no stack.
///
/// Every method passes one whole value, wherever it stands; white space before it is passed too.
/// `None` is for a text that is not JSON (RFC 8259).
pub(in crate::dialect) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// The name of a member.
pub(in crate::dialect) struct Name<'a> {
    /// With escapes resolved; with its quotes if they cannot be.
    pub(in crate::dialect) text: Cow<'a, str>,
    /// Where it starts in the whole text, at its quote.
    pub(in crate::dialect) start: usize,
}

/// Lets `read` pass the one value that `text` is.
pub(in crate::dialect) fn scan<'a, T>(
    text: &'a [u8],
    read: impl FnOnce(&mut Scanner<'a>) -> Option<T>,
) -> Option<T> {
    let mut scanner = Scanner {
        text: str::from_utf8(text).ok()?,
        at: 0,
    };
    let value = read(&mut scanner)?;
    scanner.peek().is_none().then_some(value)
}

impl<'a> Scanner<'a> {
    /// The next byte that is no white space. It tells the value's kind.
    #[inline(always)]
    pub(in crate::dialect) fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Where the last value ended.
    pub(in crate::dialect) fn position(&self) -> usize {
        self.at
    }

    /// Passes an object. `visit` is called behind each name, in order, and passes the value;
    /// repeated names come repeatedly.
    #[inline(always)]
    pub(in crate::dialect) fn members(
        &mut self,
        mut visit: impl FnMut(Name<'a>, &mut Self) -> Option<()>,
    ) -> Option<()> {
        self.expect(b'{')?;
        if self.take(b'}')? {
            return Some(());
        }
        loop {
            let name = self.name()?;
            visit(name, self)?;
            if !self.take(b',')? {
                return self.expect(b'}');
            }
        }
    }

    /// Passes an array. `visit` is called before each element and passes it.
    #[inline(always)]
    pub(in crate::dialect) fn elements(
        &mut self,
        mut visit: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.expect(b'[')?;
        if self.take(b']')? {
            return Some(());
        }
        loop {
            visit(self)?;
            if !self.take(b',')? {
                return self.expect(b']');
            }
        }
    }

    /// Passes any value, and gives its text.
    #[inline(always)]
    pub(in crate::dialect) fn value(&mut self) -> Option<&'a str> {
        self.peek()?;
        let start = self.at;
        self.pass()?;
        self.text.get(start..self.at)
    }

    /// Passes any value.
    #[inline(always)]
    pub(in crate::dialect) fn pass(&mut self) -> Option<()> {
        match self.peek()? {
            b'{' | b'[' => self.nested(),
            first => self.scalar(first),
        }
    }

    fn nested(&mut self) -> Option<()> {
        let mut open = Open::default();
        loop {
            match self.peek()? {
                b'{' => {
                    self.at += 1;
                    if !self.take(b'}')? {
                        open.push(true);
                        self.pass_name()?;
                        continue;
                    }
                }
                b'[' => {
                    self.at += 1;
                    if !self.take(b']')? {
                        open.push(false);
                        continue;
                    }
                }
                first => self.scalar(first)?,
            }
            // A value has ended, and with it what it was the last of.
            while let Some(in_object) = open.last() {
                if self.take(b',')? {
                    if in_object {
                        self.pass_name()?;
                    }
                    break;
                }
                self.expect(if in_object { b'}' } else { b']' })?;
                open.pop();
            }
            if open.depth == 0 {
                return Some(());
            }
        }
    }

    #[inline(always)]
    fn scalar(&mut self, first: u8) -> Option<()> {
        match first {
            b'"' => self.string().map(|_| ()),
            b'n' => self.word(b"null"),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        let rest = self.text.as_bytes().get(self.at..)?;
        self.at += word.len();
        rest.starts_with(word).then_some(())
    }

    fn number(&mut self) -> Option<()> {
        let minus = self.next_is(|byte| byte == b'-');
        self.at += usize::from(minus);
        if self.next_is(|byte| byte == b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.next_is(|byte| byte == b'.') {
            self.at += 1;
            self.digits()?;
        }
        if self.next_is(|byte| matches!(byte, b'e' | b'E')) {
            self.at += 1;
            let sign = self.next_is(|byte| matches!(byte, b'+' | b'-'));
            self.at += usize::from(sign);
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.next_is(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn next_is(&self, test: impl Fn(u8) -> bool) -> bool {
        let next = self.text.as_bytes().get(self.at);
        next.is_some_and(|byte| test(*byte))
    }

    #[inline(always)]
    fn name(&mut self) -> Option<Name<'a>> {
        self.peek()?;
        let start = self.at;
        let escaped = self.string()?;
        let text = if escaped {
            let raw = self.text.get(start..self.at)?;
            // A name with half of a surrogate pair is no text, and no name that anybody seeks.
            text_of(raw).unwrap_or(Cow::Borrowed(raw))
        } else {
            Cow::Borrowed(self.text.get(start + 1..self.at - 1)?)
        };
        self.expect(b':')?;
        Some(Name { text, start })
    }

    fn pass_name(&mut self) -> Option<()> {
        self.peek()?;
        self.string()?;
        self.expect(b':')
    }

    /// Passes the string that starts just here; true if it has escapes.
    #[inline(always)]
    fn string(&mut self) -> Option<bool> {
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) != Some(&b'"') {
            return None;
        }
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at = not_plain(bytes, self.at)?;
            match bytes[self.at] {
                b'"' => break,
                b'\\' => escaped = true,
                _control => return None,
            }
            self.at += match bytes.get(self.at + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
                b'u' => {
                    let digits = bytes.get(self.at + 2..self.at + 6)?;
                    if !digits.iter().all(u8::is_ascii_hexdigit) {
                        return None;
                    }
                    6
                }
                _ => return None,
            };
        }
        self.at += 1;
        Some(escaped)
    }

    /// Passes this byte if it is the next one that is no white space.
    #[inline(always)]
    fn take(&mut self, byte: u8) -> Option<bool> {
        let found = *self.text.as_bytes().get(self.at)? == byte || self.peek()? == byte;
        self.at += usize::from(found);
        Some(found)
    }

    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.take(byte)?.then_some(())
    }
}

/// Which of the values around the present one are objects, one bit each.
#[derive(Default)]
struct Open {
    depth: usize,
    /// The innermost up to 64.
    bits: u64,
    /// Those around them, 64 each.
    outer: Vec<u64>,
}

impl Open {
    fn push(&mut self, is_object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.bits);
        }
        self.bits = self.bits << 1 | u64::from(is_object);
        self.depth += 1;
    }

    fn last(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.bits & 1 == 1)
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.bits >>= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.bits = self.outer.pop().unwrap_or_default();
        }
    }
}

/// Where the first quote, backslash or control character from `at` on is.
#[inline(always)]
fn not_plain(bytes: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xFF;
    while let Some(word) = bytes.get(at..)?.first_chunk() {
        let word = u64::from_le_bytes(*word);
        // Sets the highest bit of each byte below `bound`, and maybe of bytes above such a one,
        // which were borrowed from: the lowest of these bits is right.
        let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound));
        // This swaps the quote and the space, so that what is sought are the bytes up to there.
        let quote_or_control = below(word ^ (ONES * u64::from(b'"' ^ b' ')), b' ' + 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        // Bytes beyond ASCII have that bit, and are plain.
        let found = (quote_or_control | backslash) & !word & (ONES << 7);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let sought = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..b' ');
    let more = bytes.get(at..)?.iter().position(sought)?;
    Some(at + more)
}
