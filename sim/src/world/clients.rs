//! Clients: sessions with several operations under way, sent again under the same number until they are answered.

use std::collections::BTreeMap;
use std::time::Duration;

use consensus::Refusal;
use namespace::Error;
use namespace::command::{Command, Origin, Reply, Request};
use types::{Sequence, SessionId, Timestamp};

use super::{Event, World};
use crate::network::{Answer, Call, Parcel, Place};
use crate::operations::{self, Open};

/// An operation is at most so many numbers behind the newest.
const WINDOW: u64 = 12;
const RETRY: (u64, u64) = (150_000, 900_000);
const REDIRECT: (u64, u64) = (2_000, 60_000);
/// Files that a client has open, at most.
const OPEN: usize = 4;

#[derive(Debug, Clone)]
enum Wish {
    Operation(Box<Request>),
    Read,
}

#[derive(Debug, Clone)]
struct Asked {
    wish: Wish,
    attempt: u64,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) session: Option<SessionId>,
    /// Of the last operation of the session.
    sequence: u64,
    token: u64,
    outstanding: BTreeMap<u64, Asked>,
    leader: u64,
    open: Vec<Open>,
    pub(super) answered: u64,
    pub(super) reads: u64,
    /// Operations that were done and not refused.
    pub(super) done: u64,
    /// It begins nothing new.
    pub(super) leaving: bool,
}

impl Client {
    pub(super) fn new() -> Self {
        Self {
            session: None,
            sequence: 0,
            token: 0,
            outstanding: BTreeMap::new(),
            leader: 1,
            open: Vec::new(),
            answered: 0,
            reads: 0,
            done: 0,
            leaving: false,
        }
    }

    pub(super) fn idle(&self) -> bool {
        self.outstanding.is_empty()
    }

    fn oldest(&self) -> Option<u64> {
        let sequence = |asked: &Asked| match &asked.wish {
            Wish::Operation(request) => request.origin.map(|origin| origin.sequence.get()),
            Wish::Read => None,
        };
        self.outstanding.values().filter_map(sequence).min()
    }

    fn forget_session(&mut self) {
        self.session = None;
        self.sequence = 0;
        self.open.clear();
        self.outstanding.retain(|_, asked| matches!(&asked.wish, Wish::Read));
    }

    /// Learns what an operation has made.
    fn learn(&mut self, request: &Request, reply: Reply) {
        self.done += 1;
        match (&request.command, reply) {
            (Command::OpenSession { .. }, Reply::Session { session }) => self.session = Some(session),
            (Command::Create { .. }, Reply::Created { attributes, block }) if self.open.len() < OPEN => {
                self.open.push(Open { inode: attributes.inode, block });
            }
            (Command::AddBlock { inode, .. }, Reply::Block { block }) => {
                if let Some(open) = self.open.iter_mut().find(|open| open.inode == *inode) {
                    open.block = Some(block);
                }
            }
            (Command::AbandonBlock { inode, .. }, _) => {
                if let Some(open) = self.open.iter_mut().find(|open| open.inode == *inode) {
                    open.block = None;
                }
            }
            (Command::Complete { inode, .. }, _) => self.open.retain(|open| open.inode != *inode),
            _ => {}
        }
    }
}

impl World {
    fn client(&mut self, client: u64) -> &mut Client {
        &mut self.clients[client as usize]
    }

    pub(super) fn client_turn(&mut self, client: u64) {
        let think = self.plan.think.as_micros() as u64;
        let delay = self.dice.micros(think / 4 + 1, think + 2);
        self.after(delay, Event::ClientTurn { client });
        let limit = self.plan.outstanding;
        let place = self.client(client);
        let far = place.oldest().is_some_and(|oldest| place.sequence - oldest >= WINDOW);
        if place.leaving || far || place.outstanding.len() >= limit {
            return;
        }
        let Some(session) = place.session else {
            // One at a time: a second answer would be another session.
            if place.outstanding.is_empty() {
                let command = Command::OpenSession { client: format!("client {client}") };
                self.ask(client, Wish::Operation(request(None, command)));
            }
            return;
        };
        if self.dice.happens(250_000) {
            self.ask(client, Wish::Read);
            return;
        }
        let open = self.client(client).open.clone();
        let command = operations::next(&mut self.dice, &open);
        let place = self.client(client);
        place.sequence += 1;
        let origin = Origin { session, sequence: Sequence::new(place.sequence) };
        self.ask(client, Wish::Operation(request(Some(origin), command)));
    }

