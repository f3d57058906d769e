//! Between RPC messages and what the state machine speaks. Every field that arrives is checked here.

mod content;
mod datanodes;
mod fields;
mod inherited;
mod inventory;
mod keys;
mod reply;
mod sessions;
mod trash;
mod uploads;
mod users;

use namespace::command::{AttrChange, Command, Principal, TimeKind, UploadName, Where, XattrMode};
use namespace::directory_policy::DirectorySetting;
use namespace::lock::{LockKind, LockWish};
use namespace::placement;
use namespace::row::{self, Quota};
use proto::{WireError, v1};
use types::{Code, InodeId, MAX_PATH, SessionId, Timestamp, TrashId};

use crate::settings::Settings;

pub(crate) use content::size;
pub(crate) use datanodes::{Offered, Replica, TaskOutcome, bad_replica, heartbeat, node_row, service, task_outcome};
pub(crate) use fields::MAX_LABEL;
use fields::{
    FEW, MAX_STORAGES, block_done, destination, few, generation, inline_content, inode, layout, ownership, place,
    reader, replication, spread_rule, storages, wrong, xattr_name,
};
pub(crate) use inherited::{aim, inherit, is_nameless, spread};
pub(crate) use inventory::{Delta, Deltas, deltas, digests, page};
pub(crate) use keys::{access_keys, buckets, key_page, opened_object};
pub(crate) use reply::{
    done, extents, in_force, listing, opened, refusal, renewed, reply, spread_of, stated, supergroup, xattr,
    xattr_names,
};
pub(crate) use sessions::{changes, lock_holder, lock_query};
pub(crate) use trash::trash_page;
pub(crate) use uploads::{parts, uploads};
pub(crate) use users::users;

/// Names in one page of a listing, whatever the client asks for.
const PAGE: u32 = 1000;
/// Of the value of an extended attribute.
const MAX_XATTR: usize = 64 << 10;
/// Groups of a principal: they travel with each of its commands.
const MAX_GROUPS: usize = 1024;

type Answer = v1::reply::Result;

/// What an operation asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    OpenSession {
        client: String,
    },
    KeepAlive,
    /// A lock that is to be granted when it can be.
    WaitForLock {
        inode: InodeId,
        wish: LockWish,
        kind: LockKind,
    },
    CancelLocks {
        inode: InodeId,
        owner: u64,
    },
    Watch(InodeId),
    Unwatch(InodeId),
    TestLock {
        inode: InodeId,
        wish: LockWish,
    },
    CloseSession,
    /// A replica that the client cannot use. Whether that is the fault of the replica, its datanode finds out.
    Doubt(Replica),
    /// A command, and the targets that it still lacks, if any.
    Command(Command, Option<Targets>),
    Query(Query),
}

/// A wish for the targets of a new block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Targets {
    pub(crate) exclude: Vec<u64>,
    pub(crate) client_host: String,
    /// How the blocks are to be spread, where the command does not say it.
    pub(crate) spread: Option<placement::Policy>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Query {
    Stat(Where),
    Access {
        place: Where,
        mask: u32,
    },
    List {
        place: Where,
        after: Vec<u8>,
        limit: usize,
    },
    Open {
        place: Where,
        offset: u64,
        length: u64,
        reader: v1::Reader,
    },
    Xattr {
        place: Where,
        name: Vec<u8>,
    },
    XattrNames(Where),
    DirectoryPolicy(Where),
    Extents {
        place: Where,
        offset: u64,
        limit: usize,
    },
    /// Whether the inode may be watched, which the stream does already.
    Watch {
        inode: InodeId,
        stream: u64,
    },
    LockHolder {
        session: SessionId,
        inode: InodeId,
        wish: LockWish,
    },
    OpenKey {
        bucket: String,
        key: Vec<u8>,
        offset: u64,
        length: u64,
        reader: v1::Reader,
        with_parts: bool,
    },
    Uploads {
        bucket: String,
        prefix: Vec<u8>,
        delimiter: Vec<u8>,
        after: Vec<u8>,
        after_id: Option<InodeId>,
        max: usize,
    },
    Parts {
        upload: UploadName,
        after: u16,
        max: usize,
    },
    Keys {
        bucket: String,
        prefix: Vec<u8>,
        delimiter: Vec<u8>,
        after: Vec<u8>,
        max: usize,
    },
    Bucket(String),
    Buckets {
        after: String,
    },
    User(String),
    Users {
        after: String,
    },
    AccessKey(String),
    AccessKeys {
        after: String,
    },
    /// What is in the trash of one user or of all.
    Trash {
        uid: Option<u32>,
        after: Option<(u32, TrashId)>,
    },
    Supergroup,
    /// Whether a session lives.
    Session(SessionId),
}

