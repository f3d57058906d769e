//! How the process ends: its exit code, and the line on stderr that says why.

use std::fmt;
use std::io;
use std::process::ExitCode;

use types::Code;

/// Why a command did not do all that was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Exit code 1, with a line that names the thing, the reason and the way out.
    Failed(String),
    /// Exit code 1; the reasons are on stderr already.
    Reported,
    /// Exit code 2: the command line or the configuration cannot be meant so.
    Usage(String),
    /// Exit code 3: the command did its work, and what it looked at is not well.
    Unhealthy,
    /// The reader of our output went away, as in `ashlar fs ls | head`. Nobody is left to complain to.
    OutputClosed,
}

impl Failure {
    pub(crate) fn exit(&self) -> ExitCode {
        if let Some(line) = self.line() {
            complain(&line);
        }
        ExitCode::from(self.code())
    }

    const fn code(&self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Failed(_) | Self::Reported => 1,
            Self::Usage(_) => 2,
            Self::Unhealthy => 3,
        }
    }

    fn line(&self) -> Option<String> {
        match self {
            Self::Failed(line) | Self::Usage(line) => Some(line.clone()),
            Self::Reported | Self::Unhealthy | Self::OutputClosed => None,
        }
    }

    /// An operation on the local file system failed; `path` is named.
    pub(crate) fn local(path: &std::path::Path, error: &io::Error) -> Self {
        Self::Failed(format!("{}: {}", path.display(), reason(error)))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.line().as_deref().unwrap_or("failed"))
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        Self::Failed(error.brief())
    }
}

impl From<crate::config::ConfigError> for Failure {
    fn from(error: crate::config::ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::BrokenPipe
        {
            return Self::OutputClosed;
        }
        Self::Failed(format!("{error:#}"))
    }
}

/// Prints one line of trouble.
#[expect(clippy::print_stderr, reason = "this is where the command complains")]
pub(crate) fn complain(line: &str) {
    eprintln!("ashlar: {line}");
}

/// The reason of a local error in the words of the operating system, without its number.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => "input/output error".to_owned(),
    }
}

/// Adds the way out to what the library says, for the errors that a flag answers.
pub(crate) fn advise(error: &client::Error, advice: &[(Code, &str)]) -> Failure {
    let line = error.brief();
    match advice.iter().find(|(code, _)| *code == error.code()) {
        // The flag replaces what the library advises, which comes after a semicolon.
        Some((_, way)) => {
            let reason = line.split_once("; ").map_or(line.as_str(), |(reason, _)| reason);
            Failure::Failed(format!("{reason} ({way})"))
        }
        None => Failure::Failed(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_errors_read_like_those_of_other_tools() {
        assert_eq!(reason(&io::Error::from_raw_os_error(2)), "no such file or directory");
        assert_eq!(reason(&io::Error::other("Odd")), "odd");
    }

    #[test]
    fn codes_are_an_interface() {
        let codes = [
            Failure::OutputClosed,
            Failure::Failed(String::new()),
            Failure::Reported,
            Failure::Usage(String::new()),
            Failure::Unhealthy,
        ]
        .map(|failure| failure.code());
        assert_eq!(codes, [0, 1, 1, 2, 3]);
    }
}
