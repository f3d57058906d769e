//! Listings: the pages that the namenode gives, one behind the other.

use async_trait::async_trait;
use client::objects::{KeyItem, KeyPage, ListKeys, MAX_KEYS};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::Path;
use object_store::{ListResult, ObjectMeta, Result};

use crate::error::{generic, told};
use crate::{AshlarStore, meta};

/// What separates the names of a path.
const DELIMITER: &str = "/";

/// The keys below a path, which is no key itself.
fn below(prefix: Option<&Path>) -> Vec<u8> {
    match prefix.map(AsRef::as_ref) {
        None | Some("") => Vec::new(),
        Some(path) => [path.as_bytes(), DELIMITER.as_bytes()].concat(),
    }
}

/// One page, and where the next begins.
async fn page(store: &AshlarStore, list: ListKeys) -> Result<(KeyPage, Option<ListKeys>)> {
    let shown = Path::from(String::from_utf8_lossy(&list.prefix).into_owned());
    let page = store.objects.list(&store.bucket, list.clone()).await.map_err(|error| told(&shown, error))?;
    let next = page.items.last().filter(|_| page.more).map(|last| ListKeys { after: last.name().to_vec(), ..list });
    Ok((page, next))
}

/// An item as the interface has it. The object of a directory is none there: its location would be that of a file.
fn object(item: KeyItem) -> Option<Result<ObjectMeta>> {
    match item {
        KeyItem::Object { key, attributes, etag } if !key.ends_with(b"/") => {
            let location = Path::parse(String::from_utf8_lossy(&key)).map_err(object_store::Error::from);
            Some(location.map(|location| meta(location, &attributes, &etag)))
        }
        KeyItem::Object { .. } | KeyItem::Prefix(_) => None,
    }
}

/// Every object below a prefix whose location follows an offset, in the byte order of locations.
pub(crate) fn objects(
    store: AshlarStore,
    prefix: Option<&Path>,
    offset: Option<&Path>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    let after = offset.map(|offset| offset.as_ref().as_bytes().to_vec()).unwrap_or_default();
    let first = ListKeys { prefix: below(prefix), after, max: MAX_KEYS, ..ListKeys::default() };
    let pages = stream::try_unfold((store, Some(first)), |(store, next)| async move {
        let Some(list) = next else { return Ok(None) };
        let (page, next) = page(&store, list).await?;
        let objects = stream::iter(page.items.into_iter().filter_map(object).collect::<Vec<_>>());
        Ok::<_, object_store::Error>(Some((objects, (store, next))))
    });
    pages.try_flatten().boxed()
}

/// What is directly below a prefix.
pub(crate) async fn directory(store: &AshlarStore, prefix: Option<&Path>) -> Result<ListResult> {
    let mut result = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
    let (prefix, delimiter) = (below(prefix), DELIMITER.into());
    let mut next = Some(ListKeys { prefix, delimiter, max: MAX_KEYS, ..ListKeys::default() });
    while let Some(list) = next {
        let (page, following) = page(store, list).await?;
        next = following;
        add(&mut result, page)?;
    }
    Ok(result)
}

fn add(result: &mut ListResult, page: KeyPage) -> Result<()> {
    for item in page.items {
        if let KeyItem::Prefix(prefix) = &item {
            result.common_prefixes.push(Path::parse(String::from_utf8_lossy(prefix))?);
        } else if let Some(object) = object(item) {
            result.objects.push(object?);
        }
    }
    Ok(())
}

/// Pages that need not be asked for by one process: a token is where to go on, as hexadecimal digits.
#[async_trait]
impl PaginatedListStore for AshlarStore {
    async fn list_paginated(&self, prefix: Option<&str>, options: PaginatedListOptions) -> Result<PaginatedListResult> {
        let PaginatedListOptions { offset, delimiter, max_keys, page_token, .. } = options;
        let after = match page_token {
            Some(token) => hex::decode(token).map_err(generic)?,
            None => offset.unwrap_or_default().into_bytes(),
        };
        let max = max_keys.and_then(|max| u32::try_from(max).ok()).unwrap_or(MAX_KEYS).clamp(1, MAX_KEYS);
        let (prefix, delimiter) =
            (prefix.unwrap_or_default().into(), delimiter.unwrap_or_default().as_bytes().to_vec());
        let (page, next) = page(self, ListKeys { prefix, delimiter, after, max }).await?;
        let mut result = ListResult { common_prefixes: Vec::new(), objects: Vec::new() };
        add(&mut result, page)?;
        Ok(PaginatedListResult { result, page_token: next.map(|next| hex::encode(next.after)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_of_whole_names() {
        assert_eq!(below(None), b"");
        assert_eq!(below(Some(&Path::from(""))), b"");
        assert_eq!(below(Some(&Path::from("a/b"))), b"a/b/");
    }
}
