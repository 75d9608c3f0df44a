//! When a token ends, as MidoNet writes it: `Mon, 23-11-2026 23:56:57 UTC`.

use std::time::{Duration, SystemTime};

/// The time that this text says; none if it is another format or zone.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    let mut words = text.split_whitespace();
    // The name of the day is in the server's language.
    let (_, date, time, zone) = (words.next()?, words.next()?, words.next()?, words.next()?);
    if !matches!(zone, "UTC" | "GMT" | "Z") || words.next().is_some() {
        return None;
    }
    let [day, month, year] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let known = (1..=31).contains(&day)
        && (1..=12).contains(&month)
        && (1970..=9999).contains(&year)
        && hour < 24
        && minute < 60
        && second < 61;
    let days = known.then(|| days(year, month, day))?;
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(days * 86_400 + hour * 3600 + minute * 60 + second))
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let mut parts = text.split(separator).map(|part| part.parse().ok());
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

/// The days from 1970-01-01 to a day of the Gregorian calendar. Years are counted from March, so that the day of a leap
/// year is the last one.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before_year = year * 365 + year / 4 - year / 100 + year / 400;
    let before_month = (month * 153 + 2) / 5;
    // 719,468 days from 0000-03-01 to 1970-01-01. January and February of 1970 belong to 1969.
    (before_year + before_month + day - 1).saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(text: &str) -> Option<u64> {
        parse(text).map(|time| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
    }

    #[test]
    fn what_midonet_writes_is_read() {
        // date -u -d '2026-11-23 23:56:57' +%s
        assert_eq!(seconds("Mon, 23-11-2026 23:56:57 UTC"), Some(1_795_478_217));
        assert_eq!(seconds("Thu, 01-01-1970 00:00:00 GMT"), Some(0));
        assert_eq!(seconds("Tue, 29-02-2000 00:00:01 UTC"), Some(951_782_401));
    }

    #[test]
    fn what_is_something_else_is_not_read() {
        for text in [
            "",
            "Mon, 23-11-2026 23:56:57 CET",
            "Mon, 23-11-2026 23:56 UTC",
            "Mon, 0-11-2026 1:1:1 UTC",
            "Mon, 23-13-2026 23:56:57 UTC",
            "Mon, 23-11-99999999999999999999 23:56:57 UTC",
            "2026-11-23T23:56:57Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_day_is_one_after_the_day_before(year in 1970u64..9999, month in 1u64..=12, day in 1u64..=31) {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match month { 2 if leap => 29, 2 => 28, 4 | 6 | 9 | 11 => 30, _ => 31 };
            prop_assume!(day <= last);
            let next = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (_, day) if day == last => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
            prop_assert_eq!(days(next.0, next.1, next.2), days(year, month, day) + 1);
        }

        #[test]
        fn no_text_is_too_absurd(text in "\\PC*") {
            let _ = parse(&text);
        }
    }
}
