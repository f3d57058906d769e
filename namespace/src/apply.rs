//! Runs one request against the state.

use types::{BlockId, InodeId, StorageId};

use crate::command::{Command, Reply, Request};
use crate::commands::add_token_key;
use crate::commands::clone_range::Cloning;
use crate::commands::complete::Closing;
use crate::commands::join_extents::Join;
use crate::commands::put_blocks::Whole;
use crate::commands::write_extents::Writing;
use crate::commands::{
    abandon, abandon_block, add_block, add_replica, allocate_blocks, append, clone_range, complete, concat, create,
    delete, drop_unlisted, end_session, exchange, extend, format, gc_step, handles, join_extents, link, mkdir, mknod,
    next_generation, note_reads, open_session, punch, put_blocks, put_inline, recover_lease, recovery,
    register_datanode, release_blocks, remove_replica, rename, replicas_deleted, report_bad_replica, set_attr,
    set_lock, set_quota, set_supergroup, set_xattr, symlink, trash, truncate, write_extents,
};
use crate::commands::{abort_upload, complete_upload, create_upload, put_part};
use crate::commands::{access_key, create_bucket, delete_bucket, delete_key, publish, rename_key, set_bucket_setting};
use crate::commands::{
    bury, empty_trash, expire_trash, job, move_replica, remove_aged, restore_trash, set_directory_policy, set_policy,
    set_service, set_ttl, user,
};
use crate::error::Error;
use crate::exactly_once;
use crate::transaction::{Outcome, Transaction};
use crate::tree::Move;
use crate::view::{View, ViewError, Write};

/// What a request does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub reply: Result<Reply, Error>,
    /// All or nothing (invariant 1).
    pub writes: Vec<Write>,
    pub effects: Vec<Effect>,
}

/// A hint that there is work for the leader. Losing one is safe: the scanners find the same from the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Something was removed that `GcStep` has to free.
    GarbageAdded,
    /// This storage has replicas to delete.
    ReplicasToDelete(StorageId),
    /// This block has fewer good replicas than wanted.
    ReplicationShort(BlockId),
    /// Locks on this inode are gone or weaker: who waits for one may ask again.
    LocksReleased(InodeId),
}

/// Runs one committed request against the state as of its log index.
///
/// # Errors
/// Only when the state cannot be read; a refused request is an answer, in [`Applied::reply`].
pub fn apply(view: &impl View, request: &Request) -> Result<Applied, ViewError> {
    exactly_once::guard(view, request, |txn| dispatch(txn, &request.command))
}