/// An operation that makes no sense, with the code for its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: Code,
    pub(crate) message: String,
}

impl From<WireError> for Refused {
    fn from(error: WireError) -> Self {
        Self { code: Code::InvalidArgument, message: error.to_string() }
    }
}

/// Reads one operation.
pub(crate) fn asked(kind: Option<v1::op::Kind>, settings: &Settings) -> Result<Asked, Refused> {
    use v1::op::Kind;
    let command = match kind.ok_or(wrong("Op.kind", "is missing or unknown"))? {
        Kind::OpenSession(open) => {
            if open.client.len() > MAX_LABEL {
                return Err(wrong("OpenSession.client", "is too long").into());
            }
            return Ok(Asked::OpenSession { client: open.client });
        }
        Kind::KeepAlive(v1::KeepAlive {}) => return Ok(Asked::KeepAlive),
        Kind::CloseSession(v1::CloseSession {}) => return Ok(Asked::CloseSession),
        Kind::Access(access) => {
            if access.mask > 0o7 {
                return Err(wrong("Access.mask", "has bits other than 4, 2 and 1").into());
            }
            let place = place(access.place, "Access.place")?;
            return Ok(Asked::Query(Query::Access { place, mask: access.mask }));
        }
        Kind::Stat(stat) => return Ok(Asked::Query(Query::Stat(place(stat.place, "Stat.place")?))),
        Kind::List(list) => {
            let limit = if list.limit == 0 { PAGE } else { list.limit.min(PAGE) };
            let place = place(list.place, "List.place")?;
            if list.after.len() > MAX_PATH {
                return Err(wrong("List.after", "is too long").into());
            }
            return Ok(Asked::Query(Query::List { place, after: list.after, limit: limit as usize }));
        }
        Kind::Open(open) => {
            let place = place(open.place, "Open.place")?;
            let (offset, length, reader) = (open.offset, open.length, reader(open.reader)?);
            return Ok(Asked::Query(Query::Open { place, offset, length, reader }));
        }
        Kind::GetXattr(get) => {
            let (place, name) = (place(get.place, "GetXattr.place")?, xattr_name(get.name)?);
            return Ok(Asked::Query(Query::Xattr { place, name }));
        }
        Kind::ListXattrs(list) => {
            return Ok(Asked::Query(Query::XattrNames(place(list.place, "ListXattrs.place")?)));
        }
        Kind::OpenKey(open) => return Ok(Asked::Query(keys::open_key(open)?)),
        Kind::ListKeys(list) => return Ok(Asked::Query(keys::list_keys(list)?)),
        Kind::FindBuckets(find) => return Ok(Asked::Query(keys::find_buckets(find)?)),
        Kind::FindAccessKeys(find) => return Ok(Asked::Query(keys::find_access_keys(find)?)),
        Kind::FindUploads(find) => return Ok(Asked::Query(uploads::find(find)?)),
        Kind::CreateUpload(wire) => uploads::create(wire)?,
        Kind::PutPart(wire) => uploads::put_part(wire, settings)?,
        Kind::CompleteUpload(wire) => uploads::complete(wire, settings)?,
        Kind::AbortUpload(wire) => uploads::abort(wire)?,
        Kind::Publish(wire) => keys::publish(wire, settings)?,
        Kind::DeleteKey(wire) => keys::delete_key(wire, settings)?,
        Kind::RenameKey(wire) => keys::rename_key(wire)?,
        Kind::CreateBucket(wire) => keys::create_bucket(wire)?,
        Kind::DeleteBucket(wire) => keys::delete_bucket(wire)?,
        Kind::SetBucketSetting(wire) => keys::set_bucket_setting(wire)?,
        Kind::PutAccessKey(wire) => keys::put_access_key(wire)?,
        Kind::RemoveAccessKey(wire) => keys::remove_access_key(wire)?,
        Kind::ChangeUser(wire) => users::change(wire)?,
        Kind::FindUsers(find) => return Ok(Asked::Query(users::find(find)?)),
        Kind::SetSupergroup(v1::SetSupergroup { gid }) => Command::SetSupergroup { gid },
        Kind::FindSupergroup(v1::FindSupergroup {}) => return Ok(Asked::Query(Query::Supergroup)),
        Kind::Create(create) => {
            let targets = Targets {
                exclude: few(create.exclude, "Create.exclude")?,
                client_host: create.client_host,
                spread: None,
            };
            let command = Command::Create {
                destination: create.destination.map(|wire| destination(wire, "Create.destination")).transpose()?,
                ownership: ownership(create.ownership)?,
                layout: layout(create.layout, settings)?,
                targets: Vec::new(),
            };
            return Ok(Asked::Command(command, create.with_block.then_some(targets)));
        }
        Kind::AddBlock(add) => {
            let targets =
                Targets { exclude: few(add.exclude, "AddBlock.exclude")?, client_host: add.client_host, spread: None };
            let command = Command::AddBlock {
                inode: inode(add.inode, "AddBlock.inode")?,
                previous: add.previous.map(|wire| block_done(wire, "AddBlock.previous")).transpose()?,
                targets: Vec::new(),
                min_replicas: settings.min_replicas,
            };
            return Ok(Asked::Command(command, Some(targets)));
        }
        Kind::Extents(extents) => return Ok(Asked::Query(content::extents(extents)?)),
        Kind::AllocateBlocks(allocate) => return Ok(content::allocate(allocate, settings)?),
        Kind::ReleaseBlocks(release) => content::release(release)?,
        Kind::WriteExtents(write) => content::write(write, settings)?,
        Kind::Truncate(truncate) => content::truncate(truncate, settings)?,
        Kind::Punch(punch) => content::punch(punch, settings)?,
        Kind::CloneRange(clone) => content::clone_range(clone, settings)?,
        Kind::Concat(concat) => content::concat(concat, settings)?,
        Kind::PutBlocks(put) => content::put(put, settings)?,
        Kind::SetLock(set) => return sessions::set_lock(set),
        Kind::Watch(watch) => return Ok(Asked::Watch(inode(watch.inode, "Watch.inode")?)),
        Kind::Unwatch(unwatch) => return Ok(Asked::Unwatch(inode(unwatch.inode, "Unwatch.inode")?)),
        Kind::TestLock(test) => return sessions::test_lock(test),
        Kind::CancelLocks(cancel) => return sessions::cancel(&cancel),
        Kind::ReleaseLocks(release) => sessions::release(&release)?,
        Kind::OpenHandle(open) => sessions::open(open, settings)?,
        Kind::CloseHandles(close) => sessions::close(close)?,
        Kind::NoteReads(note) => sessions::note_reads(note)?,
        Kind::Mkdir(mkdir) => Command::Mkdir {
            place: place(mkdir.place, "Mkdir.place")?,
            ownership: ownership(mkdir.ownership)?,
            parents: mkdir.parents,
        },
        Kind::PutInline(put) => put_inline(put, settings)?,
        Kind::Extend(extend) => Command::Extend {
            inode: inode(extend.inode, "Extend.inode")?,
            written: block_done(extend.written.ok_or(wrong("Extend.written", "is missing"))?, "Extend.written")?,
        },
        Kind::NextGeneration(next) => Command::NextGeneration {
            inode: inode(next.inode, "NextGeneration.inode")?,
            block: proto::block_id(next.block, "NextGeneration.block")?,
            generation: generation(next.generation, "NextGeneration.generation")?,
            survivors: storages(&next.survivors, "NextGeneration.survivors")?,
        },
        Kind::RecoverLease(recover) => Command::RecoverLease {
            place: place(recover.place, "RecoverLease.place")?,
            force: recover.force,
            holder: None,
        },
        Kind::SetTtl(set) => Command::SetTtl { place: place(set.place, "SetTtl.place")?, ttl_nanos: set.ttl },
        Kind::SetDirectoryPolicy(set) => set_directory_policy(set)?,
        Kind::FindDirectoryPolicy(find) => {
            return Ok(Asked::Query(Query::DirectoryPolicy(place(find.place, "FindDirectoryPolicy.place")?)));
        }
        Kind::ListTrash(list) => return Ok(Asked::Query(trash::list(&list)?)),
        Kind::Trash(wire) => trash::trash(wire, settings)?,
        Kind::RestoreTrash(restore) => trash::restore(restore)?,
        Kind::EmptyTrash(empty) => trash::empty(&empty),
        Kind::Append(append) => Command::Append { place: place(append.place, "Append.place")?, holder: None },
        Kind::AbandonBlock(abandon) => Command::AbandonBlock {
            inode: inode(abandon.inode, "AbandonBlock.inode")?,
            block: proto::block_id(abandon.block, "AbandonBlock.block")?,
        },
        Kind::Complete(complete) => Command::Complete {
            inode: inode(complete.inode, "Complete.inode")?,
            last: complete.last.map(|wire| block_done(wire, "Complete.last")).transpose()?,
            min_replicas: settings.min_replicas,
            publish: complete.publish.map(|wire| destination(wire, "Complete.publish")).transpose()?,
            mtime: complete.mtime.map(Timestamp::from_signed_nanos),
        },
        Kind::Abandon(abandon) => Command::Abandon { inode: inode(abandon.inode, "Abandon.inode")? },
        Kind::Rename(rename) => Command::Rename {
            from: place(rename.from, "Rename.from")?,
            to: place(rename.to, "Rename.to")?,
            overwrite: rename.overwrite,
        },
        Kind::Exchange(exchange) => Command::Exchange {
            first: place(exchange.first, "Exchange.first")?,
            second: place(exchange.second, "Exchange.second")?,
        },
        Kind::SetQuota(set) => {
            let v1::Quota { raw_bytes, inodes } = set.quota.ok_or(wrong("SetQuota.quota", "is missing"))?;
            Command::SetQuota { place: place(set.place, "SetQuota.place")?, quota: Quota { raw_bytes, inodes } }
        }
        Kind::SetXattr(set) => {
            let mode = match set.mode() {
                v1::XattrMode::Any => XattrMode::Any,
                v1::XattrMode::Create => XattrMode::Create,
                v1::XattrMode::Replace => XattrMode::Replace,
            };
            if set.value.len() > MAX_XATTR {
                let message = format!("{} bytes are too many for an attribute; store a file", set.value.len());
                return Err(Refused { code: Code::TooLarge, message });
            }
            let (place, name) = (place(set.place, "SetXattr.place")?, xattr_name(set.name)?);
            Command::SetXattr { place, name, value: set.value, mode }
        }
        Kind::RemoveXattr(remove) => {
            Command::RemoveXattr { place: place(remove.place, "RemoveXattr.place")?, name: xattr_name(remove.name)? }
        }
        Kind::Link(link) => Command::Link { from: place(link.from, "Link.from")?, to: place(link.to, "Link.to")? },
        Kind::MakeSymlink(link) => {
            // Its exact length is judged with the rest; this only keeps rubbish out of the log.
            if link.target.len() > 2 * MAX_PATH {
                return Err(wrong("MakeSymlink.target", "is too long").into());
            }
            let (place, ownership) = (place(link.place, "MakeSymlink.place")?, ownership(link.ownership)?);
            Command::Symlink { place, target: link.target, ownership }
        }
        Kind::Mknod(node) => Command::Mknod {
            kind: special(node.kind())?,
            place: place(node.place, "Mknod.place")?,
            ownership: ownership(node.ownership)?,
            device: node.device,
        },
        Kind::Delete(delete) => trash::bury(delete, settings)?,
        Kind::SetAttr(set) => Command::SetAttr {
            place: place(set.place, "SetAttr.place")?,
            change: AttrChange {
                mode: set.mode,
                uid: set.uid,
                gid: set.gid,
                mtime: set.mtime.map(Timestamp::from_signed_nanos),
                atime: set.atime.map(Timestamp::from_signed_nanos),
                touch: set.touch || (set.atime_now && set.mtime_now),
                present: present(set.atime_now, set.mtime_now),
                replication: set.replication.map(|count| replication(count, "SetAttr.replication")).transpose()?,
            },
        },
        Kind::ReportBadReplica(report) => {
            return Ok(Asked::Doubt(Replica {
                block: proto::block_id(report.block, "ReportBadReplica.block")?,
                generation: generation(report.generation, "ReportBadReplica.generation")?,
                storage: proto::storage_id(&report.storage, "ReportBadReplica.storage")?,
            }));
        }
    };
    Ok(Asked::Command(command, None))
}

