//! Answers for the wire.

use namespace::command::{NewBlock, Reply};
use namespace::directory_policy::InForce;
use namespace::placement;
use namespace::query::{Content, ExtentMap, Listing, Opened};
use namespace::row::{self, BlockState, LocatedBlock};
use proto::v1;
use types::token::Right;
use types::{BlockId, ByteSize, Code, GenStamp};

use crate::datanodes::Datanodes;
use crate::raft::wall_clock;

type Answer = v1::reply::Result;

/// Nothing to tell but success.
pub(crate) const fn done() -> Answer {
    Answer::Done(v1::Done {})
}

/// What a command answered.
pub(crate) fn reply(outcome: Result<Reply, namespace::Error>, datanodes: &Datanodes) -> Answer {
    match outcome {
        Ok(Reply::Done) => done(),
        Ok(Reply::Session { session }) => Answer::Session(v1::Session { session: session.get() }),
        Ok(Reply::Attributes { attributes: row }) => Answer::Attributes(attributes(&row)),
        Ok(Reply::Created { attributes: row, block }) => Answer::Created(v1::Created {
            attributes: Some(attributes(&row)),
            block: block.map(|block| new_block(&block, datanodes)),
        }),
        Ok(Reply::Block { block }) => Answer::Block(new_block(&block, datanodes)),
        Ok(Reply::Generation { generation }) => {
            // Of which block only the question says: see `renewed`.
            Answer::Generation(v1::Generation { generation: generation.get(), token: None })
        }
        Ok(Reply::Blocks { blocks }) => {
            Answer::Blocks(v1::NewBlocks { blocks: blocks.iter().map(|block| new_block(block, datanodes)).collect() })
        }
        Ok(Reply::Written { attributes: row, offset, next }) => {
            Answer::Written(v1::Written { attributes: Some(attributes(&row)), offset, next })
        }
        Ok(Reply::Lease { recovering }) => Answer::Lease(v1::Lease { recovering }),
        Ok(Reply::Trashed { item, due }) => Answer::Trashed(v1::Trashed { item: item.get(), due: due.nanos() }),
        Ok(Reply::Emptied { more }) => Answer::Emptied(v1::Emptied { more }),
        // A session that is closed: what is too much for one step the leader goes on with by itself.
        Ok(Reply::Step { .. }) => done(),
        // The leader's own commands answer these, and what operators ask for; no client does.
        Ok(Reply::Node { .. } | Reply::Job { .. }) => {
            Answer::Error(proto::error(Code::Incompatible, "an answer that is not a client's"))
        }
        Ok(Reply::Object { attributes: row, etag }) => super::keys::object(&row, etag),
        Ok(Reply::Upload { id, initiated }) => super::uploads::begun(id, initiated),
        Ok(Reply::Part { inode, length, modified }) => super::uploads::stored(inode, length, modified),
        Err(error) => Answer::Error(refusal(&error)),
    }
}

/// The answer to a writer that asked for the next generation of a block: with the right to write on in it.
pub(crate) fn renewed(answer: Answer, block: BlockId, datanodes: &Datanodes) -> Answer {
    match answer {
        Answer::Generation(v1::Generation { generation, token: _ }) => {
            let token = datanodes.tokens.sign(block, GenStamp::new(generation), Right::Write, wall_clock());
            Answer::Generation(v1::Generation { generation, token })
        }
        other => other,
    }
}

/// A refusal, and what its reader needs to go on.
pub(crate) fn refusal(error: &namespace::Error) -> v1::Error {
    let symlink = if let namespace::Error::SymlinkOnTheWay { place, names, target } = error {
        let (base, path) = (place.base.get(), place.path.clone());
        Some(v1::Symlink { base, path, names: *names, target: target.clone() })
    } else {
        None
    };
    v1::Error { symlink, ..proto::error(error.code(), error) }
}

fn new_block(block: &NewBlock, datanodes: &Datanodes) -> v1::NewBlock {
    v1::NewBlock {
        block: Some(block.block.into()),
        generation: block.generation.get(),
        targets: datanodes.locations(&block.targets),
        token: datanodes.tokens.sign(block.block, block.generation, Right::Write, wall_clock()),
    }
}

/// What `stat` answers.
pub(crate) fn stated(row: &row::Attributes) -> Answer {
    Answer::Attributes(attributes(row))
}

