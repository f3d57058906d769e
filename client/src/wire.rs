//! Between the messages of [`proto`] and the plain values of this crate.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proto::v1;
use transfer::Hop;
use types::token::Token;
use types::{BlockId, ByteSize, DiskId, GenStamp, InodeId, Name, NodeId, SessionId, StorageId, Timestamp};

use crate::config::User;
use crate::directory_policy;
use crate::error::Fault;
use crate::local;
use crate::object::{
    AttrChange, Attributes, CreateOptions, DatanodeReport, Defaults, Entry, Held, HeldLock, Kind, Liveness, LockKind,
    LogStatistics, Member, MemberStatus, Quota, Redundancy, SafeMode, ScrubPass, Service, StorageReport, Tally, Usage,
};
use crate::place::Place;

pub(crate) fn broken(problem: impl Into<String>) -> Fault {
    Fault::Protocol { peer: "the namenode".to_owned(), problem: problem.into() }
}

pub(crate) fn place(place: &Place) -> v1::Where {
    let path = if place.path.is_root() { Vec::new() } else { place.path.to_bytes() };
    v1::Where { base: place.base.get(), path }
}

/// An inode itself.
pub(crate) fn inode(inode: InodeId) -> v1::Where {
    v1::Where { base: inode.get(), path: Vec::new() }
}

pub(crate) fn destination(at: &Place, options: &CreateOptions) -> v1::Destination {
    v1::Destination { place: Some(place(at)), overwrite: options.overwrite, parents: options.parents }
}

pub(crate) fn principal(user: &User) -> v1::Principal {
    v1::Principal { uid: user.uid, gid: user.gid, groups: user.groups.clone() }
}

/// What a new object gets: the client's own user and group unless others are given.
pub(crate) fn ownership(user: &User, mode: u32, uid: Option<u32>, gid: Option<u32>) -> v1::Ownership {
    v1::Ownership { uid: uid.unwrap_or(user.uid), gid: gid.unwrap_or(user.gid), mode, umask: 0 }
}

/// What a new file gets.
pub(crate) fn file_ownership(user: &User, options: &CreateOptions) -> v1::Ownership {
    v1::Ownership { umask: options.umask, ..ownership(user, options.mode, options.uid, options.gid) }
}

pub(crate) fn layout(options: &CreateOptions) -> v1::Layout {
    v1::Layout {
        replication: options.replication.map_or(0, u32::from),
        block_size: options.block_size.map_or(0, ByteSize::get),
    }
}

pub(crate) fn set_attr(at: &Place, change: &AttrChange) -> v1::SetAttr {
    v1::SetAttr {
        place: Some(place(at)),
        mode: change.mode,
        uid: change.uid,
        gid: change.gid,
        mtime: change.mtime.map(Timestamp::signed_nanos),
        atime: change.atime.map(Timestamp::signed_nanos),
        replication: change.replication.map(u32::from),
        touch: change.touch,
        atime_now: change.atime_now,
        mtime_now: change.mtime_now,
    }
}

/// Of what [`crate::Client::mknod`] makes.
pub(crate) const fn kind(kind: Kind) -> v1::Kind {
    match kind {
        Kind::File => v1::Kind::File,
        Kind::Directory => v1::Kind::Directory,
        Kind::Symlink => v1::Kind::Symlink,
        Kind::Fifo => v1::Kind::Fifo,
        Kind::Socket => v1::Kind::Socket,
        Kind::CharDevice => v1::Kind::CharDevice,
        Kind::BlockDevice => v1::Kind::BlockDevice,
    }
}

