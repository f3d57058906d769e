//! How a request is answered: once, when its operation has ended, with what it gave or with an errno.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use client::Attributes;
use fuser::{
    Errno, Generation, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry,
    ReplyLock, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr,
};
use tracing::debug;
use types::Code;

use crate::attributes::{self, Numbers};
use crate::coherence::{Coherence, Slot, Ticket};
use crate::errno::Failure;
use crate::filesystem::Mounted;

/// The kernel identifies an inode by number and generation; our numbers are never reused.
pub(crate) const GENERATION: Generation = Generation(0);

pub(crate) type Found = Result<Attributes, Failure>;
pub(crate) type Done = Result<(), Failure>;

/// An answer that may be an error.
pub(crate) trait Refuse: Send + 'static {
    fn refuse(self, errno: Errno);
}

macro_rules! refuse {
    ($($reply:ty),*) => {$(
        impl Refuse for $reply {
            fn refuse(self, errno: Errno) {
                self.error(errno);
            }
        }
    )*};
}

refuse!(ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLock);
refuse!(ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr);

fn tell_entry(
    coherence: &Arc<Coherence>,
    numbers: Numbers,
    ticket: Ticket,
    slot: &Slot,
    attributes: &Attributes,
    reply: ReplyEntry,
) {
    let attr = numbers.attributes(attributes);
    coherence.tell_entry(ticket, slot, attributes, |kept| {
        reply.entry_with_ttls(&kept.attributes, &kept.name, &attr, GENERATION);
    });
}

fn tell_absent(coherence: &Coherence, ticket: Ticket, slot: &Slot, reply: ReplyEntry) {
    coherence.tell_absent(ticket, slot, |kept| match kept {
        Some(lifetime) => reply.entry_with_ttls(&Duration::ZERO, &lifetime, &attributes::of_nothing(), GENERATION),
        None => reply.error(Errno::ENOENT),
    });
}

impl Mounted {
    /// Runs `operation` and answers with what it gives.
    pub(crate) fn answer<R: Refuse, T: Send + 'static>(
        &self,
        name: &'static str,
        reply: R,
        operation: impl Future<Output = Result<T, Failure>> + Send + 'static,
        accept: impl FnOnce(R, T) + Send + 'static,
    ) {
        self.runtime.spawn(async move {
            match operation.await {
                Ok(value) => accept(reply, value),
                Err(failure) => {
                    debug!(name, ?failure, "refused");
                    reply.refuse(failure.errno());
                }
            }
        });
    }

    /// What a name stands for, or that there is no such name: that the kernel may keep too.
    pub(crate) fn lookup(&self, reply: ReplyEntry, slot: Slot, found: impl Future<Output = Found> + Send + 'static) {
        let (numbers, coherence) = (self.names.numbers, self.coherence.clone());
        let ticket = coherence.ask(slot.directory);
        if coherence.is_absent(&slot) {
            return tell_absent(&coherence, ticket, &slot, reply);
        }
        let found = async move {
            match found.await {
                Err(Failure::Cluster(error)) if error.code() == Code::NotFound => Ok(None),
                found => found.map(Some),
            }
        };
        self.answer("lookup", reply, found, move |reply, found| match found {
            Some(attributes) => tell_entry(&coherence, numbers, ticket, &slot, &attributes, reply),
            None => tell_absent(&coherence, ticket, &slot, reply),
        });
    }

    /// A name that is made.
    pub(crate) fn entry(
        &self,
        name: &'static str,
        reply: ReplyEntry,
        slot: Slot,
        made: impl Future<Output = Found> + Send + 'static,
    ) {
        let (numbers, coherence) = (self.names.numbers, self.coherence.clone());
        let ticket = coherence.ask(slot.directory);
        let made = self.made(slot.clone(), made);
        self.answer(name, reply, made, move |reply, attributes| {
            // Of these requests only mkdir(2) gives a directory.
            if attributes.is_directory() {
                coherence.made_directory(attributes.inode);
            }
            tell_entry(&coherence, numbers, ticket, &slot, &attributes, reply);
        });
    }

    /// `made`, which is to give something that name.
    pub(crate) fn made<T>(
        &self,
        slot: Slot,
        made: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> impl Future<Output = Result<T, Failure>> + Send + 'static {
        let coherence = self.coherence.clone();
        coherence.making(&slot);
        async move { made.await.inspect_err(|_| coherence.not_made(slot)) }
    }

    pub(crate) fn attributes(
        &self,
        name: &'static str,
        reply: ReplyAttr,
        found: impl Future<Output = Found> + Send + 'static,
    ) {
        let (numbers, coherence) = (self.names.numbers, self.coherence.clone());
        let ticket = coherence.ticket();
        self.answer(name, reply, found, move |reply, attributes| {
            let attr = numbers.attributes(&attributes);
            coherence.tell_attributes(ticket, &attributes, |kept| reply.attr(&kept, &attr));
        });
    }

    pub(crate) fn empty(
        &self,
        name: &'static str,
        reply: ReplyEmpty,
        done: impl Future<Output = Done> + Send + 'static,
    ) {
        self.answer(name, reply, done, |reply, ()| reply.ok());
    }

    /// A value whose size is asked for first, with size 0.
    pub(crate) fn sized(
        &self,
        name: &'static str,
        reply: ReplyXattr,
        size: u32,
        value: impl Future<Output = Result<Vec<u8>, Failure>> + Send + 'static,
    ) {
        self.answer(name, reply, value, move |reply, value| match value.len() {
            length if size == 0 => reply.size(u32::try_from(length).expect("attributes have at most 64 KiB")),
            length if length > size as usize => reply.error(Errno::ERANGE),
            _ => reply.data(&value),
        });
    }
}