fn dispatch<V: View>(txn: &mut Transaction<'_, V>, command: &Command) -> Outcome<Reply> {
    match command {
        Command::Noop => Ok(Reply::Done),
        Command::Format { cluster, owner } => format::run(txn, *cluster, *owner),
        Command::OpenSession { client } => open_session::run(txn, client),
        Command::CloseSession { session } => end_session::close(txn, *session),
        Command::ExpireSession { session, limit } => end_session::expire(txn, *session, *limit),
        Command::Mkdir { place, ownership, parents } => mkdir::run(txn, place, *ownership, *parents),
        Command::Create { destination, ownership, layout, targets } => {
            create::run(txn, destination.as_ref(), *ownership, *layout, targets)
        }
        Command::PutInline { destination, ownership, layout, content, mtime } => {
            put_inline::run(txn, destination, *ownership, *layout, content, *mtime)
        }
        Command::AddBlock { inode, previous, targets, min_replicas } => {
            add_block::run(txn, *inode, previous.as_ref(), targets, *min_replicas)
        }
        Command::Extend { inode, written } => extend::run(txn, *inode, written),
        Command::NextGeneration { inode, block, generation, survivors } => {
            next_generation::run(txn, *inode, *block, *generation, survivors)
        }
        Command::AbandonBlock { inode, block } => abandon_block::run(txn, *inode, *block),
        Command::Complete { inode, last, min_replicas, publish, mtime } => {
            let (last, publish) = (last.as_ref(), publish.as_ref());
            complete::run(txn, *inode, &Closing { last, min_replicas: *min_replicas, publish, mtime: *mtime })
        }
        Command::Abandon { inode } => abandon::run(txn, *inode),
        Command::Rename { from, to, overwrite } => rename::run(txn, &Move { from, to, overwrite: *overwrite }),
        Command::Exchange { first, second } => exchange::run(txn, first, second),
        Command::Delete { place, recursive } => delete::run(txn, place, *recursive),
        Command::Bury { place, recursive, keep_nanos } => bury::run(txn, place, *recursive, *keep_nanos),
        Command::GcStep { limit, grace_nanos } => gc_step::run(txn, *limit, *grace_nanos),
        Command::SetAttr { place, change } => set_attr::run(txn, place, change),
        Command::SetQuota { place, quota } => set_quota::run(txn, place, *quota),
        Command::SetXattr { place, name, value, mode } => set_xattr::set(txn, place, name, value, *mode),
        Command::RemoveXattr { place, name } => set_xattr::remove(txn, place, name),
        Command::SetLock { inode, wish, .. } => set_lock::run(txn, *inode, wish),
        Command::ReleaseLocks { inode, owner } => set_lock::release(txn, *inode, *owner),
        Command::OpenHandle { place, rights, create } => handles::open(txn, place, *rights, *create),
        Command::CloseHandles { closed } => handles::close(txn, closed),
        Command::NoteReads { reads } => note_reads::run(txn, reads),
        Command::Publish { publication } => publish::run(txn, publication),
        Command::DeleteKey { bucket, key, condition } => delete_key::run(txn, bucket, key, condition.as_ref(), 0),
        Command::BuryKey { bucket, key, condition, keep_nanos } => {
            delete_key::run(txn, bucket, key, condition.as_ref(), *keep_nanos)
        }
        Command::RenameKey { rename } => rename_key::run(txn, rename),
        Command::CreateBucket { bucket, place, ownership } => create_bucket::run(txn, bucket, place, *ownership),
        Command::DeleteBucket { bucket } => delete_bucket::run(txn, bucket),
        Command::SetBucketSetting { bucket, setting, value } => {
            set_bucket_setting::run(txn, bucket, *setting, value.as_deref())
        }
        Command::SetSupergroup { gid } => set_supergroup::run(txn, *gid),
        Command::PutAccessKey { id, row } => access_key::put(txn, id, row),
        Command::RemoveAccessKey { id } => access_key::remove(txn, id),
        Command::CreateUpload { bucket, key, properties } => create_upload::run(txn, bucket, key, properties),
        Command::PutPart { upload, number, part } => put_part::run(txn, upload, *number, part),
        Command::CompleteUpload { completion } => complete_upload::run(txn, completion),
        Command::AbortUpload { upload } => abort_upload::run(txn, upload),
        Command::ExpireUpload { directory, key, id } => abort_upload::expire(txn, *directory, key, *id),
        Command::AllocateBlocks { wanted, targets } => allocate_blocks::run(txn, *wanted, targets),
        Command::ReleaseBlocks { blocks } => release_blocks::run(txn, blocks),
        Command::WriteExtents { place, blocks, edits, append, min_replicas, terms, inline } => {
            let (append, min_replicas, terms, inline) = (*append, *min_replicas, *terms, inline.as_deref());
            write_extents::run(txn, place, &Writing { blocks, edits, append, min_replicas, terms, inline })
        }
        Command::JoinExtents { inode, block, pieces, min_replicas, grace_nanos } => {
            let (min_replicas, grace_nanos) = (*min_replicas, *grace_nanos);
            join_extents::run(txn, *inode, &Join { block, pieces, min_replicas, grace_nanos })
        }
        Command::Truncate { place, length, terms } => truncate::run(txn, place, *length, terms),
        Command::Punch { place, offset, length, terms } => punch::run(txn, place, (*offset, *length), terms),
        Command::CloneRange { from, offset, length, to, to_offset, terms } => {
            let (offset, length, to_offset, terms) = (*offset, *length, *to_offset, *terms);
            clone_range::run(txn, &Cloning { from, offset, length, to, to_offset, terms })
        }
        Command::Concat { to, from, terms } => concat::run(txn, to, from, terms),
        Command::PutBlocks { destination, ownership, layout, blocks, min_replicas, mtime } => {
            let (ownership, layout, min_replicas, mtime) = (*ownership, *layout, *min_replicas, *mtime);
            put_blocks::run(txn, destination, &Whole { ownership, layout, blocks, min_replicas, mtime })
        }
        Command::Link { from, to } => link::run(txn, from, to),
        Command::Symlink { place, target, ownership } => symlink::run(txn, place, target, *ownership),
        Command::Mknod { place, kind, ownership, device } => mknod::run(txn, place, *kind, *ownership, *device),
        Command::RegisterDatanode { node } => register_datanode::run(txn, node),
        Command::AddReplica { block, generation, location } => add_replica::run(txn, *block, *generation, *location),
        Command::RemoveReplica { block, generation, storage } => {
            remove_replica::run(txn, *block, *generation, *storage)
        }
        Command::ReportBadReplica { block, generation, storage } => {
            report_bad_replica::run(txn, *block, *generation, *storage)
        }
        Command::RecoverLease { place, force, holder } => recover_lease::run(txn, place, *force, *holder),
        Command::BeginRecovery { block } => recovery::begin(txn, *block),
        Command::CommitRecovery { recovered } => recovery::commit(txn, recovered),
        Command::Append { place, holder } => append::run(txn, place, *holder),
        Command::Trash { place, recursive, keep_nanos } => trash::run(txn, place, *recursive, *keep_nanos),
        Command::RestoreTrash { uid, item, to, parents } => {
            restore_trash::run(txn, (*uid, *item), to.as_ref(), *parents)
        }
        Command::EmptyTrash { uid, item, limit } => empty_trash::run(txn, *uid, *item, *limit),
        Command::ExpireTrash { limit } => expire_trash::run(txn, *limit),
        Command::SetTtl { place, ttl_nanos } => set_ttl::run(txn, place, *ttl_nanos),
        Command::SetService { node, service, only_if, by } => {
            set_service::run(txn, *node, *service, *only_if, by.as_deref())
        }
        Command::User { name, order } => user::run(txn, name, order),
        Command::Job { order } => job::run(txn, order),
        Command::SetDirectoryPolicy { place, setting } => set_directory_policy::run(txn, place, *setting),
        Command::SetPolicy { policy, value, by } => set_policy::run(txn, *policy, *value, by.as_deref()),
        Command::MoveReplica { block, generation, source, target } => {
            move_replica::run(txn, *block, *generation, *source, *target)
        }
        Command::AddTokenKey { secret, after, unused_since } => add_token_key::run(txn, secret, *after, *unused_since),
        Command::RemoveAged { aged } => remove_aged::run(txn, aged),
        Command::ReplicasDeleted { storage, replicas } => replicas_deleted::run(txn, *storage, replicas),
        Command::DropUnlisted { location, replicas, grace_nanos } => {
            drop_unlisted::run(txn, *location, replicas, *grace_nanos)
        }
    }
}
