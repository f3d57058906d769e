//! Clients work on few names at once while leaders are killed, stopped and replaced; what they saw must have an order.
//!
//! `ASHLAR_LINEARIZABLE_SECONDS` makes it longer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use client::objects::{Condition, PutOptions};
use client::{Client, Config, CreateOptions, Error, ReadFrom};
use integration_tests::linearizability::{Action, Operation, Outcome, Value, check};
use integration_tests::{Cluster, Options, Pattern, until};
use types::{Code, ErrorKind, Path};

/// These wait for an answer as long as it takes, and must never see an error.
const PATIENT: usize = 5;
/// These give up soon, and never learn what came of it.
const HASTY: usize = 3;
const HASTE: Duration = Duration::from_millis(500);

/// Names for files whose content lies with the inode, for files in blocks, and for objects.
const NAMES: [(Door, usize); 3] = [(Door::Inline, 5), (Door::Block, 2), (Door::Object, 3)];
const BUCKET: &str = "bucket";
const NAMENODES: [&str; 3] = ["nn1", "nn2", "nn3"];

const DURATION: Duration = Duration::from_secs(12);
const PAUSE: Duration = Duration::from_millis(3500);
/// Answers that must come while a leader is away, and again when it is back.
const PROGRESS: u64 = 100;
/// Answers that each client must have at the end, the hasty ones on a busy machine too.
const LEAST: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Inline,
    Block,
    Object,
}

#[derive(Debug, Clone)]
struct Key {
    door: Door,
    name: String,
}

impl Key {
    fn all() -> Vec<Self> {
        let of = |(door, count)| (0..count).map(move |at| Self { door, name: format!("{door:?}-{at}") });
        NAMES.into_iter().flat_map(of).collect()
    }

    fn path(&self) -> Result<Path> {
        Ok(Path::parse(format!("/{}", self.name).as_bytes())?)
    }

    fn content(&self, value: Value, inline_max: u64) -> Bytes {
        let blank = if self.door == Door::Block { inline_max as usize + 1 } else { 0 };
        format!("{:020}{:blank$}", value.0, "").into()
    }

    async fn act(&self, client: &Client, action: Action) -> Result<Outcome, Failed> {
        match self.door {
            Door::Inline | Door::Block => self.act_on_file(client, action).await,
            Door::Object => self.act_on_object(client, action).await,
        }
    }

    async fn act_on_file(&self, client: &Client, action: Action) -> Result<Outcome, Failed> {
        let path = &self.path()?;
        let inline_max = client.defaults().inline_max.get();
        let put = async |value, overwrite| {
            let options = CreateOptions { overwrite, ..CreateOptions::default() };
            client.put(path, self.content(value, inline_max), options).await.map(drop)
        };
        match action {
            Action::Create(value) => outcome(put(value, false).await, &[Code::Exists]),
            Action::Put(value) => outcome(put(value, true).await, &[]),
            Action::Delete => outcome(client.delete(path, false).await, &[Code::NotFound]),
            Action::Replace { .. } | Action::Remove => {
                Err(anyhow::anyhow!("files are not asked for {action:?}").into())
            }
            Action::Read => {
                let mut reader = match client.open(path).await {
                    Ok(reader) => reader,
                    Err(error) if error.code() == Code::NotFound => return Ok(Outcome::Found(None)),
                    Err(error) => return Err(error.into()),
                };
                let mut content = Vec::new();
                while let Some(chunk) = reader.next_chunk().await? {
                    content.extend_from_slice(&chunk);
                }
                Ok(self.found(&content, inline_max)?)
            }
        }
    }

    async fn act_on_object(&self, client: &Client, action: Action) -> Result<Outcome, Failed> {
        let (objects, key) = (client.objects(), self.name.as_bytes());
        let put = async |value: Value, condition| {
            let options = PutOptions { etag: Some(value.0.to_string()), condition, ..PutOptions::default() };
            objects.put(BUCKET, key, self.content(value, 0), options).await.map(drop)
        };
        match action {
            Action::Create(value) => outcome(put(value, Some(Condition::Absent)).await, &[Code::PreconditionFailed]),
            Action::Put(value) => outcome(put(value, None).await, &[]),
            Action::Replace { expected, with } => {
                let matches = Condition::Matches(vec![expected.0.to_string()]);
                // The other code: nothing is there that could match.
                outcome(put(with, Some(matches)).await, &[Code::PreconditionFailed, Code::NotFound])
            }
            Action::Remove => outcome(objects.delete(BUCKET, key, None).await, &[]),
            Action::Delete => Err(anyhow::anyhow!("objects are not asked for {action:?}").into()),
            Action::Read => {
                let mut reader = match objects.open(BUCKET, key).await {
                    Ok(reader) => reader,
                    Err(error) if error.code() == Code::NotFound => return Ok(Outcome::Found(None)),
                    Err(error) => return Err(error.into()),
                };
                let content = reader.next_chunk().await?.unwrap_or_default();
                Ok(self.found(&content, 0)?)
            }
        }
    }

