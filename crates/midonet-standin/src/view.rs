//! How objects look in answers.

use serde_json::Value;

use crate::json;
use crate::kinds::Schema;
use crate::schema::Record;

/// An object on its way into an answer: its fields in their order.
#[derive(Debug, Default)]
pub(crate) struct View(Vec<(&'static str, Value)>);

impl View {
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// The fields of a record.
    pub(crate) fn fields(mut self, record: &Record, schema: Schema) -> Self {
        self.0.extend(record.all(schema));
        self
    }

    /// A field holds something else than what is stored.
    pub(crate) fn but(mut self, name: &str, value: impl Into<Value>) -> Self {
        if let Some((_, old)) = self.0.iter_mut().find(|(known, _)| *known == name) {
            *old = value.into();
        }
        self
    }

    /// A URL below the base.
    pub(crate) fn at(self, name: &'static str, base: &str, path: &str) -> Self {
        self.with(name, format!("{base}{path}"))
    }

    /// The URL of something else, none if there is no such.
    pub(crate) fn to(self, name: &'static str, base: &str, parent: &str, id: Option<&str>) -> Self {
        self.with(name, id.map(|id| format!("{base}/{parent}/{id}")))
    }

    /// As a part of another object.
    pub(crate) fn value(self) -> Value {
        self.0.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    pub(crate) fn text(&self) -> String {
        json::object(self.0.iter().map(|(name, value)| (*name, value)))
    }
}