/// Both together are another wish: that of a touch.
const fn present(atime: bool, mtime: bool) -> Option<TimeKind> {
    match (atime, mtime) {
        (true, false) => Some(TimeKind::Access),
        (false, true) => Some(TimeKind::Modification),
        (true, true) | (false, false) => None,
    }
}

fn put_inline(put: v1::PutInline, settings: &Settings) -> Result<Command, Refused> {
    let wire = put.destination.ok_or(wrong("PutInline.destination", "is missing"))?;
    Ok(Command::PutInline {
        destination: destination(wire, "PutInline.destination")?,
        ownership: ownership(put.ownership)?,
        layout: layout(put.layout, settings)?,
        content: inline_content(put.content, settings)?,
        mtime: put.mtime.map(Timestamp::from_signed_nanos),
    })
}

/// Reads whom a client speaks for.
pub(crate) fn principal(wire: v1::Principal) -> Result<Principal, WireError> {
    let v1::Principal { uid, gid, groups } = wire;
    if groups.len() > MAX_GROUPS {
        return Err(wrong("Hello.principal", "is in more than 1024 groups"));
    }
    Ok(Principal { uid, gid, groups })
}

fn special(kind: v1::Kind) -> Result<row::Kind, WireError> {
    match kind {
        v1::Kind::Fifo => Ok(row::Kind::Fifo),
        v1::Kind::Socket => Ok(row::Kind::Socket),
        v1::Kind::CharDevice => Ok(row::Kind::CharDevice),
        v1::Kind::BlockDevice => Ok(row::Kind::BlockDevice),
        v1::Kind::Unspecified | v1::Kind::File | v1::Kind::Directory | v1::Kind::Symlink => {
            Err(wrong("Mknod.kind", "is neither a fifo, a socket nor a device"))
        }
    }
}