pub(crate) fn attributes(wire: v1::Attributes) -> Result<Attributes, Fault> {
    let kind = match wire.kind() {
        v1::Kind::File => Kind::File,
        v1::Kind::Directory => Kind::Directory,
        v1::Kind::Symlink => Kind::Symlink,
        v1::Kind::Fifo => Kind::Fifo,
        v1::Kind::Socket => Kind::Socket,
        v1::Kind::CharDevice => Kind::CharDevice,
        v1::Kind::BlockDevice => Kind::BlockDevice,
        v1::Kind::Unspecified => return Err(broken("an object is of no known kind")),
    };
    if wire.inode == 0 {
        return Err(broken("an object has inode 0"));
    }
    let replication = u8::try_from(wire.replication).map_err(|_| broken("a replication is out of range"))?;
    Ok(Attributes {
        inode: InodeId::new(wire.inode),
        kind,
        mode: wire.mode,
        uid: wire.uid,
        gid: wire.gid,
        length: ByteSize::new(wire.length),
        atime: Timestamp::from_signed_nanos(wire.atime),
        mtime: Timestamp::from_signed_nanos(wire.mtime),
        ctime: Timestamp::from_signed_nanos(wire.ctime),
        links: wire.links,
        replication,
        block_size: ByteSize::new(wire.block_size),
        writing: wire.writing,
        usage: wire.usage.map(|usage| Usage {
            entries: usage.entries,
            files: usage.files,
            directories: usage.directories,
            bytes: usage.bytes,
            raw_bytes: usage.raw_bytes,
        }),
        quota: wire.quota.map(|v1::Quota { raw_bytes, inodes }| Quota { raw_bytes, inodes }),
        ttl: wire.ttl.map(Duration::from_nanos),
        device: (wire.device != 0).then_some(wire.device),
        target: (kind == Kind::Symlink).then_some(wire.target),
        access_acl: wire.access_acl,
        default_acl: wire.default_acl,
        holes: ByteSize::new(wire.holes),
        spread: directory_policy::from_wire(wire.spread)?,
        policy: wire.policy.map(directory_policy::policy).transpose()?,
        no_xattrs: wire.no_xattrs,
    })
}

pub(crate) fn held_lock(wire: v1::HeldLock) -> Result<HeldLock, Fault> {
    let kind = match wire.kind() {
        v1::LockKind::Read => LockKind::Read,
        v1::LockKind::Write => LockKind::Write,
        v1::LockKind::None => return Err(broken("a lock is held that is none")),
    };
    let (session, owner) = (SessionId::new(wire.session), wire.owner);
    Ok(HeldLock { session, owner, first: wire.first, last: wire.last, kind, pid: wire.pid })
}

pub(crate) fn entry(wire: v1::Entry) -> Result<Entry, Fault> {
    let name = Name::new(&wire.name).map_err(|error| broken(format!("a listed name is illegal: {error}")))?;
    let attributes = wire.attributes.ok_or_else(|| broken("a listed entry has no attributes"))?;
    Ok(Entry { name, attributes: self::attributes(attributes)? })
}

pub(crate) fn defaults(wire: v1::Defaults) -> Result<Defaults, Fault> {
    let byte = |value, name| match u8::try_from(value) {
        Ok(value) if value > 0 => Ok(value),
        _ => Err(broken(format!("the default {name} is {value}"))),
    };
    if wire.block_size == 0 || wire.session_timeout_ms == 0 {
        return Err(broken("a default is zero"));
    }
    Ok(Defaults {
        replication: byte(wire.replication, "replication")?,
        spread: directory_policy::from_wire(wire.spread)?,
        block_size: ByteSize::new(wire.block_size),
        inline_max: ByteSize::new(wire.inline_max),
        min_replicas: byte(wire.min_replicas, "min_replicas")?,
        durability: wire.durability.parse().map_err(|error| broken(format!("{error}")))?,
        trash: (wire.trash_ms != 0).then(|| Duration::from_millis(wire.trash_ms)),
        session_timeout: Duration::from_millis(wire.session_timeout_ms),
    })
}

/// Bytes of a file that lie in one block, as a reader needs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocatedBlock {
    pub(crate) block: BlockId,
    pub(crate) generation: GenStamp,
    /// In the file.
    pub(crate) offset: u64,
    pub(crate) length: u64,
    /// Where these bytes begin in the block.
    pub(crate) block_offset: u64,
    pub(crate) writing: bool,
    /// Best first.
    pub(crate) replicas: Vec<Replica>,
    /// To read it.
    pub(crate) token: Token,
}

