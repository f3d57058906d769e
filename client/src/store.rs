//! The client: one connection to the metadata, and the operations on places: paths, mostly.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proto::v1;
use proto::v1::op::Kind as Op;
use tokio_util::task::TaskTracker;
use transfer::Buffers;
use transfer::frame::MAX_DATA;
use transfer::message::MAX_BLOCK;
use types::Code;

use crate::admin::Admin;
use crate::config::{Config, User};
use crate::datanode::Pool;
use crate::directory_policy::Remembered;
use crate::error::{Error, Fault};
use crate::listing::{self, Listing};
use crate::memory::Budget;
use crate::metadata::{Metadata, Scope};
use crate::object::{
    AppendOptions, AttrChange, Attributes, CreateOptions, Defaults, Entry, Kind, MkdirOptions, NodeOptions, Quota,
    XattrMode,
};
use crate::place::Place;
use crate::reader::FileReader;
use crate::wire;
use crate::writer::{self, FileWriter, Spares};

/// Buffers of a packet's size that are kept for the next writer.
const KEPT_BUFFERS: usize = 32;

/// How long closing waits for writers that were dropped.
const GIVING_UP: Duration = Duration::from_secs(5);

/// A connection to a cluster. Clones share it.
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) metadata: Metadata,
    pub(crate) datanodes: Arc<Pool>,
    /// What is written, and what is read, may hold so much.
    pub(crate) write_memory: Budget,
    pub(crate) read_memory: Budget,
    /// For packets of writers.
    pub(crate) buffers: Buffers,
    /// Blocks taken in advance.
    pub(crate) spares: Arc<Spares>,
    pub(crate) remembered: Arc<Remembered>,
    /// The writers' tasks: each ends soon after its handle, in order.
    pub(crate) tasks: TaskTracker,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("namenodes", &self.0.config.namenodes).finish_non_exhaustive()
    }
}

