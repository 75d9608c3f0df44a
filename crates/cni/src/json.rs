//! JSON as the reference plugins read it: keys in any case, `null` like an absent key, the last of
//! several equal keys counts. Errors name the place.

use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

use serde_json::Value;

use crate::error::{Error, code};

/// A value that is not what it has to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {what}")]
pub struct Invalid {
    /// The place, like `ipam.ranges[0]`.
    pub key: String,
    /// What is wrong there.
    pub what: String,
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Self::new(code::CONFIG, invalid.to_string())
    }
}

/// A network configuration: the text as it came, for the plugins that get it next, and the value. It has no
/// `Debug`: it may hold secrets.
#[derive(Clone)]
pub struct Document {
    text: Vec<u8>,
    value: Value,
}

impl Document {
    /// Reads what came on stdin.
    ///
    /// # Errors
    /// It is no JSON.
    pub fn parse(text: Vec<u8>) -> serde_json::Result<Self> {
        let value = serde_json::from_slice(&text)?;
        Ok(Self { text, value })
    }

    /// As it came.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The value.
    pub fn root(&self) -> Element<'_> {
        Element::root(&self.value)
    }
}

/// A value, and its place in the document.
#[derive(Debug, Clone)]
pub struct Element<'a> {
    key: String,
    value: &'a Value,
}

impl<'a> Element<'a> {
    /// A whole document.
    pub fn root(value: &'a Value) -> Self {
        Self { key: String::new(), value }
    }

    /// The value itself.
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// The member of this name; `None` if it is absent or `null`.
    ///
    /// # Errors
    /// If this is no object.
    pub fn get(&self, name: &str) -> Result<Option<Self>, Invalid> {
        let object = self.value.as_object().ok_or_else(|| self.expected("an object"))?;
        let exact = object.get(name);
        let found =
            exact.or_else(|| object.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v));
        Ok(found.filter(|v| !v.is_null()).map(|value| Self { key: self.member(name), value }))
    }

    /// Whether this is an object with a member of this name, be it `null`.
    pub fn has(&self, name: &str) -> bool {
        self.value.as_object().is_some_and(|object| object.keys().any(|key| key.eq_ignore_ascii_case(name)))
    }

    /// The member of this name, which has to be there.
    ///
    /// # Errors
    /// If this is no object or has no such member.
    pub fn require(&self, name: &str) -> Result<Self, Invalid> {
        self.get(name)?.ok_or_else(|| Invalid { key: self.member(name), what: "missing".into() })
    }

    /// The elements of a list.
    ///
    /// # Errors
    /// If this is no list.
    pub fn items(&self) -> Result<Vec<Self>, Invalid> {
        let list = self.value.as_array().ok_or_else(|| self.expected("a list"))?;
        let element = |(i, value)| Self { key: format!("{}[{i}]", self.key), value };
        Ok(list.iter().enumerate().map(element).collect())
    }

    /// The elements of the list of this name; empty if it is absent.
    ///
    /// # Errors
    /// If this is no object, or the member no list.
    pub fn list(&self, name: &str) -> Result<Vec<Self>, Invalid> {
        self.get(name)?.map_or_else(|| Ok(Vec::new()), |list| list.items())
    }

    /// The texts of the list of this name; empty if it is absent.
    ///
    /// # Errors
    /// If this is no object, or the member no list of texts.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, Invalid> {
        self.list(name)?.iter().map(|element| element.text().map(str::to_owned)).collect()
    }

    /// A text.
    ///
    /// # Errors
    /// If this is no text.
    pub fn text(&self) -> Result<&'a str, Invalid> {
        self.value.as_str().ok_or_else(|| self.expected("a string"))
    }

    /// The text of this name; `None` if it is absent or empty.
    ///
    /// # Errors
    /// If this is no object, or the member no text.
    pub fn word(&self, name: &str) -> Result<Option<&'a str>, Invalid> {
        Ok(self.get(name)?.map(|element| element.text()).transpose()?.filter(|text| !text.is_empty()))
    }

    /// A text that means something.
    ///
    /// # Errors
    /// If this is no text, or not what `T` can read; the parser's own words are repeated.
    pub fn parse<T: FromStr<Err: Display>>(&self) -> Result<T, Invalid> {
        let text = self.text()?;
        text.parse().map_err(|error| self.invalid(format!("\"{text}\": {error}")))
    }

    /// A whole number in the range of `T`.
    ///
    /// # Errors
    /// If this is no such number.
    pub fn number<T: TryFrom<i64>>(&self) -> Result<T, Invalid> {
        let number = self.value.as_i64().and_then(|n| T::try_from(n).ok());
        number.ok_or_else(|| self.expected("a whole number in range"))
    }

    /// The whole number of this name in the range of `T`; `None` if it is absent.
    ///
    /// # Errors
    /// If this is no object, or the member no such number.
    pub fn optional_number<T: TryFrom<i64>>(&self, name: &str) -> Result<Option<T>, Invalid> {
        self.get(name)?.map(|element| element.number()).transpose()
    }

    /// The address of this name; `None` if it is absent or an empty text, as the reference implementation reads it.
    ///
    /// # Errors
    /// If this is no object, or the member no address.
    pub fn address(&self, name: &str) -> Result<Option<IpAddr>, Invalid> {
        match self.get(name)? {
            Some(text) if !text.text()?.is_empty() => text.parse().map(|ip: IpAddr| Some(ip.to_canonical())),
            _ => Ok(None),
        }
    }

    /// An error at this place.
    pub fn invalid(&self, what: impl Into<String>) -> Invalid {
        let key = if self.key.is_empty() { "configuration".to_owned() } else { self.key.clone() };
        Invalid { key, what: what.into() }
    }

    fn expected(&self, what: &str) -> Invalid {
        let kind = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        self.invalid(format!("must be {what}, is {kind}"))
    }

    fn member(&self, name: &str) -> String {
        if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_like_the_reference() {
        let value = serde_json::from_str(r#"{"A": null, "rangestart": "x", "l": 1, "l": [1, "y"]}"#).unwrap();
        let root = Element::root(&value);
        assert!(root.get("a").unwrap().is_none());
        assert_eq!(root.require("rangeStart").unwrap().text(), Ok("x"));
        assert_eq!(root.list("none").unwrap().len(), 0);
        let error = root.texts("l").unwrap_err().to_string();
        assert_eq!(error, "l[0]: must be a string, is a number");
    }

    #[test]
    fn errors_name_the_place() {
        let value = json!({"ipam": {"mtu": -1, "x": "10.0.0.300"}});
        let ipam = Element::root(&value).require("ipam").unwrap();
        let mtu = ipam.require("mtu").unwrap().number::<u16>().unwrap_err();
        assert_eq!(mtu.to_string(), "ipam.mtu: must be a whole number in range, is a number");
        let x = ipam.require("x").unwrap().parse::<IpAddr>().unwrap_err();
        assert_eq!(x.to_string(), "ipam.x: \"10.0.0.300\": invalid IP address syntax");
        assert_eq!(ipam.require("y").unwrap_err().to_string(), "ipam.y: missing");
        let list = json!([]);
        assert!(
            Element::root(&list)
                .get("a")
                .unwrap_err()
                .to_string()
                .starts_with("configuration: must be an obj")
        );
    }
}
