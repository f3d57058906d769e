//! A directory being read.
//!
//! The kernel names a place in a directory by a number that we choose: the count of entries before it. Numbers stay good
//! for as long as the directory is open, however it changes: for each page the name that it began behind is kept, and a
//! name says where to go on. So memory is a name for each thousand entries, and one page.

use client::{Client, Entry};
use tokio::sync::Mutex;
use types::InodeId;

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
    page: Option<Page>,
}

#[derive(Debug)]
struct Page {
    first: u64,
    entries: Vec<Entry>,
    more: bool,
}

impl Directory {
    pub(crate) fn new(inode: InodeId) -> Self {
        Self { inode, stream: Mutex::default() }
    }

    /// Hands entries from number `from` on to `take`, each with the number of the one behind it, until it has enough.
    /// `from` counts `.` and `..`, which are the caller's.
    pub(crate) async fn read(
        &self,
        client: &Client,
        from: u64,
        mut take: impl FnMut(&Entry, u64) -> bool,
    ) -> Result<(), Failure> {
        let mut at = from.saturating_sub(DOTS);
        let mut stream = self.stream.lock().await;
        if at == 0 {
            // rewinddir(3): what is there now.
            *stream = Stream::default();
        }
        loop {
            let Some(page) = stream.page_with(client, self.inode, at).await? else { return Ok(()) };
            let offset = usize::try_from(at - page.first).expect("a page is small");
            for entry in &page.entries[offset..] {
                at += 1;
                if !take(entry, at + DOTS) {
                    return Ok(());
                }
            }
            if !page.more {
                return Ok(());
            }
        }
    }
}

impl Stream {
    /// The page that holds entry `at`; nothing behind the end.
    async fn page_with(&mut self, client: &Client, inode: InodeId, at: u64) -> Result<Option<&Page>, Failure> {
        loop {
            let held = self.page.as_ref().map(|page| (page.first, page.first + page.entries.len() as u64, page.more));
            match held {
                Some((first, end, _)) if (first..end).contains(&at) => return Ok(self.page.as_ref()),
                Some((_, end, false)) if at >= end => return Ok(None),
                Some((first, end, true)) if at >= end && first <= at => {
                    let page = self.page.as_ref().expect("just seen");
                    let last = page.entries.last().expect("an empty page promises no more");
                    let after = last.name.as_bytes().to_vec();
                    self.fetch(client, inode, end, after).await?;
                }
                _ => {
                    let start = self.starts.iter().rev().find(|(first, _)| *first <= at).cloned();
                    let (first, after) = start.unwrap_or_default();
                    self.fetch(client, inode, first, after).await?;
                }
            }
        }
    }

    async fn fetch(&mut self, client: &Client, inode: InodeId, first: u64, after: Vec<u8>) -> Result<(), Failure> {
        let (entries, more) = client.list_page(inode, &after).await?;
        if self.starts.last().is_none_or(|(last, _)| *last < first) {
            self.starts.push((first, after));
        }
        self.page = Some(Page { first, entries, more });
        Ok(())
    }
}
