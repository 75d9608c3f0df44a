//! Objects out of a stream of JSON, one by one: neither a list nor a watch is ever in memory as a whole.

/// No object is longer, in bytes: etcd takes no request above 1.5 MiB.
const LONGEST: usize = 8 << 20;

/// No more stands around a list's objects, in bytes.
const AROUND: usize = 1 << 20;

/// Splits JSON at the objects on one level of it. What is inside of them is left to a parser.
#[derive(Debug)]
pub(crate) struct Splitter {
    level: u32,
    depth: u32,
    /// Within a list's array of items.
    items: bool,
    string: bool,
    escaped: bool,
    object: Vec<u8>,
    rest: Vec<u8>,
}

impl Splitter {
    /// For a list: the objects are the elements of the one array in it (`items`).
    pub(crate) fn list() -> Self {
        Self::at(2)
    }

    /// For a watch, which is one object after the other.
    pub(crate) fn watch() -> Self {
        Self::at(0)
    }

    fn at(level: u32) -> Self {
        let (object, rest) = (Vec::new(), Vec::new());
        Self { level, depth: 0, items: false, string: false, escaped: false, object, rest }
    }

    /// Takes more of the stream; `found` gets each object that is complete by it.
    ///
    /// # Errors
    /// Those of `found`; what makes this no such stream.
    pub(crate) fn push<E: From<String>>(
        &mut self,
        bytes: &[u8],
        mut found: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for byte in bytes.iter().copied() {
            let inside = !self.object.is_empty();
            let begins =
                byte == b'{' && !self.string && self.depth == self.level && (self.level == 0 || self.items);
            if inside || begins {
                if self.object.len() == LONGEST {
                    return Err(format!("an object is longer than {} MiB", LONGEST >> 20).into());
                }
                self.object.push(byte);
            }
            self.scan(byte);
            if inside && self.depth == self.level && !self.string {
                found(&self.object)?;
                self.object.clear();
            } else if !inside && !begins {
                self.around(byte)?;
            }
        }
        Ok(())
    }

    fn scan(&mut self, byte: u8) {
        if self.string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.string = false,
                _ => {}
            }
            return;
        }
        match byte {
            b'"' => self.string = true,
            b'{' | b'[' => {
                self.depth = self.depth.saturating_add(1);
                self.items |= byte == b'[' && self.depth == 2;
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.items &= self.depth >= 2;
            }
            _ => {}
        }
    }

    /// Keeps what stands around objects; between those of a watch nothing does.
    fn around(&mut self, byte: u8) -> Result<(), String> {
        let between = self.depth == self.level && (self.level == 0 || self.items) && byte != b'[';
        if between && (byte.is_ascii_whitespace() || byte == b',' && self.items) {
            return Ok(());
        }
        if self.level == 0 {
            return Err("it is no sequence of JSON objects".into());
        }
        if self.rest.len() == AROUND {
            return Err(format!("more than {} MiB stand around its objects", AROUND >> 20));
        }
        self.rest.push(byte);
        Ok(())
    }

    /// What stood around the objects: a list without its items. Nothing, if the stream ends within an object.
    pub(crate) fn rest(&self) -> Option<&[u8]> {
        self.object.is_empty().then_some(&self.rest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// The objects and what stands around them, of a text that arrives in pieces of this size.
    fn split(
        mut splitter: Splitter,
        text: &str,
        size: usize,
    ) -> Result<(Vec<Value>, Option<String>), String> {
        let mut objects = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            splitter.push(piece, |object| {
                objects.push(serde_json::from_slice(object).map_err(|error| error.to_string())?);
                Ok::<_, String>(())
            })?;
        }
        Ok((objects, splitter.rest().map(|rest| String::from_utf8(rest.to_vec()).unwrap())))
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(Value::from),
            r#"[a-z{}\[\]",:\\é]{0,6}"#.prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(r#"[a-z{}"\[]{0,3}"#, inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_object_is_found_in_whatever_pieces_it_comes(
            values in proptest::collection::vec(json(), 0..6), pretty: bool, size in 1usize..40
        ) {
            let items: Vec<Value> = values.into_iter().map(|value| json!({"spec": value, "[": "]{"})).collect();
            let list = json!({"a": {"b": {"c": "{["}}, "items": items, "metadata": {"resourceVersion": "7"}});
            let text = |value: &Value| if pretty { format!("{value:#}") } else { value.to_string() };
            let (objects, rest) = split(Splitter::list(), &text(&list), size).unwrap();
            prop_assert_eq!(&objects, &items);
            let mut empty = list.clone();
            empty["items"] = json!([]);
            prop_assert_eq!(serde_json::from_str::<Value>(&rest.unwrap()).unwrap(), empty);

            let watch: String = items.iter().map(|item| text(item) + "\r\n").collect();
            let (objects, rest) = split(Splitter::watch(), &watch, size).unwrap();
            prop_assert_eq!((objects, rest), (items, Some(String::new())));
        }
    }

    #[test]
    fn what_is_no_such_stream_is_an_error() {
        assert!(split(Splitter::watch(), "<html>", 9).unwrap_err().contains("no sequence of JSON"));
        assert!(split(Splitter::watch(), "{}, {}", 9).unwrap_err().contains("no sequence of JSON"));
        assert_eq!(split(Splitter::watch(), "{} {\"a\": ", 9).unwrap(), (vec![json!({})], None));
        let rest = split(Splitter::list(), "<html>{}", 9).unwrap();
        assert_eq!(rest, (vec![], Some("<html>{}".to_owned())));
        assert_eq!(split(Splitter::list(), "{\"items\": [{\"a\"", 9).unwrap().1, None);
        let long = format!("{{\"a\": \"{}", "x".repeat(LONGEST));
        assert!(split(Splitter::watch(), &long, 1 << 16).unwrap_err().contains("longer than 8 MiB"));
        let spaces = " ".repeat(AROUND + 1);
        assert!(split(Splitter::list(), &spaces, 1 << 16).unwrap_err().contains("more than 1 MiB"));
    }
}
