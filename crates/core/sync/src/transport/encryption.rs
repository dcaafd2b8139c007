//! Encryption of a stream: ChaCha20-Poly1305 (RFC 8439) with a counter for each direction.
//!
//! Each encrypted message contains its counter, so that lost, delayed or reordered messages do not
//! affect the others. The receiver refuses a counter that it has accepted before, and one that lies
//! behind the replay window (RFC 6479).

use chacha20poly1305::ChaCha20Poly1305;
use chacha20poly1305::aead::{Aead, KeyInit};

/// The secret key of a stream, known to its two ends only.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedKey(pub [u8; 32]);

impl std::fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedKey(…)")
    }
}

/// The base of a stream's nonces. It must be fresh for every use of a key: encrypting two messages with
/// the same key and nonce reveals both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nonce(pub [u8; 12]);

/// Which end of a stream this is. The two directions never share a nonce.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamSide {
    /// The end that opened the stream.
    Opener,
    /// The end that accepted it.
    Accepter,
}

/// Why a message cannot be encrypted or decrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EncryptionError {
    /// The message is too short to be an encrypted one.
    #[error("the message is too short to be sealed")]
    Truncated,
    /// The message was encrypted with another key or for the other direction, or was altered.
    #[error("the message was not sealed by the other end")]
    Forged,
    /// The message was accepted before, or is older than the replay window.
    #[error("message {counter} was accepted before, or is older than the replay window")]
    Replayed {
        /// The counter of the message.
        counter: u64,
    },
    /// The key has encrypted as many messages as it may.
    #[error("the key is used up; agree on another")]
    Exhausted,
}

/// The encryption of one end of a stream. Without a key, messages pass unchanged.
///
/// It cannot be cloned: a clone would seal other messages with the same key and nonces.
#[derive(Debug)]
pub struct EncryptionState {
    side: StreamSide,
    key: Option<(SharedKey, Nonce)>,
    sent: u64,
    window: ReplayWindow,
}

const COUNTER_BYTES: usize = 8;
/// The length of Poly1305's authenticator.
const TAG_BYTES: usize = 16;

impl EncryptionState {
    /// Bytes by which an encrypted message is longer than its plain text.
    pub const OVERHEAD: usize = COUNTER_BYTES + TAG_BYTES;

    /// A state without a key.
    pub const fn plain(side: StreamSide) -> Self {
        Self { side, key: None, sent: 0, window: ReplayWindow::new() }
    }

    /// Encrypts from now on with this key, or not at all. The counters restart from zero, except if the key and the
    /// nonce are those in use: then nothing changes, since counters that restarted would repeat nonces.
    pub fn set(&mut self, key: Option<(SharedKey, Nonce)>) {
        if key.is_none() || key != self.key {
            *self = Self { key, ..Self::plain(self.side) };
        }
    }

    /// Whether messages are encrypted.
    pub const fn is_on(&self) -> bool {
        self.key.is_some()
    }

    /// Encrypts one message.
    pub fn seal(&mut self, plain: &[u8]) -> Result<Vec<u8>, EncryptionError> {
        // Without a key the stream is plain by the choice of its owner; see `plain`.
        let Some((key, nonce)) = &self.key else { return Ok(plain.to_vec()) };
        let counter = self.sent;
        self.sent = counter.checked_add(1).ok_or(EncryptionError::Exhausted)?;
        let nonce = nonce_of(nonce, self.side, counter);
        let sealed = cipher(key).encrypt(&nonce.into(), plain).map_err(|_| EncryptionError::Exhausted)?;
        let mut out = counter.to_le_bytes().to_vec();
        out.extend(sealed);
        debug_assert_eq!(
            out.len(),
            plain.len() + Self::OVERHEAD,
            "encryption adds counter and authenticator"
        );
        Ok(out)
    }

