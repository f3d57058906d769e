//! `ashlar s3`, and what a cluster in one directory needs for it.
//!
//! ```text
//! D/node-s3.toml   the gateway            D/secrets.key   seals the secrets of access keys
//! D/s3.env         for S3 clients: the endpoint, and the key of whoever started the cluster
//! ```

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use access_keys::SealingKey;
use client::{Client, User};
use s3_gateway::{Gateway, Settings};
use types::Code;

use super::{ServerArgs, Stop, say_ready};
use crate::config;
use crate::exit::Failure;

/// The first line of the file.
pub(crate) const FILE_SAYS: &str = "An S3 gateway. Run it: ashlar s3 -c node-s3.toml";

pub(crate) async fn run(args: ServerArgs) -> Result<(), Failure> {
    let file = args.load()?;
    let (_, namenodes) = file.membership(&args.config)?;
    let Some(settings) = file.s3 else { return Err(file.other_role(&args.config, "s3").into()) };
    let config = client::Config { namenodes, ..file.client };
    let mut stop = Stop::listen()?;
    let server = stop.or(start(settings, config)).await?;
    say_ready("s3", "gateway", server.address())?;
    let reason = stop.wanted().await;
    tracing::info!(reason, "stopping");
    server.shutdown().await;
    Ok(())
}

pub(crate) async fn start(settings: Settings, config: client::Config) -> Result<Gateway, Failure> {
    Gateway::start(settings, config).await.map_err(|error| Failure::Failed(format!("s3 gateway: {error}")))
}

pub(crate) fn node_file(dir: &Path) -> PathBuf {
    dir.join("node-s3.toml")
}

pub(crate) fn secrets_file(dir: &Path) -> PathBuf {
    dir.join("secrets.key")
}

/// Draws the key that seals the secrets of access keys, where there is none.
pub(crate) fn make_sealing_key(dir: &Path) -> Result<(), Failure> {
    let secrets = secrets_file(dir);
    if !secrets.exists() {
        SealingKey::create(&secrets).map_err(|error| Failure::Failed(error.to_string()))?;
    }
    Ok(())
}

/// Writes what a gateway needs, where it is missing. `head` is what the files of all nodes begin with.
pub(crate) fn prepare(dir: &Path, head: &str) -> Result<(), Failure> {
    make_sealing_key(dir)?;
    let path = node_file(dir);
    if !path.exists() {
        let text = format!("{head}\n[s3]\nlisten = \"127.0.0.1:9000\"\nsecrets_key = \"secrets.key\"\n");
        fs::write(&path, text).map_err(|error| Failure::local(&path, &error))?;
    }
    Ok(())
}

/// Starts the gateway of a cluster in one directory, and gives whoever runs it a key.
pub(crate) async fn quickstart(dir: &Path, address: SocketAddr, client: client::Config) -> Result<Gateway, Failure> {
    let path = node_file(dir);
    let file = config::load(&path, &[])?;
    let Some(settings) = file.s3 else { return Err(file.other_role(&path, "s3").into()) };
    let region = settings.region.clone();
    let gateway = start(Settings { listen: address, ..settings }, client.clone()).await?;
    let scheme = if file_has_tls(&path)? { "https" } else { "http" };
    let endpoint = format!("{scheme}://{}", gateway.address());
    match give_key(dir, client, &endpoint, &region).await {
        Ok(()) => Ok(gateway),
        Err(failure) => {
            gateway.shutdown().await;
            Err(failure)
        }
    }
}

fn file_has_tls(path: &Path) -> Result<bool, Failure> {
    Ok(config::load(path, &[])?.s3.is_some_and(|settings| settings.tls.is_some()))
}

/// The key of the user who runs the cluster: drawn at the first start, kept in `s3.env`. Whatever was interrupted is done
/// again.
async fn give_key(dir: &Path, config: client::Config, endpoint: &str, region: &str) -> Result<(), Failure> {
    let path = dir.join("s3.env");
    let failed = |error: access_keys::SecretError| Failure::Failed(error.to_string());
    let (id, secret) = match known(&path)? {
        Some(known) => known,
        None => {
            let (id, secret) = access_keys::generate().map_err(failed)?;
            (id, secret.to_string())
        }
    };
    let text = format!(
        "# For S3 clients: set -a; . {}\nexport AWS_ENDPOINT_URL={endpoint}\nexport AWS_ACCESS_KEY_ID={id}\n\
         export AWS_SECRET_ACCESS_KEY={secret}\nexport AWS_DEFAULT_REGION={region}\nexport AWS_REGION={region}\n",
        path.display()
    );
    write_private(&path, &text).map_err(|error| Failure::local(&path, &error))?;
    let user = config.user.clone();
    let superuser = User { uid: 0, gid: 0, groups: Vec::new() };
    let client = Client::connect(client::Config { user: superuser, ..config }).await?;
    let sealing = SealingKey::load(&secrets_file(dir)).map_err(failed)?;
    let sealed = sealing.seal(&id, &secret).map_err(failed)?;
    let stored = match client.objects().put_access_key(&id, &user, sealed).await {
        // An earlier start has done it.
        Err(error) if error.code() == Code::Exists => Ok(()),
        stored => stored,
    };
    client.close().await?;
    Ok(stored?)
}

/// The key in an `s3.env` of before.
fn known(path: &Path) -> Result<Option<(String, String)>, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::local(path, &error)),
    };
    let value = |name: &str| {
        let lines = text.lines().map(|line| line.trim_start_matches("export ").trim());
        lines.filter_map(|line| line.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    };
    Ok(value("AWS_ACCESS_KEY_ID").zip(value("AWS_SECRET_ACCESS_KEY")))
}

/// Replaces a file as a whole by one that only its owner reads.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_extension("env.new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_again_and_a_gateway_s_files_are_made_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let env = dir.path().join("s3.env");
        assert_eq!(known(&env).expect("readable"), None);
        write_private(&env, "export AWS_ACCESS_KEY_ID=A\nexport AWS_SECRET_ACCESS_KEY=b=c\n").expect("written");
        assert_eq!(known(&env).expect("readable"), Some(("A".to_owned(), "b=c".to_owned())));
        prepare(dir.path(), "namenodes = [\"127.0.0.1:1\"]\n").expect("made");
        let first = fs::read(secrets_file(dir.path())).expect("there");
        prepare(dir.path(), "").expect("there already");
        assert_eq!(fs::read(secrets_file(dir.path())).expect("there"), first);
        let file = config::load_as_written(&node_file(dir.path())).expect("legal");
        let settings = file.s3.expect("a gateway's");
        assert_eq!(settings.secrets_key, secrets_file(dir.path()), "seen from the file");
    }
}
