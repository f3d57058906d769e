//! `/namenodes`: the Raft group.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use client::health::Answer;
use types::thousands;

use super::Site;
use super::failure::Failure;
use super::page::{Frame, ok, size};
use super::session::Session;

#[derive(Template)]
#[template(path = "namenodes.html")]
struct Page {
    frame: Frame,
    leader: Option<String>,
    term: u64,
    members: Vec<Member>,
}

struct Member {
    name: String,
    address: String,
    state: &'static str,
    tone: &'static str,
    votes: bool,
    stalled: bool,
    error: Option<String>,
    term: String,
    applied: String,
    commit: String,
    last: String,
    lag: String,
    syncs: String,
    entries_per_sync: String,
    written: String,
}

pub(super) async fn page(State(site): State<Arc<Site>>, session: Session) -> Response {
    let Some(facts) = site.cluster.facts().await else { return Failure::stopping().page(&session) };
    let leader = facts.leader();
    let known = leader.or_else(|| facts.namenodes.iter().find_map(|answer| answer.status.as_ref().ok()));
    let member = |answer: &Answer| {
        let address = answer.address.clone();
        let named = known.and_then(|known| known.members.iter().find(|member| member.address == address));
        match &answer.status {
            Ok(status) => {
                let leads = leader.is_some_and(|leader| leader.node == status.node);
                let votes = known.and_then(|known| known.members.iter().find(|member| member.node == status.node));
                Member {
                    name: format!("nn{}", status.node.get()),
                    address,
                    state: if leads { "leader" } else { "follower" },
                    tone: if leads { "lead" } else { "good" },
                    votes: votes.is_none_or(|member| member.voter),
                    stalled: status.stalled,
                    error: None,
                    term: status.term.to_string(),
                    applied: thousands(status.applied),
                    commit: thousands(status.commit),
                    last: thousands(status.last_index),
                    lag: thousands(leader.map_or(0, |leader| leader.commit.saturating_sub(status.applied))),
                    syncs: thousands(status.log.syncs),
                    entries_per_sync: match status.log.syncs {
                        0 => "0".to_owned(),
                        syncs => format!("{:.1}", status.log.commands as f64 / syncs as f64),
                    },
                    written: size(status.log.bytes),
                }
            }
            Err(error) => Member {
                name: named.map_or_else(|| "?".to_owned(), |member| format!("nn{}", member.node.get())),
                address,
                state: "unreachable",
                tone: "bad",
                votes: named.is_none_or(|member| member.voter),
                stalled: false,
                error: Some(error.clone()),
                term: String::new(),
                applied: String::new(),
                commit: String::new(),
                last: String::new(),
                lag: String::new(),
                syncs: String::new(),
                entries_per_sync: String::new(),
                written: String::new(),
            },
        }
    };
    let mut members: Vec<Member> = facts.namenodes.iter().map(member).collect();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    ok(&Page {
        frame: Frame::new("Namenodes", "namenodes", &session),
        leader: leader.map(|leader| format!("nn{}", leader.node.get())),
        term: facts
            .namenodes
            .iter()
            .filter_map(|answer| answer.status.as_ref().ok())
            .map(|s| s.term)
            .max()
            .unwrap_or(0),
        members,
    })
}
