//! The Merkle tree over all entries in the order in which they were written (RFC 9162, section 2.1).

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

const LEAF: &[u8] = &[0];
const NODE: &[u8] = &[1];

/// The hash of one entry as a leaf.
#[must_use]
pub fn leaf(bytes: &[u8]) -> Digest {
    Digest::of_parts(&[LEAF, bytes])
}

fn node(left: Digest, right: Digest) -> Digest {
    let mut joined = [0; 65];
    let parts = NODE.iter().chain(&left.0).chain(&right.0);
    for (slot, byte) in joined.iter_mut().zip(parts) {
        *slot = *byte;
    }
    Digest::of(&joined)
}

/// A tree that only grows, kept as the roots of its complete subtrees, the largest first: as many as `size` has one bits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    size: u64,
    roots: Vec<Digest>,
}

impl Tree {
    /// How many leaves there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf on the right.
    pub fn push(&mut self, leaf: Digest) {
        let mut right = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.roots.pop() {
                right = node(left, right);
            }
        }
        self.roots.push(right);
        self.size += 1;
    }

    /// The hash of the whole tree. That of an empty tree is the digest of nothing.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut from_right = self.roots.iter().rev().copied();
        let Some(smallest) = from_right.next() else { return Digest::of(b"") };
        from_right.fold(smallest, |right, left| node(left, right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 9162, section 2.1.1, word by word.
    fn reference(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Digest::of(b""),
            [one] => *one,
            many => {
                let split = many.len().next_power_of_two() / 2;
                let (left, right) = many.split_at(split);
                node(reference(left), reference(right))
            }
        }
    }

    #[test]
    fn a_growing_tree_has_the_root_of_the_definition() {
        let mut tree = Tree::default();
        let mut leaves = Vec::new();
        for number in 0_u32..70 {
            assert_eq!(tree.root(), reference(&leaves));
            let leaf = leaf(&number.to_be_bytes());
            leaves.push(leaf);
            tree.push(leaf);
        }
    }

    #[test]
    fn the_roots_are_those_that_other_implementations_have() {
        // Leaves and roots of the test tree that Certificate Transparency implementations share.
        let mut tree = Tree::default();
        for input in [&b""[..], b"\0", b"\x10", b"\x20\x21", b"\x30\x31", b"@ABC", b"PQRSTUVW", b"`abcdefghijklmno"] {
            tree.push(leaf(input));
        }
        assert_eq!(tree.root().to_string(), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
    }
}
