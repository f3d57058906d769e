//! The secrets of access keys: made here, kept in the replicated state only in sealed form.
//!
//! A door must know a secret itself to verify a signature, so a hash will not do. Secrets are encrypted with
//! XChaCha20-Poly1305 under a key that only the doors and the tools of administrators have, in a file. The name of the
//! access key is bound to the text: a sealed secret does not open under another name. Namenodes, their logs and snapshots
//! hold nothing that signs a request.

use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

const KEY: usize = 32;
const NONCE: usize = 24;
/// The first byte of a sealed secret: how it is sealed.
const VERSION: u8 = 1;
/// In front of the name in what is bound.
const PURPOSE: &str = "ashlar access key ";

/// Letters of the names and secrets that are made here: as many as fit a power of two are not needed, rejection keeps
/// them uniform.
const ID_LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("{path}: {error}")]
    File { path: String, error: std::io::Error },
    #[error("{path}: others can read it; `chmod 600` it")]
    Exposed { path: String },
    #[error("{path}: is no key for secrets: 64 hexadecimal digits are expected; `ashlar init` makes one")]
    NotAKey { path: String },
    #[error("the secret of {id} was sealed with another key; use the secrets.key that it was made with")]
    Sealed { id: String },
    #[error("no source of randomness: {0}")]
    Randomness(String),
}

/// The key that seals secrets.
#[derive(Clone)]
pub struct SealingKey(Zeroizing<[u8; KEY]>);

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(..)")
    }
}

impl SealingKey {
    /// Draws a key and writes it to a file that is not there yet, readable by its owner only.
    pub fn create(path: &Path) -> Result<Self, SecretError> {
        let failed = |error| SecretError::File { path: path.display().to_string(), error };
        let mut key = Zeroizing::new([0; KEY]);
        fill(key.as_mut())?;
        let text = Zeroizing::new(hex::encode(key.as_ref()) + "\n");
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        Ok(Self(key))
    }

    /// Reads the key of a file that nobody else can read.
    pub fn load(path: &Path) -> Result<Self, SecretError> {
        let shown = || path.display().to_string();
        let failed = |error| SecretError::File { path: shown(), error };
        let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(SecretError::Exposed { path: shown() });
        }
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(failed)?);
        let mut key = Zeroizing::new([0; KEY]);
        hex::decode_to_slice(text.trim(), key.as_mut()).map_err(|_| SecretError::NotAKey { path: shown() })?;
        Ok(Self(key))
    }

    /// Encrypts the secret of an access key.
    pub fn seal(&self, id: &str, secret: &str) -> Result<Vec<u8>, SecretError> {
        let mut nonce = [0; NONCE];
        fill(&mut nonce)?;
        let bound = format!("{PURPOSE}{id}");
        let payload = Payload { msg: secret.as_bytes(), aad: bound.as_bytes() };
        let sealed = self.cipher().encrypt(XNonce::from_slice(&nonce), payload).expect("a short text can be encrypted");
        Ok([&[VERSION][..], &nonce, &sealed].concat())
    }

    /// The secret of an access key.
    pub fn open(&self, id: &str, sealed: &[u8]) -> Result<Zeroizing<String>, SecretError> {
        let refused = || SecretError::Sealed { id: id.to_owned() };
        let Some((&VERSION, rest)) = sealed.split_first() else { return Err(refused()) };
        let (nonce, text) = rest.split_at_checked(NONCE).ok_or_else(refused)?;
        let bound = format!("{PURPOSE}{id}");
        let payload = Payload { msg: text, aad: bound.as_bytes() };
        let secret = self.cipher().decrypt(XNonce::from_slice(nonce), payload).map_err(|_| refused())?;
        String::from_utf8(secret).map(Zeroizing::new).map_err(|_| refused())
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.0.as_ref().into())
    }
}

/// Draws a new access key: its name and its secret.
pub fn generate() -> Result<(String, Zeroizing<String>), SecretError> {
    Ok((draw(20, ID_LETTERS)?, Zeroizing::new(draw(40, SECRET_LETTERS)?)))
}

fn draw(length: usize, letters: &[u8]) -> Result<String, SecretError> {
    let mut bytes = Zeroizing::new(vec![0; length]);
    fill(&mut bytes)?;
    // Both alphabets have a power of two of letters, so each is as likely as any other.
    Ok(bytes.iter().map(|byte| char::from(letters[usize::from(*byte) % letters.len()])).collect())
}

fn fill(bytes: &mut [u8]) -> Result<(), SecretError> {
    getrandom::fill(bytes).map_err(|error| SecretError::Randomness(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_with_its_key_and_under_its_name_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let key = SealingKey::create(&dir.path().join("a")).expect("made");
        let other = SealingKey::create(&dir.path().join("b")).expect("made");
        let sealed = key.seal("AKIA1", "secret").expect("sealed");
        assert_eq!(key.open("AKIA1", &sealed).expect("opens").as_str(), "secret");
        assert!(key.open("AKIA2", &sealed).is_err());
        assert!(other.open("AKIA1", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open("AKIA1", &changed).is_err(), "byte {at}");
            assert!(key.open("AKIA1", &sealed[..at]).is_err(), "cut at {at}");
        }
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
    }

    #[test]
    fn a_key_file_is_private_and_is_not_overwritten() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("secrets.key");
        let key = SealingKey::create(&path).expect("made");
        assert!(SealingKey::create(&path).is_err(), "it is there");
        let sealed = SealingKey::load(&path).expect("private").seal("k", "s").expect("sealed");
        assert_eq!(key.open("k", &sealed).expect("the same key").as_str(), "s");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("changed");
        assert!(matches!(SealingKey::load(&path), Err(SecretError::Exposed { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("changed");
        std::fs::write(&path, "rubbish").expect("written");
        assert!(matches!(SealingKey::load(&path), Err(SecretError::NotAKey { .. })));
        assert_eq!(format!("{key:?}"), "SealingKey(..)");
    }

    #[test]
    fn keys_that_are_made_differ() {
        let (id, secret) = generate().expect("made");
        assert_eq!((id.len(), secret.len()), (20, 40));
        assert_ne!(generate().expect("made").1, secret);
    }
}
