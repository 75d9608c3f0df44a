//! The format of JUnit, which programs read that collect results of tests.

use std::fmt::Write;

use super::text::line;
use super::view::{Outcome, ScenarioResult, View};

/// A document with one suite, a case for each scenario.
pub(in crate::connectivity) fn junit(view: &View) -> String {
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    let View { passed, failed, skipped, milliseconds, .. } = view;
    let _ = writeln!(
        text,
        "<testsuite name=\"midokube connectivity test\" tests=\"{}\" failures=\"{failed}\" errors=\"0\" skipped=\"{skipped}\" \
         time=\"{}\">",
        passed + failed + skipped,
        seconds(*milliseconds),
    );
    for scenario in &view.scenarios {
        case(&mut text, scenario);
    }
    text.push_str("</testsuite>\n");
    text
}

fn case(text: &mut String, scenario: &ScenarioResult) {
    let ScenarioResult { name, outcome, reason, milliseconds, failures, .. } = scenario;
    let _ = write!(
        text,
        "  <testcase classname=\"midokube.connectivity\" name=\"{}\" time=\"{}\"",
        escaped(name),
        seconds(*milliseconds)
    );
    let _ = match outcome {
        Outcome::Passed => writeln!(text, "/>"),
        Outcome::Skipped => {
            let reason = escaped(reason.as_deref().unwrap_or_default());
            writeln!(text, ">\n    <skipped message=\"{reason}\"/>\n  </testcase>")
        }
        Outcome::Failed => {
            let message = failures.first().map(|failure| escaped(&line(failure))).unwrap_or_default();
            let _ = writeln!(text, ">\n    <failure message=\"{message}\">");
            for failure in failures {
                let told = format!("{}\ncause: {}\nremedy: {}", line(failure), failure.cause, failure.remedy);
                let _ = writeln!(text, "{}", escaped(&told));
            }
            writeln!(text, "    </failure>\n  </testcase>")
        }
    };
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

/// Text that is no markup. What XML 1.0 cannot have is left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(letter),
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {}
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_markup() {
        assert_eq!(escaped("a<b>&\"c\"\u{1b}[1m\n\u{0}é"), "a&lt;b&gt;&amp;&quot;c&quot;[1m\né");
        assert_eq!(seconds(61_007), "61.007");
    }
}