/// Where a block can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replica {
    pub(crate) hop: Hop,
    /// As the namenode judges it: less is nearer, 0 is this machine.
    pub(crate) distance: u32,
    /// The namenode has not heard of its node for too long.
    pub(crate) silent: bool,
    /// Where its node hands out its file, if that is on this very machine.
    pub(crate) socket: Option<Arc<Path>>,
}

/// A block to write, and the chain for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewBlock {
    pub(crate) block: BlockId,
    pub(crate) generation: GenStamp,
    pub(crate) targets: Vec<Hop>,
    /// To write it.
    pub(crate) token: Token,
}

pub(crate) fn located_block(wire: v1::LocatedBlock) -> Result<LocatedBlock, Fault> {
    let ends = [wire.offset, wire.block_offset].map(|offset| offset.checked_add(wire.length));
    if ends.iter().any(|end| end.is_none_or(|end| end > i64::MAX as u64)) {
        return Err(broken("a block ends behind the last possible byte"));
    }
    Ok(LocatedBlock {
        block: proto::block_id(wire.block, "LocatedBlock.block")?,
        generation: GenStamp::new(wire.generation),
        offset: wire.offset,
        length: wire.length,
        block_offset: wire.block_offset,
        writing: wire.writing,
        replicas: wire.replicas.iter().map(replica).collect::<Result<_, _>>()?,
        token: proto::token(wire.token),
    })
}

fn replica(wire: &v1::Location) -> Result<Replica, Fault> {
    let is_here = |socket: &&v1::LocalSocket| local::is_this_machine(&socket.boot);
    let path = |socket: &v1::LocalSocket| Path::new(OsStr::from_bytes(&socket.path)).into();
    let socket = wire.local.as_ref().filter(is_here).map(path);
    Ok(Replica { hop: hop(wire)?, distance: wire.distance, silent: wire.silent, socket })
}

pub(crate) fn new_block(wire: v1::NewBlock) -> Result<NewBlock, Fault> {
    let targets: Vec<Hop> = wire.targets.iter().map(hop).collect::<Result<_, _>>()?;
    if targets.is_empty() || targets.len() > transfer::message::MAX_CHAIN {
        return Err(broken(format!("a new block has {} targets", targets.len())));
    }
    Ok(NewBlock {
        block: proto::block_id(wire.block, "NewBlock.block")?,
        generation: GenStamp::new(wire.generation),
        targets,
        token: proto::token(wire.token),
    })
}

fn hop(wire: &v1::Location) -> Result<Hop, Fault> {
    let storage = proto::location_storage(wire)?;
    let address: SocketAddr = wire
        .transfer
        .parse()
        .map_err(|_| broken(format!("the transfer address {:?} of a datanode is not ip:port", wire.transfer)))?;
    Ok(Hop { node: NodeId::new(wire.node), storage, address })
}

pub(crate) fn block_done(
    block: BlockId,
    generation: GenStamp,
    length: ByteSize,
    replicas: &[StorageId],
) -> v1::BlockDone {
    v1::BlockDone {
        block: Some(block.into()),
        generation: generation.get(),
        length: length.get(),
        replicas: replicas.iter().map(|storage| storage.as_bytes().to_vec()).collect(),
    }
}

fn disk_id(bytes: &[u8]) -> Result<DiskId, Fault> {
    let bytes = bytes.try_into().map_err(|_| broken("a disk id does not have 16 bytes"))?;
    Ok(DiskId::from_bytes(bytes))
}

