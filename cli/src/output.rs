//! What commands print on stdout: lines, tables, JSON; sizes and times for people.

use std::io::{self, BufWriter, IsTerminal as _, Write};

use jiff::tz::TimeZone;
use serde::Serialize;
use types::{ByteSize, Timestamp};
pub(crate) use types::{count, thousands};

use crate::exit::Failure;

/// The standard output. A reader that goes away ends the command without a word.
pub(crate) struct Output {
    to: BufWriter<Box<dyn Write + Send>>,
    terminal: bool,
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("terminal", &self.terminal).finish_non_exhaustive()
    }
}

impl Output {
    pub(crate) fn stdout() -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        Self { to: BufWriter::with_capacity(64 << 10, Box::new(stdout)), terminal }
    }

    pub(crate) const fn is_terminal(&self) -> bool {
        self.terminal
    }

    pub(crate) fn line(&mut self, line: impl AsRef<[u8]>) -> Result<(), Failure> {
        self.bytes(line)?;
        self.bytes(b"\n")
    }

    pub(crate) fn bytes(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), Failure> {
        self.to.write_all(bytes.as_ref()).map_err(|error| stdout_failed(&error))
    }

    /// One JSON value, and the end of the line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = if self.terminal { serde_json::to_vec_pretty(value) } else { serde_json::to_vec(value) };
        self.line(text.expect("what is printed has text keys and no floats that JSON lacks"))
    }

    /// Must be called at the end: what is left in a dropped buffer is lost without a word.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.to.flush().map_err(|error| stdout_failed(&error))
    }
}

pub(crate) fn stdout_failed(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::Failed(format!("standard output: {}", crate::exit::reason(error))),
    }
}

/// A JSON array that is printed while its elements are found, one on each line.
#[derive(Debug, Default)]
pub(crate) struct JsonArray {
    begun: bool,
}

impl JsonArray {
    pub(crate) fn push(&mut self, out: &mut Output, value: &impl Serialize) -> Result<(), Failure> {
        out.bytes(if self.begun { ",\n" } else { "[\n" })?;
        self.begun = true;
        out.bytes(serde_json::to_vec(value).expect("what is printed has text keys and no floats that JSON lacks"))
    }

    pub(crate) fn end(self, out: &mut Output) -> Result<(), Failure> {
        out.line(if self.begun { "\n]" } else { "[]" })
    }
}

/// How sizes are shown: for people, or exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sizes {
    Human,
    Bytes,
}

impl Sizes {
    pub(crate) const fn exact(bytes: bool) -> Self {
        if bytes { Self::Bytes } else { Self::Human }
    }

    pub(crate) fn show(self, bytes: u64) -> String {
        match self {
            Self::Human => ByteSize::new(bytes).human(),
            Self::Bytes => bytes.to_string(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows of text in aligned columns. The last column is never padded.
#[derive(Debug, Default)]
pub(crate) struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<String>>,
    indent: usize,
}

impl Table {
    pub(crate) fn new(columns: &[Align]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new(), indent: 0 }
    }

    pub(crate) fn indented(self, indent: usize) -> Self {
        Self { indent, ..self }
    }

    pub(crate) fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let row: Vec<String> = cells.into_iter().map(Into::into).collect();
        debug_assert_eq!(row.len(), self.columns.len(), "a cell for each column");
        self.rows.push(row);
    }

    pub(crate) fn print(&self, out: &mut Output) -> Result<(), Failure> {
        self.lines().into_iter().try_for_each(|line| out.line(line))
    }

    /// The rows as they are printed, without the ends of the lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| self.rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0))
            .collect();
        let line = |row: &Vec<String>| {
            let mut line = " ".repeat(self.indent);
            for (at, (cell, align)) in row.iter().zip(&self.columns).enumerate() {
                let missing = " ".repeat(widths[at] - cell.chars().count());
                if at > 0 {
                    line.push_str("  ");
                }
                match align {
                    Align::Right => line.extend([missing.as_str(), cell]),
                    Align::Left if at + 1 == row.len() => line.push_str(cell),
                    Align::Left => line.extend([cell, missing.as_str()]),
                }
            }
            line.trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

/// Bytes of a path or a name as they are shown: exact where a program reads them, without control characters where a
/// terminal would obey them.
pub(crate) fn shown(bytes: &[u8], terminal: bool) -> Vec<u8> {
    if !terminal {
        return bytes.to_vec();
    }
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_control() { text.extend(letter.escape_default()) } else { text.push(letter) }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text.into_bytes()
}

fn moment(time: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_nanosecond(i128::from(time.signed_nanos()))
        .expect("64 bits of nanoseconds end in the year 2262")
}

/// `2026-05-14 09:30`, in the time zone of this machine.
pub(crate) fn local_minutes(time: Timestamp) -> String {
    moment(time).to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

/// `2026-05-14 09:30:21.123456789 +0200`, in the time zone of this machine.
pub(crate) fn local_exact(time: Timestamp) -> String {
    moment(time).to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S.%9f %z").to_string()
}

/// RFC 3339 in UTC, for programs.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    moment(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let mut table = Table::new(&[Align::Left, Align::Right, Align::Left]).indented(2);
        table.row(["NAME", "SIZE", "STATE"]);
        table.row(["a", "1.00KiB", "alive"]);
        table.row(["long-name", "7B", ""]);
        assert_eq!(
            table.lines(),
            ["  NAME          SIZE  STATE", "  a          1.00KiB  alive", "  long-name       7B"]
        );
    }

    #[test]
    fn terminals_are_not_given_control_characters() {
        assert_eq!(shown(b"a\x1b[2Jb\n", true), br"a\u{1b}[2Jb\n");
        assert_eq!(shown(b"\xffx", true), br"\xffx");
        assert_eq!(shown("né".as_bytes(), true), "né".as_bytes());
        assert_eq!(shown(b"a\x1b\xff", false), b"a\x1b\xff");
    }

    #[test]
    fn sizes_and_times_read_well() {
        assert_eq!(rfc3339(Timestamp::from_nanos(1_000_000_001)), "1970-01-01T00:00:01.000000001Z");
        assert_eq!(Sizes::Human.show(1536), "1.50KiB");
        assert_eq!(Sizes::Bytes.show(1536), "1536");
    }
}