    /// A file is whole, whenever it is read.
    fn found(&self, content: &[u8], inline_max: u64) -> Result<Outcome> {
        let text = std::str::from_utf8(content)?;
        let value = Value(text.trim_end().parse().with_context(|| format!("{} holds {text:?}", self.name))?);
        ensure!(content == self.content(value, inline_max), "{} is torn: {text:?}", self.name);
        Ok(Outcome::Found(Some(value)))
    }
}

/// An operation without an answer, or a test that cannot go on.
#[derive(Debug)]
enum Failed {
    Unanswered(Error),
    Broken(anyhow::Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Unanswered(error)
    }
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self::Broken(error)
    }
}

fn outcome(answer: Result<(), Error>, refused: &[Code]) -> Result<Outcome, Failed> {
    match answer {
        Ok(()) => Ok(Outcome::Done),
        Err(error) if refused.contains(&error.code()) => Ok(Outcome::Refused),
        Err(error) => Err(error.into()),
    }
}

/// What the clients and the one who makes the trouble share.
#[derive(Debug)]
struct Course {
    start: Instant,
    answers: AtomicU64,
    over: AtomicBool,
}

struct Worker {
    number: usize,
    client: Client,
    course: Arc<Course>,
    /// What it last knew to be at a key.
    seen: BTreeMap<String, Value>,
    written: u64,
    history: Vec<Operation>,
}

impl Worker {
    fn new(number: usize, client: Client, course: Arc<Course>) -> Self {
        Self { number, client, course, seen: BTreeMap::new(), written: 0, history: Vec::new() }
    }

    fn is_patient(&self) -> bool {
        self.number < PATIENT
    }

    async fn work(mut self) -> Result<Vec<Operation>> {
        let keys = Key::all();
        let dice = Pattern(self.number as u64);
        let mut rolls = (0_u64..).map(|at| {
            let bytes = dice.bytes(at * 8, 8);
            u64::from_le_bytes(bytes[..].try_into().expect("eight bytes"))
        });
        let mut roll = move |sides: u64| rolls.next().expect("it has no end") % sides;
        while !self.course.over.load(Ordering::Relaxed) {
            let key = &keys[roll(keys.len() as u64) as usize];
            let action = self.choose(key, roll(10));
            self.act(key, action).await?;
        }
        Ok(self.history)
    }

    fn choose(&mut self, key: &Key, roll: u64) -> Action {
        self.written += 1;
        let value = Value(self.number as u64 * 1_000_000_000 + self.written);
        match (roll, self.seen.get(&key.name)) {
            (0, _) if key.door == Door::Object => Action::Remove,
            (0, _) => Action::Delete,
            (1..=2, _) => Action::Create(value),
            (3, _) => Action::Put(value),
            (4..=5, Some(expected)) if key.door == Door::Object => Action::Replace { expected: *expected, with: value },
            _ => Action::Read,
        }
    }

    async fn act(&mut self, key: &Key, action: Action) -> Result<()> {
        let called = self.course.start.elapsed();
        let answer = key.act(&self.client, action).await;
        let answered = self.course.start.elapsed();
        let outcome = match answer {
            Ok(outcome) => {
                self.course.answers.fetch_add(1, Ordering::Relaxed);
                outcome
            }
            Err(Failed::Broken(error)) => return Err(error),
            Err(Failed::Unanswered(error)) => {
                let expected = !self.is_patient() && matches!(error.kind(), ErrorKind::Retry);
                ensure!(expected, "client {} at {called:?}..{answered:?}, {action:?}: {error:?}", self.number);
                Outcome::Unknown
            }
        };
        let known = match outcome {
            Outcome::Found(found) => found,
            Outcome::Done => action.written(),
            Outcome::Refused | Outcome::Failed | Outcome::Unknown => None,
        };
        if let Some(value) = known {
            self.seen.insert(key.name.clone(), value);
        }
        let (key, client) = (key.name.clone(), self.number);
        self.history.push(Operation { key, client, action, outcome, called, answered });
        Ok(())
    }
}

async fn progress(course: &Course, when: &str) -> Result<()> {
    let before = course.answers.load(Ordering::Relaxed);
    let what = format!("clients get answers {when}");
    until(&what, async || {
        // A client that failed says why when it is waited for.
        let over = course.over.load(Ordering::Relaxed);
        Ok(over || course.answers.load(Ordering::Relaxed) >= before + PROGRESS)
    })
    .await
}

