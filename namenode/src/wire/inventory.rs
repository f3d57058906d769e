//! What datanodes tell of their disks.

use namespace::inventory::Page;
use proto::{WireError, v1};
use types::inventory::{BUCKETS, Bucket, Digest, Stored};
use types::{BlockId, ByteSize, GenStamp, StorageId};

use super::{generation, wrong};

/// Changes in one heartbeat, of all storages together.
const MAX_DELTAS: usize = 20_000;
/// Replicas in one page.
const MAX_PAGE: usize = 2000;

/// Something that happened to a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delta {
    Stored(Stored),
    Deleted {
        block: BlockId,
        generation: GenStamp,
    },
    Bad {
        block: BlockId,
        generation: GenStamp,
    },
    Strayed(Bucket),
    /// It is not complete, and nobody writes it.
    Left {
        block: BlockId,
        generation: GenStamp,
    },
}

/// What happened to the replicas of one storage, with the number of the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deltas {
    pub(crate) storage: StorageId,
    pub(crate) instance: u64,
    pub(crate) first: u64,
    pub(crate) deltas: Vec<Delta>,
}

pub(crate) fn deltas(wire: Vec<v1::StorageDeltas>, instance: u64) -> Result<Vec<Deltas>, WireError> {
    if wire.len() > super::MAX_STORAGES || wire.iter().map(|of| of.deltas.len()).sum::<usize>() > MAX_DELTAS {
        return Err(wrong("HeartbeatRequest.deltas", "are too many"));
    }
    let of = |wire: v1::StorageDeltas| {
        // No number that follows may wrap around.
        if wire.first > u64::MAX / 2 {
            return Err(wrong("StorageDeltas.first", "is out of range"));
        }
        Ok(Deltas {
            storage: proto::storage_id(&wire.storage, "StorageDeltas.storage")?,
            instance,
            first: wire.first,
            deltas: wire.deltas.into_iter().map(delta).collect::<Result<_, _>>()?,
        })
    };
    wire.into_iter().map(of).collect()
}

fn delta(wire: v1::ReplicaDelta) -> Result<Delta, WireError> {
    use v1::replica_delta::Kind;
    let kind = Kind::try_from(wire.kind).map_err(|_| wrong("ReplicaDelta.kind", "is unknown"))?;
    let block = || proto::block_id(wire.block, "ReplicaDelta.block");
    let generation = || generation(wire.generation, "ReplicaDelta.generation");
    Ok(match kind {
        Kind::Unspecified => return Err(wrong("ReplicaDelta.kind", "is missing")),
        Kind::Stored => {
            Delta::Stored(Stored { block: block()?, generation: generation()?, length: ByteSize::new(wire.length) })
        }
        Kind::Deleted => Delta::Deleted { block: block()?, generation: generation()? },
        Kind::Bad => Delta::Bad { block: block()?, generation: generation()? },
        Kind::Left => Delta::Left { block: block()?, generation: generation()? },
        Kind::Strayed => Delta::Strayed(bucket(wire.bucket, "ReplicaDelta.bucket")?),
    })
}

fn bucket(number: u32, field: &'static str) -> Result<Bucket, WireError> {
    Bucket::new(number).ok_or(wrong(field, "is no bucket"))
}

pub(crate) fn digests(wire: &v1::StorageDigests) -> Result<(StorageId, Vec<Digest>), WireError> {
    let storage = proto::storage_id(&wire.storage, "StorageDigests.storage")?;
    let (digests, rest) = wire.digests.as_chunks::<8>();
    if digests.len() != BUCKETS || !rest.is_empty() {
        return Err(wrong("StorageDigests.digests", "are not one for each bucket"));
    }
    Ok((storage, digests.iter().map(|bytes| Digest::new(u64::from_le_bytes(*bytes))).collect()))
}

