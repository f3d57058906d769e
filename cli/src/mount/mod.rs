//! `ashlar mount`: a directory of the cluster as a file system of this machine.

mod background;
mod options;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use fuse_mount::{Mount, Options};

use crate::cluster::ClusterArgs;
use crate::exit::{Failure, reason};
use crate::logging;
use crate::output::Output;
use crate::serve::stop_wanted;
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
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// The command line of a mount helper, `mount.ashlar CLUSTER MOUNTPOINT [-sfnv] [-o OPTIONS]` (see mount(8)), as one of ours;
/// any other as it is.
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
            // For mount(8) itself, or about what is said meanwhile.
            Some("-s" | "-f" | "-n" | "-v" | "-fv" | "-nv") => {}
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
    if !args.foreground {
        // Found out before anything is started: a wrong command line is told here, with its exit code.
        args.cluster.client_config()?;
        return background::start(args.log_file.as_deref());
    }
    match &args.log_file {
        Some(path) => {
            let file = std::fs::File::options().create(true).append(true).open(path);
            let file = file.map_err(|error| Failure::local(path, &error))?;
            logging::to_file(file, logging::filter(None, None, LOG_DEFAULT)?);
        }
        None => logging::to_stderr(logging::filter(None, None, LOG_DEFAULT)?, crate::config::LogFormat::Auto),
    }
    serve(&args.point, &args.cluster, options).await
}

/// Mounts, says so, and stays until somebody unmounts it or wants this process to end.
async fn serve(point: &Path, cluster: &ClusterArgs, options: Options) -> Result<(), Failure> {
    let client = cluster.connect().await?;
    let failed = |error: fuse_mount::MountError| Failure::Failed(error.to_string());
    let mut mount = Mount::new(client.clone(), point, options).await.map_err(failed)?;
    let mut out = Output::stdout();
    match out.line(format!("{READY}{}", point.display())).and_then(|()| out.flush()) {
        Ok(()) | Err(Failure::OutputClosed) => {}
        Err(failure) => return Err(failure),
    }
    let ended = tokio::select! {
        ended = mount.ended() => ended,
        stop = stop_wanted() => {
            tracing::info!(reason = stop?, "unmounting");
            mount.unmount().await
        }
    };
    let unwritten = ended.map_err(|error| Failure::Failed(format!("{}: {}", point.display(), reason(&error))))?;
    if let Err(error) = client.close().await {
        tracing::debug!(%error, "the session was not closed in order");
    }
    match unwritten {
        0 => Ok(()),
        files => Err(Failure::Failed(format!("{}: {files} files could not be written; see the log", point.display()))),
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
        let ours = words("ashlar mount /mnt/a");
        assert_eq!(helper_arguments(ours.clone()), ours);
    }
}
