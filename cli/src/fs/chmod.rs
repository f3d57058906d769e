//! `ashlar fs chmod`

use client::{AttrChange, Client};

use super::remote::{self, RemotePath};
use super::{Failures, walk};
use crate::exit::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct ChmodArgs {
    /// Permission bits in octal, or changes such as u+x, go-w, a=rX
    #[arg(value_parser = Mode::parse, allow_hyphen_values = true)]
    mode: Mode,
    /// Files and directories
    #[arg(required = true, value_parser = remote::argument())]
    paths: Vec<RemotePath>,
    /// Change everything below directories too
    #[arg(short = 'R', long)]
    recursive: bool,
}

pub(crate) async fn run(client: &Client, args: ChmodArgs) -> Result<(), Failure> {
    let mut failures = Failures::default();
    let found = remote::expand_all(client, &args.paths, &mut failures).await?;
    let change = async |visited: &walk::Visited| {
        let mode = args.mode.of(visited.attributes.mode, visited.attributes.is_directory());
        let change = AttrChange { mode: Some(mode), ..AttrChange::default() };
        client.set_attr(&visited.place, change).await?;
        Ok(())
    };
    walk::each(client, found, args.recursive, &mut failures, change).await?;
    failures.result()
}

/// What becomes of permission bits.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mode {
    Exactly(u32),
    Changes(Vec<Change>),
}

/// `ug+rX`
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    /// The bits of the classes that are meant, special bits included.
    classes: u32,
    operator: char,
    /// For all three classes alike; special bits in their places.
    bits: u32,
    /// `X`: execution, where it makes sense.
    execute_if_sensible: bool,
}

impl Mode {
    fn parse(text: &str) -> Result<Self, String> {
        const HOW: &str = "write octal bits, such as 755, or changes, such as u+x,go-w";
        if let Ok(mode) = super::mkdir::mode(text) {
            return Ok(Self::Exactly(mode));
        }
        let changes: Option<Vec<_>> = text.split(',').map(Change::parse).collect();
        changes.map(Self::Changes).ok_or_else(|| HOW.to_owned())
    }

    fn of(&self, old: u32, directory: bool) -> u32 {
        match self {
            Self::Exactly(mode) => *mode,
            Self::Changes(changes) => changes.iter().fold(old, |mode, change| change.of(mode, directory)),
        }
    }
}

impl Change {
    fn parse(text: &str) -> Option<Self> {
        let operator = text.find(['+', '-', '='])?;
        let mut classes = 0;
        for class in text[..operator].chars() {
            classes |= match class {
                'u' => 0o4700,
                'g' => 0o2070,
                'o' => 0o0007,
                'a' => 0o6777,
                _ => return None,
            };
        }
        // Without a class all are meant, and the sticky bit can be.
        let classes = if operator == 0 || classes == 0o6777 { 0o7777 } else { classes };
        let (mut bits, mut execute_if_sensible) = (0, false);
        for bit in text[operator + 1..].chars() {
            match bit {
                'r' => bits |= 0o444,
                'w' => bits |= 0o222,
                'x' => bits |= 0o111,
                's' => bits |= 0o6000,
                't' => bits |= 0o1000,
                'X' => execute_if_sensible = true,
                _ => return None,
            }
        }
        let operator = text[operator..].chars().next()?;
        Some(Self { classes, operator, bits, execute_if_sensible })
    }

    fn of(&self, old: u32, directory: bool) -> u32 {
        let sensible = self.execute_if_sensible && (directory || old & 0o111 != 0);
        let bits = (self.bits | if sensible { 0o111 } else { 0 }) & self.classes;
        match self.operator {
            '+' => old | bits,
            '-' => old & !bits,
            // Special bits stay unless they are named: a setgid directory stays one.
            _ => (old & !(self.classes & 0o777)) | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(text: &str, old: u32, directory: bool) -> u32 {
        Mode::parse(text).expect("a mode").of(old, directory)
    }

    #[test]
    fn modes_change_as_with_chmod() {
        assert_eq!(changed("640", 0o777, false), 0o640);
        assert_eq!(changed("2775", 0, true), 0o2775);
        assert_eq!(changed("u+x", 0o644, false), 0o744);
        assert_eq!(changed("+x", 0o644, false), 0o755);
        assert_eq!(changed("go-rw,u=rx", 0o666, false), 0o500);
        assert_eq!(changed("a+X", 0o644, false), 0o644);
        assert_eq!(changed("a+X", 0o744, false), 0o755);
        assert_eq!(changed("a+X", 0o644, true), 0o755);
        assert_eq!(changed("+t", 0o777, true), 0o1777);
        assert_eq!(changed("g+s", 0o755, true), 0o2755);
        assert_eq!(changed("u-s", 0o6755, false), 0o2755);
        for wrong in ["", "9", "u", "u+q", "z+r", "77777"] {
            assert!(Mode::parse(wrong).is_err(), "{wrong}");
        }
    }
}
