//! Where the log goes: to stderr, for people on a terminal and as JSON otherwise; in `quickstart` also to a file.

use std::fs::File;
use std::io::{self, IsTerminal as _};
use std::sync::Mutex;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogFormat;
use crate::exit::Failure;

/// What is logged: the first that is given of the flag, `RUST_LOG` and the file; then `default`.
pub(crate) fn filter(flag: Option<&str>, file: Option<&str>, default: &str) -> Result<EnvFilter, Failure> {
    let environment = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let (text, source) = match (flag, environment.as_deref(), file) {
        (Some(text), _, _) => (text, "--log-level"),
        (None, Some(text), _) => (text, "RUST_LOG"),
        (None, None, Some(text)) => (text, "log.level of the configuration"),
        (None, None, None) => (default, "the default"),
    };
    EnvFilter::try_new(text).map_err(|error| {
        Failure::Usage(format!("{source}: {text:?} is not a log filter: {error}; write a level such as info or debug"))
    })
}

fn stderr_layer<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    let terminal = io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_span_events(FmtSpan::NONE);
    let human = match format {
        LogFormat::Auto => terminal,
        LogFormat::Human => true,
        LogFormat::Json => false,
    };
    match human {
        true => layer.with_ansi(terminal).boxed(),
        false => layer.json().flatten_event(true).boxed(),
    }
}

/// Logs of a server, to stderr.
pub(crate) fn to_stderr(filter: EnvFilter, format: LogFormat) {
    tracing_subscriber::registry().with(stderr_layer(format).with_filter(filter)).init();
}

/// Logs of all roles to a file as JSON; what a person must see also to stderr.
pub(crate) fn to_file(file: File, filter: EnvFilter) {
    let json = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(Mutex::new(file));
    tracing_subscriber::registry()
        .with(json.with_filter(filter))
        .with(stderr_layer(LogFormat::Human).with_filter(EnvFilter::new("error")))
        .init();
}