fn set_directory_policy(set: v1::SetDirectoryPolicy) -> Result<Command, WireError> {
    use v1::set_directory_policy::Setting;
    let setting = match set.setting.ok_or(wrong("SetDirectoryPolicy.setting", "is missing"))? {
        Setting::Replication(0) => DirectorySetting::Replication { count: None },
        Setting::Replication(count) => {
            let count = replication(count, "SetDirectoryPolicy.replication")?;
            DirectorySetting::Replication { count: Some(count) }
        }
        Setting::Spread(rule) => DirectorySetting::Spread { rule: spread_rule(rule, "SetDirectoryPolicy.spread")? },
    };
    Ok(Command::SetDirectoryPolicy { place: place(set.place, "SetDirectoryPolicy.place")?, setting })
}

#[cfg(test)]
mod tests {
    use namespace::command::Layout;
    use types::ByteSize;
    use v1::op::Kind;

    use super::*;

    fn code(kind: Option<Kind>) -> Code {
        asked(kind, &Settings::default()).expect_err("must be refused").code
    }

    #[test]
    fn rubbish_is_refused_and_defaults_are_filled_in() {
        let root = || Some(v1::Where { base: 0, path: b"/a".to_vec() });
        assert_eq!(code(None), Code::InvalidArgument);
        assert_eq!(code(Some(Kind::Stat(v1::Stat { place: None }))), Code::InvalidArgument);
        let place = Some(v1::Where { base: 1, path: Vec::new() });
        assert_eq!(code(Some(Kind::Access(v1::Access { place, mask: 8 }))), Code::InvalidArgument);
        assert_eq!(code(Some(Kind::Abandon(v1::Abandon { inode: 0 }))), Code::InvalidArgument);
        let mut put = v1::PutInline {
            destination: Some(v1::Destination { place: root(), overwrite: false, parents: false }),
            ownership: Some(v1::Ownership { uid: 1, gid: 2, mode: 0o644, umask: 0 }),
            layout: None,
            content: vec![0; 16 << 10].into(),
            mtime: None,
        };
        let Ok(Asked::Command(Command::PutInline { layout, destination, .. }, None)) =
            asked(Some(Kind::PutInline(put.clone())), &Settings::default())
        else {
            panic!("must be taken");
        };
        assert_eq!(layout, Layout { replication: 3, block_size: ByteSize::mib(128), spread: None });
        assert_eq!(destination.place.base, InodeId::ROOT);
        put.content = vec![0; (16 << 10) + 1].into();
        assert_eq!(code(Some(Kind::PutInline(put.clone()))), Code::TooLarge);
        put.content = Default::default();
        put.layout = Some(v1::Layout { replication: 256, block_size: 0 });
        assert_eq!(code(Some(Kind::PutInline(put.clone()))), Code::InvalidArgument);
        put.layout = Some(v1::Layout { replication: 1, block_size: 5000 });
        assert_eq!(code(Some(Kind::PutInline(put))), Code::InvalidArgument);
    }
}
