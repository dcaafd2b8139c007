//! The baseline of the storage tables: a radix-16 SHA-256 trie over ids in memory, without records, rows or views.

use sha2::{Digest, Sha256};

type Id = [u8; 32];
const BUCKET: usize = 32;

enum Node {
    Bucket(Vec<(Id, Id)>),
    Inner(Box<[Option<Box<HashedNode>>; 16]>),
}

struct HashedNode {
    node: Node,
    hash: Id,
    stale: bool,
}

#[derive(Default)]
pub(crate) struct BareTrie(Option<Box<HashedNode>>);

fn nibble(id: &Id, depth: usize) -> usize {
    usize::from(if depth.is_multiple_of(2) { id[depth / 2] >> 4 } else { id[depth / 2] & 15 })
}

impl BareTrie {
    pub(crate) fn insert(&mut self, id: Id) {
        put(&mut self.0, (id, Sha256::digest(id).into()), 0);
    }

    pub(crate) fn root(&mut self) -> Id {
        self.0.as_mut().map_or([0; 32], |hashed| hash(hashed))
    }
}

fn put(slot: &mut Option<Box<HashedNode>>, entry: (Id, Id), depth: usize) {
    let hashed = slot.get_or_insert_with(|| {
        Box::new(HashedNode { node: Node::Bucket(Vec::new()), hash: [0; 32], stale: true })
    });
    hashed.stale = true;
    match &mut hashed.node {
        Node::Inner(children) => put(&mut children[nibble(&entry.0, depth)], entry, depth + 1),
        Node::Bucket(entries) => {
            match entries.binary_search_by(|own| own.0.cmp(&entry.0)) {
                Ok(at) => entries[at] = entry,
                Err(at) => entries.insert(at, entry),
            }
            if entries.len() > BUCKET {
                let entries = std::mem::take(entries);
                let mut children: Box<[Option<Box<HashedNode>>; 16]> = Box::default();
                for entry in entries {
                    put(&mut children[nibble(&entry.0, depth)], entry, depth + 1);
                }
                hashed.node = Node::Inner(children);
            }
        }
    }
}

fn hash(hashed: &mut HashedNode) -> Id {
    if std::mem::take(&mut hashed.stale) {
        let mut hasher = Sha256::new();
        match &mut hashed.node {
            Node::Bucket(entries) => entries.iter().for_each(|(_, own)| hasher.update(own)),
            Node::Inner(children) => {
                for child in children.iter_mut() {
                    hasher.update(child.as_mut().map_or([0; 32], |child| hash(child)));
                }
            }
        }
        hashed.hash = hasher.finalize().into();
    }
    hashed.hash
}
