//! The report for people, in Markdown: pure.

use std::fmt::Write as _;

use crate::aims::{Bound, Verdict};
use crate::results::{Better, Part, Table};
use crate::stats::{Summary, figure, summary};
use crate::{Failure, Run};

/// The whole report.
pub(crate) fn markdown(run: &Run) -> String {
    let mut out = String::from("# Benchmarks of midonet-kube\n\n");
    let machine = &run.machine;
    let _ = writeln!(
        out,
        "{} cores ({}), {} GiB, Linux {}, load {} at the start. {} rounds, {} s per rate. \
         Every round measures all cases one after the other (A B C A B C ...); a ratio is taken within its \
         round, and the median of the ratios is what counts. Written `median [min..max]`.\n",
        machine.cores,
        machine.processor,
        machine.memory_gib,
        machine.kernel,
        machine.load,
        run.rounds,
        run.seconds
    );
    for Failure { part, reason } in &run.failures {
        let _ = writeln!(out, "**The part {part} failed and is missing: {reason}**\n");
    }
    out.push_str(&aims(&run.verdicts));
    out.push_str("![plot](plot.svg)\n\n");
    for part in &run.parts {
        out.push_str(&section(part));
    }
    out
}

/// The table of aims; empty when none was measured.
pub(crate) fn aims(verdicts: &[Verdict]) -> String {
    if verdicts.is_empty() {
        return String::new();
    }
    let mut out = String::from("## Aims\n\n| aim | wanted | measured | |\n|---|---|---|---|\n");
    for verdict in verdicts {
        let subject = match verdict.to {
            Some(to) => format!("{}: {} to {to}", verdict.title, verdict.case),
            None => format!("{}: {}", verdict.title, verdict.case),
        };
        let wanted = match verdict.bound {
            Bound::AtLeast(bound) => format!("at least {}", figure(bound)),
            Bound::AtMost(bound) => format!("at most {}", figure(bound)),
        };
        let mark = if verdict.met { "met" } else { "**missed**" };
        let close = if verdict.close { ", but rounds lie on both sides" } else { "" };
        let measured = spread(&verdict.measured);
        let _ = writeln!(out, "| {subject} | {wanted} {} | {measured} | {mark}{close} |", verdict.unit);
    }
    out.push('\n');
    out
}

fn section(part: &Part) -> String {
    let mut out = format!("## {}\n\n", part.title);
    for note in &part.notes {
        let _ = writeln!(out, "{note}\n");
    }
    for case in &part.cases {
        let _ = writeln!(out, "- `{}`: {}", case.name, case.what);
    }
    out.push('\n');
    for table in &part.tables {
        out.push_str(&rows(table));
    }
    out
}

fn rows(table: &Table) -> String {
    let better = match table.better {
        Better::Higher => "more is better",
        Better::Lower => "less is better",
    };
    let compared = table.series.iter().any(|s| s.case == table.baseline);
    let (head, rule) =
        if compared { (format!(" ratio to {} |", table.baseline), "---|") } else { (String::new(), "") };
    let mut out = format!(
        "### {} ({}; {better})\n\n| case | min | median | max |{head}\n|---|---|---|---|{rule}\n",
        table.title, table.unit
    );
    for series in &table.series {
        let Some(Summary { min, median, max }) = summary(&series.values) else { continue };
        let _ = write!(out, "| {} | {} | {} | {} |", series.case, figure(min), figure(median), figure(max));
        if compared {
            let ratio = table.ratio(&series.case, &table.baseline).map_or_else(String::new, |r| spread(&r));
            let _ = write!(out, " {ratio} |");
        }
        out.push('\n');
    }
    out.push('\n');
    out
}

/// `median [min..max]`.
fn spread(summary: &Summary) -> String {
    format!("{} [{}..{}]", figure(summary.median), figure(summary.min), figure(summary.max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aims::evaluate;
    use crate::machine::Machine;

    fn run() -> Run {
        let mut part = Part::new("add", "ADD");
        part.case("ours", "what ours is");
        let mut table = Table::new("add/ipv4-add", "ADD, IPv4", "ms", Better::Lower, "ptp");
        for value in [40.0, 50.0, 60.0] {
            table.record("ptp", value);
            table.record("ours", value / 10.0);
        }
        part.tables.push(table);
        let parts = vec![part];
        Run {
            machine: Machine::read(),
            rounds: 3,
            seconds: 0.5,
            verdicts: evaluate(&parts),
            parts,
            failures: vec![Failure { part: "scale", reason: "no space".to_owned() }],
        }
    }

    #[test]
    fn says_what_was_measured_and_what_it_means() {
        let text = markdown(&run());
        for line in [
            "| ADD, IPv4: ours to ptp | at most 0.167 x | 0.100 [0.100..0.100] | met |",
            "| ours | 4.00 | 5.00 | 6.00 | 0.100 [0.100..0.100] |",
            "- `ours`: what ours is",
            "The part scale failed and is missing: no space",
        ] {
            assert!(text.contains(line), "{line}\nis not in\n{text}");
        }
    }

    #[test]
    fn nothing_is_compared_with_a_case_that_is_not_there() {
        let mut table = Table::new("scale/ready", "Ready", "s", Better::Lower, "");
        table.record("restart", 0.5);
        assert!(rows(&table).contains("| case | min | median | max |\n|---|---|---|---|\n| restart |"));
    }
}