    /// Decrypts one message. A refused message does not change the state: a forged counter must not
    /// advance the replay window, so authentication comes first.
    pub fn open(&mut self, sealed: &[u8]) -> Result<Vec<u8>, EncryptionError> {
        // Without a key the stream is plain by the choice of its owner; see `plain`.
        let Some((key, nonce)) = &self.key else { return Ok(sealed.to_vec()) };
        let (counter, body) = sealed.split_at_checked(COUNTER_BYTES).ok_or(EncryptionError::Truncated)?;
        let counter = u64::from_le_bytes(counter.try_into().map_err(|_| EncryptionError::Truncated)?);
        let theirs = match self.side {
            StreamSide::Opener => StreamSide::Accepter,
            StreamSide::Accepter => StreamSide::Opener,
        };
        let nonce = nonce_of(nonce, theirs, counter);
        let plain = cipher(key).decrypt(&nonce.into(), body).map_err(|_| EncryptionError::Forged)?;
        if !self.window.accept(counter) {
            return Err(EncryptionError::Replayed { counter });
        }
        Ok(plain)
    }
}

fn cipher(key: &SharedKey) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(&key.0.into())
}

/// The nonce of a message: the base, with the direction added to its first bit and the counter to its
/// last eight bytes. No two messages of a stream share a nonce.
fn nonce_of(base: &Nonce, side: StreamSide, counter: u64) -> [u8; 12] {
    let mut nonce = base.0;
    if let Some((first, rest)) = nonce.split_first_mut() {
        *first ^= if side == StreamSide::Opener { 0 } else { 0x80 };
        for (byte, count) in rest.iter_mut().skip(3).zip(counter.to_le_bytes()) {
            *byte ^= count;
        }
    }
    nonce
}

const WINDOW_WORDS: usize = 16;

/// The latest counters that were accepted.
#[derive(Clone, Debug)]
struct ReplayWindow {
    /// The highest accepted counter plus one.
    next: u64,
    /// A ring of bits, one for each counter of the window: bit `counter mod 1024`. Invariant: a bit tells
    /// whether its counter was accepted, for each counter from `next - 1024` up to `next`.
    seen: [u64; WINDOW_WORDS],
}

impl ReplayWindow {
    const BITS: u64 = 64 * WINDOW_WORDS as u64;

    const fn new() -> Self {
        Self { next: 0, seen: [0; WINDOW_WORDS] }
    }

    fn accept(&mut self, counter: u64) -> bool {
        if counter == u64::MAX || counter + Self::BITS < self.next {
            return false;
        }
        // The window moves up to this counter. The counters that it newly spans have not been accepted; their
        // bits still belong to counters that leave the window, so they are cleared.
        for unseen in self.next.max(counter.saturating_sub(Self::BITS - 1))..counter {
            self.set(unseen, false);
        }
        let is_new = counter >= self.next || !self.get(counter);
        self.next = self.next.max(counter + 1);
        self.set(counter, true);
        debug_assert!(self.get(counter) && counter < self.next, "an accepted counter is in the window");
        is_new
    }

