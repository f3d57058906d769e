//! `ashlar admin check-config`

use std::path::PathBuf;

use serde::Serialize;

use crate::config::{self, Explained, Setting};
use crate::exit::Failure;
use crate::output::{Align, Output, Table};

#[derive(Debug, clap::Args)]
pub(crate) struct CheckConfigArgs {
    /// The file of a node or a client [default: that of --config, or of ASHLAR_CONFIG]
    file: Option<PathBuf>,
    /// Override one value, as servers take it
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<Setting>,
    /// A JSON array
    #[arg(long)]
    json: bool,
}

/// The keys are an interface.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    key: &'a str,
    value: serde_json::Value,
    origin: &'a str,
}

impl<'a> Shown<'a> {
    fn of(explained: &'a Explained) -> Self {
        let Explained { key, value, origin } = explained;
        Self { key, value: serde_json::from_str(value).expect("it was written as JSON"), origin }
    }
}

pub(crate) fn run(args: CheckConfigArgs, default: Option<PathBuf>) -> Result<(), Failure> {
    let path = args
        .file
        .or(default)
        .ok_or_else(|| Failure::Usage("no file is named; name one, or set ASHLAR_CONFIG".to_owned()))?;
    let (file, found) = config::explain(&path, &args.set)?;
    let mut out = Output::stdout();
    if args.json {
        out.json(&found.iter().map(Shown::of).collect::<Vec<_>>())?;
    } else {
        let mut table = Table::new(&[Align::Left, Align::Left, Align::Left]);
        for explained in &found {
            table.row([explained.key.clone(), explained.value.clone(), explained.origin.clone()]);
        }
        table.print(&mut out)?;
    }
    out.flush()?;
    // Values that are fine each, and make no sense together.
    file.check(&path).map_err(|problem| Failure::Usage(format!("{}: {problem}", path.display())))
}