/// The bucket that a page is of, and the page.
pub(crate) fn page(wire: v1::BucketPage) -> Result<((StorageId, Bucket), Page), WireError> {
    let storage = proto::storage_id(&wire.storage, "BucketPage.storage")?;
    let bucket = bucket(wire.bucket, "BucketPage.bucket")?;
    if wire.replicas.len() > MAX_PAGE {
        return Err(wrong("BucketPage.replicas", "are too many"));
    }
    let end = |block: Option<v1::BlockId>, field| block.map(|block| proto::block_id(Some(block), field)).transpose();
    let (after, until) = (end(wire.after, "BucketPage.after")?, end(wire.until, "BucketPage.until")?);
    let stored: Vec<Stored> = wire.replicas.into_iter().map(stored).collect::<Result<_, _>>()?;
    let within = |block: BlockId| {
        Bucket::of(block) == bucket
            && after.is_none_or(|after| block > after)
            && until.is_none_or(|until| block <= until)
    };
    let in_order = stored.is_sorted_by(|one, next| one.block < next.block);
    if !in_order || !stored.iter().all(|stored| within(stored.block)) {
        return Err(wrong("BucketPage.replicas", "are not in order, or not of the page"));
    }
    if let (Some(after), Some(until)) = (after, until)
        && until <= after
    {
        return Err(wrong("BucketPage.until", "is not behind its beginning"));
    }
    Ok(((storage, bucket), Page { after, stored, until }))
}

fn stored(wire: v1::StoredReplica) -> Result<Stored, WireError> {
    Ok(Stored {
        block: proto::block_id(wire.block, "StoredReplica.block")?,
        generation: generation(wire.generation, "StoredReplica.generation")?,
        length: ByteSize::new(wire.length),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(inode: u64) -> v1::StoredReplica {
        v1::StoredReplica { block: Some(v1::BlockId { inode, number: 0 }), generation: 1, length: 5 }
    }

    fn read(replicas: &[u64], after: Option<u64>, until: Option<u64>, bucket: u32) -> Result<usize, &'static str> {
        let block = |inode: Option<u64>| inode.map(|inode| v1::BlockId { inode, number: 0 });
        let replicas = replicas.iter().map(|inode| replica(*inode)).collect();
        let wire = v1::BucketPage { storage: vec![1; 16], bucket, after: block(after), until: block(until), replicas };
        page(wire).map(|(_, page)| page.stored.len()).map_err(|error| error.field)
    }

    #[test]
    fn a_page_that_claims_what_it_cannot_know_is_refused() {
        assert_eq!(read(&[2, 3], Some(1), Some(3), 0), Ok(2));
        assert_eq!(read(&[], None, None, 1023), Ok(0));
        for (replicas, after, until, bucket) in [
            (&[3, 2][..], None, None, 0),
            (&[2, 2], None, None, 0),
            (&[2], Some(2), None, 0),
            (&[2], None, Some(1), 0),
            (&[2], None, None, 1),
            (&[0], None, None, 0),
            (&[2], None, None, 1024),
            (&[], Some(5), Some(5), 0),
        ] {
            assert!(read(replicas, after, until, bucket).is_err(), "{replicas:?} {after:?} {until:?} {bucket}");
        }
        let many: Vec<u64> = (1..=MAX_PAGE as u64 + 1).collect();
        assert_eq!(read(&many, None, None, 0), Err("BucketPage.replicas"));
    }

    #[test]
    fn rubbish_for_digests_and_changes_is_refused() {
        let digest = |length| digests(&v1::StorageDigests { storage: vec![1; 16], digests: vec![0; length] });
        assert_eq!(digest(8 * BUCKETS).map(|(_, digests)| digests.len()), Ok(BUCKETS));
        for length in [0, 8, 8 * BUCKETS - 1, 8 * BUCKETS + 8] {
            assert!(digest(length).is_err(), "{length}");
        }
        let change = |delta: v1::ReplicaDelta, first| {
            deltas(vec![v1::StorageDeltas { storage: vec![1; 16], first, deltas: vec![delta] }], 1).is_ok()
        };
        let block = Some(v1::BlockId { inode: 1, number: 0 });
        assert!(change(v1::ReplicaDelta { kind: 1, block, generation: 1, length: 0, bucket: 0 }, 0));
        assert!(!change(v1::ReplicaDelta { kind: 1, block, generation: 1, length: 0, bucket: 0 }, u64::MAX));
        assert!(!change(v1::ReplicaDelta { kind: 1, block, generation: 0, length: 0, bucket: 0 }, 0));
        assert!(!change(v1::ReplicaDelta { kind: 1, block: None, generation: 1, length: 0, bucket: 0 }, 0));
        assert!(!change(v1::ReplicaDelta { kind: 4, bucket: 1024, ..Default::default() }, 0));
        assert!(!change(v1::ReplicaDelta { kind: 9, block, generation: 1, length: 0, bucket: 0 }, 0));
        assert!(!change(v1::ReplicaDelta::default(), 0));
    }
}
