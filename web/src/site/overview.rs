//! `/`: the cluster on one screen.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use client::health::Overview;
use types::{count, thousands};

use super::Site;
use super::failure::Failure;
use super::page::{Frame, age, ok, percent, size, tone};
use super::session::Session;

#[derive(Template)]
#[template(path = "overview.html")]
struct Page {
    frame: Frame,
    word: &'static str,
    tone: &'static str,
    reasons: Vec<String>,
    cluster: Option<String>,
    leader: Option<String>,
    term: u64,
    commit: String,
    nodes: Option<Nodes>,
    files: String,
    content: String,
    sessions: String,
    members: Vec<Member>,
    space: Option<Space>,
    blocks: Option<Blocks>,
}

struct Member {
    name: String,
    address: String,
    state: &'static str,
    tone: &'static str,
    detail: String,
}

struct Nodes {
    alive: String,
    suspect: String,
    dead: String,
    any_dead: bool,
}

struct Space {
    used: String,
    free: String,
    capacity: String,
    used_percent: u64,
    /// By others than Ashlar too.
    taken_percent: u64,
}

struct Blocks {
    /// Each with its name, and the style that it has unless it is zero.
    numbers: [(&'static str, String, &'static str); 4],
    scanned: String,
    age: String,
}

pub(super) async fn page(State(site): State<Arc<Site>>, session: Session) -> Response {
    let Some(facts) = site.cluster.facts().await else { return Failure::stopping().page(&session) };
    let overview = Overview::of(&facts);
    let members = overview.members.iter().map(|member| Member {
        name: member.node.map_or_else(|| "?".to_owned(), |node| format!("nn{node}")),
        address: member.address.clone(),
        state: member.state,
        tone: match member.state {
            "leader" => "lead",
            "follower" => "good",
            _ => "bad",
        },
        detail: match (&member.error, member.lag) {
            (Some(error), _) => error.clone(),
            (None, Some(0)) => "up to date".to_owned(),
            (None, Some(lag)) => format!("{} behind", count(lag, "entry", "entries")),
            (None, None) => String::new(),
        },
    });
    let space = overview.space.as_ref().map(|space| {
        let used_percent = percent(space.used, space.capacity);
        let taken = percent(space.capacity.saturating_sub(space.free), space.capacity);
        Space {
            used: size(space.used),
            free: size(space.free),
            capacity: size(space.capacity),
            used_percent,
            taken_percent: taken.max(used_percent),
        }
    });
    let blocks = overview.redundancy.as_ref().map(|blocks| Blocks {
        numbers: [
            ("under-replicated", blocks.under_replicated, "warn-text"),
            ("damaged replicas", blocks.corrupt_replicas, "warn-text"),
            ("missing", blocks.missing, "bad-text"),
            ("copies under way", blocks.pending_copies, ""),
        ]
        .map(|(name, number, tone)| (name, thousands(number), if number == 0 { "" } else { tone })),
        scanned: thousands(blocks.scanned_blocks),
        age: age(Duration::from_millis(blocks.scan_age_ms)),
    });
    let nodes = overview.datanodes.as_ref().map(|nodes| Nodes {
        alive: thousands(nodes.alive),
        suspect: thousands(nodes.suspect),
        dead: thousands(nodes.dead),
        any_dead: nodes.dead > 0,
    });
    let content = format!(
        "{}, {} in {}",
        count(overview.directories, "directory", "directories"),
        size(overview.bytes),
        count(overview.blocks, "block", "blocks")
    );
    ok(&Page {
        frame: Frame::new("Overview", "overview", &session),
        word: overview.health.word(),
        tone: tone(overview.health),
        members: members.collect(),
        leader: overview.leader.map(|leader| format!("nn{leader}")),
        term: overview.term,
        commit: count(overview.commit, "entry", "entries"),
        files: thousands(overview.files),
        sessions: thousands(overview.sessions),
        cluster: overview.cluster,
        reasons: overview.reasons,
        nodes,
        content,
        space,
        blocks,
    })
}