pub(super) fn attributes(row: &row::Attributes) -> v1::Attributes {
    v1::Attributes {
        inode: row.inode.get(),
        kind: match row.kind {
            row::Kind::File => v1::Kind::File,
            row::Kind::Directory => v1::Kind::Directory,
            row::Kind::Symlink => v1::Kind::Symlink,
            row::Kind::Fifo => v1::Kind::Fifo,
            row::Kind::Socket => v1::Kind::Socket,
            row::Kind::CharDevice => v1::Kind::CharDevice,
            row::Kind::BlockDevice => v1::Kind::BlockDevice,
        } as i32,
        mode: row.mode,
        uid: row.uid,
        gid: row.gid,
        length: row.length.get(),
        atime: row.atime.signed_nanos(),
        mtime: row.mtime.signed_nanos(),
        ctime: row.ctime.signed_nanos(),
        links: row.links,
        replication: u32::from(row.replication),
        block_size: row.block_size.get(),
        writing: row.writing,
        usage: row.usage.map(|usage| v1::Usage {
            entries: usage.entries,
            files: usage.files,
            directories: usage.directories,
            bytes: usage.bytes,
            raw_bytes: usage.raw_bytes,
        }),
        quota: row.quota.map(|row::Quota { raw_bytes, inodes }| v1::Quota { raw_bytes, inodes }),
        device: row.device.unwrap_or(0),
        target: row.target.clone().unwrap_or_default(),
        ttl: row.ttl_nanos,
        spread: spread_of(row.spread).into(),
        policy: row.policy.map(|policy| v1::DirectoryPolicy {
            replication: policy.replication.map(u32::from),
            spread: spread_of(policy.spread).into(),
        }),
        access_acl: matches!(row.lists, Some(row::Lists::Access | row::Lists::Both)),
        default_acl: matches!(row.lists, Some(row::Lists::Default | row::Lists::Both)),
        holes: row.holes.unwrap_or_default().get(),
        no_xattrs: row.no_xattrs,
    }
}

pub(crate) const fn spread_of(rule: Option<placement::Policy>) -> v1::Spread {
    match rule {
        None => v1::Spread::Unspecified,
        Some(placement::Policy::TwoRacks) => v1::Spread::TwoRacks,
        Some(placement::Policy::Spread) => v1::Spread::Wide,
    }
}

pub(crate) fn in_force(found: InForce) -> Answer {
    let (replication, replication_from) = found.replication.unzip();
    let (rule, spread_from) = found.spread.unzip();
    Answer::InForce(v1::InForce {
        replication: replication.map(u32::from),
        replication_from: replication_from.unwrap_or_default(),
        spread: spread_of(rule).into(),
        spread_from: spread_from.unwrap_or_default(),
    })
}

pub(crate) const fn supergroup(gid: Option<u32>) -> Answer {
    Answer::Supergroup(v1::Supergroup { gid })
}

pub(crate) fn listing(listing: Listing) -> Answer {
    let entry = |(name, row): (Vec<u8>, row::Attributes)| v1::Entry { name, attributes: Some(attributes(&row)) };
    Answer::Listing(v1::Listing { entries: listing.entries.into_iter().map(entry).collect(), more: listing.more })
}

pub(crate) fn opened(opened: Opened, reader: &v1::Reader, datanodes: &Datanodes) -> Answer {
    Answer::Opened(opened_parts(opened, reader, datanodes))
}

pub(super) fn opened_parts(opened: Opened, reader: &v1::Reader, datanodes: &Datanodes) -> v1::Opened {
    let now = wall_clock();
    let located = |block: LocatedBlock| v1::LocatedBlock {
        block: Some(block.block.into()),
        generation: block.row.generation.get(),
        offset: block.offset,
        length: block.length.get(),
        block_offset: block.block_offset.get(),
        writing: block.row.state == BlockState::Writing,
        replicas: datanodes.for_reader(&block.row.replicas, reader),
        token: datanodes.tokens.sign(block.block, block.row.generation, Right::Read, now),
    };
    let (inline, blocks, known_to) = match opened.content {
        Content::Inline(content) => {
            let length = content.len() as u64;
            (Some(content), Vec::new(), length)
        }
        Content::Blocks { blocks, known_to } => (None, blocks.into_iter().map(located).collect(), known_to),
    };
    v1::Opened { attributes: Some(attributes(&opened.attributes)), inline, blocks, known_to }
}

pub(crate) fn extents(map: &ExtentMap) -> Answer {
    let range = |(offset, length): &(u64, ByteSize)| v1::DataRange { offset: *offset, length: length.get() };
    Answer::ExtentMap(v1::ExtentMap {
        attributes: Some(attributes(&map.attributes)),
        data: map.data.iter().map(range).collect(),
        count: map.count,
        more: map.more,
    })
}

pub(crate) const fn xattr(value: Vec<u8>) -> Answer {
    Answer::Xattr(v1::Xattr { value })
}

pub(crate) const fn xattr_names(names: Vec<Vec<u8>>) -> Answer {
    Answer::XattrNames(v1::XattrNames { names })
}
