//! An object on its way to its key.

use minicbor::{Decode, Encode};
use types::InodeId;

use crate::bucket::Condition;
use crate::command::{BlockDone, Layout, Ownership};

/// An object that gets another key of its bucket.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct KeyRename {
    #[n(0)]
    pub bucket: String,
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub from: Vec<u8>,
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    pub to: Vec<u8>,
    /// Of what is renamed.
    #[n(3)]
    pub from_condition: Option<Condition>,
    /// Of what is at the new key.
    #[n(4)]
    pub to_condition: Option<Condition>,
}

/// An object to put at its key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Publication {
    #[n(0)]
    pub bucket: String,
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub key: Vec<u8>,
    #[n(2)]
    pub content: Content,
    /// Of the content; without it, one is made of inode and change.
    #[n(3)]
    pub etag: Option<String>,
    /// What the writer wants back with the object; not looked into.
    #[n(4)]
    #[cbor(with = "minicbor::bytes")]
    pub properties: Vec<u8>,
    /// Extended attributes that it gets.
    #[n(5)]
    pub attributes: Vec<Attribute>,
    #[n(6)]
    pub condition: Option<Condition>,
}

impl Publication {
    /// Bytes in the log, roughly.
    pub fn size(&self) -> usize {
        let content = match &self.content {
            Content::Inline { content, .. } => content.len(),
            Content::Written { .. } | Content::Copied { .. } | Content::Directory { .. } => 0,
        };
        let attributes = self.attributes.iter().map(|attribute| attribute.name.len() + attribute.value.len());
        content + self.properties.len() + self.key.len() + attributes.sum::<usize>()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Attribute {
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub name: Vec<u8>,
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub value: Vec<u8>,
}

/// Where the bytes of an object come from.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Content {
    #[n(0)]
    Inline {
        #[n(0)]
        ownership: Ownership,
        #[n(1)]
        layout: Layout,
        #[n(2)]
        #[cbor(with = "minicbor::bytes")]
        content: Vec<u8>,
    },
    /// A file without a name that this session has written.
    #[n(1)]
    Written {
        #[n(0)]
        inode: InodeId,
        #[n(1)]
        last: Option<BlockDone>,
        #[n(2)]
        min_replicas: u8,
    },
    /// Another object, whose blocks are shared, or whose bytes are copied if they live with the inode.
    #[n(3)]
    Copied {
        #[n(0)]
        ownership: Ownership,
        #[n(1)]
        layout: Layout,
        #[n(2)]
        source: Source,
    },
    /// None: the key ends with a slash, and means the directory.
    #[n(2)]
    Directory {
        #[n(0)]
        ownership: Ownership,
    },
}

/// An object to copy from, as whoever asks has seen it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Source {
    #[n(0)]
    pub bucket: String,
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub key: Vec<u8>,
    #[n(2)]
    pub inode: InodeId,
    #[n(3)]
    pub etag: String,
}