    fn ask(&mut self, client: u64, wish: Wish) {
        let place = self.client(client);
        place.token += 1;
        let token = place.token;
        place.outstanding.insert(token, Asked { wish, attempt: 0 });
        self.attempt(client, token);
    }

    fn attempt(&mut self, client: u64, token: u64) {
        // A read may be asked of any member.
        let any = self.dice.happens(500_000).then(|| self.any_member());
        let place = self.client(client);
        let leader = place.leader;
        let Some(asked) = place.outstanding.get_mut(&token) else { return };
        asked.attempt += 1;
        let (attempt, wish) = (asked.attempt, asked.wish.clone());
        let origin = match &wish {
            Wish::Operation(request) => request.origin,
            Wish::Read => None,
        };
        let call = Call { client: Some(client), token, origin };
        let (to, parcel) = match wish {
            Wish::Operation(request) => (leader, Parcel::Operation { call, request }),
            Wish::Read => (any.unwrap_or(leader), Parcel::Read { call }),
        };
        self.send(Place::Client(client), Place::Member(to), parcel);
        let delay = self.dice.micros(RETRY.0, RETRY.1);
        self.after(delay, Event::ClientRetry { client, token, attempt });
    }

    /// No answer has come. Whether it was done is not known; the same number tells.
    pub(super) fn client_retry(&mut self, client: u64, token: u64, attempt: u64) {
        let other = self.any_member();
        let place = self.client(client);
        if place.outstanding.get(&token).is_some_and(|asked| asked.attempt == attempt) {
            place.leader = other;
            self.attempt(client, token);
        }
    }

    pub(super) fn answered(&mut self, client: u64, token: u64, answer: Answer) {
        let Some(asked) = self.client(client).outstanding.get(&token).cloned() else { return };
        match (answer, asked.wish) {
            (Answer::Refused { refusal, leader }, _) => self.refused(client, token, asked.attempt, refusal, leader),
            (Answer::Read, Wish::Read) => {
                let place = self.client(client);
                place.outstanding.remove(&token);
                place.reads += 1;
            }
            (Answer::Done { outcome }, Wish::Operation(request)) => {
                let place = self.client(client);
                place.outstanding.remove(&token);
                place.answered += 1;
                match outcome {
                    Ok(reply) => place.learn(&request, reply),
                    Err(Error::SessionExpired { session }) if place.session == Some(session) => {
                        place.forget_session();
                    }
                    Err(Error::BadSequence { .. }) => panic!("{:?} was not repeated beyond its window", request.origin),
                    Err(_) => {}
                }
            }
            (Answer::Read | Answer::Done { .. }, _) => unreachable!("answers are of the kind that was asked"),
        }
    }

    fn refused(&mut self, client: u64, token: u64, attempt: u64, refusal: Refusal, leader: u64) {
        let delay = self.dice.micros(REDIRECT.0, REDIRECT.1);
        if refusal == Refusal::NotLeader {
            // One that was removed never knows of any.
            self.client(client).leader = if leader == 0 { self.any_member() } else { leader };
        }
        // The longer wait of the attempt is still under way; whoever comes first makes the other one idle.
        self.after(delay, Event::ClientRedirect { client, token, attempt });
    }

    pub(super) fn client_redirect(&mut self, client: u64, token: u64, attempt: u64) {
        if self.client(client).outstanding.get(&token).is_some_and(|asked| asked.attempt == attempt) {
            self.attempt(client, token);
        }
    }

    /// A client that begins when everything is healed.
    pub(super) fn fresh_client(&mut self) -> u64 {
        let client = self.clients.len() as u64;
        self.clients.push(Client::new());
        self.after(Duration::from_millis(1), Event::ClientTurn { client });
        client
    }
}

fn request(origin: Option<Origin>, command: Command) -> Box<Request> {
    Box::new(Request { time: Timestamp::EPOCH, origin, command, principal: None })
}
