//! The task that owns the stream: it waits for one event, applies it, and sends what can be sent.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use proto::v1;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};
use types::{ClusterId, SessionId};

use super::Request;
use super::dial::{DialError, Live, Search, dial};
use super::operations::{Newest, Operations, Verdict};
use crate::config::Config;
use crate::error::Fault;
use crate::object::Defaults;
use crate::watcher::Watching;
use crate::wire;

/// Operations taken in at a time, beyond which callers wait.
const TAKEN: usize = 4096;
/// A leader that owes answers and is silent for so long is given up; doubled each time in a row, up to the second.
const SILENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));
/// How often deadlines and delays are looked at while there are any.
const SWEEP: Duration = Duration::from_millis(20);
/// Characters of this machine's name in a session's description.
const HOST_SHOWN: usize = 48;

/// What the first leader found says of the cluster.
pub(super) type Welcome = (ClusterId, Defaults);

enum Link {
    Pause { until: Instant },
    Dialing { attempt: BoxFuture<'static, (String, Result<Box<Live>, DialError>)> },
    Live(Box<Live>),
}

enum Event {
    Stop,
    Request(Request),
    Leaving,
    Redial,
    Dialed(String, Result<Box<Live>, DialError>),
    Replies(Result<Option<v1::ReplyBatch>, tonic::Status>),
    Room,
    Sweep,
    KeepAlive,
}

/// What only a connection to the leader has to do with.
pub(super) struct Lead {
    pub(super) say_leader: watch::Sender<Option<String>>,
    pub(super) say_welcome: Option<oneshot::Sender<Result<Welcome, Fault>>>,
    pub(super) watching: Arc<Watching>,
}

pub(super) struct Connection {
    config: Config,
    requests: mpsc::Receiver<Request>,
    /// Without: it is to any member, for queries alone.
    lead: Option<Lead>,
    stop: CancellationToken,
    started: Instant,
    operations: Operations,

    link: Link,
    search: Search,
    cluster: Vec<u8>,
    silence: Duration,
    /// Since when the leader owes an answer.
    owed_since: Option<Instant>,
    sweep_due: Instant,
    session_timeout: Duration,
    keep_alive_due: Option<Instant>,
}

impl Connection {
    pub(super) fn new(
        config: Config,
        requests: mpsc::Receiver<Request>,
        lead: Option<Lead>,
        stop: CancellationToken,
        newest: Arc<Newest>,
    ) -> Self {
        let now = Instant::now();
        let addresses = config.namenodes.clone();
        Self {
            search: if lead.is_some() { Search::new(addresses) } else { Search::beginning_anywhere(addresses) },
            config,
            requests,
            lead,
            stop,
            started: now,
            operations: Operations::new(newest),
            link: Link::Pause { until: now },
            cluster: Vec::new(),
            silence: SILENCE.0,
            owed_since: None,
            sweep_due: now,
            session_timeout: Duration::from_secs(60),
            keep_alive_due: None,
        }
    }

    /// Only members of this cluster will do.
    pub(super) fn of(mut self, cluster: ClusterId) -> Self {
        self.cluster = cluster.as_bytes().to_vec();
        self
    }

    fn is_awaited(&self) -> bool {
        self.lead.as_ref().is_some_and(|lead| lead.say_welcome.is_some())
    }

    pub(super) async fn run(mut self) {
        loop {
            match self.event().await {
                Event::Stop => return self.operations.fail_all(),
                // The last handle is gone: nobody waits for anything any more.
                Event::Leaving => return,
                Event::Request(request) => self.take(request),
                Event::Redial => self.redial(),
                Event::Dialed(address, Ok(live)) => self.welcome(address, live),
                Event::Dialed(address, Err(error)) => self.not_dialed(&address, error),
                Event::Replies(Ok(Some(batch))) => self.replies(batch),
                Event::Replies(Ok(None)) => self.lose("closed the stream".to_owned()),
                Event::Replies(Err(status)) => self.lose(format!("broke off: {}", status.message())),
                Event::Room => {}
                Event::Sweep => self.sweep(),
                Event::KeepAlive => self.keep_alive(),
            }
            self.send();
        }
    }

