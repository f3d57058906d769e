//! What an operation is to those who count and audit: its name, whether it changes what people see, and what it is about.

use namespace::command::{Command, Destination, Where};
use namespace::user::UserOrder;
use types::InodeId;

use crate::wire::{Asked, Query};

/// How much of an operation people care for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// It changes names, contents or rights.
    Change,
    /// It tells what is there.
    Read,
    /// A step of something that has a line, or a client's housekeeping.
    Inner,
}

/// What an operation is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Subject {
    Place(Where),
    Key { bucket: String, key: Vec<u8> },
    Text(String),
}

impl From<&Where> for Subject {
    fn from(place: &Where) -> Self {
        Self::Place(place.clone())
    }
}

impl From<&Destination> for Subject {
    fn from(destination: &Destination) -> Self {
        Self::Place(destination.place.clone())
    }
}

impl From<InodeId> for Subject {
    fn from(inode: InodeId) -> Self {
        Self::Place(Where { base: inode, path: Vec::new() })
    }
}

fn key(bucket: &str, key: &[u8]) -> Subject {
    Subject::Key { bucket: bucket.to_owned(), key: key.to_vec() }
}

fn bucket(name: &str) -> Subject {
    Subject::Key { bucket: name.to_owned(), key: Vec::new() }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deed {
    /// The name of the operation; an interface, as the names of commands and queries are.
    pub(crate) operation: &'static str,
    pub(crate) class: Class,
    /// What it is about, and the second thing of those that have two.
    pub(crate) subjects: [Option<Subject>; 2],
}

impl Deed {
    pub(crate) fn new(operation: &'static str, class: Class) -> Self {
        Self { operation, class, subjects: [None, None] }
    }

    pub(crate) fn on(mut self, subject: impl Into<Subject>) -> Self {
        self.subjects[0] = Some(subject.into());
        self
    }

    pub(crate) fn and(mut self, other: impl Into<Subject>) -> Self {
        self.subjects[1] = Some(other.into());
        self
    }

    pub(crate) fn of(asked: &Asked) -> Self {
        let inner = |operation| Self::new(operation, Class::Inner);
        match asked {
            Asked::Command(command, _) => of_command(command),
            Asked::Query(query) => of_query(query),
            Asked::OpenSession { .. } => inner("OpenSession"),
            Asked::CloseSession => inner("CloseSession"),
            Asked::KeepAlive => inner("KeepAlive"),
            Asked::Doubt(_) => inner("ReportBadReplica"),
            Asked::WaitForLock { inode, .. } => inner("SetLock").on(*inode),
            Asked::CancelLocks { inode, .. } => inner("CancelLocks").on(*inode),
            Asked::Watch(inode) => inner("Watch").on(*inode),
            Asked::Unwatch(inode) => inner("Unwatch").on(*inode),
            Asked::TestLock { inode, .. } => inner("TestLock").on(*inode),
        }
    }
}

fn of_command(command: &Command) -> Deed {
    use Command as C;
    let change = |operation| Deed::new(operation, Class::Change);
    let inner = |operation| Deed::new(operation, Class::Inner);
    match command {
        C::Mkdir { place, .. } => change("Mkdir").on(place),
        C::Create { destination: Some(destination), .. } => change("Create").on(destination),
        // It has a line when it gets its name.
        C::Create { destination: None, .. } => inner("Create"),
        C::PutInline { destination, .. } => change("PutInline").on(destination),
        C::PutBlocks { destination, .. } => change("PutBlocks").on(destination),
        C::Complete { publish: Some(destination), .. } => change("Complete").on(destination),
        C::Complete { inode, publish: None, .. } => change("Complete").on(*inode),
        C::Rename { from, to, .. } => change("Rename").on(from).and(to),
        C::Exchange { first, second } => change("Exchange").on(first).and(second),
        C::Delete { place, .. } | C::Bury { place, .. } => change("Delete").on(place),
        C::Trash { place, .. } => change("Trash").on(place),
        C::RestoreTrash { item, to, .. } => {
            let deed = change("RestoreTrash").on(Subject::Text(item.to_string()));
            match to {
                Some(to) => deed.and(to),
                None => deed,
            }
        }
        C::EmptyTrash { item, .. } => {
            let what = item.map_or_else(|| "everything".to_owned(), |item| item.to_string());
            change("EmptyTrash").on(Subject::Text(what))
        }
        C::SetAttr { place, .. } => change("SetAttr").on(place),
        C::SetQuota { place, .. } => change("SetQuota").on(place),
        C::SetXattr { place, .. } => change("SetXattr").on(place),
        C::RemoveXattr { place, .. } => change("RemoveXattr").on(place),
        C::SetDirectoryPolicy { place, .. } => change("SetDirectoryPolicy").on(place),
        C::SetTtl { place, .. } => change("SetTtl").on(place),
        C::Link { from, to } => change("Link").on(from).and(to),
        C::Symlink { place, .. } => change("Symlink").on(place),
        C::Mknod { place, .. } => change("Mknod").on(place),
        C::Append { place, .. } => change("Append").on(place),
        C::RecoverLease { place, .. } => change("RecoverLease").on(place),
        C::OpenHandle { place, rights, create, .. } if rights.write || create.is_some() => {
            change("OpenHandle").on(place)
        }
        C::OpenHandle { place, .. } => Deed::new("OpenHandle", Class::Read).on(place),
        C::Truncate { place, .. } => change("Truncate").on(place),
        C::Punch { place, .. } => change("Punch").on(place),
        C::CloneRange { from, to, .. } => change("CloneRange").on(from).and(to),
        C::Concat { to, .. } => change("Concat").on(to),
        C::Publish { publication } => change("Publish").on(key(&publication.bucket, &publication.key)),
        C::DeleteKey { bucket, key: name, .. } | C::BuryKey { bucket, key: name, .. } => {
            change("DeleteKey").on(key(bucket, name))
        }
        C::CreateBucket { bucket: name, place, .. } => change("CreateBucket").on(bucket(name)).and(place),
        C::DeleteBucket { bucket: name, .. } => change("DeleteBucket").on(bucket(name)),
        C::SetBucketSetting { bucket: name, .. } => change("SetBucketSetting").on(bucket(name)),
        C::RenameKey { rename } => {
            change("RenameKey").on(key(&rename.bucket, &rename.from)).and(key(&rename.bucket, &rename.to))
        }
        C::PutAccessKey { id, .. } => change("PutAccessKey").on(Subject::Text(id.clone())),
        C::RemoveAccessKey { id, .. } => change("RemoveAccessKey").on(Subject::Text(id.clone())),
        C::CreateUpload { bucket, key: name, .. } => change("CreateUpload").on(key(bucket, name)),
        C::PutPart { upload, .. } => inner("PutPart").on(key(&upload.bucket, &upload.key)),
        C::CompleteUpload { completion } => {
            change("CompleteUpload").on(key(&completion.upload.bucket, &completion.upload.key))
        }
        C::AbortUpload { upload } => change("AbortUpload").on(key(&upload.bucket, &upload.key)),
        C::User { name, order } => {
            let operation = match order {
                UserOrder::Add { .. } => "AddUser",
                UserOrder::Change { .. } => "ChangeUser",
                UserOrder::Remove { .. } => "RemoveUser",
            };
            change(operation).on(Subject::Text(name.clone()))
        }
        C::SetSupergroup { gid } => {
            let what = gid.map_or_else(|| "none".to_owned(), |gid| gid.to_string());
            change("SetSupergroup").on(Subject::Text(what))
        }
        C::SetService { node, .. } => change("SetService").on(Subject::Text(node.to_string())),
        C::WriteExtents { place, .. } => inner("WriteExtents").on(place),
        C::AddBlock { inode, .. } => inner("AddBlock").on(*inode),
        C::Extend { inode, .. } => inner("Extend").on(*inode),
        C::NextGeneration { inode, .. } => inner("NextGeneration").on(*inode),
        C::AbandonBlock { inode, .. } => inner("AbandonBlock").on(*inode),
        C::Abandon { inode } => inner("Abandon").on(*inode),
        C::SetLock { inode, .. } => inner("SetLock").on(*inode),
        C::ReleaseLocks { inode, .. } => inner("ReleaseLocks").on(*inode),
        C::CloseHandles { .. } => inner("CloseHandles"),
        C::NoteReads { .. } => inner("NoteReads"),
        C::AllocateBlocks { .. } => inner("AllocateBlocks"),
        C::JoinExtents { inode, .. } => inner("JoinExtents").on(*inode),
        C::ReleaseBlocks { .. } => inner("ReleaseBlocks"),
        C::ReportBadReplica { .. } => inner("ReportBadReplica"),
        C::OpenSession { .. } => inner("OpenSession"),
        C::CloseSession { .. } => inner("CloseSession"),
        // An operator orders it, and has a line for that.
        C::Job { .. } => inner("Job"),
        C::SetPolicy { .. } => inner("SetPolicy"),
        // The leader's own, which nobody asks for.
        C::MoveReplica { .. } => inner("MoveReplica"),
        C::AddTokenKey { .. } => inner("AddTokenKey"),
        C::Noop => inner("Noop"),
        C::ExpireSession { .. } => inner("ExpireSession"),
        C::GcStep { .. } => inner("GcStep"),
        C::RegisterDatanode { .. } => inner("RegisterDatanode"),
        C::AddReplica { .. } => inner("AddReplica"),
        C::RemoveReplica { .. } => inner("RemoveReplica"),
        C::ReplicasDeleted { .. } => inner("ReplicasDeleted"),
        C::DropUnlisted { .. } => inner("DropUnlisted"),
        C::Format { .. } => inner("Format"),
        C::BeginRecovery { .. } => inner("BeginRecovery"),
        C::CommitRecovery { .. } => inner("CommitRecovery"),
        C::RemoveAged { .. } => inner("RemoveAged"),
        C::ExpireTrash { .. } => inner("ExpireTrash"),
        C::ExpireUpload { .. } => inner("ExpireUpload"),
    }
}

fn of_query(query: &Query) -> Deed {
    use Query as Q;
    let read = |operation| Deed::new(operation, Class::Read);
    let inner = |operation| Deed::new(operation, Class::Inner);
    match query {
        Q::Stat(place) => read("Stat").on(place),
        Q::Access { place, .. } => read("Access").on(place),
        Q::List { place, .. } => read("List").on(place),
        Q::Open { place, .. } => read("Open").on(place),
        Q::Xattr { place, .. } => read("GetXattr").on(place),
        Q::DirectoryPolicy(place) => read("FindDirectoryPolicy").on(place),
        Q::XattrNames(place) => read("ListXattrs").on(place),
        Q::Extents { place, .. } => read("Extents").on(place),
        Q::OpenKey { bucket, key: name, .. } => read("OpenKey").on(key(bucket, name)),
        Q::Uploads { bucket: name, .. } => read("FindUploads").on(bucket(name)),
        Q::Parts { upload, .. } => read("FindUploads").on(key(&upload.bucket, &upload.key)),
        Q::Keys { bucket: name, .. } => read("ListKeys").on(bucket(name)),
        Q::Bucket(name) => read("FindBuckets").on(bucket(name)),
        Q::Buckets { .. } => read("FindBuckets"),
        Q::User(name) => read("FindUsers").on(Subject::Text(name.clone())),
        Q::Users { .. } => read("FindUsers"),
        Q::AccessKey(id) => read("FindAccessKeys").on(Subject::Text(id.clone())),
        Q::AccessKeys { .. } => read("FindAccessKeys"),
        Q::Trash { .. } => read("ListTrash"),
        Q::Supergroup => read("FindSupergroup"),
        Q::Watch { inode, .. } => inner("Watch").on(*inode),
        Q::LockHolder { inode, .. } => inner("TestLock").on(*inode),
        Q::Session(_) => inner("KeepAlive"),
    }
}
