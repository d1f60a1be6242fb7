//! The head of the tree, signed: a C2SP tlog-checkpoint in a C2SP signed-note with Ed25519 (type 0x01).

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::digest::Digest;

/// The algorithm byte of Ed25519 in a signed note.
const ED25519_TYPE: u8 = 1;

/// How many entries there were and what they hash to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The number of leaves.
    pub size: u64,
    /// The root of the tree.
    pub root: Digest,
}

/// Who signs: a name without spaces or plus signs, and a key.
pub struct Signer {
    origin: String,
    key: Ed25519KeyPair,
}

impl Signer {
    /// The signer with this name and the key of this 32-byte seed (RFC 8032).
    ///
    /// # Errors
    ///
    /// When the name can't be the name of a key, or the seed does not have 32 bytes.
    pub fn new(origin: &str, seed: &[u8]) -> Result<Self, String> {
        if !is_key_name(origin) {
            return Err(format!("`{origin}` is no name of a key: it has a space or a plus sign, or nothing at all"));
        }
        let key = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|error| format!("no signing key: {error}"))?;
        Ok(Self { origin: origin.to_owned(), key })
    }

    /// What outsiders need to check signatures, in the form of a note verifier key: `name+hash+base64`.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        let mut public = [0; 32];
        public.copy_from_slice(self.key.public_key().as_ref());
        Verifier { origin: self.origin.clone(), public }
    }

    /// The checkpoint as a signed note.
    #[must_use]
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        let text = text(&self.origin, checkpoint);
        let mut signature = self.verifier().key_hash().to_vec();
        signature.extend_from_slice(self.key.sign(text.as_bytes()).as_ref());
        format!("{text}\n\u{2014} {} {}\n", self.origin, STANDARD.encode(signature))
    }
}

/// The public half of a [`Signer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    origin: String,
    public: [u8; 32],
}

impl Verifier {
    /// Reads a note verifier key.
    ///
    /// # Errors
    ///
    /// A sentence when it is not one of Ed25519, or its hash is not that of its name and key.
    pub fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no verifier key of the form `name+hash+key`");
        let mut parts = text.trim().splitn(3, '+');
        let (Some(origin), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong());
        };
        let key = STANDARD.decode(key).map_err(|_| wrong())?;
        let Some((&ED25519_TYPE, public)) = key.split_first().filter(|_| is_key_name(origin)) else {
            return Err(wrong());
        };
        let verifier = Self { origin: origin.to_owned(), public: public.try_into().map_err(|_| wrong())? };
        if format!("{:08x}", u32::from_be_bytes(verifier.key_hash())) == hash { Ok(verifier) } else { Err(wrong()) }
    }

    /// The first four bytes of the digest of name, newline, algorithm and key.
    fn key_hash(&self) -> [u8; 4] {
        let digest = Digest::of_parts(&[self.origin.as_bytes(), b"\n", &[ED25519_TYPE], &self.public]);
        let [first, second, third, fourth, ..] = digest.0;
        [first, second, third, fourth]
    }

    /// Checks a signed note and reads the checkpoint in it.
    ///
    /// # Errors
    ///
    /// A sentence when the note has another form or origin, or no valid signature of this key.
    pub fn open(&self, note: &str) -> Result<Checkpoint, String> {
        let parts = note.strip_suffix('\n').and_then(|note| note.split_once("\n\n"));
        let (body, signatures) = parts.ok_or("the note has no signatures, or is cut off")?;
        let text = format!("{body}\n");
        if !signatures.lines().any(|line| self.is_signature(line, &text)) {
            return Err(format!("the note has no valid signature of `{}`", self.origin));
        }
        let mut lines = body.lines();
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err("the note is no checkpoint".to_owned());
        };
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok()).map(Digest);
        match (size.parse().ok(), root) {
            (Some(size), Some(root)) if origin == self.origin => Ok(Checkpoint { size, root }),
            _ => Err("the note is no checkpoint of this journal".to_owned()),
        }
    }

    fn is_signature(&self, line: &str, text: &str) -> bool {
        let parts = line.strip_prefix("\u{2014} ").and_then(|line| line.split_once(' '));
        let Some((name, signature)) = parts.filter(|(name, _)| *name == self.origin) else { return false };
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        let Some((hash, signature)) = signature.split_at_checked(4) else { return false };
        let key = UnparsedPublicKey::new(&ED25519, &self.public);
        name == self.origin && hash == self.key_hash() && key.verify(text.as_bytes(), signature).is_ok()
    }
}

impl std::fmt::Display for Verifier {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut key = vec![ED25519_TYPE];
        key.extend_from_slice(&self.public);
        write!(out, "{}+{:08x}+{}", self.origin, u32::from_be_bytes(self.key_hash()), STANDARD.encode(key))
    }
}

/// Whether a note can be signed under that name (C2SP signed-note): it would else have more lines or words than it seems.
fn is_key_name(origin: &str) -> bool {
    !origin.is_empty() && !origin.contains(|letter: char| letter.is_whitespace() || letter == '+')
}

fn text(origin: &str, checkpoint: &Checkpoint) -> String {
    format!("{origin}\n{}\n{}\n", checkpoint.size, STANDARD.encode(checkpoint.root.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_opens_only_with_its_own_key_and_unaltered() {
        let signer = Signer::new("portcullis/test", &[7; 32]).unwrap();
        let checkpoint = Checkpoint { size: 12, root: Digest::of(b"x") };
        let note = signer.sign(&checkpoint);
        let verifier = Verifier::read(&signer.verifier().to_string()).unwrap();
        assert_eq!(verifier.open(&note), Ok(checkpoint));
        let other = Signer::new("portcullis/test", &[8; 32]).unwrap().verifier();
        assert!(other.open(&note).is_err());
        for altered in [
            note.replace("\n12\n", "\n13\n"),
            note.replace("portcullis/test\n12", "portcullis/tesT\n12"),
            note.replace('\u{2014}', "-"),
        ] {
            assert!(verifier.open(&altered).is_err(), "{altered}");
        }
        assert!(Verifier::read("portcullis/test+00000000+AQ==").is_err());
        for origin in ["", "a b", "a+b", "a\n12"] {
            assert!(Signer::new(origin, &[7; 32]).is_err(), "{origin}");
        }
    }
}
