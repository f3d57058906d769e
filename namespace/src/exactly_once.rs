//! Around every command: is the session alive, was this operation applied already, and its answer kept (invariant 2).
//!
//! A session keeps the answers of its last [`RESULT_SLOTS`] operations, one slot each by sequence number. It has at most
//! that many operations unanswered, so the slot of an operation that may be sent again is not taken by a later one.

use types::{Sequence, SessionId};

use crate::apply::Applied;
use crate::command::{Command, Origin, Reply, Request};
use crate::error::{Error, QueryError};
use crate::key;
use crate::limits::RESULT_SLOTS;
use crate::row::{self, ResultRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::view::{View, ViewError, Write};

/// Runs `run` once for each operation of a session.
pub(crate) fn guard<'a, V: View>(
    view: &'a V,
    request: &'a Request,
    run: impl FnOnce(&mut Transaction<'a, V>) -> Outcome<Reply>,
) -> Result<Applied, ViewError> {
    let mut txn = Transaction::begin(view, request)?;
    if txn.system.cluster.is_none() && !matches!(request.command, Command::Format { .. } | Command::Noop) {
        return Ok(refused(Error::NotFormatted));
    }
    if let (Command::SetLock { wait: true, .. }, Some(Origin { session, .. })) = (&request.command, request.origin)
        && is_over(view, session)?
    {
        return Ok(refused(Error::SessionExpired { session }));
    }
    let origin = origin_of(request);
    if let Some(origin) = origin {
        match earlier_answer(view, origin)? {
            Earlier::None => {}
            Earlier::Answer(reply) => return Ok(Applied { reply, writes: Vec::new(), effects: Vec::new() }),
            Earlier::Refused(error) => return Ok(refused(error)),
        }
    }
    let reply = run(&mut txn).and_then(|reply| txn.check_quotas().map(|()| reply));
    let mut applied = match reply {
        Ok(reply) => txn.finish(reply),
        Err(QueryError::Refused(error)) => refused(error),
        Err(QueryError::View(error)) => return Err(error),
    };
    if let Some(origin) = origin {
        let result = ResultRow { sequence: origin.sequence, result: applied.reply.clone() };
        applied.writes.push(Write { key: slot_key(origin), value: Some(row::encode(&result)) });
    }
    Ok(applied)
}

fn refused(error: Error) -> Applied {
    Applied { reply: Err(error), writes: Vec::new(), effects: Vec::new() }
}

/// Closing a session takes its stored answers away and is harmless twice, so it needs none of its own. A lock that is
/// waited for is asked for again and again.
const fn origin_of(request: &Request) -> Option<Origin> {
    match request.command {
        Command::CloseSession { .. } | Command::SetLock { wait: true, .. } => None,
        _ => request.origin,
    }
}

fn is_over(view: &impl View, session: SessionId) -> Result<bool, ViewError> {
    Ok(view.session(session)?.is_none_or(|row| row.ending))
}

#[expect(clippy::large_enum_variant, reason = "one at a time")]
enum Earlier {
    None,
    Answer(Result<Reply, Error>),
    Refused(Error),
}

fn earlier_answer(view: &impl View, origin: Origin) -> Result<Earlier, ViewError> {
    let Origin { session, sequence } = origin;
    if is_over(view, session)? {
        return Ok(Earlier::Refused(Error::SessionExpired { session }));
    }
    let stored: Option<ResultRow> = view.row(&slot_key(origin))?;
    Ok(match stored {
        Some(stored) if stored.sequence == sequence => Earlier::Answer(stored.result),
        Some(ResultRow { sequence: stored, .. }) if stored > sequence => {
            Earlier::Refused(Error::BadSequence { session, sequence, stored })
        }
        _ if sequence == Sequence::new(0) => {
            Earlier::Refused(Error::BadSequence { session, sequence, stored: Sequence::new(0) })
        }
        _ => Earlier::None,
    })
}

/// The stored answer of an operation, if its session still has it.
pub(crate) fn known_result(view: &impl View, origin: Origin) -> Result<Option<Result<Reply, Error>>, ViewError> {
    let stored: Option<ResultRow> = view.row(&slot_key(origin))?;
    Ok(stored.filter(|stored| stored.sequence == origin.sequence).map(|stored| stored.result))
}

fn slot_key(origin: Origin) -> Vec<u8> {
    let slot = origin.sequence.get() % RESULT_SLOTS;
    key::result(origin.session, u16::try_from(slot).expect("there are fewer than 2^16 slots"))
}
