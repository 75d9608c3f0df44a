//! Answers as text. They have their fields in the order of the server's, and a key twice where it has it twice: what
//! reads them has to cope with that.

use serde_json::Value;

/// JSON text of an object with the fields in this order.
pub(crate) fn object<'a>(fields: impl IntoIterator<Item = (&'a str, &'a Value)>) -> String {
    let fields: Vec<_> =
        fields.into_iter().map(|(name, value)| format!("{}:{value}", Value::from(name))).collect();
    format!("{{{}}}", fields.join(","))
}

/// JSON text of a list of objects that are text already.
pub(crate) fn list(objects: impl IntoIterator<Item = String>) -> String {
    let objects: Vec<_> = objects.into_iter().collect();
    format!("[{}]", objects.join(","))
}
