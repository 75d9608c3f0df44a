//! The fields of a kind: their names in the order of answers, what they may hold, and what they hold if nothing is given.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::message::Response;

/// What a field may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// An id.
    Id,
    /// Ids.
    Ids,
    /// Text of so many characters.
    Text(usize, usize),
    /// Text of one of these.
    Word(&'static [&'static str]),
    /// Texts.
    Texts,
    /// True or false, and what it is without: `None` where it may be neither.
    Flag(Option<bool>),
    /// A number of this range, zero without.
    Number(i64, i64),
    /// A number of this range or none.
    Optional(i64, i64),
    /// One of the values of a Java enum, of this class. What is said of another value, if that is known.
    Choice(&'static str, &'static [&'static str], Option<&'static str>),
    /// An IPv4 address, and what is said of other text.
    Address(&'static str),
    /// A MAC address.
    Mac,
    /// Ports from `start` to `end`.
    Range,
    /// Targets of a NAT rule.
    Targets,
}

/// One field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) required: bool,
}

/// A field that may be left out.
pub(crate) const fn field(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, required: false }
}

/// A field that has to be there.
pub(crate) const fn required(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, required: true }
}

/// What a pattern of the server is said to be.
const IPV4: &str = r"(([0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])\.){3}([0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])";
const MAC: &str = "((([0-9]|[a-f]|[A-F]){2}):){5}([0-9]|[a-f]|[A-F]){2}";

/// The fields of one object that are not what they are without.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Record(BTreeMap<&'static str, Value>);

