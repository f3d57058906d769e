//! A directory, page by page.

use proto::v1;

use crate::error::{Error, Fault};
use crate::metadata::{Metadata, Scope};
use crate::object::Entry;
use crate::place::Place;
use crate::store::Client;
use crate::wire;

/// Entries asked for at a time. The namenode may give fewer.
const PAGE: u32 = 1000;

/// A listing in progress. Each page is consistent in itself; names are never repeated, and what is there throughout is
/// listed.
#[derive(Debug)]
pub struct Listing {
    client: Client,
    place: Place,
    /// A page that was fetched and not yet handed out.
    ready: Option<Vec<Entry>>,
    after: Vec<u8>,
    more: bool,
}

impl Listing {
    pub(crate) async fn start(client: Client, place: Place) -> Result<Self, Error> {
        let mut listing = Self { client, place, ready: None, after: Vec::new(), more: true };
        listing.ready = Some(listing.fetch().await?);
        Ok(listing)
    }

    /// The next entries, in byte order of their names; none when the directory is at its end.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Entry>>, Error> {
        loop {
            let page = match self.ready.take() {
                Some(page) => page,
                None if self.more => self.fetch().await?,
                None => return Ok(None),
            };
            if !page.is_empty() {
                return Ok(Some(page));
            }
        }
    }

    async fn fetch(&mut self) -> Result<Vec<Entry>, Error> {
        let page = self.ask().await.map_err(|fault| Error::new("list", &self.place, fault))?;
        if let Some(last) = page.last() {
            self.after = last.name.as_bytes().to_vec();
        }
        Ok(page)
    }

    async fn ask(&mut self) -> Result<Vec<Entry>, Fault> {
        let (entries, more) = page(&self.client, &self.place, self.after.clone()).await?;
        self.more = more;
        Ok(entries)
    }
}

/// The entries behind the name `after`, and whether more follow these.
pub(crate) async fn page(client: &Client, place: &Place, after: Vec<u8>) -> Result<(Vec<Entry>, bool), Fault> {
    let list = v1::List { place: Some(wire::place(place)), after, limit: PAGE };
    match client.0.metadata.call(v1::op::Kind::List(list), Scope::Read).await?.0 {
        v1::reply::Result::Listing(page) => {
            // A page that is empty and promises more would be asked for again and again.
            let more = page.more && !page.entries.is_empty();
            Ok((page.entries.into_iter().map(wire::entry).collect::<Result<_, _>>()?, more))
        }
        other => Err(Metadata::unexpected(&other)),
    }
}