impl Client {
    /// Finds the leader among the namenodes. Fails when none was found within `op_timeout`.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        let subject = config.namenodes.join(",");
        let metadata = Metadata::connect(&config)
            .await
            .map_err(|fault| Error::new("connect to", format!("[{subject}]"), fault))?;
        let datanodes = Arc::new(Pool::new(&config, metadata.cluster()));
        let buffers = Buffers::new(MAX_DATA, KEPT_BUFFERS);
        let (write_memory, read_memory) = (Budget::new(config.write_memory), Budget::new(config.read_memory));
        Ok(Self(Arc::new(Shared {
            config,
            metadata,
            datanodes,
            write_memory,
            read_memory,
            buffers,
            spares: Arc::default(),
            remembered: Arc::default(),
            tasks: TaskTracker::new(),
        })))
    }

    /// The same connection and session, on behalf of another user.
    pub(crate) fn speaking_for(&self, user: User) -> Self {
        let Shared { config, metadata, datanodes, write_memory, read_memory, buffers, spares, remembered, tasks } =
            &*self.0;
        let metadata = metadata.speaking_for(wire::principal(&user));
        let config = Config { user, ..config.clone() };
        let (datanodes, buffers, tasks) = (Arc::clone(datanodes), buffers.clone(), tasks.clone());
        let (write_memory, read_memory) = (write_memory.clone(), read_memory.clone());
        let (spares, remembered) = (Arc::clone(spares), Arc::clone(remembered));
        Self(Arc::new(Shared {
            config,
            metadata,
            datanodes,
            write_memory,
            read_memory,
            buffers,
            spares,
            remembered,
            tasks,
        }))
    }

    /// Ends the session in order: leases that are left are free at once. Later operations of any clone fail.
    pub async fn close(&self) -> Result<(), Error> {
        // Writers that were dropped give their files up first; those still open at the deadline lose their lease.
        self.0.tasks.close();
        tokio::time::timeout(self.0.config.op_timeout.min(GIVING_UP), self.0.tasks.wait()).await.ok();
        self.0.metadata.close().await.map_err(|fault| Error::new("close", "the session", fault))
    }

    /// What the cluster does unless an open says otherwise.
    pub fn defaults(&self) -> &Defaults {
        self.0.metadata.defaults()
    }

    /// What is at a place. A symbolic link is followed to where it leads in the end.
    pub async fn stat(&self, at: impl Into<Place>) -> Result<Attributes, Error> {
        let at = &at.into();
        self.0.metadata.stat(wire::place(at)).await.map_err(|fault| Error::new("stat", at, fault))
    }

    /// What is at a place: a symbolic link itself, if that is there.
    pub async fn lstat(&self, at: impl Into<Place>) -> Result<Attributes, Error> {
        let at = &at.into();
        let op = Op::Stat(v1::Stat { place: Some(wire::place(at)) });
        self.0.metadata.attributes(op, Scope::Read).await.map_err(|fault| Error::new("stat", at, fault))
    }

    /// Lists a directory in byte order, page by page; the first page is fetched at once.
    pub async fn list(&self, at: impl Into<Place>) -> Result<Listing, Error> {
        let at = &at.into();
        Listing::start(self.clone(), at.clone()).await
    }

    /// One page of a directory: the entries behind the name `after` in byte order, and whether more follow these. For those
    /// who keep their own place in it.
    pub async fn list_page(&self, at: impl Into<Place>, after: &[u8]) -> Result<(Vec<Entry>, bool), Error> {
        let at = &at.into();
        listing::page(self, at, after.to_vec()).await.map_err(|fault| Error::new("list", at, fault))
    }

    pub async fn mkdir(&self, at: impl Into<Place>, options: MkdirOptions) -> Result<Attributes, Error> {
        let at = &at.into();
        let ownership = wire::ownership(&self.0.config.user, options.mode, options.uid, options.gid);
        let ownership = v1::Ownership { umask: options.umask, ..ownership };
        let place = Some(wire::place(at));
        let op = Op::Mkdir(v1::Mkdir { place, ownership: Some(ownership), parents: options.parents });
        self.changed(op, at).await.map_err(|fault| Error::new("make directory", at, fault))
    }

    /// Gives what is no directory another name, in an empty place.
    pub async fn link(&self, from: impl Into<Place>, to: impl Into<Place>) -> Result<Attributes, Error> {
        let (from, to) = (&from.into(), &to.into());
        let op = Op::Link(v1::Link { from: Some(wire::place(from)), to: Some(wire::place(to)) });
        let linked = self.changed(op, to).await;
        linked.map_err(|fault| Error::new("link", format_args!("{from} as {to}"), fault))
    }

    /// Makes a symbolic link, in an empty place. Nobody looks whether anything is at `target`, which has up to 4095 bytes.
    pub async fn symlink(&self, target: &[u8], at: impl Into<Place>) -> Result<Attributes, Error> {
        let at = &at.into();
        let (place, ownership) = (Some(wire::place(at)), Some(wire::ownership(&self.0.config.user, 0o777, None, None)));
        let op = Op::MakeSymlink(v1::MakeSymlink { place, target: target.to_vec(), ownership });
        self.changed(op, at).await.map_err(|fault| Error::new("make the symbolic link", at, fault))
    }

    /// Where a symbolic link leads.
    pub async fn read_link(&self, at: impl Into<Place>) -> Result<Vec<u8>, Error> {
        let at = &at.into();
        let no_link = || {
            let message = "it is no symbolic link; use stat to see what it is".to_owned();
            Error::new("read the link", at, Fault::Refused { code: Code::InvalidArgument, message })
        };
        self.lstat(at).await?.target.ok_or_else(no_link)
    }

    /// Makes a fifo or a socket, or as the superuser a device.
    pub async fn mknod(&self, at: impl Into<Place>, kind: Kind, options: NodeOptions) -> Result<Attributes, Error> {
        let at = &at.into();
        let NodeOptions { mode, umask, device } = options;
        let ownership = v1::Ownership { umask, ..wire::ownership(&self.0.config.user, mode, None, None) };
        let (place, kind) = (Some(wire::place(at)), wire::kind(kind).into());
        let op = Op::Mknod(v1::Mknod { place, kind, ownership: Some(ownership), device });
        self.changed(op, at).await.map_err(|fault| Error::new("make the special file", at, fault))
    }

    /// Moves an object. With `overwrite`, replaces what is there as rename(2) does.
    pub async fn rename(&self, from: impl Into<Place>, to: impl Into<Place>, overwrite: bool) -> Result<(), Error> {
        let (from, to) = (&from.into(), &to.into());
        let op = Op::Rename(v1::Rename { from: Some(wire::place(from)), to: Some(wire::place(to)), overwrite });
        let answer = self.0.metadata.call(op, Scope::Update).await;
        answer.map(|_| ()).map_err(|fault| Error::new("rename", format_args!("{from} to {to}"), fault))
    }

    /// Puts each of two objects in the place of the other, at once.
    pub async fn exchange(&self, first: impl Into<Place>, second: impl Into<Place>) -> Result<(), Error> {
        let (first, second) = (&first.into(), &second.into());
        let op = Op::Exchange(v1::Exchange { first: Some(wire::place(first)), second: Some(wire::place(second)) });
        let answer = self.0.metadata.call(op, Scope::Update).await;
        answer.map(|_| ()).map_err(|fault| Error::new("exchange", format_args!("{first} and {second}"), fault))
    }

    /// Removes an object. A directory must be empty unless `recursive`.
    pub async fn delete(&self, at: impl Into<Place>, recursive: bool) -> Result<(), Error> {
        let at = &at.into();
        let op = Op::Delete(v1::Delete { place: Some(wire::place(at)), recursive });
        let answer = self.0.metadata.call(op, Scope::Update).await;
        answer.map(|_| ()).map_err(|fault| Error::new("delete", at, fault))
    }

    pub async fn set_attr(&self, at: impl Into<Place>, change: AttrChange) -> Result<Attributes, Error> {
        let at = &at.into();
        let op = Op::SetAttr(wire::set_attr(at, &change));
        self.changed(op, at).await.map_err(|fault| Error::new("change attributes of", at, fault))
    }

    /// Bounds what lies below a directory, in place of earlier bounds. Only the superuser does.
    pub async fn set_quota(&self, at: impl Into<Place>, quota: Quota) -> Result<Attributes, Error> {
        let at = &at.into();
        let Quota { raw_bytes, inodes } = quota;
        let quota = Some(v1::Quota { raw_bytes, inodes });
        let op = Op::SetQuota(v1::SetQuota { place: Some(wire::place(at)), quota });
        self.changed(op, at).await.map_err(|fault| Error::new("set the quota of", at, fault))
    }

    /// Gives a directory a time to live, at least a second, or takes it away: what is below goes when its last modification
    /// is longer ago, by the nearest directory above that has one.
    pub async fn set_ttl(&self, at: impl Into<Place>, ttl: Option<Duration>) -> Result<Attributes, Error> {
        let at = &at.into();
        let ttl = ttl.map(|ttl| u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX));
        let op = Op::SetTtl(v1::SetTtl { place: Some(wire::place(at)), ttl });
        self.changed(op, at).await.map_err(|fault| Error::new("set the time to live of", at, fault))
    }

    /// Sets an extended attribute. The name begins with `user.`, `trusted.` or `security.`; a value has up to 64 KiB.
    pub async fn set_xattr(
        &self,
        at: impl Into<Place>,
        name: &[u8],
        value: &[u8],
        mode: XattrMode,
    ) -> Result<(), Error> {
        let at = &at.into();
        let mode = match mode {
            XattrMode::Any => v1::XattrMode::Any,
            XattrMode::Create => v1::XattrMode::Create,
            XattrMode::Replace => v1::XattrMode::Replace,
        };
        let (name, value) = (name.to_vec(), value.to_vec());
        let op = Op::SetXattr(v1::SetXattr { place: Some(wire::place(at)), name, value, mode: mode.into() });
        let answer = self.0.metadata.call(op, Scope::Update).await;
        answer.map(|_| ()).map_err(|fault| Error::new("set an attribute of", at, fault))
    }

    pub async fn remove_xattr(&self, at: impl Into<Place>, name: &[u8]) -> Result<(), Error> {
        let at = &at.into();
        let op = Op::RemoveXattr(v1::RemoveXattr { place: Some(wire::place(at)), name: name.to_vec() });
        let answer = self.0.metadata.call(op, Scope::Update).await;
        answer.map(|_| ()).map_err(|fault| Error::new("remove an attribute of", at, fault))
    }

    /// The value of an extended attribute.
    pub async fn xattr(&self, at: impl Into<Place>, name: &[u8]) -> Result<Vec<u8>, Error> {
        let at = &at.into();
        let op = Op::GetXattr(v1::GetXattr { place: Some(wire::place(at)), name: name.to_vec() });
        let value = match self.0.metadata.call(op, Scope::Read).await {
            Ok((v1::reply::Result::Xattr(v1::Xattr { value }), _)) => Ok(value),
            Ok((other, _)) => Err(Metadata::unexpected(&other)),
            Err(fault) => Err(fault),
        };
        value.map_err(|fault| Error::new("read an attribute of", at, fault))
    }

    /// Refuses unless this client's user may do all of `mask` to what is there: 4 reads, 2 writes, 1 executes or searches,
    /// as in access(2); 0 asks only whether it is there.
    pub async fn access(&self, at: impl Into<Place>, mask: u32) -> Result<(), Error> {
        let at = &at.into();
        let op = Op::Access(v1::Access { place: Some(wire::place(at)), mask });
        let answer = match self.0.metadata.call(op, Scope::Read).await {
            Ok((v1::reply::Result::Done(_), _)) => Ok(()),
            Ok((other, _)) => Err(Metadata::unexpected(&other)),
            Err(fault) => Err(fault),
        };
        answer.map_err(|fault| Error::new("check access to", at, fault))
    }

    /// The names of the extended attributes, in byte order; those of `trusted.` only for the superuser.
    pub async fn xattr_names(&self, at: impl Into<Place>) -> Result<Vec<Vec<u8>>, Error> {
        let at = &at.into();
        let op = Op::ListXattrs(v1::ListXattrs { place: Some(wire::place(at)) });
        let names = match self.0.metadata.call(op, Scope::Read).await {
            Ok((v1::reply::Result::XattrNames(v1::XattrNames { names }), _)) => Ok(names),
            Ok((other, _)) => Err(Metadata::unexpected(&other)),
            Err(fault) => Err(fault),
        };
        names.map_err(|fault| Error::new("list the attributes of", at, fault))
    }

    /// Creates a file and opens it for writing. It is visible at once, empty, unless `atomic`.
    pub async fn create(&self, at: impl Into<Place>, options: CreateOptions) -> Result<FileWriter, Error> {
        let at = &at.into();
        FileWriter::create(self.clone(), at.clone(), options).await
    }

    /// Opens a closed file for writing at its end. One whose writer is lost is taken from it once its soft limit has
    /// passed, and recovered; that is waited for. Meanwhile readers see what they saw.
    pub async fn append(&self, at: impl Into<Place>, options: AppendOptions) -> Result<FileWriter, Error> {
        FileWriter::append(self.clone(), at.into(), options).await
    }

    /// Takes a file from a writer that is lost, and waits until it is closed. With `force`, whether or not the writer's
    /// soft limit has passed; only the owner of the file does that.
    pub async fn recover_lease(&self, at: impl Into<Place>, force: bool) -> Result<(), Error> {
        let at = &at.into();
        writer::recover(self, at, force).await.map_err(|fault| Error::new("recover", at, fault))
    }

    /// Stores a whole object: it appears complete or not at all. Short ones cost a single metadata operation.
    pub async fn put(&self, at: impl Into<Place>, content: Bytes, options: CreateOptions) -> Result<Attributes, Error> {
        let at = &at.into();
        let size_hint = Some(content.len() as u64);
        if content.len() as u64 <= self.defaults().inline_max.get() {
            let stored = writer::put_inline(self, at, content, &options).await;
            return stored.map_err(|fault| Error::new("put", at, fault));
        }
        let longest = options.block_size.unwrap_or(self.defaults().block_size).min(MAX_BLOCK);
        if content.len() as u64 <= longest.get() {
            let stored = writer::put_block(self, at, content, &options).await;
            return stored.map_err(|fault| Error::new("put", at, fault));
        }
        let mut writer = self.create(at, CreateOptions { atomic: true, size_hint, ..options }).await?;
        writer.write(content).await?;
        writer.close().await
    }

    pub async fn open(&self, at: impl Into<Place>) -> Result<FileReader, Error> {
        let at = &at.into();
        FileReader::open(self.clone(), at.clone()).await
    }

    /// What an administrator asks.
    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }

    /// Sends an update that is answered with the attributes of the object at `at`.
    pub(crate) async fn changed(&self, op: Op, at: &Place) -> Result<Attributes, Fault> {
        match self.0.metadata.call(op, Scope::Update).await?.0 {
            v1::reply::Result::Attributes(attributes) => wire::attributes(attributes),
            v1::reply::Result::Done(_) => {
                let stat = Op::Stat(v1::Stat { place: Some(wire::place(at)) });
                self.0.metadata.attributes(stat, Scope::Read).await
            }
            other => Err(Metadata::unexpected(&other)),
        }
    }
}
