//! The results as a picture: a panel for each table, a bar for each case's median, a line from its
//! least to its largest value. Written out as SVG by hand: pure.

use std::fmt::Write as _;

use crate::results::{Better, Table};
use crate::stats::{Summary, figure, summary};

const WIDTH: f64 = 560.0;
const COLUMNS: usize = 2;
const GAP: f64 = 24.0;
const TITLE: f64 = 34.0;
const ROW: f64 = 24.0;
const LABEL: f64 = 210.0;
const VALUE: f64 = 90.0;

/// The picture of these tables.
pub(crate) fn svg(tables: &[&Table]) -> String {
    let mut body = String::new();
    let mut top = GAP;
    for row in tables.chunks(COLUMNS) {
        let mut left = GAP;
        let mut height = 0.0f64;
        for table in row {
            height = height.max(panel(&mut body, table, left, top));
            left += WIDTH + GAP;
        }
        top += height + GAP;
    }
    let width = (WIDTH + GAP) * count(COLUMNS) + GAP;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {top}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

/// Draws a table at a place; the height it took.
fn panel(body: &mut String, table: &Table, left: f64, top: f64) -> f64 {
    let better = match table.better {
        Better::Higher => "more is better",
        Better::Lower => "less is better",
    };
    text(body, left, top + 16.0, "start", "#111111", &format!("{} ({}; {better})", table.title, table.unit));
    let rows: Vec<(&str, Summary)> = table
        .series
        .iter()
        .filter_map(|series| Some((series.case.as_str(), summary(&series.values)?)))
        .collect();
    let most = rows.iter().map(|(_, s)| s.max).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LABEL - VALUE) / most;
    let (start, mut y) = (left + LABEL, top + TITLE);
    for (case, s) in &rows {
        let colour = if is_ours(case) { "#d9480f" } else { "#868e96" };
        let middle = y + ROW / 2.0 - 2.0;
        text(body, start - 8.0, middle + 4.0, "end", "#111111", case);
        let _ = writeln!(
            body,
            "<rect x=\"{start:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
            y,
            (s.median * scale).max(1.0),
            ROW - 6.0
        );
        let (low, high) = (start + s.min * scale, start + s.max * scale);
        let _ = writeln!(
            body,
            "<path d=\"M{low:.1} {middle:.1}H{high:.1}M{low:.1} {:.1}v8M{high:.1} {:.1}v8\" stroke=\"#111111\" fill=\"none\"/>",
            middle - 4.0,
            middle - 4.0
        );
        text(body, high + 6.0, middle + 4.0, "start", "#111111", &figure(s.median));
        y += ROW;
    }
    y - top
}

/// What the eye is to find: this network's own bars.
fn is_ours(case: &str) -> bool {
    case.starts_with("ours")
}

fn text(body: &mut String, x: f64, y: f64, anchor: &str, colour: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        body,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{words}</text>"
    );
}

fn count(n: usize) -> f64 {
    u32::try_from(n).map_or(0.0, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_to_scale_and_words_are_escaped() {
        let mut table = Table::new("a/b", "A & B <x>", "ms", Better::Lower, "");
        table.record("peer", 10.0);
        table.record("ours", 5.0);
        let text = svg(&[&table]);
        assert!(text.contains("A &amp; B &lt;x>"));
        let full = WIDTH - LABEL - VALUE;
        assert!(text.contains(&format!("width=\"{full:.1}\"")), "{text}");
        assert!(text.contains(&format!("width=\"{:.1}\"", full / 2.0)), "{text}");
        assert!(text.starts_with("<svg") && text.ends_with("</svg>\n"));
    }

    #[test]
    fn a_table_without_values_is_a_title() {
        let table = Table::new("a/b", "Empty", "ms", Better::Lower, "");
        assert_eq!(svg(&[&table]).matches("<text").count(), 1);
    }
}
