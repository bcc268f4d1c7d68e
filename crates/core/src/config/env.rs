//! The environment as a value.

use std::collections::BTreeMap;
use std::fmt;

/// Environment variables. They are taken once, so that what a configuration is made of is known.
#[derive(Clone, Default)]
pub struct Env(BTreeMap<String, Variable>);

#[derive(Clone)]
struct Variable {
    value: String,
    flag: Option<&'static str>,
}

impl Env {
    /// Sets a variable as the command line does, where it is spelt `flag`.
    pub fn set_flag(&mut self, name: &str, flag: &'static str, value: impl Into<String>) {
        let variable = Variable {
            value: value.into(),
            flag: Some(flag),
        };
        self.0.insert(name.to_owned(), variable);
    }

    /// A variable's value, if it is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|variable| variable.value.as_str())
    }

    /// A variable's value, if it is set to something; container platforms like to set empty ones.
    pub fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// What the user would call the variable.
    pub(super) fn spelling<'n>(&self, name: &'n str) -> &'n str {
        let flag = self.0.get(name).and_then(|variable| variable.flag);
        flag.unwrap_or(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let plain = |value: V| Variable {
            value: value.into(),
            flag: None,
        };
        let entries = variables.into_iter();
        Self(
            entries
                .map(|(name, value)| (name.into(), plain(value)))
                .collect(),
        )
    }
}

/// Names only: values may be secrets.
impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
