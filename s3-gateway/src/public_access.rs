//! What the owner of a bucket wants never to be public, whatever a policy says.

use minicbor::{Decode, Encode};
use s3s::dto::PublicAccessBlockConfiguration;

const VERSION: u8 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub(crate) struct PublicAccessBlock {
    /// There are no public access control lists here, so this and the next are fulfilled.
    #[n(0)]
    block_public_acls: bool,
    #[n(1)]
    ignore_public_acls: bool,
    /// A public policy is refused when it is put.
    #[n(2)]
    pub(crate) block_public_policy: bool,
    /// While the policy is public, it gives nobody a right but the owner.
    #[n(3)]
    pub(crate) restrict_public_buckets: bool,
}

impl PublicAccessBlock {
    pub(crate) const ALL: Self = Self {
        block_public_acls: true,
        ignore_public_acls: true,
        block_public_policy: true,
        restrict_public_buckets: true,
    };

    pub(crate) fn read(configuration: &PublicAccessBlockConfiguration) -> Self {
        Self {
            block_public_acls: configuration.block_public_acls == Some(true),
            ignore_public_acls: configuration.ignore_public_acls == Some(true),
            block_public_policy: configuration.block_public_policy == Some(true),
            restrict_public_buckets: configuration.restrict_public_buckets == Some(true),
        }
    }

    pub(crate) fn show(self) -> PublicAccessBlockConfiguration {
        PublicAccessBlockConfiguration {
            block_public_acls: Some(self.block_public_acls),
            ignore_public_acls: Some(self.ignore_public_acls),
            block_public_policy: Some(self.block_public_policy),
            restrict_public_buckets: Some(self.restrict_public_buckets),
        }
    }

    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        minicbor::encode(self, &mut bytes).expect("writing to memory does not fail");
        bytes
    }

    /// None if it does not read, or is of a later version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first() {
            Some((&VERSION, body)) => minicbor::decode(body).ok(),
            Some(_) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_keeps_its_bytes() {
        let block = PublicAccessBlock { block_public_policy: true, ..PublicAccessBlock::default() };
        assert_eq!(hex::encode(block.encode()), "0184f4f4f5f4");
        assert_eq!(PublicAccessBlock::decode(&block.encode()), Some(block));
        assert_eq!(PublicAccessBlock::read(&block.show()), block);
        assert_eq!([PublicAccessBlock::decode(b""), PublicAccessBlock::decode(b"\x01\xff")], [None, None]);
    }
}