pub(crate) fn status(wire: v1::StatusReply) -> Result<MemberStatus, Fault> {
    let cluster = match wire.cluster.as_slice() {
        [] => None,
        bytes => Some(proto::cluster_id(bytes, "StatusReply.cluster")?),
    };
    let log = wire.log.unwrap_or_default();
    Ok(MemberStatus {
        cluster,
        node: NodeId::new(wire.node),
        term: wire.term,
        leader: (wire.leader != 0).then(|| NodeId::new(wire.leader)),
        commit: wire.commit,
        applied: wire.applied,
        last_index: wire.last_index,
        members: wire
            .members
            .into_iter()
            .map(|member| Member {
                node: NodeId::new(member.node),
                address: member.address,
                matched: member.matched,
                voter: member.voter,
            })
            .collect(),
        files: wire.files,
        directories: wire.directories,
        bytes: wire.bytes,
        blocks: wire.blocks,
        sessions: wire.sessions,
        redundancy: wire.redundancy.map(|known| Redundancy {
            scanned_blocks: known.scanned_blocks,
            under_replicated: known.under_replicated,
            corrupt_replicas: known.corrupt_replicas,
            missing: known.missing,
            pending_copies: known.pending_copies,
            scan_age: Duration::from_millis(known.scan_age_ms),
        }),
        log: LogStatistics { syncs: log.syncs, entries: log.entries, commands: log.commands, bytes: log.bytes },
        datanodes_alive: wire.datanodes_alive,
        datanodes_suspect: wire.datanodes_suspect,
        datanodes_dead: wire.datanodes_dead,
        disk: if wire.disk.is_empty() { None } else { Some(disk_id(&wire.disk)?) },
        founders: wire
            .founders
            .iter()
            .map(|founder| Ok((NodeId::new(founder.node), disk_id(&founder.disk)?)))
            .collect::<Result<_, Fault>>()?,
        removed: wire.removed.into_iter().map(NodeId::new).collect(),
        stalled: wire.stalled,
        safe_mode: wire.safe_mode.map(|v1::SafeMode { since, by }| SafeMode {
            since: (since != 0).then(|| Timestamp::from_nanos(since)),
            by: (!by.is_empty()).then_some(by),
        }),
    })
}

pub(crate) fn datanode(wire: v1::DatanodeReport) -> Result<DatanodeReport, Fault> {
    let liveness = match wire.liveness() {
        v1::Liveness::Alive => Liveness::Alive,
        v1::Liveness::Suspect => Liveness::Suspect,
        v1::Liveness::Dead => Liveness::Dead,
        v1::Liveness::Unspecified => return Err(broken("a datanode is neither alive nor dead")),
    };
    let service = v1::Service::try_from(wire.service).map_err(|_| broken("the service of a datanode is not known"))?;
    let storages = wire.storages.into_iter().map(storage).collect::<Result<_, _>>()?;
    Ok(DatanodeReport {
        node: NodeId::new(wire.node),
        host: wire.host,
        rack: wire.rack,
        transfer: wire.transfer,
        liveness,
        last_heartbeat: Duration::from_millis(wire.last_heartbeat_ms),
        storages,
        writers: wire.writers,
        service: match service {
            v1::Service::InService => Service::InService,
            v1::Service::Decommissioning => Service::Decommissioning,
            v1::Service::Decommissioned => Service::Decommissioned,
            v1::Service::Maintenance => Service::Maintenance { until: Timestamp::from_nanos(wire.maintenance_until) },
        },
        tally: wire.tally.map(|v1::Tally { replicas, last, written, waiting, no_target, no_source }| Tally {
            replicas,
            last,
            written,
            waiting,
            no_target,
            no_source,
        }),
        held: (wire.held_ms > 0).then(|| Held { left: Duration::from_millis(wire.held_ms), returns: wire.returns }),
    })
}

fn storage(wire: v1::StorageState) -> Result<StorageReport, Fault> {
    Ok(StorageReport {
        storage: proto::storage_id(&wire.storage, "StorageState.storage")?,
        capacity: ByteSize::new(wire.capacity),
        used: ByteSize::new(wire.used),
        free: ByteSize::new(wire.free),
        replicas: wire.replicas,
        failed: wire.failed,
        oldest_unverified: Duration::from_millis(wire.oldest_unverified_ms),
        scrub: wire.scrub.map(|v1::ScrubPass { pass, checked, bytes, bad, ended }| {
            let (checked, bytes) = (ByteSize::new(checked), ByteSize::new(bytes));
            ScrubPass { pass, checked, bytes, bad, ended }
        }),
    })
}
