//! `bench s3`: objects through the gateway, set against a bare server that streams the same bytes over the same loopback.
//!
//! Every request is presigned, so that the gateway verifies a signature for each, as it does for real clients.

mod bare;
mod connection;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use access_keys::SealingKey;
use anyhow::anyhow;
use bytes::Bytes;
use client::User;
use http::Method;
use s3_gateway::{Gateway, Presign, Settings};
use tokio::sync::Mutex;
use types::{ByteSize, Path};

use bare::BareServer;
use connection::Connection;

use super::limits::PIECE;
use super::load::drive;
use super::report::{Measurement, Reporter, Sample};
use super::testbed::{Place, Shape, Testbed};

const REGION: &str = "us-east-1";
/// Keys in a page of a listing.
const PAGE: u64 = 1000;
/// Keys that are made at a time for the listing.
const FILLING: u32 = 256;

#[derive(Debug, clap::Args)]
pub(crate) struct S3Args {
    /// Bytes in each large object
    #[arg(long, default_value = "64MiB")]
    size: ByteSize,
    /// Large objects moved in each run
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..))]
    objects: u64,
    /// Large objects moved at the same time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    streams: u32,
    /// Bytes in each small object
    #[arg(long, default_value = "4KiB")]
    small: ByteSize,
    /// Small objects moved in each run
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Connections for small objects
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
    connections: u32,
    /// Keys to list
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,
    /// The gateway computes no MD5
    #[arg(long)]
    without_md5: bool,
    /// Runs of each; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    #[command(flatten)]
    pub(super) place: Place,
}

/// A gateway, and whom it lets in.
struct Bench<'a> {
    args: &'a S3Args,
    testbed: &'a Testbed,
    gateway: Gateway,
    bucket: String,
    access_key: String,
    secret: String,
}

impl S3Args {
    pub(super) const SHAPE: Shape = Shape { namenodes: 1, datanodes: 3 };

    pub(super) async fn measure(&self, testbed: &Testbed, reporter: &mut Reporter) -> anyhow::Result<()> {
        let bench = Bench::start(self, testbed).await?;
        let done = bench.measure(reporter).await;
        bench.gateway.shutdown().await;
        done
    }
}

impl<'a> Bench<'a> {
    async fn start(args: &'a S3Args, testbed: &'a Testbed) -> anyhow::Result<Self> {
        let secrets_key = testbed.local().join("secrets.key");
        let sealing = SealingKey::create(&secrets_key)?;
        let (access_key, secret) = access_keys::generate()?;
        let superuser = User { uid: 0, gid: 0, groups: Vec::new() };
        let client = testbed.connect().await?.as_user(superuser.clone());
        client.objects().put_access_key(&access_key, &superuser, sealing.seal(&access_key, &secret)?).await?;
        let bucket = format!("bench-{}", std::process::id());
        let place: Path = testbed.place(&bucket)?;
        let base = testbed.base();
        client.mkdir(base, client::MkdirOptions { parents: true, ..client::MkdirOptions::default() }).await?;
        client.objects().create_bucket(&bucket, &place, 0o700).await?;
        let settings = Settings {
            listen: ([127, 0, 0, 1], 0).into(),
            secrets_key,
            root: base.to_string(),
            region: REGION.to_owned(),
            md5_etags: !args.without_md5,
            ..Settings::default()
        };
        let gateway = Gateway::start(settings, testbed.config()).await?;
        client.close().await?;
        Ok(Self { args, testbed, gateway, bucket, access_key, secret: secret.to_string() })
    }

    async fn measure(&self, reporter: &mut Reporter) -> anyhow::Result<()> {
        let bare = BareServer::start(self.args.size).await?;
        self.fill().await?;
        let (mut limits, mut samples) = (vec![Vec::new(); 2], vec![Vec::new(); 5]);
        // Not counted: it makes the machine touch the memory that the objects will take.
        self.large(&Method::PUT, None).await?;
        for _ in 0..self.args.runs {
            for (at, method) in [Method::GET, Method::PUT].iter().enumerate() {
                self.testbed.settle().await?;
                limits[at].push(self.large(method, Some(&bare)).await?);
                self.testbed.settle().await?;
                samples[at].push(self.large(method, None).await?);
            }
            self.testbed.settle().await?;
            samples[2].push(self.small(&Method::PUT).await?);
            samples[3].push(self.small(&Method::GET).await?);
            samples[4].push(self.list().await?);
        }
        bare.stop().await?;
        let limits = [("limit.http_get", &limits[0]), ("limit.http_put", &limits[1])]
            .map(|(metric, samples)| Measurement::new(metric, "MB/s", samples));
        for (limit, (metric, samples)) in limits.iter().zip([("s3.get", &samples[0]), ("s3.put", &samples[1])]) {
            reporter.print(limit)?;
            reporter.print(&Measurement::new(metric, "MB/s", samples).against(limit))?;
        }
        reporter.print(&Measurement::new("s3.small_put", "ops/s", &samples[2]))?;
        reporter.print(&Measurement::new("s3.small_get", "ops/s", &samples[3]))?;
        reporter.print(&Measurement::new("s3.list", "keys/s", &samples[4]))
    }

