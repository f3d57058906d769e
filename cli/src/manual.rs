//! `ashlar completions` and `ashlar man`: what shells and man(1) want to know, made of the command line itself.

use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Arguments;
use crate::exit::Failure;
use crate::output::Output;

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// Where to write them: ashlar.1, ashlar-fs.1, and so on
    dir: PathBuf,
}

pub(crate) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "ashlar", &mut script);
    let mut out = Output::stdout();
    out.bytes(script)?;
    out.flush()
}

pub(crate) fn pages(args: &ManArgs) -> Result<(), Failure> {
    write_pages(&args.dir).map_err(|error| Failure::local(&args.dir, &error))
}

fn write_pages(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    clap_mangen::generate_to(Arguments::command(), dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_page_for_each_command_and_a_script_for_each_shell() {
        let dir = tempfile::tempdir().expect("a directory");
        write_pages(dir.path()).expect("written");
        for page in ["ashlar.1", "ashlar-fs.1", "ashlar-fs-put.1", "ashlar-admin-status.1"] {
            let text = std::fs::read_to_string(dir.path().join(page)).expect(page);
            assert!(text.contains(".TH"), "{page}");
        }
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "ashlar", &mut script);
            let script = String::from_utf8(script).expect("text");
            assert!(script.contains("quickstart") && script.contains("decommission"), "{shell}");
        }
    }
}
