//! `ashlar fs getfattr` and `ashlar fs setfattr`

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use client::{Client, XattrMode};

use super::Failures;
use super::remote::{self, Found, RemotePath};
use crate::exit::Failure;
use crate::output::{Output, shown};

#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    /// Files and directories
    #[arg(required = true, value_parser = remote::argument())]
    paths: Vec<RemotePath>,
    /// Print the value of this attribute alone, byte by byte
    #[arg(short, long)]
    name: Option<OsString>,
    /// Print values too, those that are no text in hexadecimal
    #[arg(short, long, conflicts_with = "name")]
    dump: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SetArgs {
    /// Files and directories
    #[arg(required = true, value_parser = remote::argument())]
    paths: Vec<RemotePath>,
    /// The attribute to set; its name begins with user., or for root with trusted. or security.
    #[arg(short, long, required_unless_present = "remove", conflicts_with = "remove")]
    name: Option<OsString>,
    /// Its value, up to 64 KiB
    #[arg(short, long, default_value = "")]
    value: OsString,
    /// The attribute to remove
    #[arg(short = 'x', long)]
    remove: Option<OsString>,
}

pub(crate) async fn get(client: &Client, args: GetArgs) -> Result<(), Failure> {
    let mut failures = Failures::default();
    let mut out = Output::stdout();
    for found in remote::expand_all(client, &args.paths, &mut failures).await? {
        let printed = match &args.name {
            Some(name) => one(client, &found, name.as_bytes(), &mut out).await,
            None => all(client, &found, args.dump, &mut out).await,
        };
        if let Err(failure) = printed {
            out.flush()?;
            failures.add(failure)?;
        }
    }
    out.flush()?;
    failures.result()
}

async fn one(client: &Client, found: &Found, name: &[u8], out: &mut Output) -> Result<(), Failure> {
    out.bytes(client.xattr(found.place(), name).await?)
}

/// In the form of getfattr(1), less its quoting of names.
async fn all(client: &Client, found: &Found, dump: bool, out: &mut Output) -> Result<(), Failure> {
    let names = client.xattr_names(found.place()).await?;
    if names.is_empty() {
        return Ok(());
    }
    let terminal = out.is_terminal();
    out.line([b"# file: ".to_vec(), shown(&found.path.to_bytes(), terminal)].concat())?;
    for name in names {
        let mut line = shown(&name, terminal);
        if dump {
            line.push(b'=');
            line.extend(value_text(&client.xattr(found.place(), &name).await?).into_bytes());
        }
        out.line(line)?;
    }
    out.line("")
}

fn value_text(value: &[u8]) -> String {
    match str::from_utf8(value) {
        Ok(text) if !text.chars().any(char::is_control) => format!("{text:?}"),
        _ => value.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}")),
    }
}

pub(crate) async fn set(client: &Client, args: SetArgs) -> Result<(), Failure> {
    let mut failures = Failures::default();
    for found in remote::expand_all(client, &args.paths, &mut failures).await? {
        let done = match (&args.remove, &args.name) {
            (Some(name), _) => client.remove_xattr(found.place(), name.as_bytes()).await,
            (None, Some(name)) => {
                client.set_xattr(found.place(), name.as_bytes(), args.value.as_bytes(), XattrMode::Any).await
            }
            (None, None) => unreachable!("one of the two is required"),
        };
        if let Err(error) = done {
            failures.add(error.into())?;
        }
    }
    failures.result()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_text_or_in_hexadecimal() {
        assert_eq!(value_text(b"plain \"text\""), r#""plain \"text\"""#);
        assert_eq!(value_text(&[0, 255]), "0x00ff");
    }
}
