//! Questions about multipart uploads.

use types::{ByteSize, InodeId, Timestamp};

use crate::access::{self, Caller, Right};
use crate::bucket;
use crate::error::QueryError;
use crate::key;
use crate::resolve;
use crate::row;
use crate::rows::Rows;
use crate::upload::{self, PartRow, UploadName, UploadRow};
use crate::view::{View, ViewError};

/// The most uploads and prefixes, or parts, of one answer.
pub const MAX_UPLOADS: usize = 1000;
/// What uploads or parts were given to keep may be long: an answer that has so many bytes of it ends, and more follow.
const MAX_BYTES: usize = 1 << 20;
/// Rows read at a time.
const PAGE: usize = 128;

/// Which uploads are asked for. What is empty does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadQuery<'a> {
    pub prefix: &'a [u8],
    /// Uploads to keys with this behind the prefix are told as one prefix, which ends with it.
    pub delimiter: &'a [u8],
    /// Uploads to keys up to this are left out,
    pub after: &'a [u8],
    /// but for those to this very key whose ids are higher than this.
    pub after_id: Option<InodeId>,
    pub max: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UploadPage {
    /// In the order of their keys, and those of one key in that of their beginning.
    pub items: Vec<UploadItem>,
    pub more: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadItem {
    Upload(Upload),
    Prefix(Vec<u8>),
}

/// An upload under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    pub key: Vec<u8>,
    pub id: InodeId,
    pub initiated: Timestamp,
    /// Who began it.
    pub uid: u32,
    pub gid: u32,
    /// What was said when it was begun.
    pub properties: Vec<u8>,
}

/// An upload, and some of its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    pub upload: Upload,
    /// In the order of their numbers.
    pub parts: Vec<Part>,
    pub more: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub number: u16,
    pub inode: InodeId,
    pub length: ByteSize,
    pub modified: Timestamp,
    pub etag: String,
    pub properties: Vec<u8>,
}

/// One page of the uploads of a bucket.
pub fn uploads(
    view: &impl View,
    caller: Caller<'_>,
    bucket: &str,
    query: &UploadQuery<'_>,
) -> Result<UploadPage, QueryError> {
    let record = bucket::open(view, caller, bucket)?;
    let (directory, _) = access::directory_entry(view, record.inode)?;
    caller.check(&directory, Right::Read, || bucket.to_owned())?;
    let max = query.max.min(MAX_UPLOADS);
    let mut page = UploadPage::default();
    if max == 0 {
        return Ok(page);
    }
    let mut range = key::uploads(record.inode, query.prefix);
    if let Some(start) = start(record.inode, query) {
        range.from = range.from.max(start);
    }
    let mut bytes = 0;
    'pages: loop {
        let rows = view.page(&range, PAGE)?;
        let last_page = rows.len() < PAGE;
        for (row_key, value) in rows {
            let (_, name, id) = key::upload_of(&row_key)?;
            range.from = key::successor(&row_key);
            let rolled = rolled_up(name, query).map(<[u8]>::to_vec);
            let item = match rolled {
                Some(prefix) => {
                    // Whatever else has that prefix says nothing more.
                    range.from = key::uploads(record.inode, &prefix).to;
                    (prefix.as_slice() > query.after).then_some(UploadItem::Prefix(prefix))
                }
                None => Some(UploadItem::Upload(upload_of(name, id, row::decode(&row_key, &value)?))),
            };
            let is_prefix = !matches!(item, Some(UploadItem::Upload(_)));
            if let Some(item) = item {
                if page.items.len() == max {
                    page.more = true;
                    return Ok(page);
                }
                bytes += value.len();
                page.items.push(item);
                if bytes > MAX_BYTES {
                    page.more = true;
                    return Ok(page);
                }
            }
            if is_prefix {
                continue 'pages;
            }
        }
        if last_page {
            return Ok(page);
        }
    }
}

/// The first row that may be told of, if a marker says so.
fn start(directory: InodeId, query: &UploadQuery<'_>) -> Option<Vec<u8>> {
    match (query.after, query.after_id) {
        (b"", _) => None,
        (after, Some(id)) => Some(key::successor(&key::upload(directory, after, id))),
        (after, None) => Some(key::behind_uploads(directory, after)),
    }
}

/// The common prefix that stands for a key, if one does.
fn rolled_up<'k>(name: &'k [u8], query: &UploadQuery<'_>) -> Option<&'k [u8]> {
    let UploadQuery { prefix, delimiter, .. } = *query;
    if delimiter.is_empty() {
        return None;
    }
    let at = name[prefix.len()..].windows(delimiter.len()).position(|window| window == delimiter)?;
    Some(&name[..prefix.len() + at + delimiter.len()])
}

fn upload_of(name: &[u8], id: InodeId, row: UploadRow) -> Upload {
    let UploadRow { initiated, uid, gid, properties } = row;
    Upload { key: name.to_vec(), id, initiated, uid, gid, properties }
}

/// An upload, and at most `limit` of its parts that follow the number `after`.
pub fn parts(
    view: &impl View,
    caller: Caller<'_>,
    name: &UploadName,
    after: u16,
    limit: usize,
) -> Result<Parts, QueryError> {
    let (bucket, key, row) = upload::find(view, caller, name)?;
    upload::check_look(view, caller, &bucket, &key, &row)?;
    let limit = limit.min(MAX_UPLOADS);
    let range = key::parts(name.id).after(key::part(name.id, after));
    let mut rows = view.page(&range, limit + 1)?;
    let mut bytes = 0;
    let fits = |(_, value): &&(Vec<u8>, Vec<u8>)| {
        let first = bytes == 0;
        bytes += value.len();
        first || bytes <= MAX_BYTES
    };
    let limit = rows.iter().take(limit).take_while(fits).count();
    let more = rows.len() > limit;
    rows.truncate(limit);
    let part = |(row_key, value): (Vec<u8>, Vec<u8>)| {
        let (_, number) = key::part_of(&row_key)?;
        let PartRow { inode, length, modified, etag, properties, .. } = row::decode(&row_key, &value)?;
        Ok(Part { number, inode, length, modified, etag, properties })
    };
    let parts = rows.into_iter().map(part).collect::<Result<_, ViewError>>()?;
    Ok(Parts { upload: upload_of(&name.key, name.id, row), parts, more })
}

/// An upload that has no future, as the leader names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abandoned {
    /// Of the bucket.
    pub directory: InodeId,
    pub key: Vec<u8>,
    pub id: InodeId,
}

/// Looks at no more than `limit` uploads behind `after`. Gives those begun at `before` or earlier, or whose bucket is gone,
/// and where to go on, unless that was the last one.
pub fn abandoned_uploads(
    view: &impl View,
    after: Option<&Abandoned>,
    before: Timestamp,
    limit: usize,
) -> Result<(Vec<Abandoned>, Option<Abandoned>), ViewError> {
    let mut range = key::all_uploads();
    if let Some(Abandoned { directory, key, id }) = after {
        range = range.after(key::upload(*directory, key, *id));
    }
    let rows = view.page(&range, limit)?;
    let full = rows.len() == limit;
    let (mut found, mut last) = (Vec::new(), None);
    for (row_key, value) in rows {
        let (directory, name, id) = key::upload_of(&row_key)?;
        let upload = Abandoned { directory, key: name.to_vec(), id };
        let row: UploadRow = row::decode(&row_key, &value)?;
        if row.initiated <= before || !resolve::is_attached(view, directory)? {
            found.push(upload.clone());
        }
        last = Some(upload);
    }
    Ok((found, last.filter(|_| full)))
}
