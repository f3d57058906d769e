//! What is told over HTTP, and done on the web page.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use integration_tests::http::{Answer, get, post};
use integration_tests::{Cluster, Options, until};
use serde_json::Value;

/// Where the HTTP door of a node is, by its file.
pub(crate) fn door(file: &Path) -> Result<SocketAddr> {
    let text = std::fs::read_to_string(file)?;
    let (_, section) = text.split_once("[http]").context("the file has a section")?;
    let line = section.lines().find_map(|line| line.strip_prefix("listen = ")).context("it says where")?;
    Ok(line.trim_matches('"').parse()?)
}

fn door_of(cluster: &Cluster, name: &str) -> Result<SocketAddr> {
    door(&cluster.root().join(format!("node-{name}.toml")))
}

fn status(cluster: &Cluster) -> Result<Value> {
    Ok(serde_json::from_slice(&cluster.ashlar_raw(&["admin", "status", "--json"]).stdout)?)
}

fn has_line(text: &str, line: &str) -> bool {
    text.lines().any(|found| found == line)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_tells_metrics_and_the_same_health_as_the_command_line() -> Result<()> {
    let mut cluster = Cluster::start(Options::default().fast_repair()).await?;
    cluster.ashlar(&["fs", "mkdir", "/d"])?;
    let content = cluster.root().join("content");
    std::fs::write(&content, vec![7; 1 << 20])?;
    cluster.ashlar(&["fs", "put", content.to_str().context("a plain path")?, "/f"])?;
    ensure!(cluster.ashlar_raw(&["fs", "cat", "/f"]).stdout == vec![7; 1 << 20]);
    let mut opens = 0;
    for name in cluster.names() {
        let door = door_of(&cluster, &name)?;
        ensure!(get(door, "/livez", &[]).await?.text() == "alive\n", "{name}");
        let metrics = get(door, "/metrics", &[]).await?.text();
        ensure!(metrics.ends_with("# EOF\n"), "{name}: {metrics}");
        opens += u64::from(has_line(&metrics, "ashlar_datanode_local_opens_total{result=\"ok\"} 1"));
    }
    ensure!(opens == 1, "whoever reads on the machine of a datanode reads its file, and says so once: {opens}");
    let leader = door_of(&cluster, &cluster.leader().await?)?;
    let metrics = get(leader, "/metrics", &[]).await?.text();
    for line in [
        "ashlar_namenode_operations_total{operation=\"Mkdir\",result=\"ok\"} 1",
        "ashlar_namenode_leads 1",
        "ashlar_cluster_health{verdict=\"healthy\"} 1",
        "ashlar_namenode_datanodes{state=\"alive\"} 3",
    ] {
        ensure!(has_line(&metrics, line), "{line} in {metrics}");
    }

    cluster.kill("dn2")?;
    for name in ["nn1", "nn2", "nn3"] {
        let door = door_of(&cluster, name)?;
        until(&format!("{name} says what the command line says"), async || {
            let (told, known) = (get(door, "/healthz", &[]).await?, status(&cluster)?);
            let told: Value = serde_json::from_slice(&told.body)?;
            let dead = known["reasons"]
                .as_array()
                .is_some_and(|reasons| reasons.iter().any(|reason| reason.to_string().contains("(dn2) is dead")));
            Ok(dead && told["health"] == "degraded" && told["reasons"] == known["reasons"])
        })
        .await?;
    }
    cluster.finish(&[]).await
}

pub(crate) struct Browser {
    door: SocketAddr,
    cookie: String,
}

impl Browser {
    pub(crate) async fn sign_in(door: SocketAddr, key: &Value) -> Result<Self> {
        let answer = submit(door, text(key, "access_key")?, text(key, "secret_key")?).await?;
        ensure!(answer.status == 303, "{answer:?}");
        let cookie = answer.header("set-cookie").context("a cookie")?;
        Ok(Self { door, cookie: cookie.split(';').next().context("a pair")?.to_owned() })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer> {
        get(self.door, path, &[("cookie", &self.cookie)]).await
    }

    async fn token(&self) -> Result<String> {
        let page = self.get("/").await?.text();
        let (_, rest) = page.split_once("name=\"form_token\" value=\"").context("a form")?;
        Ok(rest.split('"').next().context("a value")?.to_owned())
    }

    async fn upload(&self, token: &str, directory: &str, name: &[u8], content: &[u8]) -> Result<Answer> {
        let field = |name: &str, value: &str| {
            format!("--xyz\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let mut body = (field("form_token", token) + &field("directory", directory)).into_bytes();
        body.extend_from_slice(b"--xyz\r\ncontent-disposition: form-data; name=\"file\"; filename=\"");
        body.extend_from_slice(name);
        body.extend_from_slice(b"\"\r\ncontent-type: application/octet-stream\r\n\r\n");
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n--xyz--\r\n");
        let kind = "multipart/form-data; boundary=xyz";
        post(self.door, "/upload", &[("cookie", &self.cookie), ("content-type", kind)], &body).await
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("{key} in {value}"))
}

async fn submit(door: SocketAddr, id: &str, secret: &str) -> Result<Answer> {
    // Letters of both that are not plain are few: these.
    let encoded = |text: &str| text.replace('+', "%2B").replace('/', "%2F");
    let form = format!("access_key={}&secret_key={}&next=/files/", encoded(id), encoded(secret));
    post(door, "/sign-in", &[("content-type", "application/x-www-form-urlencoded")], form.as_bytes()).await
}

pub(crate) fn key(cluster: &Cluster, user: &str) -> Result<Value> {
    let secrets = cluster.root().join("secrets.key");
    let secrets = secrets.to_str().context("a plain name")?;
    let arguments = ["admin", "key", "create", "--user", user, "--secrets-key", secrets, "--json"];
    Ok(serde_json::from_str(&cluster.ashlar(&arguments)?)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_signs_in_sees_the_cluster_and_moves_files_with_the_own_rights() -> Result<()> {
    let cluster = Cluster::start(Options::default()).await?;
    let (root, ann) = (key(&cluster, "0")?, key(&cluster, "1000")?);
    // Any namenode will do.
    let door = door_of(&cluster, "nn3")?;
    let wrong = submit(door, text(&root, "access_key")?, "wrong").await?;
    ensure!(wrong.status == 401 && wrong.header("set-cookie").is_none(), "{wrong:?}");
    let browser = Browser::sign_in(door, &root).await?;
    let overview = browser.get("/").await?.text();
    ensure!(overview.contains("healthy") && overview.contains("3<small> alive"), "{overview}");
    ensure!(browser.get("/datanodes").await?.text().contains("dn3"));
    ensure!(browser.get("/namenodes").await?.text().contains(">leader<"));

    // A file of several blocks' worth of metadata: its name is markup, and its bytes come back.
    let token = browser.token().await?;
    let content: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let name = "<script>alert(1)<\u{2215}script>'&.bin";
    let stored = browser.upload(&token, "", name.as_bytes(), &content).await?;
    ensure!(stored.status == 303, "{stored:?}");
    let listing = browser.get("/files/").await?.text();
    ensure!(!listing.contains("<script>alert") && listing.contains("&#60;script&#62;alert(1)"), "{listing}");
    let href = listing.split('"').find(|part| part.starts_with("/files/%3Cscript")).context("a link")?.to_owned();
    let page = browser.get(&href).await?.text();
    ensure!(page.contains("3 replicas") && page.contains("blk_"), "the block map: {page}");
    let file = browser.get(&href.replace("/files/", "/download/")).await?;
    ensure!(
        file.body == content && file.header("content-disposition").is_some_and(|way| way.starts_with("attachment"))
    );
    let forged = browser.upload("00", "", b"forged", b"x").await?;
    ensure!(forged.status == 403 && !browser.get("/files/").await?.text().contains("forged"));

    // JSON says what the command line says.
    let encoded = {
        use std::process::{Command, Stdio};
        let pair = format!("{}:{}", text(&root, "access_key")?, text(&root, "secret_key")?);
        let child = Command::new("base64").arg("-w0").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        std::io::Write::write_all(&mut child.stdin.as_ref().context("piped")?, pair.as_bytes())?;
        String::from_utf8(child.wait_with_output()?.stdout)?
    };
    let authorization = format!("Basic {encoded}");
    // What is told may be some seconds old.
    until("the JSON says what the command line says", async || {
        let told = get(door, "/api/v1/status", &[("authorization", &authorization)]).await?;
        let (told, known): (Value, Value) = (serde_json::from_slice(&told.body)?, status(&cluster)?);
        Ok(["health", "leader", "files", "blocks", "cluster"].iter().all(|key| told[key] == known[key]))
    })
    .await?;
    ensure!(get(door, "/api/v1/status", &[]).await?.status == 401);

    // Another user may not do this, and the audit log knows who tried.
    let other = Browser::sign_in(door, &ann).await?;
    let token = other.token().await?;
    let denied = other.upload(&token, "", b"hers", b"x").await?;
    ensure!(denied.status == 403, "{denied:?}");
    ensure!(other.get("/audit").await?.status == 403);
    until("the audit page has what was done and what was denied", async || {
        let page = browser.get("/audit").await?.text();
        Ok(page.contains("/hers") && page.contains("permission denied") && page.contains("uid 1000"))
    })
    .await?;
    let leader = cluster.leader().await?;
    let log = std::fs::read_to_string(cluster.root().join(&leader).join("audit.log"))?;
    let denied = log.lines().map(serde_json::from_str::<Value>).filter_map(Result::ok);
    let denied: Vec<Value> = denied.filter(|line| line["path"] == "/hers").collect();
    ensure!(denied.iter().all(|line| line["result"] == "Denied" && line["uid"] == 1000) && !denied.is_empty(), "{log}");

    // Whoever guesses is slowed down, and the right key with it.
    let mut last = 0;
    for _ in 0..12 {
        last = submit(door, text(&ann, "access_key")?, "guess").await?.status;
    }
    ensure!(last == 429, "{last}");
    cluster.finish(&[]).await
}
