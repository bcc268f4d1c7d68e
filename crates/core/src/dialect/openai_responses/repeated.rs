use std::cell::OnceCell;

use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// A text that an answer's last events repeat, up to four times: it is escaped once.
#[derive(Clone, Debug, Default)]
pub(super) struct Repeated {
    text: String,
    json: OnceCell<Box<RawValue>>,
}

impl Repeated {
    pub(super) fn push_str(&mut self, more: &str) {
        self.text.push_str(more);
        self.json.take();
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

impl From<&str> for Repeated {
    fn from(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            json: OnceCell::new(),
        }
    }
}

impl Serialize for Repeated {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A text cannot fail to be JSON.
        let json = || to_raw_value(&self.text).unwrap_or_default();
        self.json.get_or_init(json).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_said_too() {
        let mut text = Repeated::from("a\"");
        assert_eq!(serde_json::to_string(&text).unwrap(), r#""a\"""#);
        text.push_str("\n");
        assert_eq!(serde_json::to_string(&text).unwrap(), r#""a\"\n""#);
    }
}