    fn get(&self, counter: u64) -> bool {
        let at = counter % Self::BITS;
        self.seen.get((at / 64) as usize).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    fn set(&mut self, counter: u64, on: bool) {
        let at = counter % Self::BITS;
        if let Some(word) = self.seen.get_mut((at / 64) as usize) {
            let bit = 1 << (at % 64);
            *word = if on { *word | bit } else { *word & !bit };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn pair() -> (EncryptionState, EncryptionState) {
        let key = Some((SharedKey([7; 32]), Nonce([9; 12])));
        let mut a = EncryptionState::plain(StreamSide::Opener);
        let mut b = EncryptionState::plain(StreamSide::Accepter);
        a.set(key.clone());
        b.set(key);
        (a, b)
    }

    proptest! {
        #[test]
        fn opens_each_message_once(order in vec(0usize..60, 0..200), extra in vec(any::<u8>(), 0..50)) {
            let (mut a, mut b) = pair();
            let sealed: Vec<Vec<u8>> = (0..60u8)
                .map(|n| a.seal(&[&[n], &extra[..]].concat()).unwrap())
                .collect();
            let mut opened = BTreeSet::new();
            for at in order {
                match b.open(&sealed[at]) {
                    Ok(plain) => {
                        prop_assert_eq!(plain[0] as usize, at);
                        prop_assert!(opened.insert(at), "opened twice");
                    }
                    Err(error) => {
                        prop_assert_eq!(error, EncryptionError::Replayed { counter: at as u64 });
                        prop_assert!(opened.contains(&at));
                    }
                }
            }
        }

        #[test]
        fn rejects_altered_byte(at: usize, flip in 1u8..=255) {
            let (mut a, mut b) = pair();
            let sealed = a.seal(b"the truth").unwrap();
            prop_assert_eq!(sealed.len(), b"the truth".len() + EncryptionState::OVERHEAD);
            let mut forged = sealed.clone();
            let at = at % forged.len();
            forged[at] ^= flip;
            prop_assert_eq!(b.open(&forged), Err(EncryptionError::Forged));
            prop_assert_eq!(b.open(&sealed).unwrap(), b"the truth");
        }

        #[test]
        fn window_agrees_with_model(steps in vec((0u64..3_000, any::<bool>()), 1..300)) {
            let mut window = ReplayWindow::new();
            let mut seen = BTreeSet::new();
            let mut highest = 0;
            for (counter, _) in steps {
                let too_old = counter + ReplayWindow::BITS < highest;
                let expected = !too_old && !seen.contains(&counter);
                prop_assert_eq!(window.accept(counter), expected, "{}", counter);
                if expected {
                    seen.insert(counter);
                    highest = highest.max(counter + 1);
                }
            }
        }
    }

    proptest! {
        /// Within a stream, no two messages share a nonce: neither in one direction nor in both.
        #[test]
        fn nonces_of_a_stream_differ(base: [u8; 12], counters in vec(any::<u64>(), 1..40)) {
            let counters: BTreeSet<u64> = counters.into_iter().chain(0..20).collect();
            let sides = [StreamSide::Opener, StreamSide::Accepter];
            let nonces: BTreeSet<_> = sides
                .iter()
                .flat_map(|side| counters.iter().map(|counter| nonce_of(&Nonce(base), *side, *counter)))
                .collect();
            prop_assert_eq!(nonces.len(), 2 * counters.len());
        }
    }

    #[test]
    fn directions_do_not_mix() {
        let (mut a, mut b) = pair();
        let sealed = a.seal(b"hello").unwrap();
        assert_eq!(a.open(&sealed), Err(EncryptionError::Forged), "one's own message sent back");
        assert_eq!(b.open(&sealed).unwrap(), b"hello");
        assert_eq!(b.open(&[1, 2]), Err(EncryptionError::Truncated));
    }

    /// Setting the same key again must not restart the counters.
    #[test]
    fn key_in_use_continues() {
        let (mut a, mut b) = pair();
        let first = a.seal(b"one").unwrap();
        let key = a.key.clone();
        a.set(key.clone());
        b.set(key);
        let second = a.seal(b"one").unwrap();
        assert_ne!(first, second, "the counter goes on");
        assert_eq!((b.open(&first).unwrap(), b.open(&second).unwrap()), (b"one".to_vec(), b"one".to_vec()));
        assert_eq!(b.open(&first), Err(EncryptionError::Replayed { counter: 0 }));
        a.set(Some((SharedKey([8; 32]), Nonce([9; 12]))));
        assert!(a.seal(b"one").unwrap().starts_with(&[0; 8]), "another key begins at zero");
    }

    #[test]
    fn passes_plain_text_without_key() {
        let mut plain = EncryptionState::plain(StreamSide::Opener);
        assert_eq!(plain.seal(b"x").unwrap(), b"x");
        assert!(!plain.is_on());
    }
}
