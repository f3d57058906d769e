use crate::access::Right;
use crate::bucket::{self, BucketLayout, BucketRow, MAX_BUCKET, MIN_BUCKET};
use crate::command::{Ownership, Reply, Where};
use crate::error::Error;
use crate::key;
use crate::resolve;
use crate::row::{Body, DirectoryRow};
use crate::rows::Rows;
use crate::transaction::{Outcome, Transaction};
use crate::tree;
use crate::view::View;

/// Makes a directory a bucket. One that is there becomes a bucket if it is the caller's own.
pub(crate) fn run<V: View>(
    txn: &mut Transaction<'_, V>,
    name: &str,
    place: &Where,
    ownership: Ownership,
) -> Outcome<Reply> {
    check_name(name)?;
    if bucket::find(&txn.rows, name)?.is_some() {
        return Err(Error::Exists { place: format!("bucket {name}") }.into());
    }
    tree::check_mode(ownership.mode)?;
    let slot = resolve::slot(&txn.rows, txn.caller, place)?;
    let row = match txn.rows.entry(slot.directory, &slot.name)? {
        None => {
            tree::check_add(txn, place, &slot)?;
            tree::add_directory(txn, &slot, txn.caller.ownership(ownership))?
        }
        Some(row) if row.body == Body::Directory => {
            txn.caller.check_owner(&row, || resolve::show(place))?;
            txn.caller.check(&row, Right::Write, || resolve::show(place))?;
            row
        }
        Some(_) => return Err(Error::NotDirectory { place: resolve::show(place) }.into()),
    };
    let bucket = BucketRow { inode: row.inode, created: txn.now, layout: BucketLayout::Tree };
    txn.put(key::bucket(name), &bucket);
    let directory: DirectoryRow = txn.rows.need(&key::directory(row.inode))?;
    Ok(Reply::Attributes { attributes: row.attributes(Some(&directory)) })
}

/// The rules of S3 for new buckets.
fn check_name(name: &str) -> Result<(), Error> {
    let bytes = name.as_bytes();
    let word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let legal = (MIN_BUCKET..=MAX_BUCKET).contains(&bytes.len())
        && bytes.iter().all(|byte| word(byte) || matches!(byte, b'-' | b'.'))
        && bytes.first().is_some_and(word)
        && bytes.last().is_some_and(word)
        && !name.contains("..")
        && name.parse::<std::net::Ipv4Addr>().is_err();
    if legal { Ok(()) } else { Err(Error::BadBucketName { bucket: name.chars().take(MAX_BUCKET).collect() }) }
}
