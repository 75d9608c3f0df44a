//! Parts of an object that are read one by one: what is wrong with one of them harms no other.

use serde_json::Value;

/// So much of a value is shown in a message.
const SHOWN: usize = 60;

/// The fields of these names, in their order; one that is `null` is not there.
///
/// # Errors
/// It is no object, or has a field of another name: whoever wrote that meant something by it.
pub(super) fn fields<'a, const N: usize>(
    value: &'a Value,
    names: [&str; N],
) -> Result<[Option<&'a Value>; N], String> {
    let (fields, unknown) = known_fields(value, names)?;
    match unknown.first() {
        Some(name) => Err(format!("its field {name:?} is unknown")),
        None => Ok(fields),
    }
}

/// The same, and the names of the other fields.
///
/// # Errors
/// It is no object.
pub(super) fn known_fields<'a, const N: usize>(
    value: &'a Value,
    names: [&str; N],
) -> Result<([Option<&'a Value>; N], Vec<&'a str>), String> {
    let object = value.as_object().ok_or_else(|| format!("{} is no object", shown(value)))?;
    let unknown = object.keys().map(String::as_str).filter(|name| !names.contains(name)).collect();
    Ok((names.map(|name| object.get(name).filter(|value| !value.is_null())), unknown))
}

/// A text.
pub(super) fn text(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("{} is no string", shown(value)))
}

/// A list.
pub(super) fn list(value: &Value) -> Result<&[Value], String> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| format!("{} is no list", shown(value)))
}

/// A port's number.
pub(super) fn port(value: &Value) -> Result<u16, String> {
    let number = value.as_u64().and_then(|number| u16::try_from(number).ok()).filter(|port| *port != 0);
    number.ok_or_else(|| format!("{} is no port from 1 to 65535", shown(value)))
}

/// A port's name, as Kubernetes has them (`IANA_SVC_NAME`): any other is that of no port.
pub(super) fn port_name(name: &str) -> Result<&str, String> {
    let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = (1..=15).contains(&name.len())
        && name.bytes().all(is_known)
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
        && !name.contains("--")
        && !name.starts_with('-')
        && !name.ends_with('-');
    if is_name { Ok(name) } else { Err(format!("{} is no name of a port", quoted(name))) }
}

/// A value as messages have it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        other => short(&other.to_string()),
    }
}

/// A text in quotation marks.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", short(text))
}

fn short(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_there_or_not_and_all_known() {
        let value = json!({"a": 1, "b": null});
        assert_eq!(fields(&value, ["c", "b", "a"]), Ok([None, None, Some(&json!(1))]));
        assert_eq!(fields(&value, ["a"]), Err("its field \"b\" is unknown".to_owned()));
        assert_eq!(known_fields(&value, ["a"]).unwrap().1, ["b"]);
        for (value, want) in [(json!([1, 2]), "[1,2] is no object"), (json!("x"), "\"x\" is no object")] {
            assert_eq!(fields(&value, ["a"]), Err(want.to_owned()));
        }
    }

    #[test]
    fn names_of_ports_are_those_of_kubernetes() {
        for good in ["http", "a", "8a", "a-b", "abcdefghijklmno"] {
            assert_eq!(port_name(good), Ok(good));
        }
        for bad in ["", "80", "HTTP", "-a", "a-", "a--b", "abcdefghijklmnop", "a_b", "\u{e4}"] {
            assert!(port_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        assert_eq!(quoted(&"\u{e4}".repeat(100)), format!("\"{}...\"", "\u{e4}".repeat(SHOWN)));
        assert_eq!(shown(&json!({"a": "b"})), "{\"a\":\"b\"}");
    }
}
