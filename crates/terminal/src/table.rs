//! Columns of text, as kubectl has them: without lines, two spaces apart.

/// No line of the narrow form is longer, as long as the names in it are not.
pub const WIDTH: usize = 100;

/// What stands in the place of a value that is not known.
pub const UNKNOWN: &str = "n/a";

const GAP: usize = 2;

/// A table. A cell can have several lines. With a `width`, a first cell that would make the table wider
/// stands on a line of its own, whole: names are there to be copied and searched for.
pub fn table<const N: usize>(
    width: Option<usize>,
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let rows: Vec<[String; N]> = std::iter::once(header.map(str::to_owned)).chain(rows).collect();
    let mut widths = [0; N];
    for (column, width) in widths.iter_mut().enumerate().skip(1) {
        *width = widest(rows.iter().filter_map(|row| row.get(column)));
    }
    let others: usize = widths.iter().skip(1).map(|width| width + GAP).sum();
    // One space stands before the first column.
    let limit = width.map_or(usize::MAX, |width| width.saturating_sub(others + 1));
    let fits = |cell: &&String| cell.chars().count() <= limit;
    if let Some(first) = widths.first_mut() {
        *first = widest(rows.iter().filter_map(|row| row.first()).filter(fits));
    }
    let mut lines = Vec::new();
    for row in &rows {
        let mut cells: Vec<Vec<&str>> = row.iter().map(|cell| cell.lines().collect()).collect();
        if let (Some(name), Some(first)) = (row.first().filter(|cell| !fits(cell)), cells.first_mut()) {
            lines.push(format!(" {name}"));
            first.clear();
        }
        for line in 0..cells.iter().map(Vec::len).max().unwrap_or(0).max(1) {
            let columns = cells
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{:width$}", cell.get(line).copied().unwrap_or_default()));
            let text = columns.collect::<Vec<_>>().join(&" ".repeat(GAP));
            lines.push(format!(" {text}").trim_end().to_owned());
        }
    }
    lines.join("\n")
}

/// Names and values below a title's line. With a `width`, long values go on in further lines.
pub fn fields(width: Option<usize>, fields: &[(&str, String)]) -> String {
    let names = widest(fields.iter().map(|(name, _)| name));
    let indent = 1 + names + GAP;
    let field = |(name, value): &(&str, String)| {
        let value = wrap(width.map(|width| width.saturating_sub(indent)), value);
        format!(" {name:names$}  {}", value.replace('\n', &format!("\n{:indent$}", "")))
    };
    fields.iter().map(field).collect::<Vec<_>>().join("\n")
}

/// Breaks a text between words, so that no line is longer than `width` unless a word is.
pub fn wrap(width: Option<usize>, text: &str) -> String {
    let Some(width) = width else { return text.to_owned() };
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

/// A list in one cell.
pub fn join<T: ToString>(items: &[T]) -> String {
    known(&items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")).to_owned()
}

/// A text that may not be known.
pub fn known(text: &str) -> &str {
    if text.is_empty() { UNKNOWN } else { text }
}

fn widest<T: AsRef<str>>(cells: impl Iterator<Item = T>) -> usize {
    let longest = |cell: T| cell.as_ref().lines().map(|line| line.chars().count()).max();
    cells.filter_map(longest).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_lines_have_no_tail() {
        let text = table(None, ["A", "LONGER"], [["xxxx".into(), "1".into()], ["y".into(), "22".into()]]);
        assert_eq!(text, " A     LONGER\n xxxx  1\n y     22");
    }

    #[test]
    fn a_cell_can_have_several_lines() {
        let rows = [["a".into(), "1\n2".into(), "x".into()], ["b".into(), String::new(), "y".into()]];
        assert_eq!(table(None, ["A", "B", "C"], rows), " A  B  C\n a  1  x\n    2\n b     y");
    }

    #[test]
    fn a_long_name_has_a_line_of_its_own_and_moves_nothing() {
        let rows = [["short".into(), "1".into()], ["much-longer".into(), "2\n3".into()]];
        let text = table(Some(12), ["NAME", "N"], rows.clone());
        assert_eq!(text, " NAME   N\n short  1\n much-longer\n        2\n        3");
        assert!(table(None, ["NAME", "N"], rows).contains("\n much-longer  2\n"));
    }

    #[test]
    fn long_values_go_on_below_themselves() {
        let text = fields(Some(14), &[("a", "one two three".into()), ("bcd", "1".into())]);
        assert_eq!(text, " a    one two\n      three\n bcd  1");
    }

    #[test]
    fn words_stay_whole() {
        assert_eq!(wrap(Some(5), "a bc defghij k"), "a bc\ndefghij\nk");
        assert_eq!(wrap(None, "a bc defghij k"), "a bc defghij k");
    }

    #[test]
    fn an_empty_list_is_not_known() {
        assert_eq!(join::<u8>(&[]), "n/a");
        assert_eq!(join(&[1, 2]), "1, 2");
    }
}
