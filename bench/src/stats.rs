//! Few numbers, and what can honestly be said of them: pure.

use serde::Serialize;

/// The least, the middle and the largest of some values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

/// `None` when there are no values.
pub(crate) fn summary(values: &[f64]) -> Option<Summary> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    let median = match sorted.len() % 2 {
        0 => (upper + sorted.get(middle.checked_sub(1)?)?) / 2.0,
        _ => upper,
    };
    Some(Summary { min: *sorted.first()?, median, max: *sorted.last()? })
}

/// The ratio of each round: what was measured side by side is compared side by side.
pub(crate) fn ratios(values: &[f64], baseline: &[f64]) -> Vec<f64> {
    values.iter().zip(baseline).filter(|(_, base)| **base != 0.0).map(|(value, base)| value / base).collect()
}

/// A figure with three digits that count: `0.123`, `12.3`, `1,230`, `12.3 k` is not for tables.
pub(crate) fn figure(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(w, f)| (w, Some(f)));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |rest| ("-", rest));
    let mut out = String::from(sign);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middles() {
        let odd = summary(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!(odd, Summary { min: 1.0, median: 2.0, max: 3.0 });
        assert_eq!(summary(&[4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(summary(&[7.0]).unwrap(), Summary { min: 7.0, median: 7.0, max: 7.0 });
        assert_eq!(summary(&[]), None);
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        assert_eq!(ratios(&[2.0, 9.0, 5.0], &[1.0, 3.0]), [2.0, 3.0]);
        assert_eq!(ratios(&[2.0, 4.0], &[0.0, 2.0]), [2.0], "nothing is divided by zero");
    }

    #[test]
    fn figures_are_short_and_readable() {
        for (value, text) in [
            (0.12345, "0.123"),
            (1.2345, "1.23"),
            (12.345, "12.3"),
            (123.45, "123"),
            (1234.5, "1,234"),
            (1_234_567.0, "1,234,567"),
            (-1234.0, "-1,234"),
            (0.0, "0.000"),
        ] {
            assert_eq!(figure(value), text);
        }
    }
}