    async fn event(&mut self) -> Event {
        let sweeps = self.operations.len() > 0 || self.owed_since.is_some() || self.is_awaited();
        let has_room = self.operations.len() < TAKEN;
        let sendable = self.operations.has_sendable();
        let (sweep_due, keep_alive_due) = (self.sweep_due, self.keep_alive_due);
        let to = match &self.link {
            Link::Live(live) if sendable => Some(live.to.clone()),
            Link::Live(_) | Link::Pause { .. } | Link::Dialing { .. } => None,
        };
        let link = async {
            match &mut self.link {
                Link::Pause { until } => {
                    tokio::time::sleep_until(*until).await;
                    Event::Redial
                }
                Link::Dialing { attempt } => {
                    let (address, outcome) = attempt.await;
                    Event::Dialed(address, outcome)
                }
                Link::Live(live) => Event::Replies(live.from.message().await),
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => Event::Stop,
            event = link => event,
            request = self.requests.recv(), if has_room => request.map_or(Event::Leaving, Event::Request),
            // After `send`, something sendable is left only if the channel to the socket was full.
            _ = async { to.as_ref().expect("checked by the guard").reserve().await.map(drop) },
                if to.is_some() => Event::Room,
            () = async { tokio::time::sleep_until(keep_alive_due.expect("checked by the guard")).await },
                if keep_alive_due.is_some() => Event::KeepAlive,
            () = tokio::time::sleep_until(sweep_due), if sweeps => Event::Sweep,
        }
    }

    /// Takes in what the handles ask for, as much as is there.
    fn take(&mut self, request: Request) {
        let now = Instant::now();
        self.operations.queue(request, now);
        while self.operations.len() < TAKEN {
            match self.requests.try_recv() {
                Ok(request) => self.operations.queue(request, now),
                Err(_) => break,
            }
        }
    }

    fn redial(&mut self) {
        let address = self.search.address();
        let session = self.operations.session().map_or(0, SessionId::get);
        let principal = Some(wire::principal(&self.config.user));
        let (cluster, reads_only) = (self.cluster.clone(), self.lead.is_none());
        let hello = v1::Hello { protocol: proto::PROTOCOL, cluster, session, principal, reads_only };
        debug!(%address, reads_only, "looking for a namenode");
        let attempt = Box::pin(dial(address, hello, self.search.patience(self.config.connect_timeout)));
        self.link = Link::Dialing { attempt };
    }

    fn not_dialed(&mut self, address: &str, error: DialError) {
        let now = Instant::now();
        match error {
            DialError::NotLeader { .. } if self.lead.is_none() => {
                self.search.failed(address, "knows of no leader".to_owned(), now);
            }
            DialError::NotLeader { leader } => self.search.not_leader(address, &leader, now),
            DialError::Failed(reason) => {
                debug!(%address, %reason, "namenode is of no use");
                self.search.failed(address, reason, now);
            }
        }
        self.link = Link::Pause { until: now + self.search.pause() };
    }

    fn welcome(&mut self, address: String, live: Box<Live>) {
        let (cluster, defaults) = match understand(&address, &live.welcome) {
            Ok(understood) => understood,
            Err(fault) => return self.not_dialed(&address, DialError::Failed(fault.to_string())),
        };
        if !self.cluster.is_empty() && live.welcome.cluster != self.cluster {
            return self.not_dialed(&address, DialError::Failed("belongs to another cluster".to_owned()));
        }
        self.cluster.clone_from(&live.welcome.cluster);
        self.session_timeout = defaults.session_timeout;
        if let Some(lead) = &mut self.lead {
            info!(%address, term = live.welcome.term, "connected to the leader");
            if let Some(say_welcome) = lead.say_welcome.take() {
                say_welcome.send(Ok((cluster, defaults))).ok();
            }
            lead.say_leader.send_replace(Some(address));
            lead.watching.stream_began();
        } else {
            info!(%address, "connected to a namenode, for reads");
        }
        self.link = Link::Live(live);
        self.owed_since = None;
        // The new leader learns at once that the session lives.
        self.keep_alive_due = self.operations.session().map(|_| Instant::now());
    }

    /// The stream is of no use any more.
    fn lose(&mut self, reason: String) {
        let now = Instant::now();
        if let Link::Live(live) = &self.link {
            let address = live.address.clone();
            info!(%address, %reason, reads_only = self.lead.is_none(), "lost a namenode");
            self.search.failed(&address, reason, now);
        }
        self.leave_stream(now);
    }

    /// The member does not lead any more, and may know who does.
    fn redirect(&mut self, leader: &str) {
        let now = Instant::now();
        if let Link::Live(live) = &self.link {
            let address = live.address.clone();
            info!(%address, %leader, "the namenode does not lead any more");
            self.search.not_leader(&address, leader, now);
        }
        self.leave_stream(now);
    }

    fn leave_stream(&mut self, now: Instant) {
        self.owed_since = None;
        self.operations.stream_lost();
        if let Some(lead) = &self.lead {
            lead.say_leader.send_replace(None);
            lead.watching.stream_lost();
        }
        self.link = Link::Pause { until: now + self.search.pause() };
    }

    fn send(&mut self) {
        while self.operations.has_sendable() {
            let Link::Live(live) = &self.link else { return };
            // A closed channel shows as the end of the replies too.
            let Ok(permit) = live.to.try_reserve() else { return };
            let host = &self.config.host;
            let describe =
                || format!("{} pid {}", host.chars().take(HOST_SHOWN).collect::<String>(), std::process::id());
            let ops = self.operations.batch(describe);
            if ops.is_empty() {
                continue;
            }
            if self.operations.is_owed() {
                self.owed_since.get_or_insert_with(Instant::now);
            }
            permit.send(v1::OpBatch { hello: None, ops });
        }
    }

    fn keep_alive(&mut self) {
        self.keep_alive_due = Some(Instant::now() + self.session_timeout / 4);
        let Link::Live(live) = &self.link else { return };
        // With a full channel there is more than enough for the leader to hear.
        let Ok(permit) = live.to.try_reserve() else { return };
        let Some(op) = self.operations.keep_alive() else {
            self.keep_alive_due = None;
            return;
        };
        self.owed_since.get_or_insert_with(Instant::now);
        permit.send(v1::OpBatch { hello: None, ops: vec![op] });
    }

    fn replies(&mut self, batch: v1::ReplyBatch) {
        let now = Instant::now();
        let mut behind = false;
        if let Some((lead, changes)) = self.lead.as_ref().zip(batch.changes) {
            lead.watching.told(changes);
        }
        for reply in batch.replies {
            match self.operations.reply(reply, now) {
                Verdict::Leads => {
                    self.search.succeeded();
                    self.silence = SILENCE.0;
                }
                Verdict::Behind => behind = true,
            }
        }
        if self.operations.session().is_some() {
            self.keep_alive_due.get_or_insert(now + self.session_timeout / 4);
        }
        match batch.not_leader {
            Some(_) if self.lead.is_none() => self.lose("stops".to_owned()),
            None if behind && self.lead.is_none() => self.lose("cannot answer reads now".to_owned()),
            Some(not_leader) => self.redirect(&not_leader.leader),
            None if behind => self.redirect(""),
            None => self.owed_since = self.operations.is_owed().then_some(now),
        }
    }

    fn sweep(&mut self) {
        let now = Instant::now();
        self.sweep_due = now + SWEEP;
        let search = &self.search;
        self.operations.sweep(now, || search.summary());
        if now.duration_since(self.started) >= self.config.op_timeout
            && let Some(say_welcome) = self.lead.as_mut().and_then(|lead| lead.say_welcome.take())
        {
            let reason = self.search.summary();
            say_welcome.send(Err(Fault::NoAnswer { after: self.config.op_timeout, reason })).ok();
        }
        if self.owed_since.is_some_and(|since| now.duration_since(since) > self.silence) {
            self.silence = (self.silence * 2).min(SILENCE.1);
            self.lose("is silent".to_owned());
        }
    }
}

fn understand(address: &str, welcome: &v1::Welcome) -> Result<Welcome, Fault> {
    let cluster = proto::cluster_id(&welcome.cluster, "Welcome.cluster")?;
    let defaults = welcome.defaults.clone().ok_or_else(|| Fault::Protocol {
        peer: address.to_owned(),
        problem: "its welcome has no defaults".to_owned(),
    })?;
    Ok((cluster, wire::defaults(defaults)?))
}
