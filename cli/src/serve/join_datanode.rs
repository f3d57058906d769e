//! `ashlar init --join .. --datanode`: the directory of one more datanode of a running cluster.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use client::{Admin, Config};

use super::join::free_address;
use super::layout;
use crate::exit::Failure;
use crate::output::Output;

/// What is said of the new datanode.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) seed: &'a str,
    pub(super) name: &'a str,
    pub(super) listen: Option<SocketAddr>,
    pub(super) rack: Option<&'a str>,
    /// Absolute, or below the directory; none: one with the name of the node.
    pub(super) volumes: &'a [PathBuf],
}

pub(super) async fn run(dir: &Path, wanted: &Wanted<'_>) -> Result<(), Failure> {
    let Wanted { seed, name, .. } = *wanted;
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Err(Failure::Usage(format!("{name:?}: a datanode's name has letters, digits, and - . _")));
    }
    if wanted.rack.is_some_and(|rack| !rack.starts_with('/') || !rack.chars().all(|at| plain(at) || at == '/')) {
        return Err(Failure::Usage("a rack is such as /room1/rack7".to_owned()));
    }
    let config = Config { namenodes: vec![seed.to_owned()], ..Config::default() };
    let mut statuses = Admin::unconnected(&config).status().await;
    let status = match statuses.pop() {
        Some((_, status)) => status?,
        None => unreachable!("one address is asked"),
    };
    let cluster = status.cluster.ok_or_else(|| Failure::Failed(format!("{seed}: has no cluster yet")))?;
    let (dir, _lock) = (layout::make(dir)?, layout::lock(dir)?);
    let file = layout::node_file(&dir, name);
    if file.exists() {
        return Err(Failure::Failed(format!("{}: is there already; choose another name or directory", file.display())));
    }
    let listen = match wanted.listen {
        Some(listen) => listen,
        None => free_address()?,
    };
    let own = [PathBuf::from(name)];
    let volumes = if wanted.volumes.is_empty() { &own[..] } else { wanted.volumes };
    for volume in volumes {
        let path = dir.join(volume);
        datanode::format(&path, cluster).map_err(|error| Failure::Failed(error.to_string()))?;
    }
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let list = |texts: Vec<String>| texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ");
    let namenodes = list(status.members.iter().map(|member| member.address.clone()).collect());
    let volumes = list(volumes.iter().map(|volume| volume.display().to_string()).collect());
    let rack = wanted.rack.map_or_else(String::new, |rack| format!("rack = {}\n", quoted(rack)));
    let text = format!(
        "# Datanode {name}. Run it: ashlar datanode -c node-{name}.toml\n# Relative paths are seen from the directory of this \
         file.\ncluster = \"{cluster}\"\nnamenodes = [{namenodes}]\n\n[datanode]\nhost = {}\n{rack}listen = \
         \"{listen}\"\nvolumes = [{volumes}]\n\n[http]\nlisten = \"{}\"\n",
        quoted(name),
        free_address()?
    );
    layout::write(&file, &text).map_err(|error| Failure::local(&file, &error))?;
    let mut out = Output::stdout();
    out.line(format!("made the directory of datanode {name}; start it, and it is part of the cluster:"))?;
    out.line(format!("  ashlar datanode -c {}", file.display()))?;
    out.line("then give it its share of what is there:")?;
    out.line("  ashlar admin balance")?;
    out.flush()
}