/// A field and what is wrong with it.
pub(crate) type Violation = (&'static str, String);

impl Record {
    /// The fields of a body that the schema has; others are left out, as the server does.
    ///
    /// # Errors
    /// 400: a field has a value that is none of its type.
    pub(crate) fn read(schema: &[&'static [Field]], body: &Map<String, Value>) -> Result<Self, Response> {
        let mut record = Self::default();
        for field in schema.iter().copied().flatten() {
            match body.get(field.name) {
                None | Some(Value::Null) => {}
                Some(value) => {
                    record.0.insert(field.name, field.shape.read(value)?);
                }
            }
        }
        Ok(record)
    }

    /// What of it is refused.
    pub(crate) fn violations(&self, schema: &[&'static [Field]]) -> Vec<Violation> {
        let fields = schema.iter().copied().flatten();
        fields.filter_map(|field| Some((field.name, self.violation(field)?))).collect()
    }

    fn violation(&self, field: &Field) -> Option<String> {
        match self.0.get(field.name).map_or_else(|| field.shape.without(), Clone::clone) {
            Value::Null => field.required.then(|| "may not be null".into()),
            value => field.shape.refusal(&value),
        }
    }

    /// All fields of the schema in its order.
    pub(crate) fn all<'a>(
        &'a self,
        schema: &'a [&'static [Field]],
    ) -> impl Iterator<Item = (&'static str, Value)> + 'a {
        schema.iter().copied().flatten().map(|field| {
            (field.name, self.0.get(field.name).cloned().unwrap_or_else(|| field.shape.without()))
        })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        match value.into() {
            Value::Null => self.0.remove(name),
            value => self.0.insert(name, value),
        };
    }

    pub(crate) fn set_id(&mut self, name: &'static str, id: Option<Uuid>) {
        self.set(name, id.map(|id| id.to_string()));
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    pub(crate) fn id(&self, name: &str) -> Option<Uuid> {
        self.text(name)?.parse().ok()
    }

    pub(crate) fn number(&self, name: &str) -> Option<i64> {
        self.get(name)?.as_i64()
    }
}

impl Shape {
    /// What a field holds that is not given.
    fn without(self) -> Value {
        match self {
            Self::Flag(flag) => flag.into(),
            Self::Number(..) => 0.into(),
            Self::Targets => Value::Array(Vec::new()),
            _ => Value::Null,
        }
    }

    fn read(self, value: &Value) -> Result<Value, Response> {
        match self {
            Self::Id => id(value),
            Self::Ids => Ok(Value::Array(items(value)?.iter().map(id).collect::<Result<_, _>>()?)),
            Self::Texts => Ok(Value::Array(items(value)?.iter().map(text).collect::<Result<_, _>>()?)),
            Self::Text(..) | Self::Word(_) | Self::Address(_) | Self::Mac => text(value),
            Self::Flag(_) => match value {
                Value::Bool(_) => Ok(value.clone()),
                Value::String(text) if text == "true" || text == "false" => Ok((text == "true").into()),
                _ => Err(cannot("boolean", value, "only \"true\" or \"false\" recognized")),
            },
            Self::Number(..) | Self::Optional(..) => number(value),
            Self::Choice(class, names, message) => match value {
                Value::String(text) if names.contains(&text.as_str()) => Ok(value.clone()),
                _ if let Some(message) = message => Err(Response::error(400, message)),
                _ => {
                    let why =
                        format!("value not one of declared Enum instance names: [{}]", names.join(", "));
                    let class = format!("org.midonet.cluster.rest_api.models.{class}");
                    Err(cannot(&class, value, &why))
                }
            },
            Self::Range => {
                let start = number(value.get("start").unwrap_or(&Value::Null))?;
                let end = number(value.get("end").unwrap_or(&Value::Null))?;
                Ok(serde_json::json!({"start": start, "end": end}))
            }
            Self::Targets => Ok(Value::Array(items(value)?.iter().map(target).collect::<Result<_, _>>()?)),
        }
    }

    /// What is wrong with a value of its type.
    fn refusal(self, value: &Value) -> Option<String> {
        let text = value.as_str().unwrap_or_default();
        let within = |from: i64, to: i64| match value.as_i64() {
            Some(number) if number < from => Some(format!("must be greater than or equal to {from}")),
            Some(number) if number > to => Some(format!("must be less than or equal to {to}")),
            _ => None,
        };
        match self {
            Self::Text(from, to) if !(from..=to).contains(&text.chars().count()) => {
                Some(format!("size must be between {from} and {to}"))
            }
            Self::Word(words) if !words.contains(&text) => {
                Some(format!("must match \"{}\"", words.join("|")))
            }
            Self::Number(from, to) | Self::Optional(from, to) => within(from, to),
            Self::Address(_) if text.parse::<Ipv4Addr>().is_ok() => None,
            Self::Address("") => Some(format!("must match \"^{IPV4}$\"")),
            Self::Address(message) => Some(message.into()),
            Self::Mac if !is_mac(text) => Some(format!("must match \"^{MAC}$\"")),
            Self::Range => {
                let at = |key: &str| value.get(key).and_then(Value::as_i64).unwrap_or(0);
                let (start, end) = (at("start"), at("end"));
                let valid = start <= end && (1..=0xFFFF).contains(&start) && (1..=0xFFFF).contains(&end);
                (!valid).then(|| "{midokura.javarx.RangeNotValid.message}".into())
            }
            Self::Targets if value.as_array().is_none_or(Vec::is_empty) => {
                Some("size must be between 1 and 2147483647".into())
            }
            _ => None,
        }
    }
}

/// Whether text is a MAC address as the server's pattern has it.
fn is_mac(text: &str) -> bool {
    let words: Vec<_> = text.split(':').collect();
    words.len() == 6
        && words.iter().all(|word| word.len() == 2 && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn cannot(class: &str, value: &Value, why: &str) -> Response {
    let found = match value {
        Value::String(text) => format!("String value '{text}'"),
        other => format!("value {other}"),
    };
    Response::error(400, &format!("Can not construct instance of {class} from {found}: {why}"))
}

fn id(value: &Value) -> Result<Value, Response> {
    let text = value.as_str().filter(|text| text.len() == 36);
    let parsed = text.and_then(|text| text.parse::<Uuid>().ok());
    parsed.map(|id| id.to_string().into()).ok_or_else(|| {
        let why = "not a valid textual representation, problem: UUID has to be represented by the standard \
                   36-char representation";
        cannot("java.util.UUID", value, why)
    })
}

fn text(value: &Value) -> Result<Value, Response> {
    match value {
        Value::String(_) => Ok(value.clone()),
        Value::Number(number) => Ok(number.to_string().into()),
        Value::Bool(flag) => Ok(flag.to_string().into()),
        _ => Err(cannot("java.lang.String", value, "no text")),
    }
}

fn number(value: &Value) -> Result<Value, Response> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_i64(),
    };
    number
        .filter(|number| i32::try_from(*number).is_ok())
        .map(Value::from)
        .ok_or_else(|| cannot("int", value, "not a valid Integer value"))
}

fn items(value: &Value) -> Result<&Vec<Value>, Response> {
    value.as_array().ok_or_else(|| cannot("java.util.List", value, "no array"))
}

fn target(value: &Value) -> Result<Value, Response> {
    let address = |name| text(value.get(name).unwrap_or(&Value::Null));
    let port = |name| value.get(name).map_or(Ok(Value::from(0)), number);
    Ok(serde_json::json!({
        "addressFrom": address("addressFrom")?, "addressTo": address("addressTo")?,
        "portFrom": port("portFrom")?, "portTo": port("portTo")?,
    }))
}
