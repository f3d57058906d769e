//! Random uploads, parts, completions and copies against an oracle that knows of each byte where it lies.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use types::{BlockId, ByteSize, Code, GenStamp, SessionId};

use super::super::{Cluster, LAYOUT, OWNER, at, invariants, locations, storages};
use crate::access::Caller;
use crate::bucket::Condition;
use crate::command::{
    BlockDone, Command, Completion, Content, Layout, NewPart, Ownership, PartContent, PartName, Publication, Reply,
    Source, UploadName,
};
use crate::placement;
use crate::query::{self, UploadItem, UploadQuery};

const BUCKET: &str = "bucket";
const KEYS: [&[u8]; 4] = [b"a", b"b", b"d/a", b"d/e/b"];

#[derive(Debug, Clone)]
enum Step {
    Begin(usize),
    /// One or two blocks.
    Put {
        upload: Index,
        number: u16,
        lengths: Vec<u64>,
    },
    Share {
        upload: Index,
        number: u16,
        from: usize,
        range: (u64, u64),
    },
    Complete {
        upload: Index,
        leave_out: u16,
        absent: bool,
    },
    Abort(Index),
    Copy {
        from: usize,
        to: usize,
    },
    Delete(usize),
    Collect(u32),
    /// What was asked last is asked again, by the same number.
    Retry,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 0..KEYS.len();
    let lengths = proptest::collection::vec(1_u64..16, 1..3);
    prop_oneof![
        3 => key().prop_map(Step::Begin),
        8 => (any::<Index>(), 1_u16..4, lengths)
            .prop_map(|(upload, number, lengths)| Step::Put { upload, number, lengths }),
        3 => (any::<Index>(), 1_u16..4, key(), (0_u64..40, 0_u64..20))
            .prop_map(|(upload, number, from, range)| Step::Share { upload, number, from, range }),
        4 => (any::<Index>(), 0_u16..4, any::<bool>())
            .prop_map(|(upload, leave_out, absent)| Step::Complete { upload, leave_out, absent }),
        1 => any::<Index>().prop_map(Step::Abort),
        2 => (key(), key()).prop_map(|(from, to)| Step::Copy { from, to }),
        2 => key().prop_map(Step::Delete),
        2 => (1_u32..4).prop_map(Step::Collect),
        2 => Just(Step::Retry),
    ]
}

/// Where each byte lies.
type Bytes = Vec<(BlockId, u64)>;
/// By number.
type Parts = BTreeMap<u16, (PartName, Bytes)>;

struct History {
    cluster: Cluster,
    session: SessionId,
    /// By id: the key, and the parts.
    uploads: BTreeMap<u64, (usize, Parts)>,
    objects: BTreeMap<usize, Bytes>,
    last: Option<(crate::command::Request, Result<Reply, crate::Error>)>,
}

impl History {
    fn new() -> Self {
        let mut cluster = Cluster::formatted();
        let ownership = Ownership { mode: 0o755, ..OWNER };
        let (bucket, place) = (BUCKET.to_owned(), at("/bucket"));
        cluster.run(Command::CreateBucket { bucket, place, ownership }).expect("made");
        let session = cluster.open_session();
        Self { cluster, session, uploads: BTreeMap::new(), objects: BTreeMap::new(), last: None }
    }

    fn ask(&mut self, command: Command) -> Result<Reply, crate::Error> {
        let request = self.cluster.request(Some(self.session), command);
        let reply = self.cluster.apply(&request).reply;
        self.last = Some((request, reply.clone()));
        reply
    }

    fn upload(&self, index: &Index) -> Option<UploadName> {
        let ids: Vec<_> = self.uploads.keys().copied().collect();
        let id = *ids.get(index.index(ids.len().max(1)))?;
        let key = KEYS[self.uploads[&id].0].to_vec();
        Some(UploadName { bucket: BUCKET.to_owned(), key, id: types::InodeId::new(id) })
    }

