//! Two users of one cluster: each is kept from what is the other's, by every door, and told why.

use std::process::Output;

use anyhow::{Result, ensure};
use client::{AttrChange, Client, Config, CreateOptions, MkdirOptions, User};
use integration_tests::{Cluster, Options};
use types::{Code, Path};

fn run(cluster: &Cluster, uid: u32, arguments: &[&str]) -> Output {
    let mut command = cluster.command();
    command.env("ASHLAR_CLIENT__USER__UID", uid.to_string()).env("ASHLAR_CLIENT__USER__GID", "100");
    command.args(arguments).output().expect("the binary can be started")
}

fn works(cluster: &Cluster, uid: u32, arguments: &[&str]) -> Result<String> {
    let output = run(cluster, uid, arguments);
    ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

fn refused(cluster: &Cluster, uid: u32, arguments: &[&str], says: &str) -> Result<()> {
    let output = run(cluster, uid, arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && said.contains(says), "{arguments:?} said {said:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_kept_apart_and_told_why() -> Result<()> {
    let cluster = Cluster::start(Options { namenodes: 1, datanodes: 1, ..Options::default() }).await?;
    let (root, alice, bob) = (0, 1000, 1001);
    works(&cluster, root, &["fs", "chmod", "1777", "/"])?;
    let file = cluster.root().join("local");
    std::fs::write(&file, b"of alice")?;
    let local = file.to_str().expect("a plain name");

    works(&cluster, alice, &["fs", "mkdir", "-p", "/alice/sub"])?;
    works(&cluster, alice, &["fs", "put", local, "/alice/sub/f"])?;
    let stat = works(&cluster, bob, &["fs", "stat", "--json", "/alice/sub/f"])?;
    ensure!(stat.contains("\"uid\":1000") && stat.contains("\"gid\":100"), "{stat}");
    ensure!(works(&cluster, bob, &["fs", "cat", "/alice/sub/f"])? == "of alice");

    refused(&cluster, bob, &["fs", "put", local, "/alice/mine"], "/alice: permission denied: uid 1001 has no write")?;
    refused(&cluster, bob, &["fs", "rm", "-r", "-y", "/alice"], "/alice: operation not permitted")?;
    refused(&cluster, bob, &["fs", "chmod", "777", "/alice/sub/f"], "neither its owner nor the superuser")?;
    refused(&cluster, alice, &["fs", "chown", "1001", "/alice/sub/f"], "only the superuser gives it")?;

    works(&cluster, alice, &["fs", "chmod", "-R", "go-rwx", "/alice"])?;
    refused(&cluster, bob, &["fs", "cat", "/alice/sub/f"], "/alice: permission denied: uid 1001 has no search")?;
    refused(&cluster, bob, &["fs", "ls", "/alice"], "/alice: permission denied: uid 1001 has no read")?;
    works(&cluster, root, &["fs", "chown", "-R", "1001:100", "/alice"])?;
    ensure!(works(&cluster, bob, &["fs", "cat", "/alice/sub/f"])? == "of alice");
    refused(&cluster, alice, &["fs", "touch", "/alice/new"], "/alice: permission denied")?;
    works(&cluster, bob, &["fs", "touch", "/alice/new", "/alice/sub/f"])?;
    ensure!(works(&cluster, bob, &["fs", "ls", "/alice"])? == "new\nsub/\n");

    works(&cluster, bob, &["fs", "mv", "--exchange", "/alice/new", "/alice/sub"])?;
    ensure!(works(&cluster, bob, &["fs", "cat", "/alice/new/f"])? == "of alice");
    refused(&cluster, alice, &["fs", "mv", "--exchange", "/alice/new", "/alice/sub"], "/alice: permission denied")?;

    works(&cluster, bob, &["fs", "setfattr", "-n", "user.colour", "-v", "red", "/alice/sub"])?;
    ensure!(works(&cluster, bob, &["fs", "getfattr", "-n", "user.colour", "/alice/sub"])? == "red");
    let dumped = works(&cluster, bob, &["fs", "getfattr", "-d", "/alice/sub"])?;
    ensure!(dumped == "# file: /alice/sub\nuser.colour=\"red\"\n\n", "{dumped}");
    refused(&cluster, bob, &["fs", "setfattr", "-n", "trusted.x", "/alice/sub"], "only the superuser does this")?;
    works(&cluster, bob, &["fs", "setfattr", "-x", "user.colour", "/alice/sub"])?;
    refused(&cluster, bob, &["fs", "getfattr", "-n", "user.colour", "/alice/sub"], "has no attribute user.colour")?;

    // A program sees codes.
    let namenodes = vec![addresses(&cluster)?];
    let user = User { uid: alice, gid: 100, groups: Vec::new() };
    let client = Client::connect(Config { namenodes, user, ..Config::default() }).await?;
    let path = |text: &str| Path::parse(text.as_bytes());
    let made = client.mkdir(&path("/m")?, MkdirOptions::default()).await?;
    ensure!((made.uid, made.gid) == (alice, 100));
    let refused = client.create(&path("/alice/x")?, CreateOptions::default()).await.expect_err("bob's by now");
    ensure!(refused.code() == Code::Denied, "{refused}");
    let change = AttrChange { uid: Some(bob), ..AttrChange::default() };
    let refused = client.set_attr(&path("/m")?, change).await.expect_err("not root");
    ensure!(refused.code() == Code::NotPermitted, "{refused}");
    client.close().await?;
    cluster.finish(&[]).await
}

fn addresses(cluster: &Cluster) -> Result<String> {
    let json: serde_json::Value = serde_json::from_str(&cluster.ashlar(&["admin", "status", "--json"])?)?;
    Ok(json["members"][0]["address"].as_str().expect("the member has an address").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_let_others_in_and_the_supergroup_goes_everywhere() -> Result<()> {
    let cluster = Cluster::start(Options { namenodes: 1, datanodes: 1, ..Options::default() }).await?;
    let (root, alice, bob) = (0, 4000, 4001);
    works(&cluster, root, &["fs", "chmod", "1777", "/"])?;
    works(&cluster, alice, &["fs", "mkdir", "-m", "700", "/alice"])?;
    works(&cluster, alice, &["fs", "touch", "/alice/f"])?;
    refused(&cluster, bob, &["fs", "stat", "/alice/f"], "/alice: permission denied: uid 4001 has no search")?;

    works(&cluster, alice, &["fs", "setfacl", "-m", "u:4001:rX,d:u:4001:rwX,d:o::-", "/alice"])?;
    works(&cluster, bob, &["fs", "cat", "/alice/f"])?;
    let list = works(&cluster, bob, &["fs", "getfacl", "/alice"])?;
    let (_, entries) = list.split_once("user::").expect("the owner comes first");
    let wanted = "rwx\nuser:4001:r-x\ngroup::---\nmask::r-x\nother::---\ndefault:user::rwx\ndefault:user:4001:rwx\n\
                  default:group::---\ndefault:mask::rwx\ndefault:other::---\n\n";
    ensure!(entries == wanted, "{list}");
    let long = works(&cluster, root, &["fs", "ls", "-ld", "/alice", "/"])?;
    ensure!(long.contains("drwxr-x---+ ") && !long.contains("drwxrwxrwt+"), "{long}");
    works(&cluster, alice, &["fs", "mkdir", "/alice/new"])?;
    works(&cluster, bob, &["fs", "touch", "/alice/new/of-bob"])?;
    refused(&cluster, bob, &["fs", "setfacl", "-b", "/alice"], "neither its owner nor the superuser")?;
    refused(
        &cluster,
        alice,
        &["fs", "setfacl", "-m", "d:u:4001:r", "/alice/f"],
        "only a directory has a default list",
    )?;
    refused(&cluster, alice, &["fs", "setfacl", "-x", "m", "/alice"], "names users or groups and has no mask")?;

    works(&cluster, root, &["fs", "cp", "-rp", "/alice", "/copy"])?;
    let name = |text: String| text.replace("/alice", "/copy");
    for path in ["/alice", "/alice/new", "/alice/new/of-bob"] {
        let [original, copy] = [path.to_owned(), name(path.to_owned())]
            .map(|path| works(&cluster, root, &["fs", "getfacl", path.as_str()]));
        let (original, copy) = (name(original?), copy?);
        ensure!(original == copy, "{original}\nis not\n{copy}");
    }
    // A file of another stays as it is.
    refused(&cluster, alice, &["fs", "setfacl", "-R", "-b", "/alice"], "/alice/new/of-bob: operation not permitted")?;
    refused(&cluster, bob, &["fs", "cat", "/alice/f"], "/alice: permission denied")?;

    ensure!(works(&cluster, bob, &["admin", "supergroup"])? == "none\n");
    refused(&cluster, bob, &["admin", "supergroup", "100"], "only the superuser does this")?;
    works(&cluster, root, &["admin", "supergroup", "100"])?;
    works(&cluster, bob, &["fs", "rm", "-r", "-y", "/alice"])?;
    works(&cluster, bob, &["admin", "supergroup", "--none"])?;
    refused(&cluster, bob, &["fs", "mkdir", "/copy/x"], "/copy: permission denied")?;
    cluster.finish(&[]).await
}
