//! `ashlar object get`

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use client::Client;
use client::objects::ObjectReader;

use super::name::ObjectName;
use crate::exit::Failure;
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(super) struct GetArgs {
    #[arg(value_name = "BUCKET/KEY")]
    from: ObjectName,
    /// A local file, or - for the standard output; by default a file of the key's last name
    #[arg(value_name = "FILE")]
    to: Option<PathBuf>,
    /// Replace a file that is there
    #[arg(short, long)]
    force: bool,
    /// Only these bytes, counted from 0: FIRST-LAST, FIRST- or -MANY for the last
    #[arg(long, value_name = "FIRST-LAST", allow_hyphen_values = true)]
    range: Option<Range>,
}

/// Some bytes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    From { first: u64, last: Option<u64> },
    Last(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no range; write FIRST-LAST, FIRST- or -MANY, in bytes")]
struct NoRange;

impl FromStr for Range {
    type Err = NoRange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |digits: &str| digits.parse::<u64>().map_err(|_| NoRange);
        let (first, last) = text.split_once('-').ok_or(NoRange)?;
        if first.is_empty() {
            return number(last).map(Self::Last);
        }
        let (first, last) = (number(first)?, if last.is_empty() { None } else { Some(number(last)?) });
        if last.is_some_and(|last| last < first) { Err(NoRange) } else { Ok(Self::From { first, last }) }
    }
}

impl Range {
    /// Where it begins and ends in an object of this length; none if no byte of it is there.
    fn within(self, length: u64) -> Option<(u64, u64)> {
        let (start, end) = match self {
            Self::From { first, last } => (first, last.map_or(length, |last| last.saturating_add(1).min(length))),
            Self::Last(many) => (length.saturating_sub(many), length),
        };
        (start < end).then_some((start, end))
    }
}

pub(super) async fn run(client: &Client, args: GetArgs) -> Result<(), Failure> {
    let GetArgs { from, to, force, range } = args;
    let last = from.key.rsplit('/').find(|name| !name.is_empty()).unwrap_or_default();
    let to = to.unwrap_or_else(|| PathBuf::from(last));
    let mut reader = client.objects().open(&from.bucket, from.key.as_bytes()).await?;
    if let Some(range) = range {
        let length = reader.found().attributes.length.get();
        let (start, end) = range.within(length).ok_or_else(|| {
            Failure::Failed(format!("{}/{}: has {length} bytes, and none in this range", from.bucket, from.key))
        })?;
        reader.seek(start, end);
    }
    if to.as_os_str() == "-" {
        let mut out = Output::stdout();
        while let Some(chunk) = reader.next_chunk().await? {
            out.bytes(&chunk)?;
        }
        return out.flush();
    }
    download(&mut reader, &to, force).await
}

/// The file appears whole or not at all.
async fn download(reader: &mut ObjectReader, to: &Path, force: bool) -> Result<(), Failure> {
    let failed = |error: &std::io::Error| Failure::local(to, error);
    if !force && to.exists() {
        return Err(Failure::Failed(format!("{}: exists already (use -f to replace it)", to.display())));
    }
    let beside = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".ashlar-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(beside)
        .map_err(|error| failed(&error))?;
    while let Some(chunk) = reader.next_chunk().await? {
        file.write_all(&chunk).map_err(|error| failed(&error))?;
    }
    let kept = if force { file.persist(to) } else { file.persist_noclobber(to) };
    kept.map(|_| ()).map_err(|error| failed(&error.error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_of_bytes_that_are_there() {
        for (text, within) in [
            ("0-0", Some((0, 1))),
            ("2-", Some((2, 10))),
            ("-3", Some((7, 10))),
            ("-30", Some((0, 10))),
            ("5-99", Some((5, 10))),
            ("10-", None),
            ("-0", None),
            ("0-18446744073709551615", Some((0, 10))),
        ] {
            assert_eq!(text.parse::<Range>().map(|range| range.within(10)), Ok(within), "{text}");
        }
        for wrong in ["", "-", "5", "5-3", "a-b", "1-2-3"] {
            assert!(wrong.parse::<Range>().is_err(), "{wrong}");
        }
    }
}