    fn source(&self, key: usize) -> Option<Source> {
        let found = query::open_key(&self.cluster.state, Caller::SYSTEM, BUCKET, KEYS[key], 0, 0, false).ok()?;
        let (bucket, key) = (BUCKET.to_owned(), KEYS[key].to_vec());
        Some(Source { bucket, key, inode: found.opened.attributes.inode, etag: found.etag })
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Begin(key) => {
                let (bucket, name) = (BUCKET.to_owned(), KEYS[key].to_vec());
                match self.ask(Command::CreateUpload { bucket, key: name, properties: Vec::new() }) {
                    Ok(Reply::Upload { id, .. }) => drop(self.uploads.insert(id.get(), (key, BTreeMap::new()))),
                    other => panic!("{other:?}"),
                }
            }
            Step::Put { upload, number, lengths } => {
                let Some(upload) = self.upload(&upload) else { return };
                let (inode, last, bytes) = self.write(&lengths);
                let content = PartContent::Written { inode, last, min_replicas: 2 };
                self.put_part(upload, number, content, bytes);
            }
            Step::Share { upload, number, from, range: (offset, length) } => {
                let (Some(upload), Some(source)) = (self.upload(&upload), self.source(from)) else { return };
                let content = PartContent::Shared { source, offset, length, replication: 3, spread: None };
                let object = &self.objects[&from];
                match object.get(offset as usize..(offset + length) as usize).map(<[_]>::to_vec) {
                    Some(bytes) => self.put_part(upload, number, content, bytes),
                    None => {
                        let part = NewPart { content, etag: "e".to_owned(), properties: Vec::new() };
                        let refused = self.ask(Command::PutPart { upload, number, part });
                        assert_eq!(refused.expect_err("behind the end").code(), Code::SourceChanged);
                    }
                }
            }
            Step::Complete { upload, leave_out, absent } => self.complete(&upload, leave_out, absent),
            Step::Abort(upload) => {
                let Some(upload) = self.upload(&upload) else { return };
                self.uploads.remove(&upload.id.get());
                self.ask(Command::AbortUpload { upload }).expect("it is there");
            }
            Step::Copy { from, to } => {
                let Some(source) = self.source(from) else { return };
                let layout = Layout { spread: Some(placement::Policy::TwoRacks), ..LAYOUT };
                let content = Content::Copied { ownership: OWNER, layout, source };
                let (bucket, key, etag) = (BUCKET.to_owned(), KEYS[to].to_vec(), Some("c".to_owned()));
                let (properties, attributes, condition) = (Vec::new(), Vec::new(), None);
                let publication = Publication { bucket, key, content, etag, properties, attributes, condition };
                self.ask(Command::Publish { publication }).expect("copied");
                self.objects.insert(to, self.objects[&from].clone());
            }
            Step::Delete(key) => {
                let (bucket, name) = (BUCKET.to_owned(), KEYS[key].to_vec());
                self.ask(Command::DeleteKey { bucket, key: name, condition: None }).expect("gone or never there");
                self.objects.remove(&key);
            }
            Step::Collect(limit) => {
                self.cluster.run(Command::GcStep { limit, grace_nanos: 0 }).expect("a step");
            }
            Step::Retry => {
                let Some((request, reply)) = self.last.clone() else { return };
                let before = self.cluster.state.clone();
                assert_eq!(self.cluster.apply(&request).reply, reply);
                assert_eq!(self.cluster.state, before);
            }
        }
    }

    /// A file without a name, its last block not committed yet.
    fn write(&mut self, lengths: &[u64]) -> (types::InodeId, Option<BlockDone>, Bytes) {
        let create =
            Command::Create { destination: None, ownership: OWNER, layout: LAYOUT, targets: locations(&[1, 2, 3]) };
        let Ok(Reply::Created { attributes, block: Some(first) }) = self.ask(create) else { panic!("a new file") };
        let (mut block, mut last, mut bytes) = (first.block, None, Vec::new());
        for length in lengths {
            if let Some(previous) = last.take() {
                let targets = locations(&[1, 2, 3]);
                let add =
                    Command::AddBlock { inode: attributes.inode, previous: Some(previous), targets, min_replicas: 2 };
                let Ok(Reply::Block { block: next }) = self.ask(add) else { panic!("another block") };
                block = next.block;
            }
            let (generation, length_done) = (GenStamp::FIRST, ByteSize::new(*length));
            last = Some(BlockDone { block, generation, length: length_done, replicas: storages(&[1, 2, 3]) });
            bytes.extend((0..*length).map(|at| (block, at)));
        }
        (attributes.inode, last, bytes)
    }

    fn put_part(&mut self, upload: UploadName, number: u16, content: PartContent, bytes: Bytes) {
        let id = upload.id.get();
        let part = NewPart { content, etag: "e".to_owned(), properties: Vec::new() };
        match self.ask(Command::PutPart { upload, number, part }) {
            Ok(Reply::Part { inode, length, .. }) => {
                assert_eq!(length.get(), bytes.len() as u64);
                let parts = &mut self.uploads.get_mut(&id).expect("it is there").1;
                parts.insert(number, (PartName { number, inode }, bytes));
            }
            other => panic!("{other:?}"),
        }
    }

    fn complete(&mut self, upload: &Index, leave_out: u16, absent: bool) {
        let Some(upload) = self.upload(upload) else { return };
        let id = upload.id.get();
        let (key, parts) = self.uploads[&id].clone();
        let used: Vec<_> = parts.into_values().filter(|(part, _)| part.number != leave_out).collect();
        let completion = Completion {
            upload,
            parts: used.iter().map(|(part, _)| *part).collect(),
            ownership: OWNER,
            layout: Layout { spread: Some(placement::Policy::Spread), ..LAYOUT },
            etag: format!("{id}-{}", used.len()),
            properties: Vec::new(),
            attributes: Vec::new(),
            condition: absent.then_some(Condition::Absent),
            part_list: vec![0; 70_000],
        };
        let before = self.cluster.state.clone();
        let reply = self.ask(Command::CompleteUpload { completion: completion.clone() });
        let expected = match (absent && self.objects.contains_key(&key), used.is_empty()) {
            (true, _) => Some(Code::PreconditionFailed),
            (false, true) => Some(Code::InvalidArgument),
            (false, false) => None,
        };
        if let Some(expected) = expected {
            assert_eq!(reply.expect_err("refused").code(), expected);
            // Only the stored answer is new.
            assert_eq!(query::totals(&self.cluster.state), query::totals(&before));
            return;
        }
        let again = self.ask(Command::CompleteUpload { completion });
        assert_eq!(again, reply);
        self.uploads.remove(&id);
        self.objects.insert(key, used.into_iter().flat_map(|(_, bytes)| bytes).collect());
    }

    fn check(&self) {
        invariants::check(&self.cluster.state);
        for (at, key) in KEYS.iter().enumerate() {
            let found = query::open_key(&self.cluster.state, Caller::SYSTEM, BUCKET, key, 0, u64::MAX, true);
            let Some(expected) = self.objects.get(&at) else {
                assert!(found.is_err(), "{found:?}");
                continue;
            };
            let found = found.expect("it is there");
            let query::Content::Blocks { blocks, .. } = found.opened.content else { panic!("it is of blocks") };
            let bytes = blocks.iter().flat_map(|located| {
                let (block, start) = (located.block, located.block_offset.get());
                (start..start + located.length.get()).map(move |at| (block, at))
            });
            assert_eq!(&bytes.collect::<Bytes>(), expected, "{at}");
            assert_eq!(found.opened.attributes.length.get(), expected.len() as u64);
        }
        let all = UploadQuery { prefix: b"", delimiter: b"", after: b"", after_id: None, max: 1000 };
        let page = query::uploads(&self.cluster.state, Caller::SYSTEM, BUCKET, &all).expect("a page");
        let mut expected: Vec<_> = self.uploads.iter().map(|(id, (key, _))| (KEYS[*key].to_vec(), *id)).collect();
        expected.sort();
        let found = page.items.into_iter().map(|item| match item {
            UploadItem::Upload(upload) => (upload.key, upload.id.get()),
            UploadItem::Prefix(prefix) => panic!("nothing is rolled up: {prefix:?}"),
        });
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }
}

proptest! {
    #[test]
    fn uploads_and_copies_are_those_of_an_oracle_that_knows_each_byte(
        steps in proptest::collection::vec(step(), 0..40),
    ) {
        let mut history = History::new();
        for step in steps {
            history.run(step);
            history.check();
        }
    }
}
