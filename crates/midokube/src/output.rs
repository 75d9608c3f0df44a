//! Results on standard output: tables for people, JSON and YAML for programs.

use anyhow::Result;
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

/// How to show a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// Prints `value`: `table` makes the form for people.
pub(crate) fn print<T: Serialize>(value: &T, format: Format, table: impl FnOnce(&T) -> String) -> Result<()> {
    match format {
        Format::Table => println!("{}", table(value)),
        Format::Json => println!("{}", serde_json::to_string_pretty(value)?),
        Format::Yaml => print!("{}", serde_yaml_ng::to_string(value)?),
    }
    Ok(())
}

/// A table without lines, as kubectl has it.
pub(crate) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// An error with its causes, without those that it names itself already.
pub(crate) fn explain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        said if said.contains(&cause) => text,
        said => format!("{said}: {cause}"),
    })
}

/// A list in one cell.
pub(crate) fn join<T: ToString>(items: &[T]) -> String {
    if items.is_empty() { "-".into() } else { items.iter().map(T::to_string).collect::<Vec<_>>().join(", ") }
}

/// A number of bytes with a unit.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// Bits a second with a unit, as traffic control has them: in thousands.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn bit_rate(bits: u64) -> String {
    let mut value = bits as f64;
    for unit in ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"] {
        if value < 1000.0 {
            return format!("{value} {unit}");
        }
        value /= 1000.0;
    }
    format!("{value} Tbit/s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_lines_have_no_tail() {
        let text = table(["A", "LONGER"], [["xxxx".into(), "1".into()], ["y".into(), "22".into()]]);
        assert_eq!(text, " A     LONGER\n xxxx  1\n y     22");
    }

    #[test]
    fn units() {
        for (n, want) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")] {
            assert_eq!(bytes(n), want);
        }
    }

    #[test]
    fn bit_rates() {
        for (n, want) in
            [(999, "999 bit/s"), (10_000_000, "10 Mbit/s"), (1_500_000_000_000_000, "1500 Tbit/s")]
        {
            assert_eq!(bit_rate(n), want);
        }
    }

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow::anyhow!("no such file").context("cannot open x: no such file; is it there?");
        assert_eq!(explain(&error.context("status")), "status: cannot open x: no such file; is it there?");
    }

    #[test]
    fn an_empty_list_is_seen() {
        assert_eq!(join::<u8>(&[]), "-");
        assert_eq!(join(&[1, 2]), "1, 2");
    }
}