    /// Moves the large objects, through the gateway or to and from the bare server.
    async fn large(&self, method: &Method, bare: Option<&BareServer>) -> anyhow::Result<Sample> {
        let address = bare.map_or_else(|| self.gateway.address(), BareServer::address);
        let connections = connect(address, self.args.streams).await?;
        let length = self.args.size.get();
        let targets: Vec<String> = (0..self.args.objects)
            .map(|at| self.target(method, &format!("large/{at}"), &[]))
            .collect::<anyhow::Result<_>>()?;
        let (method, targets) = (method.clone(), Arc::new(targets));
        let piece = Bytes::from(vec![7; PIECE]);
        let meter = self.testbed.meter();
        let moved = drive(&connections, self.args.streams, self.args.objects, move |connection, number| {
            let (method, targets, piece) = (method.clone(), Arc::clone(&targets), piece.clone());
            async move {
                let target = &targets[number as usize];
                let received = connection.lock().await.ask(&method, target, (&piece, length)).await?;
                anyhow::ensure!(method != Method::GET || received == length, "{received} bytes came of {length}");
                Ok(())
            }
        })
        .await?;
        let cost = meter.stop();
        Ok(Sample::of_bytes(length * self.args.objects, cost.seconds, cost.cpu).with_latencies(&moved))
    }

    async fn small(&self, method: &Method) -> anyhow::Result<Sample> {
        let connections = connect(self.gateway.address(), self.args.connections).await?;
        let (length, count) = (self.args.small.get(), self.args.count);
        let piece = Bytes::from(vec![7; usize::try_from(length)?]);
        let targets: Vec<String> = (0..count)
            .map(|at| self.target(method, &format!("small/{}/{at}", at % 16), &[]))
            .collect::<anyhow::Result<_>>()?;
        let (method, targets) = (method.clone(), Arc::new(targets));
        let meter = self.testbed.meter();
        let histogram = drive(&connections, self.args.connections, count, move |connection, number| {
            let (method, targets, piece) = (method.clone(), Arc::clone(&targets), piece.clone());
            async move {
                let target = &targets[number as usize];
                let received = connection.lock().await.ask(&method, target, (&piece, length)).await?;
                anyhow::ensure!(method != Method::GET || received == length, "{received} bytes came of {length}");
                Ok(())
            }
        })
        .await?;
        let cost = meter.stop();
        Ok(Sample::of_ops(count, cost.seconds, cost.cpu).with_latencies(&histogram))
    }

    /// Makes the keys that are to be listed, by the library.
    async fn fill(&self) -> anyhow::Result<()> {
        let client = self.testbed.connect().await?;
        let bucket = self.bucket.clone();
        drive(std::slice::from_ref(&client), FILLING, self.args.keys, move |client, number| {
            let bucket = bucket.clone();
            async move {
                let key = format!("keys/{:03}/{number:09}", number % 100);
                client.objects().put(&bucket, key.as_bytes(), Bytes::new(), Default::default()).await?;
                Ok(())
            }
        })
        .await?;
        Ok(client.close().await?)
    }

    /// Lists them page after page, as a client does that does not know how many there are.
    async fn list(&self) -> anyhow::Result<Sample> {
        let mut connection = Connection::open(self.gateway.address()).await?;
        let page = PAGE.to_string();
        let (mut listed, mut token) = (0, None::<String>);
        let meter = self.testbed.meter();
        loop {
            let mut query = vec![("list-type", "2"), ("prefix", "keys/"), ("max-keys", page.as_str())];
            query.extend(token.as_deref().map(|token| ("continuation-token", token)));
            let text = connection.document(&self.target(&Method::GET, "", &query)?).await?;
            listed += text.matches("<Contents>").count() as u64;
            token = between(&text, "<NextContinuationToken>", "</NextContinuationToken>");
            if token.is_none() {
                break;
            }
        }
        let cost = meter.stop();
        anyhow::ensure!(listed == self.args.keys, "{listed} keys were listed of {}", self.args.keys);
        Ok(Sample::of_ops(listed, cost.seconds, cost.cpu))
    }

    /// Path and query of a presigned request.
    fn target(&self, method: &Method, key: &str, query: &[(&str, &str)]) -> anyhow::Result<String> {
        let endpoint = format!("http://{}", self.gateway.address());
        let presign = Presign {
            endpoint: &endpoint,
            region: REGION,
            access_key: &self.access_key,
            secret: &self.secret,
            method: method.as_str(),
            bucket: &self.bucket,
            key,
            query,
            now: SystemTime::now(),
            lifetime: Duration::from_secs(3600),
        };
        let url = presign.url()?;
        url.strip_prefix(&endpoint).map(str::to_owned).ok_or_else(|| anyhow!("{url} is elsewhere"))
    }
}

async fn connect(address: std::net::SocketAddr, many: u32) -> anyhow::Result<Vec<Arc<Mutex<Connection>>>> {
    let mut connections = Vec::new();
    for _ in 0..many {
        connections.push(Arc::new(Mutex::new(Connection::open(address).await?)));
    }
    Ok(connections)
}

fn between(text: &str, before: &str, after: &str) -> Option<String> {
    let (inside, _) = text.split_once(before)?.1.split_once(after)?;
    Some(inside.to_owned())
}
