//! A directory being read.
//!
//! The kernel names a place in a directory by a number that we choose: the count of entries before it. Numbers stay good
//! for as long as the directory is open, however it changes: for each page the name that it began behind is kept, and a
//! name says where to go on. So memory is a name for each thousand entries, and one page.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use client::{Client, Entry};
use tokio::sync::Mutex;
use types::{Code, InodeId};

use crate::coherence::{Coherence, Ticket, Whole};
use crate::errno::Failure;

/// `.` and `..` come first.
const DOTS: u64 = 2;

/// An open directory.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) inode: InodeId,
    stream: Mutex<Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    /// Where each page began: the number of its first entry, and the name before that.
    starts: Vec<(u64, Vec<u8>)>,
    /// The page at hand: the number of its first entry, the entries, and whether more follow.
    page: Option<Arc<Page>>,
    /// When the first page was asked for, and since when the kernel has the attributes of all that was told so far, if it has.
    since: Option<(Ticket, Instant)>,
}

#[derive(Debug)]
struct Page {
    /// When it was asked for.
    ticket: Ticket,
    first: u64,
    entries: Vec<Entry>,
    more: bool,
    /// Since when the kernel has had the attributes of all of these, when it was first told without.
    told: OnceLock<Option<Instant>>,
}

impl Directory {
    pub(crate) fn new(inode: InodeId) -> Self {
        Self { inode, stream: Mutex::default() }
    }

    /// Entries from number `from` on, as many as are at hand; none at the end. `from` counts `.` and `..`. `plus`: they are told
    /// with attributes.
    pub(crate) async fn read(
        &self,
        client: &Client,
        coherence: &Arc<Coherence>,
        from: u64,
        plus: bool,
    ) -> Result<Part, Failure> {
        let at = from.saturating_sub(DOTS);
        let mut stream = self.stream.lock().await;
        if at == 0 {
            // rewinddir(3): what is there now.
            *stream = Stream::default();
        }
        let page = stream.page_with(client, coherence, self.inode, at).await?;
        if at == 0 {
            stream.since = stream.page.as_ref().map(|page| (page.ticket, Instant::now()));
        }
        if let Some(page) = page.as_ref().filter(|_| !plus) {
            let names = page.entries.iter().map(|entry| entry.name.as_bytes());
            let told = *page.told.get_or_init(|| coherence.told_since(self.inode, names));
            stream.since = stream.since.zip(told).map(|((ticket, since), told)| (ticket, since.min(told)));
        }
        let whole = |(ticket, since)| Whole { ticket, since, entries: at };
        let whole = stream.since.filter(|_| page.is_none()).map(whole);
        let ticket = page.as_ref().map_or_else(|| coherence.ticket(), |page| page.ticket);
        Ok(Part { directory: self.inode, ticket, from, page, whole })
    }
}

/// Some of the entries of a directory.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) directory: InodeId,
    /// When they were asked for.
    pub(crate) ticket: Ticket,
    from: u64,
    page: Option<Arc<Page>>,
    /// This is the end, and the kernel has the attributes of everything.
    pub(crate) whole: Option<Whole>,
}

impl Part {
    /// `.` and `..`, where they come first, each with the number of the entry behind it.
    pub(crate) fn dots(&self) -> impl Iterator<Item = (u64, &'static str)> {
        [(1, "."), (2, "..")].into_iter().filter(|(number, _)| *number > self.from)
    }

    /// The others, each with the number of the one behind it.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u64, &Entry)> {
        let at = self.from.saturating_sub(DOTS);
        let (first, entries) = self.page.as_deref().map_or((at, &[][..]), |page| (page.first, &page.entries));
        let skipped = usize::try_from(at - first).expect("a page is small");
        entries.iter().enumerate().skip(skipped).map(move |(index, entry)| (first + index as u64 + 1 + DOTS, entry))
    }
}

impl Stream {
    /// The page that holds entry `at`; nothing behind the end.
    async fn page_with(
        &mut self,
        client: &Client,
        coherence: &Arc<Coherence>,
        inode: InodeId,
        at: u64,
    ) -> Result<Option<Arc<Page>>, Failure> {
        loop {
            let held = self.page.as_ref().map(|page| (page.first, page.first + page.entries.len() as u64, page.more));
            match held {
                Some((first, end, _)) if (first..end).contains(&at) => return Ok(self.page.clone()),
                Some((_, end, false)) if at >= end => return Ok(None),
                Some((first, end, true)) if at >= end && first <= at => {
                    let page = self.page.as_ref().expect("just seen");
                    let last = page.entries.last().expect("an empty page promises no more");
                    let after = last.name.as_bytes().to_vec();
                    self.fetch(client, coherence, inode, (end, after)).await?;
                }
                _ => {
                    let start = self.starts.iter().rev().find(|(first, _)| *first <= at).cloned();
                    let (first, after) = start.unwrap_or_default();
                    self.fetch(client, coherence, inode, (first, after)).await?;
                }
            }
        }
    }

    async fn fetch(
        &mut self,
        client: &Client,
        coherence: &Arc<Coherence>,
        inode: InodeId,
        (first, after): (u64, Vec<u8>),
    ) -> Result<(), Failure> {
        let ticket = coherence.ask_for_all(inode).await;
        let (entries, more) = match client.list_page(inode, &after).await {
            // It was removed while it is open: nothing is in it.
            Err(error) if error.code() == Code::NotFound => (Vec::new(), false),
            listed => listed?,
        };
        if self.starts.last().is_none_or(|(last, _)| *last < first) {
            self.starts.push((first, after));
        }
        self.page = Some(Arc::new(Page { ticket, first, entries, more, told: OnceLock::new() }));
        Ok(())
    }
}
