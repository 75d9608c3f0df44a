//! What was measured: tables of cases, one value a round.

use anyhow::{Context, Result};
use serde::Serialize;

use crate::stats::{Summary, ratios, summary};

/// Whether higher or lower is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// One thing that was measured, for several cases side by side. Round *n* of one case stands beside
/// round *n* of the others.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Table {
    /// `part/metric`.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    /// The case that the others' ratios are to; empty when they are not to be compared.
    pub(crate) baseline: String,
    pub(crate) series: Vec<Series>,
}

/// The values of one case.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Series {
    pub(crate) case: String,
    /// One a round.
    pub(crate) values: Vec<f64>,
}

/// What a case is.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) what: String,
}

/// Everything that one part measured, and what must be said of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) notes: Vec<String>,
    pub(crate) cases: Vec<Case>,
    pub(crate) tables: Vec<Table>,
}

impl Table {
    pub(crate) fn new(id: &str, title: &str, unit: &'static str, better: Better, baseline: &str) -> Self {
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            unit,
            better,
            baseline: baseline.to_owned(),
            series: Vec::new(),
        }
    }

    /// Notes the value of a case's next round.
    pub(crate) fn record(&mut self, case: &str, value: f64) {
        if let Some(series) = self.series.iter_mut().find(|series| series.case == case) {
            series.values.push(value);
        } else {
            self.series.push(Series { case: case.to_owned(), values: vec![value] });
        }
    }

    pub(crate) fn values(&self, case: &str) -> Option<&[f64]> {
        self.series.iter().find(|series| series.case == case).map(|series| series.values.as_slice())
    }

    /// The summary of the per-round ratios of one case to another.
    pub(crate) fn ratio(&self, case: &str, baseline: &str) -> Option<Summary> {
        summary(&ratios(self.values(case)?, self.values(baseline)?))
    }
}

impl Part {
    pub(crate) fn new(name: &'static str, title: &'static str) -> Self {
        Self { name, title, notes: Vec::new(), cases: Vec::new(), tables: Vec::new() }
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    pub(crate) fn case(&mut self, name: &str, what: &str) {
        self.cases.push(Case { name: name.to_owned(), what: what.to_owned() });
    }

    /// Notes the value of a case's next round in the table of that id.
    pub(crate) fn record(&mut self, table: &str, case: &str, value: f64) -> Result<()> {
        let found = self.tables.iter_mut().find(|t| t.id == table);
        found.with_context(|| format!("there is no table {table}"))?.record(case, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_not_of_the_medians() {
        let mut table = Table::new("a/b", "", "s", Better::Lower, "base");
        for (base, ours) in [(1.0, 2.0), (10.0, 5.0), (100.0, 300.0)] {
            table.record("base", base);
            table.record("ours", ours);
        }
        assert_eq!(table.ratio("ours", "base"), Some(Summary { min: 0.5, median: 2.0, max: 3.0 }));
        assert_eq!(table.ratio("ours", "nobody"), None);
    }
}