/// Kills, stops and replaces leaders, and stops a member that follows, each at least once, until the time is over.
async fn trouble(cluster: &mut Cluster, course: &Course, duration: Duration) -> Result<()> {
    for round in 0.. {
        if round >= 4 && course.start.elapsed() >= duration {
            break;
        }
        let leader = cluster.leader().await?;
        match round % 4 {
            0 => {
                cluster.pause(&leader)?;
                // As long as the fault is to last: the old leader must have lost its lease, and not know it.
                let (others, ()) =
                    tokio::join!(progress(course, "while the leader is stopped"), tokio::time::sleep(PAUSE));
                others?;
                cluster.resume(&leader)?;
            }
            1 => {
                // Clients read from it. When it goes on, its state is as old as the time that it was stopped.
                let follower = NAMENODES.into_iter().find(|name| *name != leader).context("there are others")?;
                cluster.pause(follower)?;
                let (others, ()) =
                    tokio::join!(progress(course, "while a follower is stopped"), tokio::time::sleep(PAUSE));
                others?;
                cluster.resume(follower)?;
            }
            2 => {
                cluster.kill(&leader)?;
                progress(course, "while the leader is dead").await?;
                cluster.spawn(&leader)?;
            }
            _ => {
                // Of the two others, one may have just come back.
                let transfer = cluster.ashlar_raw(&["admin", "raft", "transfer"]);
                ensure!(transfer.status.success(), "{}", String::from_utf8_lossy(&transfer.stderr));
            }
        }
        progress(course, "afterwards").await?;
    }
    Ok(())
}

fn duration() -> Result<Duration> {
    match std::env::var("ASHLAR_LINEARIZABLE_SECONDS") {
        Ok(seconds) => Ok(Duration::from_secs(seconds.parse().context("ASHLAR_LINEARIZABLE_SECONDS")?)),
        Err(std::env::VarError::NotPresent) => Ok(DURATION),
        Err(error) => bail!("ASHLAR_LINEARIZABLE_SECONDS: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_see_while_leaders_come_and_go_has_an_order() -> Result<()> {
    let duration = duration()?;
    let mut cluster = Cluster::start(Options::default()).await?;
    let last = cluster.client().await?;
    last.objects().create_bucket(BUCKET, &Path::parse(b"/objects")?, 0o755).await?;
    let namenodes: Vec<String> = NAMENODES.into_iter().map(|name| cluster.address(name)).collect::<Result<_>>()?;

    let course = Course { start: Instant::now(), answers: AtomicU64::new(0), over: AtomicBool::new(false) };
    let course = Arc::new(course);
    let mut workers = Vec::new();
    for number in 0..PATIENT + HASTY {
        let op_timeout = if number < PATIENT { Config::default().op_timeout } else { HASTE };
        let read_from = if number % 2 == 0 { ReadFrom::Any } else { ReadFrom::Leader };
        let config = Config { namenodes: namenodes.clone(), op_timeout, read_from, ..Config::default() };
        let worker = Worker::new(number, Client::connect(config).await?, course.clone());
        let course = course.clone();
        workers.push(tokio::spawn(async move {
            let worked = worker.work().await;
            course.over.store(true, Ordering::Relaxed);
            worked
        }));
    }
    let troubled = trouble(&mut cluster, &course, duration).await;
    course.over.store(true, Ordering::Relaxed);
    let mut history = Vec::new();
    for worker in workers {
        let seen = worker.await??;
        ensure!(answered(&seen) >= LEAST, "a client got {} answers only", answered(&seen));
        history.extend(seen);
    }
    troubled?;

    // Every acknowledged write is still there.
    let mut reader = Worker::new(0, last, course);
    for key in Key::all() {
        reader.act(&key, Action::Read).await?;
    }
    history.extend(reader.history);
    ensure_variety(&history)?;
    check(history)?;
    cluster.finish(&[]).await
}

fn answered(history: &[Operation]) -> usize {
    history.iter().filter(|operation| operation.outcome != Outcome::Unknown).count()
}

/// The history says something: each kind of operation was done, and each that can be was refused.
fn ensure_variety(history: &[Operation]) -> Result<()> {
    let count = |is: fn(Action) -> bool, outcome: fn(Outcome) -> bool| {
        history.iter().filter(|operation| is(operation.action) && outcome(operation.outcome)).count()
    };
    let (done, refused) = (|outcome| outcome == Outcome::Done, |outcome| outcome == Outcome::Refused);
    let found = |outcome| matches!(outcome, Outcome::Found(Some(_)));
    let counts = [
        ("found", count(|action| action == Action::Read, found)),
        ("not found", count(|action| action == Action::Read, |outcome| outcome == Outcome::Found(None))),
        ("put", count(|action| matches!(action, Action::Put(_)), done)),
        ("created", count(|action| matches!(action, Action::Create(_)), done)),
        ("not created", count(|action| matches!(action, Action::Create(_)), refused)),
        ("deleted", count(|action| action == Action::Delete, done)),
        ("removed", count(|action| action == Action::Remove, done)),
        ("not deleted", count(|action| action == Action::Delete, refused)),
        ("replaced", count(|action| matches!(action, Action::Replace { .. }), done)),
        ("not replaced", count(|action| matches!(action, Action::Replace { .. }), refused)),
    ];
    ensure!(counts.iter().all(|(_, count)| *count > 0), "of {} operations: {counts:?}", history.len());
    Ok(())
}
