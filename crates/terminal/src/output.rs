//! Results on standard output: tables for people, JSON and YAML for programs.

use std::borrow::Cow;
use std::io::{self, ErrorKind, Write};

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use anyhow::{Context, Result};
use clap::ValueEnum;
use clap::builder::styling::{AnsiColor, Style};
use serde::Serialize;
use terminal_size::{Height, terminal_size_of};

/// How to show a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people; fits 100 columns.
    #[default]
    Table,
    /// For people; with MAC addresses, port ids and packets, as wide as it gets.
    Wide,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

impl Format {
    /// `value` in this format; `text` makes the form for people, given whether it is to be wide.
    ///
    /// # Errors
    /// The value cannot be serialized.
    pub fn text<T: Serialize>(self, value: &T, text: impl FnOnce(&T, bool) -> String) -> Result<String> {
        Ok(match self {
            Self::Table | Self::Wide => text(value, self == Self::Wide) + "\n",
            Self::Json => json(&serde_json::to_string_pretty(value)?) + "\n",
            Self::Yaml => serde_yaml_ng::to_string(value)?,
        })
    }
}

/// Writes all of `text` to standard output, without its colours if that is no terminal or `NO_COLOR` is set.
/// Returns whether the reader is still there: a closed pipe is no error, as with `ls | head`.
///
/// # Errors
/// It cannot be written, for example since the disk is full.
pub fn write(text: &str) -> Result<bool> {
    let text = harmless(text);
    if coloured() { write_raw(&text) } else { write_raw(&strip_str(&text).to_string()) }
}

/// Whether a character does something to a terminal, or to the order in which the others are read, instead of being shown.
fn is_harmful(character: char) -> bool {
    let is_format = matches!(character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
    is_format || (character.is_control() && !matches!(character, '\n' | '\t'))
}

/// The length of one of the styles' own sequences that a text begins with.
fn style(text: &str) -> Option<usize> {
    let rest = text.strip_prefix("\x1b[")?;
    let digits = rest.bytes().take_while(|byte| byte.is_ascii_digit()).count();
    (digits <= 2 && rest.as_bytes().get(digits) == Some(&b'm')).then_some(digits + 3)
}

/// A text with names that others chose: what a terminal would obey, but for styles, is shown as a number instead.
fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(character) = rest.chars().next() {
        let length = match style(rest) {
            Some(length) => {
                shown.push_str(rest.get(..length).unwrap_or_default());
                length
            }
            None if is_harmful(character) => {
                shown.extend(character.escape_unicode());
                character.len_utf8()
            }
            None => {
                shown.push(character);
                character.len_utf8()
            }
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    Cow::Owned(shown)
}

/// The same of a JSON document, which has such characters in strings alone.
fn json(document: &str) -> String {
    let mut shown = String::with_capacity(document.len());
    for character in document.chars() {
        if is_harmful(character) {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Replaces what a terminal shows by as much of `text` as fits on it. Returns as [`write`] does.
///
/// # Errors
/// It cannot be written.
pub fn redraw(text: &str) -> Result<bool> {
    let height = terminal_size_of(io::stdout()).map_or(usize::MAX, |(_, Height(rows))| rows.into());
    let text = harmless(text);
    let text = if coloured() { text.into_owned() } else { strip_str(&text).to_string() };
    let lines: Vec<&str> = text.lines().take(height.saturating_sub(1)).collect();
    // Home; lines that are cut off instead of going on below; clear what is left of each line, and of all.
    write_raw(&format!("\x1b[H\x1b[?7l{}\x1b[K\n\x1b[J\x1b[?7h", lines.join("\x1b[K\n")))
}

fn write_raw(text: &str) -> Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        result => result.map(|()| true).context("cannot write to standard output"),
    }
}

/// Reports what is wrong on standard error, after the program's name. If standard error cannot be written,
/// there is nobody to tell.
pub fn complain(program: &str, what: &str) {
    let _ = writeln!(io::stderr(), "{program}: {}", harmless(what));
}

/// Whether standard output gets colours: it is a terminal, and neither `NO_COLOR` nor `CLICOLOR` forbids
/// it; or `CLICOLOR_FORCE` demands it.
fn coloured() -> bool {
    AutoStream::choice(&io::stdout()) != ColorChoice::Never
}

/// The style of a title.
pub const TITLE: Style = Style::new().bold();
/// The style of a good state.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// The style of a bad state.
pub const BAD: Style = AnsiColor::Red.on_default().bold();

/// `text` in a style, for a terminal; [`write`] removes it elsewhere.
pub fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// `text` without its styles.
pub fn plain(text: &str) -> String {
    strip_str(text).to_string()
}

/// An error with its causes, without those that it names itself already.
pub fn explain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        said if said.contains(&cause) => text,
        said => format!("{said}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow::anyhow!("no such file").context("cannot open x: no such file; is it there?");
        assert_eq!(explain(&error.context("status")), "status: cannot open x: no such file; is it there?");
    }

    #[test]
    fn what_others_named_does_nothing_to_a_terminal() {
        let title = paint(TITLE, "Pods");
        assert_eq!(harmless(&title), title);
        for (name, shown) in [
            ("web-1 \u{e4}\u{4e2d}\n", "web-1 \u{e4}\u{4e2d}\n"),
            ("a\x1b[2Jb", "a\\u{1b}[2Jb"),
            ("a\x1b", "a\\u{1b}"),
            ("a\x1b]0;title\x07b", "a\\u{1b}]0;title\\u{7}b"),
            ("a\u{9b}31mb\rc", "a\\u{9b}31mb\\u{d}c"),
            ("a\u{202e}b\u{2028}c\u{200b}", "a\\u{202e}b\\u{2028}c\\u{200b}"),
        ] {
            assert_eq!(harmless(name), shown);
            let document = json(&serde_json::to_string(name).unwrap());
            assert!(!document.contains(is_harmful), "{document}");
            assert_eq!(serde_json::from_str::<String>(&document).unwrap(), name);
        }
    }

    #[test]
    fn every_format_ends_with_a_line_break() {
        let text = |format: Format| format.text(&["a"], |_, wide| format!("wide: {wide}")).unwrap();
        assert_eq!(text(Format::Table), "wide: false\n");
        assert_eq!(text(Format::Wide), "wide: true\n");
        assert_eq!(text(Format::Json), "[\n  \"a\"\n]\n");
        assert_eq!(text(Format::Yaml), "- a\n");
    }
}
