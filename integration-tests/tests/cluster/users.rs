//! Users of the cluster: their access keys follow them, at the S3 door and on the web page.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use integration_tests::http::{Answer, get};
use integration_tests::{binary, until};
use serde_json::Value;

/// A cluster with an S3 gateway.
struct Running(Child);

impl Running {
    fn start(dir: &Path) -> Result<Self> {
        let mut command = Command::new(binary());
        command.args(["quickstart", "--s3", "127.0.0.1:0", "--dir"]).arg(dir);
        let mut running = Self(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
        let stdout = running.0.stdout.take().context("stdout is piped")?;
        let ready = BufReader::new(stdout).lines().map_while(Result::ok).any(|line| line == "ashlar is ready");
        ensure!(ready, "quickstart ended without its ready line");
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn raw(dir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Output> {
    let mut command = Command::new(binary());
    command.env("ASHLAR_CONFIG", dir.join("client.toml")).env_remove("ASHLAR_CLUSTER").args(arguments);
    Ok(command.envs(environment.iter().copied()).output()?)
}

fn ashlar(dir: &Path, arguments: &[&str]) -> Result<String> {
    let output = raw(dir, arguments, &[])?;
    ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// What the gateway answers to a request of the bearer of a key.
async fn ask(dir: &Path, endpoint: &str, key: &Value, object: &str) -> Result<Answer> {
    let text = |name: &str| key[name].as_str().context("a text");
    let environment = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", text("access_key")?),
        ("AWS_SECRET_ACCESS_KEY", text("secret_key")?),
    ];
    let output = raw(dir, &["object", "presign", object], &environment)?;
    ensure!(output.status.success(), "{output:?}");
    let url = String::from_utf8(output.stdout)?;
    let address: SocketAddr = endpoint.strip_prefix("http://").context("plain HTTP")?.parse()?;
    get(address, url.trim().strip_prefix(endpoint).context("a URL of the gateway")?, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_follow_their_user_and_sign_nothing_while_it_is_disabled() -> Result<()> {
    let base = tempfile::tempdir()?;
    let dir = base.path().join("q");
    let _running = Running::start(&dir)?;
    let s3: BTreeMap<String, String> = fs::read_to_string(dir.join("s3.env"))?
        .lines()
        .filter_map(|line| line.trim_start_matches("export ").split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
        .collect();
    let endpoint = s3.get("AWS_ENDPOINT_URL").context("the file says where the gateway is")?;
    let object = base.path().join("object");
    fs::write(&object, "for the staff\n")?;
    ashlar(&dir, &["object", "mb", "shared"])?;
    ashlar(&dir, &["object", "put", object.to_str().context("a plain path")?, "shared/object"])?;
    let stat: Value = serde_json::from_str(&ashlar(&dir, &["admin", "user", "ls", "--json"])?)?;
    ensure!(stat == serde_json::json!([]), "{stat}");

    ashlar(&dir, &["admin", "user", "add", "ann", "--uid", "71001", "--groups", "71007"])?;
    let secrets = dir.join("secrets.key");
    let secrets = secrets.to_str().context("a plain path")?;
    let create = ["admin", "key", "create", "--user", "ann", "--json", "--secrets-key", secrets];
    let key: Value = serde_json::from_str(&ashlar(&dir, &create)?)?;
    ensure!(key["uid"] == 71001 && key["user"] == "ann", "{key}");
    let answer = async || ask(&dir, endpoint, &key, "shared/object").await;

    // Only a group may read; the user comes to be in it.
    let (bucket, path) = ("/s3/shared", "/s3/shared/object");
    ashlar(&dir, &["fs", "chown", ":71009", bucket, path])?;
    ashlar(&dir, &["fs", "chmod", "0750", bucket])?;
    ashlar(&dir, &["fs", "chmod", "0640", path])?;
    let refused = answer().await?;
    ensure!(refused.status == 403 && refused.text().contains("AccessDenied"), "{refused:?}");
    ashlar(&dir, &["admin", "user", "set", "ann", "--groups", "71007,71009"])?;
    until("the new group counts", async || Ok(answer().await?.status == 200)).await?;

    ashlar(&dir, &["admin", "user", "disable", "ann"])?;
    until("the key signs nothing", async || {
        let refused = answer().await?;
        Ok(refused.status == 403 && refused.text().contains("InvalidAccessKeyId"))
    })
    .await?;
    let shown: Value = serde_json::from_str(&ashlar(&dir, &["admin", "user", "show", "ann", "--json"])?)?;
    ensure!(shown["disabled"] == true && shown["access_keys"] == serde_json::json!([key["access_key"]]), "{shown}");
    ashlar(&dir, &["admin", "user", "enable", "ann"])?;
    until("it signs again", async || Ok(answer().await?.status == 200)).await?;

    // A name that no machine knows.
    ashlar(&dir, &["fs", "chown", "ann", path])?;
    let stat: Value = serde_json::from_str(&ashlar(&dir, &["fs", "stat", "--json", path])?)?;
    ensure!(stat[0]["uid"] == 71001, "{stat}");

    let refused = [
        (&["user", "rm", "ann"][..], 1),
        (&["user", "add", "bob", "--uid", "71001"], 1),
        (&["user", "add", "7up", "--uid", "71002"], 1),
        (&["user", "set", "ann"], 2),
        (&["user", "set", "ann", "--groups", "staff"], 2),
        (&["user", "disable", "bob"], 1),
        (&["user", "show", "bob"], 1),
    ];
    for (arguments, code) in refused {
        let output = raw(&dir, &[&["admin"], arguments].concat(), &[])?;
        ensure!(output.status.code() == Some(code), "{arguments:?}: {output:?}");
    }
    ensure!(!raw(&dir, &["fs", "chown", "bob", path], &[])?.status.success(), "nobody knows bob");
    ashlar(&dir, &["admin", "user", "rm", "ann", "--with-keys"])?;
    until("its key is gone", async || Ok(answer().await?.text().contains("InvalidAccessKeyId"))).await
}
