//! `ashlar mount`: a directory of the cluster as a file system of this machine.

mod background;
mod options;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use client::Client;
use fuse_mount::{Mount, Options};

use crate::cluster::ClusterArgs;
use crate::exit::Failure;
use crate::logging;
use crate::output::Output;
use crate::serve::Stop;
use options::MountOption;

/// What a script may wait for, and what the process that started this one in the background does wait for.
const READY: &str = "mounted on ";

/// The library below complains of every mount that was taken away under it, which is how a mount ends.
const LOG_DEFAULT: &str = "warn,fuser=off";

#[derive(Debug, clap::Args)]
pub(crate) struct MountArgs {
    /// An empty directory of this machine
    #[arg(value_name = "MOUNTPOINT")]
    point: PathBuf,
    /// Mount this directory of the namespace instead of its root
    #[arg(long, value_name = "PATH")]
    subdir: Option<String>,
    /// ro, allow_other, root_squash, attr_timeout=60s, write_memory=256MiB, threads=4, subdir=/path, cluster=host:port;
    /// several with commas
    #[arg(short = 'o', value_name = "OPTIONS", value_delimiter = ',')]
    options: Vec<MountOption>,
    /// Stay in the foreground, until Ctrl-C or an unmount
    #[arg(short, long)]
    foreground: bool,
    /// Where the background process writes its log; without it, nowhere
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// This is the process in the background
    #[arg(long, hide = true)]
    detached: bool,
    /// Look at the command line and do nothing more, as `mount -f` asks for
    #[arg(long, hide = true)]
    fake: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// The command line of a mount helper, `mount.ashlar CLUSTER MOUNTPOINT [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]` (see
/// mount(8)), as one of ours; any other as it is.
pub(crate) fn helper_arguments(given: Vec<OsString>) -> Vec<OsString> {
    let program = given.first().map(Path::new).and_then(Path::file_name);
    if program != Some("mount.ashlar".as_ref()) {
        return given;
    }
    let mut arguments = vec!["ashlar".into(), "mount".into()];
    let mut words = given.into_iter().skip(1);
    let mut places = 0;
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("-o") => arguments.extend(["-o".into()].into_iter().chain(words.next())),
            // We are in that namespace already, and of that type.
            Some("-N" | "-t") => drop(words.next()),
            // About mtab, and what is said meanwhile. The letters may come together.
            Some(flags) if flags.starts_with('-') && flags.chars().skip(1).all(|flag| "sfnv".contains(flag)) => {
                if flags.contains('f') {
                    arguments.push("--fake".into());
                }
            }
            _ => {
                if places == 0 {
                    arguments.push("--cluster".into());
                }
                arguments.push(word);
                places += 1;
            }
        }
    }
    arguments
}

pub(crate) async fn run(mut args: MountArgs) -> Result<(), Failure> {
    let mut options = Options::default();
    let mut cluster = Vec::new();
    for option in &args.options {
        option.apply(&mut options, &mut cluster);
    }
    if let Some(subdir) = &args.subdir {
        options.subdir = options::path(subdir).map_err(Failure::Usage)?;
    }
    if !cluster.is_empty() {
        args.cluster.name(&cluster.join(","));
    }
    // Found out before anything is started: a wrong command line is told here, with its exit code.
    args.cluster.client_config()?;
    if args.fake {
        return Ok(());
    }
    if args.options.contains(&MountOption::Remount) {
        return options::remount(&args.point, &options);
    }
    if !args.foreground {
        return background::start(args.log_file.as_deref());
    }
    if args.detached {
        background::begin()?;
    }
    match &args.log_file {
        Some(path) => {
            let file = std::fs::File::options().create(true).append(true).open(path);
            let file = file.map_err(|error| Failure::local(path, &error))?;
            logging::to_file(file, logging::filter(None, None, LOG_DEFAULT)?);
        }
        None => logging::to_stderr(logging::filter(None, None, LOG_DEFAULT)?, crate::config::LogFormat::Auto),
    }
    serve(&args, options).await
}

/// Mounts, says so, and stays until somebody unmounts it or wants this process to end.
async fn serve(args: &MountArgs, options: Options) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    let client = stop.or(args.cluster.connect()).await?;
    let mut mounted = Mounted::new(client, &args.point, options).await?;
    let mut out = Output::stdout();
    match out.line(format!("{READY}{}", args.point.display())).and_then(|()| out.flush()) {
        Ok(()) | Err(Failure::OutputClosed) => {}
        Err(failure) => return Err(failure),
    }
    if args.detached {
        background::let_go(args.log_file.is_some())?;
    }
    tokio::select! {
        ended = mounted.ended() => return ended,
        reason = stop.wanted() => tracing::info!(reason, "unmounting"),
    }
    mounted.unmount().await
}

/// A mount and the client that it uses, which nobody else does.
#[derive(Debug)]
pub(crate) struct Mounted {
    mount: Mount,
    client: Client,
}

impl Mounted {
    pub(crate) async fn new(client: Client, point: &Path, options: Options) -> Result<Self, Failure> {
        // This process may change its directory later.
        let point = std::path::absolute(point).map_err(|error| Failure::local(point, &error))?;
        let mount = Mount::new(client.clone(), &point, options).await;
        let mount = mount.map_err(|error| Failure::Failed(error.to_string()))?;
        Ok(Self { mount, client })
    }

    /// Resolves when somebody has unmounted it. Fails if something could not be written.
    pub(crate) async fn ended(&mut self) -> Result<(), Failure> {
        let lost = self.mount.ended().await;
        outcome(self.mount.point(), lost, &self.client).await
    }

    /// Writes what is left, and unmounts. Fails if something could not be written, ever.
    pub(crate) async fn unmount(self) -> Result<(), Failure> {
        let point = self.mount.point().to_owned();
        let lost = self.mount.unmount().await;
        outcome(&point, lost, &self.client).await
    }
}

async fn outcome(point: &Path, lost: std::io::Result<usize>, client: &Client) -> Result<(), Failure> {
    let lost = lost.map_err(|error| Failure::local(point, &error))?;
    if let Err(error) = client.close().await {
        tracing::debug!(%error, "the session was not closed in order");
    }
    match lost {
        0 => Ok(()),
        files => Err(Failure::Failed(format!(
            "{}: something that was written to {files} files could not be stored; the programs were told, and the log names \
             the files",
            point.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_fstab_becomes_a_command() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        let helper = words("/sbin/mount.ashlar h:1,h:2 /mnt/a -n -o rw,_netdev");
        assert_eq!(helper_arguments(helper), words("ashlar mount --cluster h:1,h:2 /mnt/a -o rw,_netdev"));
        // As mount(8) of util-linux 2.39 and later calls it, for `mount -f -t fuse.ashlar`.
        let helper = words("/sbin/mount.ashlar h:1 /mnt/a -sfv -N /proc/1/ns/mnt -o rw -t fuse.ashlar");
        assert_eq!(helper_arguments(helper), words("ashlar mount --cluster h:1 /mnt/a --fake -o rw"));
        let ours = words("ashlar mount /mnt/a");
        assert_eq!(helper_arguments(ours.clone()), ours);
    }
}
