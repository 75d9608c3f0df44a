//! The part of an address behind the question mark: pure.

/// How many names it may have.
const MOST: usize = 64;

/// Its names and values, in their order.
///
/// # Errors
/// In words.
pub(crate) fn pairs(query: &str) -> Result<Vec<(String, String)>, &'static str> {
    let parts: Vec<&str> = query.split('&').filter(|part| !part.is_empty()).collect();
    if parts.len() > MOST {
        return Err("the address has too many options");
    }
    let pair = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        Some((decoded(name)?, decoded(value)?))
    };
    parts
        .into_iter()
        .map(pair)
        .collect::<Option<_>>()
        .ok_or("the address is not encoded as UTF-8 in percent signs")
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit =
                    |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digit(rest.next()?)? << 4 | digit(rest.next()?)?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            pairs("not=port%3Dudp%2F53&a+b=%e2%82%ac&&since"),
            Ok(vec![pair("not", "port=udp/53"), pair("a b", "\u{20ac}"), pair("since", "")])
        );
        assert_eq!(pairs(""), Ok(Vec::new()));
        for bad in ["a=%", "a=%2", "a=%zz", "a=%ff", "a=%+1"] {
            assert!(pairs(bad).is_err(), "{bad}");
        }
        assert!(pairs(&"a=1&".repeat(65)).is_err());
    }
}
